"""Runs command lines inside this process: a process of their own takes a second to load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer
from typer.testing import CliRunner, Result


def run(main: Callable[..., None], *arguments: str | Path) -> Result:
    """Run a command and return its exit code, stdout and stderr; a traceback fails the test."""
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
