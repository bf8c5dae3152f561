"""Requests and answers as HTTP with tensors in binary, for any HTTP library.

The format is Triton's extension of KServe's protocol: JSON, then the bytes of the tensors
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.utils import np_to_triton_dtype

from triton_yolo.clients.errors import DetectionError, refused, unavailable
from triton_yolo.clients.protocols.base import Call, Json, Tensors, decoded
from triton_yolo.clients.request import Request, SharedTensor

JSON = {"Content-Type": "application/json"}
HEADER_LENGTH = "Inference-Header-Content-Length"  # where the JSON ends and the tensors begin


def infer_path(request: Request) -> str:
    """Return the path of a request."""
    return f"v2/models/{request.model}/infer"


def packed(request: Request) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a request."""
    tensors = {request.input: request.tensor, **request.others}
    inputs = [_described(name, tensor) for name, tensor in tensors.items()]
    content = {"inputs": inputs, "parameters": {"binary_data_output": True, **request.parameters}}
    header = json.dumps(content).encode()
    arrays = [tensor for tensor in tensors.values() if not isinstance(tensor, SharedTensor)]
    if not arrays:
        return header, {**JSON, **request.headers}
    return b"".join((header, *(np.ascontiguousarray(array).reshape(-1).data for array in arrays))), {
        HEADER_LENGTH: str(len(header)),
        "Content-Type": "application/octet-stream",
        **request.headers,
    }


def _described(name: str, tensor: npt.NDArray[Any] | SharedTensor) -> Json:
    """Return what the JSON says of an input; an array's bytes follow the JSON."""
    if isinstance(tensor, SharedTensor):
        datatype, parameters = "UINT8", tensor.parameters()
    else:
        datatype, parameters = np_to_triton_dtype(tensor.dtype), {"binary_data_size": tensor.nbytes}
    return {"name": name, "shape": list(tensor.shape), "datatype": datatype, "parameters": parameters}


def packed_call(call: Call) -> tuple[str, bytes, dict[str, str]]:
    """Return method, body and headers of a call."""
    if call.body is None:
        return "GET", b"", {}
    return "POST", json.dumps(call.body).encode() if call.body else b"", JSON


def unpacked(url: str, status: int, body: bytes, headers: Mapping[str, str]) -> Tensors:
    """Return the tensors of an answer.

    Args:
        url: of the server.
        status: of the answer.
        body: of the answer.
        headers: of the answer.

    Raises:
        DetectionError: the server refuses, or what answers is not Triton.
    """
    _check(url, status, body)
    end = int(headers.get(HEADER_LENGTH, len(body)))
    rest, tensors = memoryview(body)[end:], {}
    for output in _parsed(url, body[:end]).get("outputs", []):
        size = output["parameters"]["binary_data_size"]
        tensors[output["name"]] = decoded(rest[:size], output["datatype"], output["shape"])
        rest = rest[size:]
    return tensors


def unpacked_call(url: str, call: Call, status: int, body: bytes) -> Json:
    """Return the JSON of the answer to a call, which may be empty after a POST.

    Arguments and errors are those of ``unpacked``.
    """
    _check(url, status, body)
    return {} if call.body is not None and not body else _parsed(url, body)


def stranger(url: str) -> DetectionError:
    """Return the error for an answer that is not Triton's."""
    return DetectionError(f"something answers at {url}, but it is not Triton's HTTP: check the port")


def reason(error: BaseException) -> str:
    """Return the operating system's words where it has some: libraries put objects and addresses around them."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):  # whose numbers are its own
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # resolvers count below 0
    return str(error) or type(error).__name__


def _check(url: str, status: int, body: bytes) -> None:
    if status != 200:
        message = str(_parsed(url, body).get("error", f"status {status}"))
        raise unavailable(url, message) if status == 503 else refused(url, message)


def _parsed(url: str, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise stranger(url)
    return content
