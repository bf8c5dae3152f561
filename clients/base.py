"""What Detector and AsyncDetector share: everything except waiting."""

from __future__ import annotations

import secrets
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, get_args

from triton_yolo.clients.access import Access
from triton_yolo.clients.errors import DetectionError, ServerBusy, ServerUnavailable
from triton_yolo.clients.memory.pool import FramePool, Memory
from triton_yolo.clients.model_info import ModelInfo
from triton_yolo.clients.protocols.address import Address, parse_url
from triton_yolo.clients.protocols.base import AsyncProtocol, Protocol
from triton_yolo.clients.protocols.connect import connect
from triton_yolo.clients.request import ENCODED, Pixels, Request, SharedTensor

if TYPE_CHECKING:
    from triton_yolo.clients.stream.edge import Edge
    from triton_yolo.clients.stream.features import FeatureEncoder
    from triton_yolo.clients.stream.tiles import TileEncoder

TIMEOUT = 30.0  # seconds
CONCURRENCY = 4  # requests in flight of one detect_many

Errors = Literal["raise", "return"]
Transport = Literal["grpc", "http", "system", "cuda"]  # deprecated
AnyProtocol = TypeVar("AnyProtocol", Protocol, AsyncProtocol)


class BaseDetector(ABC, Generic[AnyProtocol]):
    """The state of a detector, and the steps of a detection that wait for nothing.

    Attributes:
        address: protocol and HOST:PORT of the server.
        timeout: timeout of each request, in seconds.
        protocol: what carries the requests.
    """

    def __init__(
        self,
        url: str = "127.0.0.1:8001",
        *,
        memory: Memory = "plain",
        timeout: float = TIMEOUT,
        access: Access | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP; grpcs:// and https:// with TLS.
            memory: where frames lie: "plain" sends them with the requests; "system" is POSIX shared memory and "cuda"
                the memory of a GPU, where the server reads them and requests only name the place. Encoded images are
                always sent with the requests: the server decodes them from the host's memory.
            timeout: timeout of each request, in seconds.
            access: certificates and API key for a server that asks for them, or whose certificate the system does not
                know.
            transport: deprecated, and gone in the next release: "grpc" and "http" belong in the URL, "system" and
                "cuda" are kinds of memory.

        Raises:
            DetectionError: the URL or the memory is of another kind, a certificate or key cannot be used, or "cuda"
                finds no GPU.
        """
        if transport is not None:
            url, memory = without_transport(transport, url, memory)
        self.address: Address = parse_url(url, access)
        self.timeout = timeout
        self.protocol: AnyProtocol = self._connect()
        self._pool = FramePool(memory, self._registering)
        self._models: dict[str, ModelInfo] = {}
        self._closed = False

    @abstractmethod
    def _connect(self) -> AnyProtocol:
        """Return the protocol that carries the requests."""

    def _registering(self) -> Protocol:
        """Return the protocol that registers memory; synchronous: memory is freed outside of event loops too."""
        return connect(self.address, self.timeout)

    def forget_models(self) -> None:
        """Ask the server anew for what its models are, which one that was started in its place may have changed."""
        self._models.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise DetectionError("this detector has been closed")

    def _tile_encoder(
        self,
        name: str | None,
        side: int,
        quality: int | None,
        key_interval: int,
        most_noise: float,
        link_mbits: float | None,
    ) -> TileEncoder:
        """Return the encoder of a new stream; arguments are those of Detector.stream.

        Raises:
            DetectionError: one is out of range, OpenCV is not installed, or the detector has been closed.
        """
        self._check_open()
        try:
            from triton_yolo.clients.stream.tiles import TileEncoder
        except ModuleNotFoundError as error:
            if error.name != "cv2":
                raise
            raise DetectionError("streams of tiles need OpenCV: pip install 'triton-yolo[stream]'") from None
        return TileEncoder(
            _stream_name(name),
            side=side,
            quality=quality,
            key_interval=key_interval,
            most_noise=most_noise,
            link_mbits=link_mbits,
        )

    def _feature_encoder(
        self, edge: str | Path | Edge, name: str | None, tolerance: int, key_interval: int, most_noise: float
    ) -> FeatureEncoder:
        """Return the encoder of a new stream; arguments are those of Detector.features.

        Raises:
            DetectionError: one is out of range, the half of the network cannot run here, what it needs is not
                installed, or the detector has been closed.
        """
        self._check_open()
        try:
            from triton_yolo.clients.stream.edge import Edge
            from triton_yolo.clients.stream.features import FeatureEncoder

            half = edge if isinstance(edge, Edge) else Edge.load(edge)
        except ModuleNotFoundError as error:
            if error.name not in ("cv2", "openvino"):
                raise
            raise DetectionError(f"streams of features need {error.name}: pip install 'triton-yolo[edge]'") from None
        return FeatureEncoder(
            _stream_name(name), half, tolerance=tolerance, key_interval=key_interval, most_noise=most_noise
        )

    def _array_to_share(self, request: Request) -> Pixels | None:
        """Return the array of a request if it is to be carried in shared memory."""
        tensor = request.tensor
        if not self._pool.shared or request.model == ENCODED or isinstance(tensor, SharedTensor) or not tensor.size:
            return None
        return tensor


def _stream_name(name: str | None) -> str:
    return f"stream-{secrets.token_hex(8)}" if name is None else name


def check_errors(errors: str) -> None:
    """Refuse a value of the argument ``errors`` that has no meaning.

    Raises:
        DetectionError: it is neither "raise" nor "return".
    """
    if errors not in get_args(Errors):
        raise DetectionError(f"errors must be one of {', '.join(get_args(Errors))}; got {errors!r}")


def stops_everything(error: DetectionError) -> bool:
    """Return whether the next image would fail in the same way: the server is gone, not just busy."""
    return isinstance(error, ServerUnavailable) and not isinstance(error, ServerBusy)


def without_transport(transport: str, url: str, memory: Memory) -> tuple[str, Memory]:
    """Return the URL and the memory that a value of the deprecated argument stands for."""
    if transport not in get_args(Transport):
        raise DetectionError(f"{transport!r} is no transport: choose one of {', '.join(get_args(Transport))}")
    if transport in ("system", "cuda"):
        advice, memory = f"memory={transport!r}", transport  # type: ignore[assignment]
    else:
        if "://" not in url:
            url = f"{transport}://{url}"
        protocol = parse_url(url).protocol
        if protocol != transport:
            raise DetectionError(
                f"{url} asks for {protocol}, and the transport is to be {transport}: leave the transport out"
            )
        advice = f"the URL {url!r}"
    warnings.warn(
        f"transport={transport!r} is deprecated and will be removed in the next release: use {advice}",
        DeprecationWarning,
        stacklevel=3,
    )
    return url, memory
