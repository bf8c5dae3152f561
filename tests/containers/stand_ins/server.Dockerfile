# nvcr.io/nvidia/tritonserver, as the server: the pip one under the same name.
FROM triton-yolo-cpu
COPY tritonserver /opt/tritonserver/bin/tritonserver
ENV PATH=/opt/tritonserver/bin:$PATH PYTHONPATH=/app
