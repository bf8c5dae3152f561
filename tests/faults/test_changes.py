"""What changes under a server that runs: its model's files, the clock, who has its ports."""

from __future__ import annotations

import contextlib
import errno
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.neighbours import Neighbours
from tests.server.fleet.conftest import fleet_of
from tests.server.fleet.load import Load
from tests.server.fleet.test_faults import SECONDS, triton, wait_until, whole
from tests.server.pictures import jpeg, picture
from tests.server.processes import whole as processes
from tests.support.servers import serving
from triton_yolo.clients import Detector
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = pytest.mark.slow

# The clock as the server has it, ahead of the kernel's: libfaketime turns every time that the server waits for back
# into the kernel's but those of mutexes. A clock behind the kernel's makes each wait for a mutex end at once.
AT_FIRST, JUMPS = "+240h", ("+240h", "+235h", "+247h", "+9840h", "+240h")  # five hours back, twelve ahead, 400 days

CHANGES: dict[str, Callable[[Path], object]] = {
    "written over": lambda file: file.write_bytes(b"no graph" * 1000),
    "cut": lambda file: file.write_bytes(b""),
    "removed": lambda file: file.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_of_models_that_change_do_not_change_what_is_served(
    tmp_path: Path, cells_repository: Path, change: str
) -> None:
    repository = shutil.copytree(cells_repository, tmp_path / "repository")
    with serving(repository) as server:
        before = [process.pid for process in processes(server)]
        with Neighbours(server.addresses) as neighbours:
            for file in [path for path in repository.rglob("*") if path.is_file()]:
                CHANGES[change](file)
            assert set(map(neighbours.ask, range(36))) == {"right"}
            with Neighbours(server.addresses) as latecomers:
                assert set(map(latecomers.ask, range(12))) == {"right"}
        assert [process.pid for process in processes(server)] == before


def test_nobody_can_share_a_port_of_a_server(fresh: TritonServer) -> None:
    at = fresh.addresses
    for port in (at.http, at.grpc, at.metrics):
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="Address already in use") as refused:
                thief.bind((at.host, port))
            assert refused.value.errno == errno.EADDRINUSE


def test_a_server_whose_port_was_taken_while_it_was_down_comes_back_at_another(cells_repository: Path) -> None:
    with fleet_of(cells_repository, 2) as fleet, contextlib.ExitStack() as taken:
        with Detector(fleet.members[0].grpc) as alone:
            expected = Load.expected(alone)
        with Load(f"127.0.0.1:{fleet.addresses.grpc}", expected) as load:
            load.wait_for(20)
            victim = fleet.members[1]
            before = victim.addresses
            triton(victim).kill()
            taken.enter_context(take(before.host, before.grpc))
            wait_until(lambda: victim.starts == 2 and whole(fleet), "it did not come back")
            assert victim.addresses.grpc != before.grpc
            load.wait_for(50)


def take(host: str, port: int) -> socket.socket:
    """A socket that has a port as soon as it is free."""
    end = time.monotonic() + SECONDS
    while True:
        taker = socket.socket()
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
        try:
            taker.bind((host, port))
        except OSError:
            taker.close()
            assert time.monotonic() < end, "the port does not become free"
            continue
        taker.listen()
        return taker


def test_clocks_that_jump_make_no_request_late_and_no_answer_wrong(
    tmp_path: Path, cells_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: apt install faketime)")
    clock = tmp_path / "clock"
    clock.write_text(AT_FIRST)
    server = TritonServer(cells_repository, free_addresses(), lambda line: None)
    with monkeypatch.context() as there:  # for what is started here, not for this process
        there.setenv("LD_PRELOAD", str(library))
        there.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
        there.setenv("FAKETIME_NO_CACHE", "1")
        there.setenv("DONT_FAKE_MONOTONIC", "1")
        server.__enter__()
        clock.write_text("+235h")
        assert abs(int(subprocess.check_output(["date", "+%s"])) - time.time() - 235 * 3600) < 600
    try:
        server.wait_until_ready()
        assert all("libfaketime" in Path(f"/proc/{one.pid}/maps").read_text() for one in processes(server))
        with Neighbours(server.addresses) as neighbours, Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
            for offset in JUMPS:
                clock.write_text(offset)
                assert set(map(neighbours.ask, range(12))) == {"right"}
                for priority in (1, 2):
                    detector.detect(jpeg(picture(1, 60, 80)), priority=priority, queue_timeout=20)
    finally:
        server.__exit__()
