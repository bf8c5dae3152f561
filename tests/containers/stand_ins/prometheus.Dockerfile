# prom/prometheus: Debian's.
FROM stand-in-debian-testing
RUN install --directory --owner 65534 --group 65534 /prometheus
WORKDIR /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
