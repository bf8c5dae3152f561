"""Builds a TensorRT plan of a served graph, with TensorRT or with TensorRT for RTX, which share their Python API."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from triton_yolo.contract import FEATURES, INPUT, OUTPUT
from triton_yolo.export.errors import ExportError
from triton_yolo.export.plan_layers import HEADING, logged_layers
from triton_yolo.export.served_graph import input_of
from triton_yolo.export.tensorrt_library import library_version

# The modules to import, and what to install; a plan must be built with the version that serves it.
RUNTIMES = {
    "tensorrt": (
        ("tensorrt", "tensorrt_bindings"),  # the bindings alone, where the libraries are there already
        "tensorrt-cu13==VERSION, of the server that will run the plan",
    ),
    "tensorrt-rtx": (
        ("tensorrt_rtx", "tensorrt_rtx_bindings"),
        "tensorrt-rtx-cu12-libs and tensorrt-rtx-cu12-bindings",
    ),
}
OLDEST = (10, 12)  # of TensorRT; before it, strong typing and this API differ
HARDWARE = {"none": "NONE", "ampere+": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}


@dataclass(frozen=True)
class PlanOptions:
    """What a plan is built for.

    Attributes:
        batches: smallest, best and largest batch size.
        version_compatible: later versions of the same major one may run it, if the server allows host code in plans.
        hardware: a key of HARDWARE, the GPUs beside this one that may run it; slower.
        compute_capability: of the GPU to build for without having it, as in "8.9"; TensorRT for RTX alone can.
    """

    batches: tuple[int, int, int]
    version_compatible: bool = False
    hardware: str = "none"
    compute_capability: str | None = None


@dataclass(frozen=True)
class Plan:
    """The result of a build.

    Attributes:
        content: of the plan file.
        timing_cache: for the next build, empty where the runtime keeps none.
        layers: what the engine inspector reports on each; without a GPU, what the builder logged; None if neither
            did.
    """

    content: bytes
    timing_cache: bytes
    layers: Sequence[Any] | None


def load_runtime(name: str) -> ModuleType:
    """Import a runtime.

    Args:
        name: a key of RUNTIMES.

    Raises:
        ExportError: it is not installed, does not load, is too old, or its bindings and its library are of different
            versions.
    """
    modules, packages = RUNTIMES[name]
    reasons = []
    for module in modules:
        try:
            runtime = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError) as error:  # the bindings without their libraries
            reasons.append(str(error))
            continue
        version = tuple(int(part) for part in runtime.__version__.split(".")[:2])
        if name == "tensorrt" and version < OLDEST:
            raise ExportError(
                f"TensorRT {runtime.__version__} is older than {OLDEST[0]}.{OLDEST[1]}: install a newer one"
            )
        if name == "tensorrt":
            _check_library(runtime.__version__)
        return runtime
    if reasons:
        raise ExportError(f"{name} does not load: {'; '.join(reasons)}")
    raise ExportError(f"{name} is not installed in this environment: pip install {packages}")


def _check_library(bindings: str) -> None:
    """Refuse bindings that were made for another version of the library: calls would go to the wrong places."""
    found = library_version()
    if found != ".".join(bindings.split(".")[:3]):
        raise ExportError(
            f"TensorRT's library is version {found} and its Python bindings are {bindings}: "
            f"pip install 'tensorrt-cu13-bindings=={found}.*'"
        )


def gpu() -> dict[str, str] | None:
    """Return name and compute capability of the first GPU, None without one."""
    from cuda.bindings import runtime as cudart

    error, count = cudart.cudaGetDeviceCount()
    if error != cudart.cudaError_t.cudaSuccess or not count:
        return None
    _, found = cudart.cudaGetDeviceProperties(0)
    return {"name": found.name.rstrip(b"\0").decode(), "compute_capability": f"{found.major}.{found.minor}"}


def build(trt: Any, graph: onnx.ModelProto, options: PlanOptions, timing_cache: bytes = b"") -> Plan:
    """Build a plan: strongly typed, so that every layer has the types that the graph gives it.

    Args:
        trt: module of load_runtime.
        graph: a served graph, or a half of one.
        options: what to build for.
        timing_cache: of an earlier build, which makes this one faster; empty without.

    Raises:
        ExportError: the parser or the builder refuses; carries their messages.
    """
    messages = _messages(trt)
    builder = _made(trt.Builder, messages)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, messages)
    if not parser.parse(graph.SerializeToString()):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        raise ExportError(
            "the parser refused: " + "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in errors)
        )
    config = _config(trt, builder, input_of(graph), options)
    if _measures(trt):
        use_times(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"the build failed: {messages.text()}")
    times = config.get_timing_cache() if _measures(trt) else None
    kept = bytes(times.serialize()) if times else b""
    return Plan(bytes(plan), kept, _layers(trt, messages, plan) or logged_layers(messages.layers) or None)


def run_plan(trt: Any, plan: bytes, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Run a plan on the first GPU.

    Args:
        trt: module of load_runtime.
        plan: of a served graph, or of a server half.
        images: uint8 [N, 3, H, W], or features int8 [N, L]; no more than its largest batch.

    Returns:
        float32 [N, K, 6], the candidates.

    Raises:
        ExportError: the plan does not load or run on this GPU; carries the message of TensorRT or CUDA.
    """
    from cuda.bindings import runtime as cudart

    def call(function: Any, *arguments: Any) -> Any:
        code, *results = function(*arguments)
        if code != cudart.cudaError_t.cudaSuccess:
            raise ExportError(f"the plan does not run: CUDA says: {cudart.cudaGetErrorString(code)[1].decode()}")
        return results[0] if results else None

    messages = _messages(trt)
    engine = _made(trt.Runtime, messages).deserialize_cuda_engine(plan)
    context = engine.create_execution_context() if engine else None
    source = FEATURES if images.dtype == np.int8 else INPUT
    if not context or not context.set_input_shape(source, images.shape):
        raise ExportError(f"the plan does not load: {messages.text()}")
    candidates = np.empty(tuple(context.get_tensor_shape(OUTPUT)), np.float32)
    images = np.ascontiguousarray(images)
    stream = call(cudart.cudaStreamCreate)
    held = {name: call(cudart.cudaMalloc, array.nbytes) for name, array in ((source, images), (OUTPUT, candidates))}
    try:
        kind = cudart.cudaMemcpyKind.cudaMemcpyDefault
        for name, address in held.items():
            context.set_tensor_address(name, int(address))
        call(cudart.cudaMemcpyAsync, held[source], images.ctypes.data, images.nbytes, kind, stream)
        if not context.execute_async_v3(int(stream)):
            raise ExportError(f"the plan does not run: {messages.text()}")
        call(cudart.cudaMemcpyAsync, candidates.ctypes.data, held[OUTPUT], candidates.nbytes, kind, stream)
        call(cudart.cudaStreamSynchronize, stream)
    finally:
        for address in held.values():
            call(cudart.cudaFree, address)
        call(cudart.cudaStreamDestroy, stream)
    return candidates


