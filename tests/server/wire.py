"""Short ways to ask a running server, over gRPC and HTTP."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from triton_yolo.server.process import Addresses

Answer = dict[str, npt.NDArray[Any]]
T = TypeVar("T")
SECONDS = 60  # no request may take longer


class Client:
    """Asks one server over gRPC; may be shared by threads."""

    def __init__(self, addresses: Addresses) -> None:
        self.addresses = addresses
        self.grpc = grpcclient.InferenceServerClient(f"{addresses.host}:{addresses.grpc}")

    def ask(self, model: str, parameters: dict[str, Any] | None = None, **inputs: npt.NDArray[Any]) -> Answer:
        """All outputs of a model; every input has its leading batch dimension."""
        tensors = []
        for name, array in inputs.items():
            tensor = grpcclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        others = dict(parameters or {})
        priority = others.pop("priority", 0)  # tritonclient takes it apart from the rest
        result = self.grpc.infer(model, tensors, priority=priority, parameters=others, client_timeout=SECONDS)
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

    def detect(self, image: bytes, model: str = "detect", **parameters: Any) -> Answer:
        """The outputs of a model that takes one encoded image."""
        return self.ask(model, parameters, image=np.frombuffer(image, np.uint8)[None])

    def detect_frames(self, frames: npt.NDArray[np.uint8], **parameters: Any) -> Answer:
        """The outputs for RGB frames [N, H, W, 3]."""
        return self.ask("detect_frames", parameters, frames=frames)

    def refusal(self, image: bytes, model: str = "detect", **parameters: Any) -> str:
        """What the server says to an image that it must refuse."""
        return refusal(lambda: self.detect(image, model, **parameters))

    def ready(self) -> bool:
        """Whether every model is ready."""
        return self.grpc.is_server_ready(client_timeout=SECONDS)

    def metric(self, name: str) -> dict[str, float]:
        """The values of one of the server's metrics, by model."""
        with urllib.request.urlopen(
            f"http://{self.addresses.host}:{self.addresses.metrics}/metrics", timeout=SECONDS
        ) as answer:
            found = re.findall(rf'^{name}{{model="(\w+)".*}} (\S+)', answer.read().decode(), re.MULTILINE)
        return {model: float(value) for model, value in found}

    def post(self, model: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and answer of an inference over HTTP with a JSON body."""
        url = f"http://{self.addresses.host}:{self.addresses.http}/v2/models/{model}/infer"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def refusal(call: Callable[[], object]) -> str:
    """The text of the error that a request ends with."""
    try:
        call()
    except InferenceServerException as error:
        return str(error)
    raise AssertionError("the server answered what it should refuse")


def concurrently(work: Callable[[Any], T], items: Iterable[Any], threads: int = 16) -> list[T]:
    """Do the work on all items at the same time; the results in the items' order."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers are equal to the last bit."""
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)
