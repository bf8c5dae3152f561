"""Runs command lines inside this process: a process of their own takes a second to load."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from triton_yolo.cli.command import Command


def run(main: Callable[..., None], *arguments: str | Path, **environment: str) -> Result:
    """Run a command and return its exit code, stdout and stderr; a traceback fails the test."""
    app = typer.Typer()
    app.command(cls=Command)(main)
    result = CliRunner().invoke(app, list(map(str, arguments)), env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def completed(
    main: Callable[..., None], outside: pytest.CaptureFixture[str], *arguments: object
) -> subprocess.CompletedProcess[str]:
    """Run a command on a wide terminal, and return what its process would.

    Args:
        main: the command.
        outside: pytest's ``capfd``, for what libraries write past Python.
        arguments: of the command line.
    """
    outside.readouterr()
    result = run(main, *map(str, arguments), COLUMNS="200")
    loose = outside.readouterr()
    return subprocess.CompletedProcess(
        arguments, result.exit_code, result.stdout + loose.out, result.stderr + loose.err
    )
