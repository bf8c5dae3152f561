"""Runs the model repository in the real tritonserver from pip packages alone."""

import os

# Before gRPC is loaded: or it says a line whenever a server is started beside its threads.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
