"""Command line: python -m bench.covered, what the last run of tests with coverage has executed, by folder."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Annotated

import coverage
import typer

from triton_yolo.cli.exits import leave
from triton_yolo.files import write_whole

ROOT = Path(__file__).resolve().parents[1]


def main(
    tests: Annotated[str, typer.Argument(help="Which tests ran, as pytest's -m names them.")],
    out: Annotated[Path, typer.Option(help="JSON file.")] = ROOT / "bench" / "results" / "coverage.json",
) -> None:
    """Write the share of statements that tests executed in their own process; servers' processes are not counted."""
    data = coverage.Coverage(data_file=str(ROOT / ".coverage"), config_file=str(ROOT / "pyproject.toml"))
    data.load()
    if not data.get_data().measured_files():
        leave("python -m bench.covered", "there is no .coverage: run `make coverage`")
    statements: dict[str, int] = defaultdict(int)
    executed: dict[str, int] = defaultdict(int)
    for name in data.get_data().measured_files():
        _, found, _, missing, _ = data.analysis2(name)
        for part in (Path(name).relative_to(ROOT).parts[0], "all"):
            statements[part] += len(found)
            executed[part] += len(found) - len(missing)
    shares = {part: round(executed[part] / statements[part], 3) for part in sorted(statements)}
    document = {
        "tests": tests,
        "statements": statements["all"],
        "executed": shares,
        "coverage": coverage.__version__,
        "date": date.today().isoformat(),
    }
    write_whole(out, (json.dumps(document, indent=2) + "\n").encode())
    typer.echo(f"{out}: {shares['all']:.1%} of {statements['all']} statements")


if __name__ == "__main__":
    typer.run(main)
