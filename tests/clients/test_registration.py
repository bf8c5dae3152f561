"""Registrations over both protocols are what tritonclient would send."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2

from triton_yolo.clients import DetectionError, Detector
from triton_yolo.clients.memory.registration import register, unregister
from triton_yolo.clients.protocols.base import Call, Json, Protocol

HANDLE = base64.b64encode(bytes(range(64))).decode()


class Recorder(Protocol):
    """Keeps the calls instead of sending them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def infer(self, request: Any) -> Any:
        raise NotImplementedError

    def call(self, call: Call) -> Json:
        self.calls.append(call)
        return {}

    def close(self) -> None:
        """Nothing is open."""


def test_gpu_memory_is_registered_with_its_handle() -> None:
    """As https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md says."""
    recorder = Recorder()
    register(recorder, "cuda", "frames", {"raw_handle": HANDLE, "device_id": 1, "byte_size": 42})
    unregister(recorder, "cuda", "frames")
    registration, end = recorder.calls

    assert ParseDict(registration.message, service_pb2.CudaSharedMemoryRegisterRequest()) == (
        service_pb2.CudaSharedMemoryRegisterRequest(
            name="frames", raw_handle=bytes(range(64)), device_id=1, byte_size=42
        )
    )
    assert (registration.rpc, registration.path) == (
        "CudaSharedMemoryRegister",
        "v2/cudasharedmemory/region/frames/register",
    )
    assert json.loads(json.dumps(registration.body)) == {"raw_handle": {"b64": HANDLE}, "device_id": 1, "byte_size": 42}
    assert (end.rpc, end.message, end.path, end.body) == (
        "CudaSharedMemoryUnregister",
        {"name": "frames"},
        "v2/cudasharedmemory/region/frames/unregister",
        {},
    )


def test_a_server_without_a_gpu_refuses_gpu_memory_in_its_words(url: str) -> None:
    with Detector(url) as detector:
        with pytest.raises(DetectionError, match="failed to register shared memory region"):
            register(detector.protocol, "cuda", "frames", {"raw_handle": HANDLE, "device_id": 0, "byte_size": 42})
        unregister(detector.protocol, "cuda", "frames")
        unregister(detector.protocol, "system", "nobody")
