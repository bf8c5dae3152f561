# python:3.12-slim-bookworm: Debian 12 with its own Python.
FROM stand-in-debian
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN ln -s python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
