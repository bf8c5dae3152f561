# nvcr.io/nvidia/tritonserver:*-sdk: the perf_analyzer of this machine.
FROM stand-in-python
COPY perf/ /usr/local/lib/
RUN mv /usr/local/lib/perf_analyzer /usr/local/bin/
ENV LD_LIBRARY_PATH=/usr/local/lib
