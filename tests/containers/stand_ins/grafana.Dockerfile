# grafana/grafana, which Debian does not have: nothing runs, with the same user and the same mounts.
FROM stand-in-debian-testing
RUN install --directory --owner 472 /var/lib/grafana
CMD ["sleep", "infinity"]
