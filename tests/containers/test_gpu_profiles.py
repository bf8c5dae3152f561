"""The profiles gpu, perf and tls with stand-ins for what needs a GPU: build, start, crash, measurement, proxy."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import Engine
from tests.containers.project import Project, copy_checkout
from tests.deploy.conftest import tool
from tests.deploy.sending import BOARD
from triton_yolo.clients import Detector

pytestmark = pytest.mark.slow

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def up(engine: Engine, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The services of the profile gpu, which .env names, after those of another profile."""
    folder = tmp_path_factory.mktemp("gpu")
    copy_checkout(folder / "checkout")
    certify(folder / "tls")
    results = folder / "checkout" / "deploy" / "perf" / "out"
    os.chown(results, 1000, 1000)
    project = Project(engine, folder / "checkout", TLS_DIR=str(folder / "tls"))
    try:
        project.compose("--profile", "cpu", "up", "--detach", "--wait", "--wait-timeout", "300")
        project.compose("--profile", "*", "down")
        project.compose("up", "--detach")
        project.until(lambda: project.healthy("triton"), "triton is not healthy")
        yield project
    finally:
        project.compose("--profile", "*", "down", "--volumes", check=False)


def certify(folder: Path) -> None:
    """A certificate of this run alone, readable for user 101."""
    folder.mkdir()
    key = folder / "privkey.pem"
    command = [
        *(tool("openssl", "apt-get install openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", key, "-out", folder / "fullchain.pem"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    os.chown(key, 101, 101)


def regions(project: Project) -> set[str]:
    """The Python backend's regions in the /dev/shm that host and server share."""
    return {path.name for path in SHARED_MEMORY.glob(f"triton-yolo-port-{project.addresses.http}-*")}


def test_the_build_service_makes_what_is_served_and_ends(up: Project) -> None:
    build = up.state("build")
    assert (build["Status"], build["ExitCode"]) == ("exited", 0)
    said = up.engine.docker("logs", up.container("build")).stdout
    ensembles = "detect, detect_bayer, detect_frames, detect_nv12, detect_tiles, detect_yuyv"
    pipelines = ensembles.replace("detect_tiles, ", "").replace("detect", "preprocess")
    assert f"/models is ready: assemble, {ensembles}, nms, {pipelines}, yolo" in said
    owned = up.in_container("triton", "stat", "--format", "%u %n", "/models/yolo/1/model.plan").stdout
    assert owned == "1000 /models/yolo/1/model.plan\n"


def test_the_server_runs_as_its_user_with_the_flags_of_the_compose_file(up: Project) -> None:
    [server, *_] = [process for process in up.processes("triton") if process["Name"] == "tritonserver"]
    assert set(server["Uid"].split()) == {"1000"}
    assert int(server["CapEff"], 16) == 0
    said = Path("/proc", server["Pid"], "cmdline").read_text().split("\0")
    assert f"--backend-config=python,shm-region-prefix-name=triton-yolo-port-{up.addresses.http}-" in said
    assert "--strict-readiness=true" in said


def test_detections_come_over_the_published_ports(up: Project) -> None:
    with Detector(f"127.0.0.1:{up.addresses.grpc}") as detector:
        assert len(detector.detect(BOARD)) > 0


def test_a_crash_leaves_no_regions_in_the_hosts_shared_memory(up: Project) -> None:
    other = SHARED_MEMORY / f"triton-yolo-port-{up.addresses.http + 1}-of-another-server"
    before = regions(up)
    assert before
    other.touch()
    os.chown(other, 1000, 1000)
    try:
        up.crash("triton", name="tritonserver")
        up.until(lambda: up.engine.inspect(up.container("triton"))["RestartCount"], "it was not restarted")
        up.until(lambda: up.healthy("triton"), "it is not healthy again")
        assert len(regions(up)) == len(before)
        assert not regions(up) & before
        assert other.exists()
    finally:
        other.unlink()


def test_a_second_up_builds_nothing(up: Project) -> None:
    up.compose("--profile", "*", "down")
    up.compose("up", "--detach")
    up.until(lambda: up.healthy("triton"), "triton is not healthy")
    assert (
        up.engine.docker("logs", up.container("build")).stdout.count("is there and fits") == 6
    )  # five pipelines and the plan


def test_perf_measures_the_server_and_leaves_tables(up: Project) -> None:
    results = up.checkout / "deploy" / "perf" / "out"
    settings = {"PERF_SHARED_MEMORY": "system", "PERF_CONCURRENCY": "1:2:1"}
    up.compose("--profile", "perf", "up", "--detach", **settings)
    up.until(lambda: up.state("perf")["Status"] == "exited", "perf does not end")
    assert up.state("perf")["ExitCode"] == 0, up.engine.docker("logs", up.container("perf")).stderr
    assert {path.name for path in results.glob("[!.]*")} == {
        f"{model}.{kind}" for model in ("detect", "detect_frames") for kind in ("csv", "json")
    }
    for model in ("detect", "detect_frames"):
        summary = json.loads((results / f"{model}.json").read_text())
        assert summary["shared_memory"] == "system"
        assert all(row["Inferences/Second"] > 0 for row in summary["rows"])


def test_the_proxy_finds_a_server_that_was_made_anew_elsewhere(up: Project) -> None:
    address = f"https://localhost:{up.https}/v2/health/ready"
    trust = ssl.create_default_context(cafile=str(up.checkout.parent / "tls" / "fullchain.pem"))

    def ready() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=5, context=trust) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def place() -> str:
        networks = up.engine.inspect(up.container("triton"))["NetworkSettings"]["Networks"]
        return str(networks[f"{up.name}_default"]["IPAddress"])

    up.compose("--profile", "tls", "up", "--detach")
    up.until(ready, "the proxy does not answer")
    assert {process["Uid"].split()[0] for process in up.processes("proxy")} == {"101"}
    proxy, before = up.state("proxy")["StartedAt"], place()
    up.compose("--profile", "tls", "rm", "--stop", "--force", "triton")
    # Containers get the lowest address that is free: this one's.
    up.engine.docker("run", "--detach", "--network", f"{up.name}_default", "--name", "taker", "stand-in-grafana")
    try:
        up.compose("--profile", "tls", "up", "--detach", "--no-deps", "triton")
        up.until(lambda: up.healthy("triton"), "triton is not healthy")
        assert place() != before
        up.until(ready, "the proxy stays with the first address", seconds=30)
        assert up.state("proxy")["StartedAt"] == proxy
    finally:
        up.engine.docker("rm", "--force", "taker")


def test_down_of_all_profiles_leaves_nothing(up: Project) -> None:
    up.compose("--profile", "*", "down", "--volumes")
    assert not up.engine.listed("container") | up.engine.listed("volume")
    assert not regions(up)
