"""How the command lines leave: one line on stderr and the exit code."""

from __future__ import annotations

from typing import NoReturn

import typer

USAGE = 2  # bad input, or no server
INTERRUPTED = 130  # what shells expect after Ctrl-C


def leave(command: str, message: str, code: int = USAGE) -> NoReturn:
    """End the program.

    Args:
        command: what the user called, such as "triton-yolo detect".
        message: what was wrong, where, and what to do, on one line.
        code: the exit code.
    """
    typer.echo(f"{command}: {message}", err=True)
    raise typer.Exit(code) from None