def _made(kind: Any, messages: Any) -> Any:
    """A builder or a runtime; the bindings raise TypeError where the library makes none."""
    try:
        return kind(messages)
    except TypeError:
        raise ExportError(f"TensorRT's {kind.__name__} did not start: {messages.text()}") from None


def _measures(trt: Any) -> bool:
    """Whether a build takes times; TensorRT for RTX takes them when a plan runs."""
    return "rtx" not in trt.__name__


def use_times(config: Any, content: bytes) -> None:
    """Let a build use times of an earlier one, and none where TensorRT refuses them (another version, another GPU)."""
    cache = config.create_timing_cache(content)
    if not cache or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _config(trt: Any, builder: Any, source: tuple[str, tuple[int, ...]], options: PlanOptions) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that the inspector knows the types
    profile = builder.create_optimization_profile()
    name, shape = source
    profile.set_shape(name, *((batch, *shape) for batch in options.batches))
    config.add_optimization_profile(profile)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, HARDWARE[options.hardware])
    if options.compute_capability:
        known = getattr(trt, "ComputeCapability", None)
        wanted = f"SM{options.compute_capability.replace('.', '')}"
        if known is None:
            raise ExportError("TensorRT builds for the GPU in this machine only: leave out --compute-capability")
        if wanted not in known.__members__:
            offered = ", ".join(name for name in known.__members__ if name.startswith("SM"))
            raise ExportError(f"--compute-capability {options.compute_capability} is not one of {offered}")
        config.num_compute_capabilities = 1
        config.set_compute_capability(known.__members__[wanted], 0)
    return config


def _layers(trt: Any, messages: Any, plan: Any) -> Sequence[Any] | None:
    """Return what the engine inspector reports, None without a GPU that can load the plan."""
    if gpu() is None:
        return None
    engine = _made(trt.Runtime, messages).deserialize_cuda_engine(plan)
    if engine is None:
        return None
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return list(json.loads(text)["Layers"])


def _messages(trt: Any) -> Any:
    """Return a logger that keeps errors, and what the builder logs on the layers."""

    class Messages(trt.ILogger):  # type: ignore[misc]  # there are no types of TensorRT
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.layers = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.VERBOSE and message.startswith(HEADING):
                self.layers = message

        def text(self) -> str:
            return " ".join("; ".join(self.errors).split()) or "it gave no reason"

    return Messages()
