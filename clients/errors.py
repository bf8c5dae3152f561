"""What a detection can fail with, in words for the person who asked for it."""

from __future__ import annotations

import re

# What Triton puts before a model's own message: the request, the ensemble, the model instance.
PREFIXES = re.compile(
    r"\[request id: [^]]*\] |in ensemble '[^']*', |"
    r"Failed to process the request\(s\) for model (instance )?'[^']*', message: "
)


class DetectionError(Exception):
    """An image got no detections; says why, and what was expected."""


class ServerUnavailable(DetectionError):
    """No server answers at the address, or it takes no requests now."""


def refused(message: str) -> DetectionError:
    """The error for an answer of the server that is no result.

    Args:
        message: the server's, as it came.
    """
    return DetectionError(PREFIXES.sub("", message))


def unavailable(url: str, reason: str) -> ServerUnavailable:
    """The error for a server that cannot be reached.

    Args:
        url: of the server, as the user gave it.
        reason: what the transport says.
    """
    return ServerUnavailable(f"the server at {url} is not available ({reason}); `python -m server` starts one")


def too_late(url: str, timeout: float) -> DetectionError:
    """The error for an answer that did not come in time.

    Args:
        url: of the server, as the user gave it.
        timeout: that was given, in seconds.
    """
    return DetectionError(f"no answer from {url} within {timeout:g} s: the server is overloaded or cannot be reached")
