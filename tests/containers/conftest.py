"""A Docker engine, the images of deploy/ on stand-ins for what they start from, and a copy of the checkout."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.perf_analyzer import PerfAnalyzer
from tests.containers.engine import Engine, NoEngine, unavailable
from tests.containers.project import STAND_INS, Project, copy_checkout
from tests.support.compose import compose_command

# What the images of python and nvcr.io have that deploy/ needs, and what stands in for Prometheus, nginx and mosquitto,
# which have to be newer than Debian 12's for what is configured.
DEBIAN = "python3,python3-pip,libpython3.11,libstdc++6,passwd,curl,ca-certificates,libb64-0d"
TESTING = "prometheus,nginx-light,mosquitto"
TENSORRT = (11, 2, 1)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


def tensorrt(folder: Path, version: tuple[int, int, int]) -> None:
    """Compile the stand-ins for TensorRT's libraries."""
    folder.mkdir(parents=True)
    numbers = [f"-DVERSION_{part}={number}" for part, number in zip(("MAJOR", "MINOR", "PATCH"), version, strict=True)]
    for name in LIBRARIES:
        file = f"lib{name}.so.{version[0]}"
        options = ["-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", folder / file]
        subprocess.run(["cc", *numbers, *options, STAND_INS / "tensorrt.c"], check=True)


def import_debian(engine: Engine, suite: str, packages: str, image: str) -> None:
    """Make an image of Debian packages."""
    archive = engine.folder / f"{suite}.tar"
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", f"--include={packages}", *left_out]
    # A mirror's copy of testing may be some days old.
    engine.run(*command, "--aptopt=Acquire::Check-Valid-Until false", suite, archive)
    engine.docker("import", archive, image)
    archive.unlink()


def perf_analyzer(folder: Path) -> None:
    """Copy this machine's perf_analyzer and the libraries that it needs."""
    links, target = folder / "links", folder / "perf"
    links.mkdir()
    target.mkdir()
    shutil.copy(PerfAnalyzer(links).path, target / "perf_analyzer")
    for link in links.iterdir():
        shutil.copy(link, target / link.name)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine without images; skips where none can be started."""
    if reason := unavailable():
        pytest.skip(reason)
    try:
        running = Engine().__enter__()
    except NoEngine as error:
        pytest.skip(str(error))
    try:
        yield running
    finally:
        running.__exit__()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout."""
    folder = tmp_path_factory.mktemp("containers") / "checkout"
    copy_checkout(folder)
    return folder


@pytest.fixture(scope="session")
def images(engine: Engine, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the stand-ins, and on them the images of deploy/; the folder holds what the stand-ins were made of."""
    context = tmp_path_factory.mktemp("stand-ins")
    shutil.copytree(STAND_INS, context, dirs_exist_ok=True)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
    tensorrt(context / "lib", TENSORRT)
    try:
        perf_analyzer(context)
    except BenchError as error:
        pytest.skip(str(error))
    project = Project(engine, checkout)
    settings = dict(line.split("=", 1) for line in (checkout / ".env").read_text().splitlines() if line[:1].isalpha())
    stand_ins = {
        "COMPOSE_FILE": str(STAND_INS / "docker-compose.yml"),
        "CONTEXT": str(context),
        "TRITON_TAG": settings["TRITON_TAG"],
        "COMPOSE_PROJECT_NAME": "stand-ins",
    }
    ours = {"COMPOSE_FILE": f"docker-compose.yml:{STAND_INS / 'builds.yml'}"}
    with ThreadPoolExecutor() as pool:
        testing = pool.submit(import_debian, engine, "testing", TESTING, "stand-in-debian-testing")
        import_debian(engine, "bookworm", DEBIAN, "stand-in-debian")
        project.compose("build", "python", **stand_ins)
        project.compose("build", "triton", "perf", **stand_ins)
        project.compose("--profile", "*", "build", **ours)
        testing.result()
    project.compose("build", **stand_ins)
    return context


@pytest.fixture(scope="session")
def project(engine: Engine, checkout: Path, images: Path) -> Iterator[Project]:
    """The services, none of them started, and none left."""
    assert compose_command()
    found = Project(engine, checkout)
    yield found
    found.compose("--profile", "*", "down", "--volumes", "--timeout", "20", check=False)
