"""The command triton-yolo: its verbs, each loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from triton_yolo.cli.command import Command
from triton_yolo.cli.exits import leave

# Verb: the module whose main() it calls, the extra that installs what that needs, and a line for the list of verbs.
VERBS = {
    "detect": ("triton_yolo.clients.commands.detect", "draw", "Detect on image files through a running server."),
    "evaluate": ("triton_yolo.clients.commands.evaluate", "evaluate", "Measure the server's mAP on labelled images."),
    "stream": ("triton_yolo.clients.commands.stream", "stream", "Inspect what a line of cameras captures."),
    "log": ("triton_yolo.clients.commands.log", "stream", "Say which boards of a line failed, when and why."),
    "serve": ("triton_yolo.server.serve", "server", "Serve a model repository, on the CPU or on a GPU."),
    "demo": ("triton_yolo.server.demo", "server", "Start a server, detect on drawn circuit boards, draw the result."),
    "export": ("triton_yolo.export.command", "export", "Make a model repository out of a YOLO's ONNX."),
    "prove": ("triton_yolo.export.prove_command", "export", "Make the proof of a served graph that has none."),
    "plan": ("triton_yolo.export.plan", "export", "Build the TensorRT plan of a served graph."),
    "calibrate": ("triton_yolo.calibration.command", "calibrate", "Quantise a served graph to INT8."),
    "boards": ("triton_yolo.boards.command", "draw", "Draw circuit boards with known defects."),
    "bench": ("bench.__main__", "server", "Measure the server here; part of a checkout."),
}
EXTRAS = {"cuda": "gpu", "fsspec": "bulk", "pyarrow": "bulk"}  # what options need beside what their verb needs
CHECKOUT = Path(__file__).resolve().parents[2]  # if it is one


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Verbs(TyperGroup):
    """A group whose commands are imported when they are called: each takes what it needs, and no longer."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer carries its own click
        """Return the names of the verbs that are here."""
        return [verb for verb in VERBS if verb != "bench" or (CHECKOUT / "bench").is_dir()]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Import the module of a verb, and return its command; None where there is no such verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return self._command(cmd_name, VERBS[cmd_name][0])

    def _command(self, verb: str, module: str) -> Any:
        if verb == "bench" and str(CHECKOUT) not in sys.path:
            sys.path.insert(0, str(CHECKOUT))
        with missing_packages(verb):
            function = import_module(module).main
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command(verb, cls=Command, context_settings=CONTEXT)(missing_packages(verb)(function))
        return typer.main.get_command(app)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Take ``bench NAME`` for the measurement of that name, ``bench`` with options for that of the server."""
        if args[0] == "bench" and len(args) > 1 and args[1] in measurements():
            module = f"bench.{args[1].replace('-', '_')}"
            if (CHECKOUT / "bench" / args[1]).is_dir():
                module += ".__main__"
            return f"bench {args[1]}", self._command("bench", module), args[2:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the list of verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, VERBS[verb][2]) for verb in self.list_commands(ctx)])


def measurements() -> list[str]:
    """Return the names of the checkout's measurements, which are command lines of their own."""
    files = [*(CHECKOUT / "bench").glob("*.py"), *(CHECKOUT / "bench").glob("*/__main__.py")]
    commands = [file for file in files if file.read_text().startswith('"""Command line:') and file.parent.name]
    names = (file.stem if file.name != "__main__.py" else file.parent.name for file in commands)
    return sorted(name for name in names if name != "bench")


def install_command(extra: str) -> str:
    """Return the command line that installs one of the project's extras, from the checkout if this runs from one."""
    if (CHECKOUT / "pyproject.toml").is_file():
        return f"{sys.executable} -m pip install -c {CHECKOUT}/constraints.txt -e '{CHECKOUT}[{extra}]'"
    return f"pip install 'triton-yolo[{extra}]'"


@contextmanager
def missing_packages(verb: str) -> Iterator[None]:
    """Turn the import of a package that is not installed into one line that says how to install it.

    Verbs import some packages when they run, such as what --draw draws with.

    Args:
        verb: what was called.

    Raises:
        typer.Exit: a package is not installed.
        ModuleNotFoundError: the missing module is the project's own.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "triton_yolo", "bench"):
            raise
        extra = EXTRAS.get(package, VERBS[verb][1])
        leave(f"triton-yolo {verb}", f"{package} is not installed: {install_command(extra)}")


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=CONTEXT,
    subcommand_metavar="VERB [OPTIONS]",
)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(version("triton-yolo"))
        except PackageNotFoundError:
            typer.echo("unknown: the package is not installed")
        raise typer.Exit


@app.callback()
def triton_yolo(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Serve YOLO with Triton Inference Server, moving as few bytes as possible.

    triton-yolo VERB --help says everything about a verb.
    """


def main() -> None:
    """Run the command line."""
    app(prog_name="triton-yolo")
