"""What a person sees of a running line: a table on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table

from triton_yolo.clients.stream.accounts import Account
from triton_yolo.clients.stream.aside import Aside
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.statistics import CameraStatistics
from triton_yolo.clients.stream.supervised import Camera
from triton_yolo.clients.stream.verdict import Verdict

REFRESH_SECONDS, LOG_SECONDS = 0.5, 15.0
COLUMNS = ("camera", "state", "fps", "p50", "p99", "std", "answered", "dropped", "kB", "ring")  # ms; kB a frame
BOARDS = "boards"  # column that is there if boards are told apart
SENT = "sent"  # column that is there if a camera's changes are sent
WORDS = ("camera", "state", "dropped", BOARDS, SENT)  # columns of words


class View:
    """Shows the state of a line."""

    def __init__(self, cameras: Cameras, statistics: Mapping[str, CameraStatistics], slots: int, boards: bool) -> None:
        """Prepare.

        Args:
            cameras: the cameras.
            statistics: of each camera, by name.
            slots: slots of each camera.
            boards: whether boards are told apart.
        """
        self._cameras, self._statistics, self._slots, self._boards = cameras, statistics, slots, boards
        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._aside = Aside(1)  # what is shown late is wrong: it is left out
        self._start, self._before = time.monotonic(), dict[str, tuple[float, int]]()
        self._rates: dict[str, float] = {}

    def begin(self) -> None:
        """Count time from now on."""
        self._start = time.monotonic()

    @property
    def interval(self) -> float:
        """Seconds between two calls of ``refresh``."""
        return REFRESH_SECONDS if self._console.is_terminal else LOG_SECONDS

    def refresh(self, away: str) -> None:
        """Show how things are.

        Args:
            away: why the server is away; empty if it is there.
        """
        self._measure()
        if not self._console.is_terminal:
            line = self._line(away)
            self._aside.do(lambda: self._console.print(line, markup=False, highlight=False, soft_wrap=True))
            return
        table = self.table(away)
        self._aside.do(lambda: self._show(table))

    def _show(self, table: Table) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(table, refresh=True)

    def close(self) -> None:
        """Take the table away."""
        if self._aside.flush() and self._live is not None:
            self._live.stop()
            self._live = None

    def table(self, away: str = "", whole: bool = False) -> Table:
        """Return the table.

        Args:
            away: why the server is away; empty if it is there.
            whole: give rates since the start.
        """
        table = Table(box=None, pad_edge=False, header_style="bold", caption=away or None, caption_style="red")
        changes = any(measured.kinds for measured in self._statistics.values())
        further = [name for name, there in ((BOARDS, self._boards), (SENT, changes)) if there]
        for name in (*COLUMNS, *further):
            table.add_column(name, no_wrap=name not in WORDS[2:], justify="left" if name in WORDS else "right")
        seconds = time.monotonic() - self._start
        for camera in self._cameras:
            account = camera.known_account()
            rate = account.answered / seconds if whole else self._rates.get(camera.name, 0.0)
            measured = self._statistics.get(camera.name, CameraStatistics())
            texts = {BOARDS: _judged(measured), SENT: _sent(measured)}
            figures = self._measured(camera, account, measured)
            table.add_row(camera.name, camera.state, f"{rate:.1f}", *figures, *(texts[name] for name in further))
        return table

    def _measured(self, camera: Camera, account: Account, measured: CameraStatistics) -> list[str]:
        latencies = measured.latencies.as_dict()
        dropped = ", ".join(f"{reason.words} {count}" for reason, count in sorted(account.dropped.items()) if count)
        kilobytes = f"{measured.nbytes / measured.frames / 1e3:.0f}" if measured.frames else "-"
        ring = f"{account.in_flight}/{self._slots}"
        times = [f"{value:.1f}" if value is not None else "-" for value in latencies.values()]
        return [*times, str(account.answered), dropped or "0", kilobytes, ring]

    def _measure(self) -> None:
        now = time.monotonic()
        for camera in self._cameras:
            answered = camera.known_account().answered
            then, before = self._before.get(camera.name, (self._start, 0))
            self._before[camera.name] = (now, answered)
            self._rates[camera.name] = (answered - before) / max(now - then, 1e-6)

    def _line(self, away: str) -> str:
        accounts = {camera.name: camera.known_account() for camera in self._cameras}
        answered = sum(account.answered for account in accounts.values())
        dropped = sum(sum(account.dropped.values()) for account in accounts.values())
        rate = sum(self._rates.values())
        troubled = [f"{camera.name} {camera.state}" for camera in self._cameras if camera.state != "running"]
        parts = [f"{answered} frames inspected, {rate:.1f} a second", f"{dropped} not inspected", *troubled]
        return "; ".join([*parts, *([away] if away else [])])


def _judged(measured: CameraStatistics) -> str:
    """Return how many boards have which verdict, such as 12 pass, 3 fail."""
    return ", ".join(f"{count} {verdict.value}" for verdict in Verdict if (count := measured.boards[verdict])) or "-"


def _sent(measured: CameraStatistics) -> str:
    """Return what was sent of a camera's frames, and how, such as 12.1 kB: nothing 70 %, coded tiles 30 %."""
    if not measured.kinds:
        return ""
    count = measured.kinds.total()
    shares = ", ".join(f"{kind} {100 * number / count:.0f} %" for kind, number in measured.kinds.most_common())
    return f"{measured.sent_bytes / count / 1e3:.1f} kB: {shares}"
