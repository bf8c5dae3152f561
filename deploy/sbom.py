"""Command line: python -m deploy.sbom."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole

COMMAND = "python -m deploy.sbom"
ROOT = Path(__file__).resolve().parents[1]
SPECIFICATION = "1.6"  # of CycloneDX


class SbomError(TritonYoloError):
    """There is no bill of materials; says why."""


def sbom(extra: str, project: str, constraints: Path) -> bytes:
    """Return the bill of materials of what an extra installs, as CycloneDX's JSON, validated against its schema.

    It is that of a new environment: what a user has after `pip install` with the constraints.

    Args:
        extra: of the package; empty for the client alone.
        project: what to install: a wheel, or a checkout.
        constraints: file of pins.

    Raises:
        SbomError: a package cannot be installed, or the bill is not valid.
    """
    with tempfile.TemporaryDirectory(prefix="triton-yolo-sbom-") as folder:
        _run(sys.executable, "-m", "venv", "--without-pip", folder)
        python = str(Path(folder, "bin", "python"))
        wanted = f"{project}[{extra}]" if extra else project
        _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "-c", str(constraints), wanted)
        options = ("--spec-version", SPECIFICATION, "--output-reproducible", "--validate")
        _run(
            *(sys.executable, "-m", "cyclonedx_py", "environment", *options, "--pyproject", ROOT / "pyproject.toml"),
            *("--output-file", f"{folder}/bom.json", python),
        )
        return Path(folder, "bom.json").read_bytes()


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["it said nothing"]
        raise SbomError(f"{' '.join(map(str, command[1:4]))}: status {done.returncode}: {said[-1]}")


def main(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for the files.")],
    extra: Annotated[
        list[str] | None, typer.Option(help="An extra of the package; any number. The client alone is always there.")
    ] = None,
    project: Annotated[str, typer.Option(help="What to install: a wheel, or a checkout.")] = str(ROOT),
    constraints: Annotated[Path, typer.Option(dir_okay=False, help="File of pins.")] = ROOT / "constraints.txt",
) -> None:
    """Write a bill of materials in CycloneDX's JSON for what each extra installs with the pins."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in ["", *(extra or [])]:
            path = out / f"triton-yolo-{name or 'client'}.cdx.json"
            write_whole(path, sbom(name, project, constraints))
            typer.echo(str(path))
    except SbomError as error:
        leave(COMMAND, str(error))
    except OSError as error:
        leave(COMMAND, f"cannot write {error.filename or out}: {error.strerror}")


if __name__ == "__main__":
    typer.run(main)
