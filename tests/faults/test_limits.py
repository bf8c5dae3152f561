"""Too few files, too little memory or disk, for the launcher, tritonserver and each of its processes."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.faults.neighbours import Neighbours
from tests.server.pictures import jpeg, picture
from tests.server.processes import remains, stubs
from tests.server.test_lifecycle import SECONDS, command
from triton_yolo.clients import DetectionError, Detector
from triton_yolo.server.process import Addresses, TritonServer, free_addresses

pytestmark = pytest.mark.slow

GIB = 1 << 30


def limited(what: int, value: int) -> Callable[[], None]:
    """What sets a limit in a process that is about to start."""
    return lambda: resource.setrlimit(what, (value, value))


def error_of(repository: Path, prefix: tuple[str, ...] = (), before: Callable[[], None] | None = None) -> str:
    """The one line with which `triton-yolo serve` ends where it cannot start; asserts that it leaves nothing."""
    serve = [*prefix, *command(free_addresses(), "--repository", str(repository))]
    with subprocess.Popen(
        serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before
    ) as process:
        out, error = process.communicate(timeout=2 * SECONDS)
    assert (process.returncode, out) == (2, ""), error
    assert error.count("\n") == 1, error
    assert error.startswith("triton-yolo serve: ")
    assert remains(process.pid) == []
    return error


def namespace(*mounts: str) -> tuple[str, ...]:
    """What runs a program with file systems of its own."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "mount"))):
        pytest.skip("mount namespaces need root and unshare")
    script = " && ".join(["mount --make-rprivate /", *mounts, 'exec "$@"'])
    return ("unshare", "--mount", "bash", "-c", script, "bash")


def test_too_few_open_files_are_told_before_anything_starts(cells_repository: Path) -> None:
    error = error_of(cells_repository, before=limited(resource.RLIMIT_NOFILE, 64))
    assert "a server needs 256 open files and one for each connection, and the hard limit here is 64" in error


def test_addresses_that_are_too_few_are_told(cells_repository: Path) -> None:
    error = error_of(cells_repository, before=limited(resource.RLIMIT_AS, GIB))
    assert "ulimit -v leaves each of its processes 1.0 GiB of addresses" in error


def test_a_file_that_may_not_grow_is_told(cells_repository: Path) -> None:
    error = error_of(cells_repository, before=limited(resource.RLIMIT_FSIZE, 1000))
    assert "cannot prepare the server's files in /tmp: [Errno 27] File too large" in error


def test_a_full_disk_is_told(cells_repository: Path, tmp_path: Path) -> None:
    """Its folder for temporary files has no room."""
    prefix = (*namespace(f"mount -t tmpfs -o size=64k own {tmp_path}"), "env", f"TMPDIR={tmp_path}")
    error = error_of(cells_repository, prefix)
    assert f"cannot prepare the server's files in {tmp_path}: [Errno 28] No space left on device" in error
    assert "make room there, or set TMPDIR to another folder" in error


def test_shared_memory_that_is_full_is_told(cells_repository: Path) -> None:
    error = error_of(cells_repository, namespace("mount -t tmpfs -o size=8m own /dev/shm"))
    assert "a server needs 32 MB in /dev/shm, and 8 MB are free there" in error
    assert "--shm-size" in error


@contextmanager
def with_shared_memory_of(size: str, repository: Path) -> Iterator[Addresses]:
    """A server with a /dev/shm of its own."""
    at = free_addresses()
    serve = [*namespace(f"mount -t tmpfs -o size={size} own /dev/shm"), *command(at, "--repository", str(repository))]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        try:
            while "metrics" not in (line := process.stdout.readline()):
                assert line, process.wait()
            yield at
        finally:
            process.terminate()
            process.wait(SECONDS)


def test_shared_memory_that_becomes_full_costs_the_request_that_is_too_large(cells_repository: Path) -> None:
    with with_shared_memory_of("64m", cells_repository) as at, Detector(f"{at.host}:{at.grpc}") as detector:
        small, large = jpeg(picture(0, 60, 80)), np.zeros((16, 960, 1280, 3), np.uint8)
        wanted = detector.detect(small)
        for _ in range(3):
            with pytest.raises(DetectionError, match="Failed to increase the shared memory pool size"):
                detector.detect_frames(large)
            np.testing.assert_array_equal(detector.detect(small).boxes, wanted.boxes)


@pytest.mark.parametrize("model", ["preprocess", "preprocess_frames", "yolo", "nms", "assemble"])
def test_a_process_of_a_model_that_may_have_no_more_memory_fails_alone_or_ends_the_server(
    fresh: TritonServer, model: str
) -> None:
    """What is answered is right; what is not says so; and the server does not seem to be well while it is not."""
    with Neighbours(fresh.addresses) as neighbours:
        [stub] = [p for p in stubs(fresh.running.pid) if any(f"/{model}/" in part for part in p.cmdline())]
        stub.rlimit(resource.RLIMIT_AS, (stub.memory_info().vms, psutil.RLIM_INFINITY))
        large = np.asarray(picture(1, 3000, 4000))
        with Detector(f"{fresh.addresses.host}:{fresh.addresses.grpc}") as detector:
            for _ in range(3):
                try:
                    detector.detect(jpeg(large))
                    detector.detect_frames(large[None])
                except DetectionError as error:
                    assert str(error), "without words"
        stub_lives = stub.is_running() and stub.status() != psutil.STATUS_ZOMBIE
        if stub_lives:
            stub.rlimit(resource.RLIMIT_AS, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
            assert set(map(neighbours.ask, range(12))) == {"right"}
        assert (fresh.broken() is None) == stub_lives


def test_a_server_without_files_for_more_connections_answers_those_it_has_and_all_again_later(
    fresh: TritonServer,
) -> None:
    triton = psutil.Process(fresh.running.pid)
    before = triton.rlimit(resource.RLIMIT_NOFILE)
    with Neighbours(fresh.addresses) as neighbours:
        triton.rlimit(resource.RLIMIT_NOFILE, (triton.num_fds(), before[1]))
        url = f"http://{fresh.addresses.host}:{fresh.addresses.http}"
        with Detector(url, timeout=2) as latecomer, pytest.raises(DetectionError):
            latecomer.detect(jpeg(picture(0, 60, 80)))
        assert set(map(neighbours.ask, range(24))) == {"right"}
        triton.rlimit(resource.RLIMIT_NOFILE, before)
        with Neighbours(fresh.addresses) as latecomers:
            assert set(map(latecomers.ask, range(12))) == {"right"}
    assert fresh.broken() is None
