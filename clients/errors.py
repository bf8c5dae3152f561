"""What a detection can fail with, in words for the person who asked for it."""

from __future__ import annotations

import re

from triton_yolo.errors import TritonYoloError

# What Triton puts before a model's own message: the request, the ensemble, the model instance.
PREFIXES = re.compile(
    r"\[request id: [^]]*\] |in ensemble '[^']*', |"
    r"Failed to process the request\(s\) for model (instance )?'[^']*', message: "
)


class DetectionError(TritonYoloError):
    """An image got no detections; says why, and what was expected."""


class RegionUnknown(DetectionError):
    """The server has no shared memory of that name: it was started anew, or never knew it."""


class RegionInUse(DetectionError):
    """The server does not let go of shared memory that a request still reads, one that was given up perhaps."""


class ServerUnavailable(DetectionError):
    """No server answers at the address, or it takes no requests now."""


# Triton's words; its codes are those of other errors too.
REGION_ERRORS: dict[str, type[DetectionError]] = {
    "Unable to find shared memory region": RegionUnknown,
    "Cannot unregister shared memory region": RegionInUse,
}


def refused(message: str) -> DetectionError:
    """The error for an answer of the server that is no result.

    Args:
        message: the server's, as it came.
    """
    words = PREFIXES.sub("", message)
    kind = next((kind for said, kind in REGION_ERRORS.items() if said in words), DetectionError)
    return kind(words)


def unavailable(url: str, reason: str) -> ServerUnavailable:
    """The error for a server that cannot be reached.

    Args:
        url: of the server, as the user gave it.
        reason: what the transport says.
    """
    return ServerUnavailable(f"the server at {url} is not available ({reason}); `triton-yolo serve` starts one")


def too_late(url: str, timeout: float) -> DetectionError:
    """The error for an answer that did not come in time.

    Args:
        url: of the server, as the user gave it.
        timeout: that was given, in seconds.
    """
    return DetectionError(f"no answer from {url} within {timeout:g} s: the server is overloaded or cannot be reached")
