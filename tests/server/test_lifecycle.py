"""The server as processes: what it prints, how it stops, what it leaves behind."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.server.pictures import jpeg, picture
from tests.server.processes import remains, stubs
from tests.server.wire import Client, refusal
from triton_yolo.export.served_proof import ServedProof, proof_of
from triton_yolo.server.process import PREFIX, Addresses, free_addresses

SECONDS = 90  # for a start or a stop on a busy machine
IMAGE = jpeg(picture(1, 240, 320))


HURRIED = (
    "-c",
    "from triton_yolo.cli import main; from triton_yolo.server import process as p; p.EXIT_SECONDS = 3; main.main()",
    "serve",
)
"""The same command, but tritonserver waits less long for what cannot end."""


def command(addresses: Addresses, *options: str, program: Sequence[str] = ("-m", "triton_yolo", "serve")) -> list[str]:
    ports = ("--http-port", addresses.http, "--grpc-port", addresses.grpc, "--metrics-port", addresses.metrics)
    return [sys.executable, *program, *map(str, ports), *options]


class Started:
    """A server started from the command line, in a folder that is not the project's."""

    def __init__(self, folder: Path, *options: str, **rest: Any) -> None:
        """Start it; ``environment`` is added to this one's, and ``rest`` is for ``command``."""
        self.addresses = rest.pop("addresses", None) or free_addresses()
        environment = os.environ | rest.pop("environment", {})
        self.process = subprocess.Popen(
            command(self.addresses, *options, **rest),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def triton(self) -> psutil.Process:
        return next(p for p in psutil.Process(self.process.pid).children() if p.name() == "tritonserver")

    def wait_until_ready(self) -> list[str]:
        """The lines that it prints before it waits."""
        assert self.process.stdout
        lines: list[str] = []
        while not lines or "metrics" not in lines[-1]:
            line = self.process.stdout.readline()
            assert line, f"ended with {self.process.wait()}: {self.process.stderr and self.process.stderr.read()}"
            lines.append(line.rstrip())
        return lines

    def stop(self, number: int) -> int:
        """Exit status after a signal; asserts that nothing is left."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive
        assert remains(self.process.pid) == []
        return status


@contextmanager
def started(folder: Path, *options: str, **rest: Any) -> Iterator[Started]:
    server = Started(folder, *options, **rest)
    with server.process:  # closes its pipes
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.terminate()
                server.process.wait(SECONDS)


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def run(folder: Path, *options: str, addresses: Addresses | None = None, **environment: str) -> tuple[int, str, str]:
    result = subprocess.run(
        command(addresses or free_addresses(), *options),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return result.returncode, result.stdout, result.stderr


def one_line_error(folder: Path, *options: str, **rest: object) -> str:
    status, out, error = run(folder, *options, **rest)  # type: ignore[arg-type]
    assert status == 2
    assert out == ""
    assert error.count("\n") == 1, error
    assert error.startswith("triton-yolo serve: ")
    return error


@pytest.fixture(scope="session")
def light(cells_repository: Path) -> tuple[str, str]:
    """Options for a repository whose network takes no time to load."""
    return "--repository", str(cells_repository)


@pytest.mark.parametrize(
    ("number", "status"), [pytest.param(signal.SIGTERM, 0, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_it_prints_its_addresses_answers_and_leaves_nothing_after_a_signal(
    tmp_path: Path, number: int, status: int
) -> None:
    with started(tmp_path) as server:
        lines = server.wait_until_ready()
        assert f"127.0.0.1:{server.addresses.grpc}" in lines[1]
        assert f"http://127.0.0.1:{server.addresses.http}" in lines[2]
        assert f"http://127.0.0.1:{server.addresses.metrics}/metrics" in lines[3]
        assert Client(server.addresses).ready()
        assert server.stop(number) == status
        assert server.process.stderr
        assert server.process.stderr.read() == "Stopping: requests in flight may take up to 10 s ...\n"


def test_a_signal_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        wait_for(lambda: psutil.Process(server.process.pid).children(), "tritonserver did not start")
        assert server.stop(signal.SIGTERM) == 0


def test_a_killed_stub_ends_the_server_with_an_error_and_leaves_nothing(tmp_path: Path, light: tuple[str, str]) -> None:
    with started(tmp_path, *light, program=HURRIED) as server:
        server.wait_until_ready()
        family = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(signal.SIGSTOP)  # or it may stop tritonserver before the request comes
        try:
            next(p for p in stubs(server.triton.pid) if any("/preprocess/" in part for part in p.cmdline())).kill()
            assert "Stub process" in refusal(lambda: Client(server.addresses).detect(IMAGE))
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert server.process.wait(SECONDS) == 2
        assert server.process.stderr
        assert "the process of a Python model has died" in server.process.stderr.read().splitlines()[-1]
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive
        assert remains(server.process.pid) == []


@pytest.mark.slow
def test_a_killed_server_takes_tritonserver_with_it_and_the_next_start_clears_its_remains(
    tmp_path: Path, light: tuple[str, str]
) -> None:
    own = tmp_path / "tmp"  # where a server of another test, which clears remains too, does not look
    own.mkdir()
    environment = {"TMPDIR": str(own)}
    with started(tmp_path, *light, environment=environment) as server:
        server.wait_until_ready()
        family = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
        server.process.wait(SECONDS)
        _, alive = psutil.wait_procs(family, timeout=30)
        assert not alive
        [left] = own.iterdir()
    with started(tmp_path, *light, environment=environment) as following:
        following.wait_until_ready()
        assert not left.exists()
        assert remains(server.process.pid) == []


@pytest.mark.slow
def test_a_second_start_on_the_same_port_is_refused_and_the_first_goes_on(
    tmp_path: Path, light: tuple[str, str]
) -> None:
    with started(tmp_path, *light) as server:
        server.wait_until_ready()
        error = one_line_error(tmp_path, addresses=server.addresses)
        assert f"127.0.0.1:{server.addresses.http}" in error
        assert "Address already in use; choose another with --http-port" in error
        assert Client(server.addresses).ready()
        with started(tmp_path, *light) as second:
            second.wait_until_ready()
            assert second.stop(signal.SIGTERM) == 0
        assert Client(server.addresses).ready()


@pytest.mark.slow
def test_a_tritonserver_that_dies_is_an_error_and_leaves_nothing(tmp_path: Path, light: tuple[str, str]) -> None:
    with started(tmp_path, *light) as server:
        server.wait_until_ready()
        server.triton.kill()
        assert server.process.wait(SECONDS) == 2
        assert server.process.stderr
        assert "tritonserver ended with status -9" in server.process.stderr.read()
        assert remains(server.process.pid) == []


def test_three_equal_ports_are_refused(tmp_path: Path) -> None:
    port = free_addresses().http
    assert "three different ports" in one_line_error(tmp_path, addresses=Addresses("127.0.0.1", port, port, port))


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    assert "192.0.2.1" in one_line_error(tmp_path, "--host", "192.0.2.1")


def test_a_missing_repository_is_refused(tmp_path: Path) -> None:
    error = one_line_error(tmp_path, "--repository", "nowhere")
    assert f"no model repository at {tmp_path / 'nowhere'}" in error
    assert "--repository" in error


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    assert "none of its folders holds a config.pbtxt" in one_line_error(tmp_path, "--repository", str(tmp_path))


@pytest.mark.parametrize("file", ["yolo/1/model.onnx", "preprocess/1/dali.py"])
def test_a_missing_model_file_is_refused(tmp_path: Path, file: str) -> None:
    repository = shutil.copytree(REPOSITORY, tmp_path / "repository")
    (repository / file).unlink()
    assert f"{repository / file} is missing" in one_line_error(tmp_path, "--repository", str(repository))


def test_a_wrong_field_in_a_configuration_is_refused(tmp_path: Path) -> None:
    repository = shutil.copytree(REPOSITORY, tmp_path / "repository")
    (repository / "nms" / "config.pbtxt").write_text('name: "nms"\nmax_batch: 8\n')
    error = one_line_error(tmp_path, "--repository", str(repository))
    assert f"{repository / 'nms/config.pbtxt'} is not a Triton model configuration" in error
    assert "max_batch" in error


def test_a_model_that_does_not_load_is_refused_with_its_reason(tmp_path: Path) -> None:
    repository = shutil.copytree(REPOSITORY, tmp_path / "repository")
    graph = repository / "yolo/1/model.onnx"
    proof = dataclasses.replace(ServedProof.carried_by(graph), arithmetic="float32")
    graph.write_bytes(b"no graph")
    proof = dataclasses.replace(proof, graph_sha256=hashlib.sha256(b"no graph").hexdigest())
    proof_of(graph).write_bytes(proof.to_bytes())
    error = one_line_error(tmp_path, "--repository", str(repository))
    assert "failed to load 'yolo'" in error
    assert f'Unable to read the model: "{repository}/yolo/1/model.onnx"' in error


@pytest.mark.slow
def test_a_repository_with_blanks_in_its_path_is_served(tmp_path: Path, cells_repository: Path) -> None:
    repository = shutil.copytree(cells_repository, tmp_path / "a model repository")
    with started(tmp_path, "--repository", repository.name) as server:
        assert str(repository) in server.wait_until_ready()[0]
        assert Client(server.addresses).ready()
        assert "unknown model" in refusal(lambda: Client(server.addresses).detect(IMAGE, "nothing"))
        assert server.stop(signal.SIGTERM) == 0


def test_a_python_without_its_shared_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from triton_yolo.server import installation, interpreter
    from triton_yolo.server.errors import ServerError

    monkeypatch.setattr(interpreter.sysconfig, "get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr(interpreter.sys, "base_prefix", str(tmp_path))
    with pytest.raises(ServerError, match=r"libpython3\.\d+\.so\.1\.0 of .* is missing.*apt-get install libpython3"):
        installation.find_installation()


def test_remains_of_a_running_server_are_not_swept(tmp_path: Path) -> None:
    mine = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    foreign = Path(tempfile.mkdtemp(prefix=f"{PREFIX}not-a-number-"))
    try:
        with started(tmp_path) as server:
            wait_for(
                lambda: psutil.Process(server.process.pid).children(), "tritonserver did not start"
            )  # swept before
            assert mine.is_dir()
            assert foreign.is_dir()
    finally:
        mine.rmdir()
        foreign.rmdir()
