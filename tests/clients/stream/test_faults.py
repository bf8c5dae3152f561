"""What a line goes through in a factory: each time the others' frames are untouched, and the accounts balance."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import psutil
import pytest

from tests.clients.stream.lines import DEADLINE_MS, PATIENCE, RunningLine, camera, grpc_url, until
from tests.conftest import REPOSITORY, ROOT
from tests.support.servers import serving
from triton_yolo.boards import draw_board
from triton_yolo.clients import Detector
from triton_yolo.clients.memory.ring import ANSWERED, FOLDER, PREFIX, Reason, Ring
from triton_yolo.clients.protocols.base import Call
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = pytest.mark.slow


def regions(server: TritonServer) -> set[str]:
    """Return the shared memory that a server knows."""
    with Detector(grpc_url(server)) as detector:
        answer = detector.protocol.call(Call("SystemSharedMemoryStatus", {}, "v2/systemsharedmemory/status"))
    return set(answer.get("regions", {}))


# Cameras.


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (signal.SIGKILL, "its process was ended by SIGKILL"),  # it vanishes
        (signal.SIGSTOP, "no frame within 1 s"),  # it freezes
    ],
)
def test_a_camera_that_vanishes_or_freezes_comes_back(
    tmp_path: Path, server: TritonServer, number: signal.Signals, trouble: str
) -> None:
    cameras = [camera("sick", silent_after=1.0), camera("well", silent_after=60.0)]
    with RunningLine(tmp_path, cameras, url=grpc_url(server)) as line:
        line.wait_for_more("sick")
        victim = line.cameras()["sick"]
        victim.send_signal(number)
        line.wait_for("sick", lambda row: row["restarts"] == 1 and row["state"] == "running", "is opened anew")
        line.wait_for_more("sick")
        line.wait_for_more("well")
        assert not victim.is_running()
        report = line.end()
    line.untouched("well")
    [sick] = [row for row in report["cameras"] if row["name"] == "sick"]
    assert set(sick["dropped"]) <= {Reason.SOURCE_LOST.words}
    assert f"camera sick: {trouble}" in line.log.read_text()


@pytest.mark.slow
def test_the_numbers_of_a_camera_that_is_killed_again_and_again_go_on(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(tmp_path, [camera("sick", fps=6), camera("well")], url=grpc_url(server)) as line:
        for restart in range(1, 4):
            line.wait_for_more("sick", 2)
            line.cameras()["sick"].kill()
            line.wait_for("sick", lambda row, times=restart: row["restarts"] == times, "is opened anew")
        line.wait_for_more("sick", 2)
        line.end()
    line.untouched("well")


def test_a_camera_that_comes_back_with_larger_frames_gets_another_place(tmp_path: Path, server: TritonServer) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    small, large = draw_board(1, 160, 120).image, draw_board(1, 640, 480).image
    cv2.imwrite(str(folder / "board.png"), small)
    cameras = [{"name": "files", "uri": f"folder:{folder}", "fps": 3, "options": {"loop": True}}, camera("well")]
    with RunningLine(tmp_path, cameras, url=grpc_url(server)) as line:
        line.wait_for_more("files")
        assert regions(server) >= {path.name for path in line.rings()}
        before = set(line.rings())
        process = line.cameras()["files"]
        process.suspend()
        cv2.imwrite(str(folder / "board.png"), large)
        process.kill()
        line.wait_for("files", lambda row: row["restarts"] == 1 and row["state"] == "running", "is opened anew")
        line.wait_for_more("files")
        after = until(lambda: len(line.rings()) == 2 and set(line.rings()), "two rings")
        [gone], [new] = before - after, after - before
        known = until(lambda: gone.name not in (names := regions(server)) and names, "the old ring is forgotten")
        assert new.name in known
        line.end()
    line.untouched("well")
    assert not {path.name for path in after} & regions(server)


def test_a_camera_that_cannot_come_back_fails_and_the_others_go_on(tmp_path: Path, server: TritonServer) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "board.png"), draw_board(1, 160, 120).image)
    cameras = [{"name": "files", "uri": f"folder:{folder}", "fps": 3, "options": {"loop": True}}, camera("well")]
    with RunningLine(tmp_path, cameras, url=grpc_url(server)) as line:
        line.wait_for_more("files")
        cv2.imwrite(str(tmp_path / "large.png"), draw_board(1, 640, 480).image)
        (tmp_path / "large.png").replace(folder / "board.png")
        line.wait_for("files", lambda row: row["state"] == "failed", "fails")
        line.wait_for_more("well")
        line.end(status=1)
    line.untouched("well")
    assert "has grown" in line.log.read_text()
    assert line.log.read_text().splitlines()[-1] == "triton-yolo stream: failed: files"


# The server.


def test_a_server_that_is_killed_and_started_again_is_found(tmp_path: Path) -> None:
    addresses = free_addresses()
    with TritonServer(REPOSITORY, addresses, log=lambda line: None) as first:
        first.wait_until_ready()
        with RunningLine(tmp_path, [camera("a"), camera("b")], url=grpc_url(first)) as line:
            line.wait_for_more("a")
            os.killpg(first.running.pid, signal.SIGKILL)
            away = Reason.SERVER_AWAY.words
            line.wait_for("b", lambda row: row["dropped"].get(away, 0) > 3, "frames are refused")
            with TritonServer(REPOSITORY, addresses, log=lambda line: None) as second:
                second.wait_until_ready()
                line.wait_for_more("a")
                line.wait_for_more("b")
                report = line.end()
                assert not regions(second)
    for row in report["cameras"]:
        assert set(row["dropped"]) == {away}
        assert row["restarts"] == 0
    reasons = {verdict["reason"] for verdict in line.verdicts if verdict["state"] != "inspected"}
    assert all(reason.startswith(away) for reason in reasons)


@pytest.mark.slow
def test_a_line_ends_at_ctrl_c_though_its_server_is_frozen_or_gone(tmp_path: Path) -> None:
    with serving(REPOSITORY) as mine:
        process = psutil.Process(mine.running.pid)
        for name, fault in (("frozen", process.suspend), ("gone", process.kill)):
            folder = tmp_path / name
            folder.mkdir()
            with RunningLine(folder, [camera("a")], url=grpc_url(mine), deadline_ms=2000) as line:
                line.wait_for_more("a")
                fault()
                line.wait_for("a", lambda row: sum(row["dropped"].values()) > 3, "frames are dropped")
                report = line.end()
            reasons = {Reason.LATE.words} if name == "frozen" else {Reason.SERVER_AWAY.words}
            assert set(report["total"]["dropped"]) == reasons
            if name == "frozen":
                process.resume()


# What reads the results.


def test_a_consumer_that_stops_reading_misses_verdicts_and_slows_nobody(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(tmp_path, [camera("a", fps=10)], url=grpc_url(server), reads=False) as line:
        assert line.process.stdout
        fcntl.fcntl(line.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        line.wait_for("a", lambda row: row["answered"] > 40, "goes on")
        report = line.end()
        taken = line.process.stdout.read().splitlines()
    line.untouched("a")
    [sink] = report["sinks"]
    assert sink["missed"] > 0
    assert len(taken) + sink["missed"] == report["total"]["captured"]
    assert f"{sink['missed']} events were not taken" in line.log.read_text()


def test_a_full_disk_costs_the_file_and_not_the_report(tmp_path: Path, server: TritonServer) -> None:
    if os.getuid():
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a container without the right to mount")
    try:
        with (disk / "full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while file.write(bytes(4096)):
                pass
        with RunningLine(tmp_path, [camera("a")], url=grpc_url(server), report=disk / "report.json") as line:
            line.wait_for_more("a")
            line.process.send_signal(signal.SIGINT)
            assert line.process.wait(PATIENCE) == 1
        *said, last = line.log.read_text().rstrip().splitlines()
        assert "cannot be written: No space left on device; the report is above" in last
        report = json.loads("\n".join(said[said.index("{") :]))
        assert report["total"]["answered"] == len(line.verdicts) > 4
        assert [path.name for path in disk.iterdir()] == ["full"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Shared memory and clocks.


def private_shm(size: str) -> tuple[str, ...]:
    """Return what runs a command with a /dev/shm of its own, or skip the test."""
    trial = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/dev/shm"], capture_output=True)
    if shutil.which("unshare") is None or trial.returncode:
        pytest.skip("a mount namespace needs unshare, and root")
    return ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} none /dev/shm && exec "$@"', "sh")


def test_a_full_dev_shm_at_the_start_is_said_in_one_line(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(
        tmp_path, [camera("a")], url=grpc_url(server), prefix=private_shm("1m"), slots=8, backlog=6
    ) as line:
        assert line.process.wait(PATIENCE) == 2
    [said] = line.log.read_text().splitlines()
    assert said.startswith("triton-yolo stream: no room for a ring of 2 MB in /dev/shm: No space left on device")


def test_a_full_dev_shm_costs_the_camera_that_comes_and_no_other(tmp_path: Path, server: TritonServer) -> None:
    settings = {
        "url": grpc_url(server),
        "memory": "plain",
        "slots": 34,
        "backlog": 32,
    }  # the server looks into another /dev/shm
    with RunningLine(tmp_path, [camera("well")], prefix=private_shm("12m"), **settings) as line:
        line.wait_for_more("well")
        assert line.ask({"add": camera("large", size="960x1280")}) == {"ok": True}
        line.wait_for("large", lambda row: "no room for a ring" in row.get("trouble", ""), "is told why")
        line.wait_for_more("well")
        line.wait_for("large", lambda row: row["state"] == "failed" or row["restarts"] > 1, "is tried again")
        assert line.ask({"remove": "large"}) == {"ok": True}
        line.end()
    line.untouched("well")


def test_clocks_that_jump_make_nothing_late_or_lost(tmp_path: Path, server: TritonServer) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: apt install faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with RunningLine(tmp_path, [camera("a", fps=2)], url=grpc_url(server), environment=faked) as line:
        for offset in ("+0", "-5h", "+7h"):
            clock.write_text(offset)
            line.wait_for_more("a", 3)
        report = line.end()
    line.untouched("a")
    times = [verdict["captured"] for verdict in line.verdicts if verdict["camera"] == "a"]
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert min(steps) < -4 * 3600
    assert max(steps) > 11 * 3600
    assert 0 < report["total"]["latency_ms"]["p50"] <= report["total"]["latency_ms"]["p99"] < DEADLINE_MS
    assert report["total"]["seconds"] < 600


# The line's own process.


def test_ctrl_c_leaves_nothing_behind_and_every_frame_accounted_for(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(tmp_path, [camera("a"), camera("b")], url=grpc_url(server)) as line:
        line.wait_for_more("a")
        rings, cameras = line.rings(), line.cameras()
        assert set(cameras) == {"a", "b"}
        assert {path.name for path in rings} <= regions(server)
        line.end()
    line.untouched("a", "b")
    assert not any(process.is_running() for process in cameras.values())
    assert not {path.name for path in rings} & regions(server)


def test_sigterm_while_cameras_are_opened_leaves_nothing_behind(tmp_path: Path, server: TritonServer) -> None:
    slow = {**camera("slow"), "options": {"size": "2000x3000", "frames": 500}}  # are drawn for minutes
    with RunningLine(tmp_path, [slow], url=grpc_url(server)) as line:
        cameras = until(line.cameras, "the camera's process")
        line.process.terminate()
        assert line.process.wait(PATIENCE) == 130
        assert line.log.read_text() == "triton-yolo stream: interrupted\n"
        assert not line.rings()
        until(lambda: not any(process.is_running() for process in cameras.values()), "no process is left")


def test_a_line_that_is_killed_leaves_no_process_and_the_next_start_clears_its_memory(
    tmp_path: Path, server: TritonServer
) -> None:
    for name in ("living", "killed", "next"):
        (tmp_path / name).mkdir()
    url = grpc_url(server)
    with RunningLine(tmp_path / "living", [camera("a")], url=url) as living:
        with RunningLine(tmp_path / "killed", [camera("a"), camera("b")], url=url) as killed:
            killed.wait_for_more("a")
            cameras, [ring] = killed.cameras(), killed.rings()
            assert ring.name in regions(server)
            killed.process.kill()
            killed.process.wait()
            until(lambda: not any(process.is_running() for process in cameras.values()), "its cameras end")
            assert ring.exists()
            with RunningLine(tmp_path / "next", [camera("a")], url=url) as following:
                following.wait_for_more("a")
                assert not ring.exists()
                assert ring.name not in regions(server)
                following.end()
        living.wait_for_more("a")
        living.end()
    living.untouched("a")


def test_a_second_line_of_the_same_name_or_socket_is_refused(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(tmp_path, [camera("a")], url=grpc_url(server)) as line:
        line.wait_for_more("a")
        second = subprocess.run(line.command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE)
        assert second.returncode == 2
        assert "is in use: a line of this name runs already" in second.stderr
        other = [word for word in line.command if word != str(line.file)]
        words = [*other, "--camera", "synthetic:photo", "--url", grpc_url(server)]
        third = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE)
        assert third.returncode == 2
        *_, said = third.stderr.splitlines()
        assert said == f"triton-yolo stream: --control {line.socket}: another line listens there"
        line.wait_for_more("a")
        line.end()
    line.untouched("a")


def test_an_account_that_does_not_balance_ends_with_status_3(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(tmp_path, [camera("a"), camera("b")], url=grpc_url(server)) as line:
        line.wait_for_more("a")
        [path] = line.rings()
        with Ring.open(path) as ring:
            ring.account(0)[ANSWERED] += 1
            line.wait_for_more("b", 1)
        line.process.send_signal(signal.SIGINT)
        assert line.process.wait(PATIENCE) == 3
    *_, last = line.log.read_text().splitlines()
    assert last.startswith("triton-yolo stream: the account does not balance: camera a: -1 frames are nowhere")


@pytest.mark.slow
def test_cameras_hold_no_more_slots_than_there_are(tmp_path: Path, server: TritonServer) -> None:
    # Of three slots one may be taken, while two requests may be in flight: the second waits, and nothing spins.
    settings = {"slots": 3, "backlog": 1, "in_flight": 2, "url": grpc_url(server)}
    with RunningLine(tmp_path, [camera("a", fps=20), camera("b", fps=20)], **settings) as line:
        line.wait_for_more("a", 20)
        report = line.end()
    assert set(report["total"]["dropped"]) <= {Reason.RING_FULL.words, Reason.LATE.words}


def test_no_file_of_a_folder_is_late(tmp_path: Path, server: TritonServer) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(30):
        cv2.imwrite(str(folder / f"{seed:02}.jpg"), draw_board(seed, 320, 240).image)
    cameras = [{"name": "files", "uri": f"folder:{folder}"}]
    with RunningLine(tmp_path, cameras, url=grpc_url(server), slots=8, backlog=2) as line:
        report = line.ended()
    assert report["total"]["answered"] == report["total"]["captured"] == 30


# Cameras that come and go.


def test_sighup_takes_over_the_cameras_of_the_file(tmp_path: Path, server: TritonServer) -> None:
    first, changed = camera("changed"), camera("changed", size="120x160")
    cv2.imwrite(str(tmp_path / "board.png"), draw_board(1, 160, 120).image)
    done = {"name": "done", "uri": f"folder:{tmp_path}"}
    with RunningLine(tmp_path, [camera("stays"), first, camera("goes"), done], url=grpc_url(server)) as line:
        line.wait_for("done", lambda row: row["state"] == "ended", "comes to its end")
        for name in ("stays", "changed", "goes"):
            line.wait_for_more(name, 2)
        stays = line.cameras()["stays"].pid
        line.file.write_text("cameras: [{name: broken")
        line.process.send_signal(signal.SIGHUP)
        until(lambda: "the line goes on as it is" in line.log.read_text(), "the broken file is refused")
        assert {row["state"] for row in line.report().values()} == {"running", "ended"}
        line.write([camera("stays"), changed, camera("comes"), done])
        line.process.send_signal(signal.SIGHUP)
        line.wait_for("goes", lambda row: row["state"] == "ended", "is removed")
        line.wait_for("comes", lambda row: row["answered"] > 2, "is added")
        line.wait_for("changed", lambda row: row["state"] == "running" and len(line.rings()) == 3, "is opened anew")
        line.wait_for_more("changed", 2)
        assert line.cameras()["stays"].pid == stays
        report = line.end()
    line.untouched("stays", "changed", "goes", "comes", "done")
    assert [row["captured"] for row in report["cameras"] if row["name"] == "done"] == [1]  # not once more


def test_a_line_without_a_file_ends_with_its_terminal(tmp_path: Path, server: TritonServer) -> None:
    report, socket = tmp_path / "report.json", tmp_path / "socket"
    words = ["--camera", "synthetic:photo", "--fps", "1", "--url", grpc_url(server), "--deadline", str(DEADLINE_MS)]
    command = [sys.executable, "-m", "triton_yolo", "stream", *words, "--report", str(report), "--control", str(socket)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: socket.exists() or process.poll() is not None, "it runs")
            process.send_signal(signal.SIGHUP)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    total = json.loads(report.read_text())["total"]
    assert total["captured"] == total["answered"] + sum(total["dropped"].values())
    assert not list(FOLDER.glob(f"{PREFIX}{os.getuid()}-line-{process.pid}*"))


def test_a_line_survives_a_change_of_its_only_camera(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(tmp_path, [camera("a")], url=grpc_url(server)) as line:
        line.wait_for_more("a", 2)
        line.write([camera("a", fps=8)])
        line.process.send_signal(signal.SIGHUP)
        until(lambda: "camera a is added" in line.log.read_text(), "it is opened anew")
        line.wait_for_more("a", 2)
        assert line.ask({"remove": "a"}) == {"ok": True}
        assert line.report()["a"]["state"] == "ended"  # the line waits for another camera
        assert line.ask({"add": camera("b")}) == {"ok": True}
        line.wait_for_more("b", 2)
        line.end()
    line.untouched("a", "b")


def test_the_control_socket_says_what_is_wrong_with_a_request(tmp_path: Path, server: TritonServer) -> None:
    with RunningLine(tmp_path, [camera("a")], url=grpc_url(server)) as line:
        line.wait_for_more("a", 2)
        assert "there is one of this name" in line.ask({"add": camera("a")})["error"]
        assert "there is none of this name" in line.ask({"remove": "b"})["error"]
        assert "cameras[0].fsp: unknown key" in line.ask({"add": {**camera("b"), "fsp": 1}})["error"]
        assert "send add with a camera" in line.ask({"stop": True})["error"]
        assert "one of add, remove and report" in line.ask({})["error"]
        assert line.ask({"add": {**camera("c"), "uri": "synthetic:nothing"}}) == {"ok": True}
        line.wait_for("c", lambda row: row["state"] == "failed", "fails")
        assert (line.socket.stat().st_mode & 0o777) == 0o600
        line.end(status=1)
    line.untouched("a")
