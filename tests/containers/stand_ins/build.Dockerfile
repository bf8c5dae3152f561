# The image of deploy/Dockerfile.build, with what builds a plan where there is no GPU.
ARG IMAGE
FROM ${IMAGE}
USER 0
RUN pip3 install --no-cache-dir --no-deps --target /opt/packages \
      tensorrt-rtx-cu12-libs==1.7.1.116 tensorrt-rtx-cu12-bindings==1.7.1.116
USER 1000:1000
