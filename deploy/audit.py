"""Command line: python -m deploy.audit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
import yaml
from packaging.utils import canonicalize_name

from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError

COMMAND = "python -m deploy.audit"
ROOT = Path(__file__).resolve().parents[1]
KNOWN = Path(__file__).parent / "known_holes.yaml"
OSV = "https://api.osv.dev/v1/query"
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)")
SECONDS = 1200  # for all questions
FOUND = 1  # exit status


class AuditError(TritonYoloError):
    """The database could not be asked, or a file cannot be used."""


class Hole(NamedTuple):
    """A known hole of a package.

    Attributes:
        names: its identifiers.
        package: name of the package.
        version: that is pinned.
        fixed: versions that mend it.
    """

    names: frozenset[str]
    package: str
    version: str
    fixed: tuple[str, ...]


class Accepted(NamedTuple):
    """A hole that is known and stays for now.

    Attributes:
        id: identifier.
        package: name of the package.
        reason: why it stays.
        listed: whether the database has it; it does not look into binaries that a package carries.
    """

    id: str
    package: str
    reason: str
    listed: bool


def pins(constraints: Path) -> list[tuple[str, str]]:
    """Return names and versions of a file of constraints, for whatever Python.

    Raises:
        AuditError: it cannot be read, or a line is no pin.
    """
    found = []
    for number, line in enumerate(_text(constraints).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            pin = PIN.match(line)
            if pin is None:
                raise AuditError(f"{constraints}, line {number}: no NAME==VERSION")
            found.append((pin[1], pin[2]))
    return found


def accepted(path: Path) -> list[Accepted]:
    """Return the holes that are known and stay.

    Raises:
        AuditError: it cannot be read, or an entry lacks something.
    """
    try:
        return [Accepted(**{"listed": True, **entry}) for entry in yaml.safe_load(_text(path))]
    except (TypeError, yaml.YAMLError) as error:
        raise AuditError(f"{path}: an entry has id, package, reason and perhaps listed: {error}") from None


def ask(wanted: Iterable[tuple[str, str]], url: str) -> list[Hole]:
    """Return what a database knows of packages.

    Args:
        wanted: names and versions.
        url: of OSV, or of one that answers as it does.

    Raises:
        AuditError: it does not answer for every one of them.
    """
    rounds: list[list[tuple[str, str]]] = []
    seen: Counter[str] = Counter()
    for name, version in wanted:  # pip-audit takes one version of a package at a time
        number = seen[name]
        seen[name] += 1
        rounds += [[]] if number == len(rounds) else []
        rounds[number].append((name, version))
    return [hole for part in rounds for hole in _ask(part, url)]


def _ask(wanted: list[tuple[str, str]], url: str) -> list[Hole]:
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("".join(f"{name}=={version}\n" for name, version in wanted))
        options = ["--format", "json", "--vulnerability-service", "osv", "--osv-url", url, "--requirement", str(file)]
        try:
            done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise AuditError(f"could not ask {url}: no answer within {SECONDS} s") from None
    try:
        answered: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise AuditError(f"could not ask {url}: {said[-1]}") from None
    known = {canonicalize_name(one["name"]) for one in answered if "vulns" in one}
    if missing := sorted({name for name, _ in wanted if canonicalize_name(name) not in known}):
        raise AuditError(f"could not ask {url}: no answer for {len(missing)} of {len(wanted)}, such as {missing[0]}")
    return [
        Hole(frozenset([hole["id"], *hole["aliases"]]), one["name"], one["version"], tuple(hole["fix_versions"]))
        for one in answered
        for hole in one["vulns"]
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise AuditError(f"cannot read {path}: {error.strerror}") from None


def main(
    constraints: Annotated[Path, typer.Option(dir_okay=False, help="Pins to ask about.")] = ROOT / "constraints.txt",
    known: Annotated[Path, typer.Option(dir_okay=False, help="Holes that stay for now, with reasons.")] = KNOWN,
    url: Annotated[str, typer.Option(help="OSV, or a mirror that answers as it does.")] = OSV,
) -> None:
    """Ask OSV for known holes of everything that is pinned.

    Exit status 1: there are some that are not on the list. 2: it could not be asked for every package, so that nothing
    is known.
    """
    try:
        listed, wanted = accepted(known), pins(constraints)
        holes = ask(wanted, url)
    except AuditError as error:
        leave(COMMAND, str(error))
    for one in listed:
        typer.echo(f"stays: {one.id} of {one.package}: {' '.join(one.reason.split())}")
    names = {(one.id, canonicalize_name(one.package)) for one in listed}
    new = [hole for hole in holes if not any((name, canonicalize_name(hole.package)) in names for name in hole.names)]
    told = {name for hole in holes for name in hole.names}
    for one in listed:
        if one.listed and one.id not in told:
            typer.echo(f"gone: {one.id} of {one.package} is not reported any more: remove it from {known}")
    for hole in new:
        fixed = f"mended in {', '.join(hole.fixed)}" if hole.fixed else "not mended yet"
        typer.echo(f"new: {' '.join(sorted(hole.names))} of {hole.package} {hole.version}: {fixed}")
    typer.echo(f"{len(wanted)} pins asked about, {len(holes)} holes, {len(new)} of them not on the list")
    raise typer.Exit(FOUND if new else 0)


if __name__ == "__main__":
    typer.run(main)
