"""The sink: keeps each verdict in a file, from which the courier carries it, and says how line and cameras are."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.json_lines import as_dict, board_as_dict
from triton_yolo.clients.stream.sinks.mqtt.courier import Courier, check_files
from triton_yolo.clients.stream.sinks.mqtt.messages import Topics, read_trigger
from triton_yolo.clients.stream.sinks.mqtt.outbox import Outbox
from triton_yolo.clients.stream.sinks.mqtt.settings import MqttSettings
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict

TOGETHER = 256  # verdicts that share a commit, at most
LAST_SECONDS = 2.0  # for what is in the file when the line ends
MOST_IDENTITIES = 4096  # of triggers whose boards have no verdict yet
WARN_SECONDS = 60.0  # between two messages about a disk that takes nothing

logger = logging.getLogger(__name__)


class Mqtt(Sink):
    """Publishes verdicts and states."""

    kind, events = "mqtt", (FrameVerdict, BoardVerdict, CameraStatus, LineStatus)
    period = 1.0

    def __init__(self, settings: MqttSettings, line: str, boards: bool) -> None:
        """Open the file and begin; the broker need not be there.

        Args:
            settings: of the line's file.
            line: name of the line.
            boards: whether boards are told apart, and published instead of frames.

        Raises:
            LineError: a file cannot be used.
        """
        check_files(settings)
        if settings.password_file and not settings.tls and settings.host not in ("localhost", "127.0.0.1", "::1"):
            logger.warning("mqtt: the password goes to %s unencrypted: set tls", settings.host)
        self._line, self._topics, self._boards = line, Topics(settings, line), boards
        self._outbox = Outbox(settings.keep or default_path(line), round(settings.keep_mb * 1e6))
        self._together = list[tuple[str, Callable[[int], bytes]]]()
        self._cameras, self._changed = dict[str, dict[str, Any]](), set[str]()
        self._beat, self._warned = 0, -WARN_SECONDS
        self._identities = dict[tuple[str, int], str]()  # of triggers, by camera and number of the board
        self._identified = threading.Lock()
        ended = {
            "lost": _json({"online": False, "line": line, "reason": "connection lost"}),
            "ended": _json({"online": False, "line": line, "reason": "ended"}),
        }
        client = settings.client or f"triton-yolo-{line}"
        self._courier = Courier(settings, client, self._outbox, self._topics.line_state, ended)
        super().__init__()
        if settings.triggers:
            self._courier.listen(self._topics.trigger, self._triggered)

    @classmethod
    def of(cls, settings: MqttSettings, line: Line) -> Mqtt:
        """See Sink."""
        return cls(settings, line.name, line.verdict.boards != "frame")

    def write(self, event: Event) -> None:
        """See Sink."""
        if isinstance(event, BoardVerdict):
            if self._boards:
                with self._identified:
                    trigger = self._identities.pop((event.camera, event.board), "")
                content = board_as_dict(event) | ({"trigger": trigger} if trigger else {})
                self._keep(event.camera, content, event.board, content["last"])
        elif isinstance(event, FrameVerdict):
            if not self._boards:
                content = as_dict(event)
                self._keep(event.result.camera, content, event.result.number, content["captured"])
        elif isinstance(event, CameraStatus):
            camera = self._camera(event.camera)
            camera.update(state=event.state, trouble=event.trouble)
            if event.state != "running":  # what was good once is not good any more
                camera.update(verdict=Verdict.NOT_INSPECTED.value, number=None, captured=None)
            self._tell_camera(event.camera)
        elif isinstance(event, LineStatus):
            self._tell_line(event)
        if self._together and (not self.queued or len(self._together) >= TOGETHER):
            self._commit()

    def tick(self) -> None:
        """Publish the last verdicts of the cameras."""
        for camera in list(self._changed):
            self._tell_camera(camera)

    def finish(self) -> None:
        """See Sink."""
        self._commit()
        self.tick()
        self._courier.close(LAST_SECONDS)
        self._outbox.close()

    def status(self) -> dict[str, Any]:
        """See Sink."""
        return {
            "away": self._courier.trouble,
            "waiting": self._outbox.messages,
            "delivered": self._courier.delivered,
            "dropped": self._outbox.dropped,
            "refused": self._courier.refused,
            "triggers_ignored": self._courier.ignored,
        }

    def _keep(self, camera: str, content: dict[str, Any], number: int, captured: float | None) -> None:
        stream = self._outbox.stream
        self._together.append(
            (self._topics.results(camera), lambda seq: _json({"stream": stream, "seq": seq, **content}))
        )
        self._camera(camera).update(verdict=content["verdict"], number=number, captured=captured)
        self._changed.add(camera)

    def _triggered(self, payload: bytes) -> bool:
        """Begin a board, and return whether that could be; is called by the courier."""
        trigger = read_trigger(payload)
        with self._identified:  # no verdict is published before it is known whose it is
            numbers = self.trigger(trigger.camera) if trigger else {}
            if trigger and trigger.id:
                self._identities |= dict.fromkeys(numbers.items(), trigger.id)
                while len(self._identities) > MOST_IDENTITIES:  # of boards whose verdicts were missed
                    del self._identities[next(iter(self._identities))]
        return bool(numbers)

    def _commit(self) -> None:
        try:
            self._outbox.add(self._together)
        except sqlite3.Error as error:
            with self._told:
                self.missed += len(self._together)
            if time.monotonic() > self._warned + WARN_SECONDS:
                self._warned = time.monotonic()
                logger.warning("mqtt: verdicts cannot be kept, and are missed: %s", error)
        self._together = []
        self._courier.wake()

    def _camera(self, name: str) -> dict[str, Any]:
        nothing = {"verdict": Verdict.NOT_INSPECTED.value, "number": None, "captured": None}
        return self._cameras.setdefault(name, {"camera": name, "state": None, "trouble": "", **nothing})

    def _tell_camera(self, name: str) -> None:
        self._changed.discard(name)
        self._courier.tell(self._topics.camera_state(name), _json(self._cameras[name]))

    def _tell_line(self, status: LineStatus) -> None:
        self._beat += 1
        content = {
            "online": True,
            "line": self._line,
            "server": status.away,
            "heartbeat": self._beat,
            "cameras": [row["name"] for row in status.report["cameras"]],
            "waiting": self._outbox.messages,
            "dropped": self._outbox.dropped,
            "missed": self.missed,
        }
        self._courier.tell(self._topics.line_state, _json(content))


def default_path(line: str) -> Path:
    """Return the file in which a line's verdicts wait, in the user's folder for state."""
    folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(folder) / "triton-yolo" / f"{line}-mqtt.sqlite"


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
