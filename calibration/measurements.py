"""What a calibration has measured, kept in a file, so that one that was interrupted goes on where it was."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from triton_yolo.clients.coco import Precision, Result
from triton_yolo.files import write_whole

MEANING = 1  # of the answers; raised when the same question is measured in another way


class Measurements:
    """Answers by question, written whole at each new one."""

    def __init__(self, folder: Path, name: str, origin: Mapping[str, Any]) -> None:
        """Read what there is.

        Args:
            folder: for the file.
            name: of the graph, for the file's name.
            origin: everything that the answers depend on and that the questions do not say, ready for JSON.
        """
        self.origin: dict[str, Any] = json.loads(json.dumps(origin))
        key = hashlib.sha256(json.dumps(self.origin, sort_keys=True).encode()).hexdigest()[:12]
        self.path = folder / f"{name}-{key}-measured.json"
        self.lock = threading.Lock()
        self.answers = _read(self.path, self.origin)

    def get(self, question: str) -> Any:
        """Return the answer, None if there is none."""
        return self.answers.get(question)

    def put(self, question: str, answer: Any) -> None:
        """Keep an answer.

        Args:
            question: what was measured.
            answer: as JSON can carry it.

        Raises:
            OSError: the file cannot be written.
        """
        assert question not in self.answers, f"{question} is measured again"
        with self.lock:
            self.answers[question] = answer
            content = {"origin": self.origin, "answers": self.answers}
            write_whole(self.path, f"{json.dumps(content, indent=1)}\n".encode())

    def result(self, question: str, measure: Callable[[], Result]) -> Result:
        """Return a precision, which is measured only if it is not known.

        Args:
            question: what is measured.
            measure: measures it.

        Raises:
            OSError: the file cannot be written.
        """
        known = self.get(question)
        if known is None:
            found = measure()
            classes = {name: [each.ap50_95, each.ap50] for name, each in found.per_class.items()}
            known = {"overall": [found.overall.ap50_95, found.overall.ap50], "classes": classes}
            self.put(question, known)
        return Result(Precision(*known["overall"]), {name: Precision(*each) for name, each in known["classes"].items()})


def _read(path: Path, origin: Mapping[str, Any]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        return dict(content["answers"]) if content["origin"] == origin else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # there is none, or it is damaged
