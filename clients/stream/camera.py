"""The process of one camera: opens a source, says what it delivers, and puts its frames into the ring.

It is told what to do in lines of JSON on stdin, and answers on a descriptor of its own: libraries write to stdout.
When stdin can be read again, or ends because the line's process has died, it stops.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from triton_yolo.clients.memory.ring import Ring, Writer
from triton_yolo.clients.stream.sources import source_class
from triton_yolo.clients.stream.sources.base import Outlet
from triton_yolo.errors import TritonYoloError

PR_SET_PDEATHSIG = 1  # prctl(2)
LOST = 3  # exit status of a source that said why in its last answer


def main(answers: int, stdin: int = 0) -> int:
    """Run the source that the first line names in the column that the second one names.

    Args:
        answers: descriptor for answers: {"format": ..., "waits": ..., "comes_back": ...}, {"ended": true} and
            {"error": ..., "comes_back": ...}; the last two with how many frames were "published" and how often they
            were "copied" before, if there were any.
        stdin: descriptor that the lines are read from.

    Returns:
        the exit status.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the line's process decides when to stop
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # where it cannot, since a library does not return
    wanted = _line(stdin)
    if wanted is None:
        return 0
    comes_back = False  # not with options that are wrong, or without what it needs
    try:
        kind, options = source_class(wanted["kind"]), dict(wanted["options"])
        if wanted["size"] and "size" in kind.known_options():
            options.setdefault("size", wanted["size"])
        source = kind(wanted["uri"], wanted["fps"], options)
        comes_back = source.comes_back
        delivers = source.open()
    except ModuleNotFoundError as error:
        return _lost(answers, f"{error.name} is not installed: pip install 'triton-yolo[stream]'", False)
    except (TritonYoloError, OSError, ValueError, TypeError) as error:
        return _lost(answers, str(error), comes_back)
    waits = source.waits and source.fps is None
    _say(answers, {"format": asdict(delivers), "waits": waits, "comes_back": comes_back})
    place = _line(stdin)
    if not isinstance(place, dict):  # it is to stop
        return 0
    with Ring.open(Path(place["ring"])) as ring:
        waits = place["freed"] is not None
        writer = Writer(ring, place["column"], place["ready"], place["freed"], place["row"])
        outlet = Outlet(writer, delivers, stdin, waits)
        try:
            source.run(outlet)
        except (TritonYoloError, OSError, ValueError) as error:
            return _lost(answers, str(error), comes_back, outlet)
        finally:
            source.close()
            writer.close()
    _say(answers, {"ended": True, **_delivered(outlet)})
    return 0


def _line(file: int) -> Any:
    """Return the next line's content, read no further than its end; None at the end of the file."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(file, 1)
        if not more:
            return None
        line += more
    return json.loads(line)


def _say(answers: int, content: dict[str, Any]) -> None:
    os.write(answers, f"{json.dumps(content)}\n".encode())


def _lost(answers: int, why: str, comes_back: bool, outlet: Outlet | None = None) -> int:
    _say(answers, {"error": why, "comes_back": comes_back, **(_delivered(outlet) if outlet else {})})
    return LOST


def _delivered(outlet: Outlet) -> dict[str, int]:
    return {"published": outlet.published, "copied": outlet.copied} if outlet.published else {}


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))  # the camera's name follows, for whoever looks at the list of processes
