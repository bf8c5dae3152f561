# eclipse-mosquitto: Debian's, with the same user and the same folder.
FROM stand-in-debian-testing
RUN install --directory --owner 1883 --group 1883 /mosquitto/data
