"""What a detection can fail with, in words for the person who asked for it.

DetectionError              an image got no detections
├── AnswerLate              no answer came in time
├── UnknownRegion           the server has no shared memory of that name
├── RegionInUse             the server still reads shared memory
├── UnknownBase             the server does not have the frame of a stream that this one builds on
├── NoDecoder               the server cannot decode what a stream's frames are coded with
├── OtherNetwork            the features of a stream are of another network than the server's
└── ServerUnavailable       no server answers, or it takes no requests now
└── ServerBusy          its queue is full, or the request has waited in it for too long
    └── TooManyStreams  it keeps the frames of as many streams as it may
"""

from __future__ import annotations

import re

from triton_yolo.assemble.errors import KEY_WANTED, NO_DECODER, NO_ROOM, OTHER_NETWORK
from triton_yolo.contract import OVER_RATE, WANTS_CERTIFICATE, WANTS_KEY
from triton_yolo.errors import TritonYoloError

# What Triton puts before a model's own message: the request, the ensemble, the model instance.
PREFIXES = re.compile(
    r"\[request id: [^]]*\] |in ensemble '[^']*', |"
    r"Failed to process the request\(s\) for model (instance )?'[^']*', message: "
)
# What gRPC puts before the operating system's words.
ATTEMPTS = re.compile(r"^(failed to connect to all addresses|DNS resolution failed|errors? resolving).*: ")
LATE, FULL = "Request timeout expired", "Exceeds maximum queue size"  # Triton's words
STOPPING = re.compile(
    r"server is (stopping|exiting|shutting)|has stopped accepting|server exiting|has no available versions",
    re.IGNORECASE,
)  # the last: models are unloaded before the ports are closed

TLS = re.compile(r"CERTIFICATE|certificate|SSL|Ssl|TLS")  # a handshake that failed, in the words of gRPC and OpenSSL
RESTRICTED = "is restricted, expecting header"  # over gRPC with the code of a server that is not there
BROKEN = re.compile(r"Stub process '[^']*' is not healthy")  # a model's process has died, or hangs


class DetectionError(TritonYoloError):
    """An image got no detections; says why, and what was expected."""

    def of(self, source: str) -> DetectionError:
        """Return the same error with the name of what it happened to in front.

        Args:
            source: name of a file; where it is empty, the error is returned as it is.
        """
        return type(self)(f"{source}: {self}") if source else self


class AnswerLate(DetectionError):
    """No answer came within the timeout: the server is overloaded, hangs, or cannot be reached."""


class UnknownRegion(DetectionError):
    """The server has no shared memory of that name: it was restarted, or never knew it."""


class RegionInUse(DetectionError):
    """The server does not unregister shared memory that a request still reads, perhaps one that was given up."""


class UnknownBase(DetectionError):
    """The server does not have the frame of a stream that this one builds on: a key frame mends that."""


class NoDecoder(DetectionError):
    """The server cannot decode what a stream's frames are coded with: it has no OpenCV, or no zstandard."""


class OtherNetwork(DetectionError):
    """The features of a stream are of another network than the server's."""


class ServerUnavailable(DetectionError):
    """No server answers at the address, or it takes no requests now."""

    def of(self, source: str) -> DetectionError:
        """Return the error as it is: the file is not to blame."""
        return self


class ServerBusy(ServerUnavailable):
    """The server's queue is full, or the request has waited in it for longer than it may."""

    @property
    def timed_out(self) -> bool:
        """Whether the request has waited for longer than it may."""
        return LATE in str(self)

    def of(self, source: str) -> DetectionError:
        """See DetectionError: the next request may get an answer."""
        return DetectionError.of(self, source)


class TooManyStreams(ServerBusy):
    """The server keeps the frames of as many streams as it may; whole pictures need no such memory."""


# Triton's words, and those of the models assemble and gather; their codes are those of other errors too.
KINDS: dict[str, type[DetectionError]] = {
    "Unable to find shared memory region": UnknownRegion,
    "Cannot unregister shared memory region": RegionInUse,
    KEY_WANTED: UnknownBase,
    NO_DECODER: NoDecoder,
    OTHER_NETWORK: OtherNetwork,
}


def refused(url: str, message: str) -> DetectionError:
    """Return the error for an answer of the server that is no result.

    Args:
        url: of the server, as the user gave it.
        message: the server's, as it came.
    """
    words = PREFIXES.sub("", message)
    if STOPPING.search(words) or BROKEN.search(words):
        return unavailable(url, message)
    if WANTS_KEY in words or WANTS_CERTIFICATE in words:
        return ServerUnavailable(f"{url}: {words}")
    if OVER_RATE in words:
        return ServerBusy(f"{url}: {words}")
    if RESTRICTED in words:
        return DetectionError("the server does not let clients do that")
    kind = next((kind for said, kind in KINDS.items() if said in words), DetectionError)
    return kind(words)


def unavailable(url: str, message: str) -> ServerUnavailable:
    """Return the error for a server that cannot be reached, or takes no requests.

    Args:
        url: of the server, as the user gave it.
        message: what the protocol or the server says.
    """
    words = PREFIXES.sub("", message)
    if LATE in words:
        return ServerBusy(
            f"the request waited in a queue of the server at {url} for longer than its queue_timeout (or the server's "
            f"own limit) allows: {LATE}"
        )
    if FULL in words:
        return ServerBusy(
            f"a queue of the server at {url} is full: send fewer requests at a time, or try again later ({FULL})"
        )
    if NO_ROOM in words:
        return TooManyStreams(words)
    if STOPPING.search(words):
        return ServerUnavailable(f"the server at {url} is shutting down")
    reason = ATTEMPTS.sub("", words).rstrip("]")
    if TLS.search(words):
        return ServerUnavailable(
            f"no encrypted connection to the server at {url} ({reason}): --tls-ca names who vouches for it, "
            "--tls-certificate and --tls-key what this client shows; in Python, Access does"
        )
    return ServerUnavailable(f"the server at {url} is not available ({reason}); `triton-yolo serve` starts one")


def too_late(url: str, timeout: float) -> AnswerLate:
    """Return the error for an answer that did not arrive in time.

    Args:
        url: of the server, as the user gave it.
        timeout: that was given, in seconds.
    """
    return AnswerLate(f"no answer from {url} within {timeout:g} s: the server is overloaded or cannot be reached")
