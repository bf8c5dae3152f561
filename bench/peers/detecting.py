"""What every peer's server does with a request: OpenCV, the network, and this project's suppression."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from bench.opencv_letterbox import decoded, letterboxed
from bench.peers.plan import Network, Plan, Setting
from triton_yolo.nms.detections import detections

Answer = dict[str, list[Any]]  # boxes [N, 4], scores [N] and classes [N], for JSON
Candidates = Callable[[np.ndarray], np.ndarray]  # uint8 [1, 3, S, S] to float32 [1, K, 6]


class Detecting:
    """A worker's detector, for as many threads as its setting says."""

    def __init__(self, plan: Plan) -> None:
        """Load the network.

        Args:
            plan: of the server.
        """
        setting = plan.setting
        cv2.setNumThreads(max(1, setting.threads // setting.at_once))
        self.network = plan.network
        self._candidates = ENGINES[setting.engine](plan.network, setting)
        self.pool = ThreadPoolExecutor(setting.at_once)

    def one(self, body: bytes) -> Answer:
        """Return the detections of a request's body, in the calling thread."""
        network = self.network
        pixels = decoded(body) if network.frame is None else np.frombuffer(body, np.uint8).reshape(*network.frame, 3)
        image, size = letterboxed(pixels, network.letterbox)
        found = detections(
            self._candidates(image[None]), size[None], network.thresholds, network.most, network.letterbox
        )
        number = int(found[0][0, 0])
        names = ("boxes", "scores", "classes")
        return {name: rows[0, :number].tolist() for name, rows in zip(names, found[1:], strict=True)}

    def several(self, bodies: Sequence[bytes]) -> list[Answer]:
        """Return the detections of a batch, its images side by side in the pool's threads."""
        return list(self.pool.map(self.one, bodies))


def _openvino(network: Network, setting: Setting) -> Candidates:
    """Compile for one image an inference, as many at once as the setting says; a request for each thread."""
    from pathlib import Path

    from triton_yolo.openvino_graph import answer_of, read_graph
    from triton_yolo.openvino_runtime import core, ov

    options = {
        "NUM_STREAMS": setting.at_once,
        "INFERENCE_NUM_THREADS": setting.threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # workers are processes, and would all pin their first thread to the first core
    }
    compiled = core.compile_model(read_graph(Path(network.graph)), "CPU", options)
    own = threading.local()

    def candidates(images: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer({0: ov.Tensor(images, shared_memory=True)}, share_outputs=True)
        return np.asarray(answer_of(own.request))

    return candidates


def _onnxruntime(network: Network, setting: Setting) -> Candidates:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, setting.threads // setting.at_once)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other processes want the cores
    session = onnxruntime.InferenceSession(network.graph, options, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(["candidates"], {"images": images})[0])


ENGINES: dict[str, Callable[[Network, Setting], Candidates]] = {"openvino": _openvino, "onnxruntime": _onnxruntime}
