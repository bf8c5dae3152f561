# nvcr.io/nvidia/tritonserver, as the base of deploy/Dockerfile.build: its libraries and its constraint for every pip.
FROM stand-in-python
COPY lib/ /usr/lib/x86_64-linux-gnu/
RUN mkdir /etc/pip && echo 'numpy==1.0' > /etc/pip/constraint.txt
ENV PIP_CONSTRAINT=/etc/pip/constraint.txt
