"""The command triton-yolo: its verbs, each loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from triton_yolo.cli.command import Command
from triton_yolo.cli.exits import leave

# Verb: the module whose main() it calls, the extra that installs what that needs, and a line for the list of verbs.
VERBS = {
    "detect": ("triton_yolo.clients.commands.detect", "server", "Detect on image files through a running server."),
    "evaluate": ("triton_yolo.clients.commands.evaluate", "evaluate", "Measure the server's mAP on labelled images."),
    "serve": ("triton_yolo.server.serve", "server", "Serve a model repository, on the CPU or on a GPU."),
    "demo": ("triton_yolo.server.demo", "server", "Start a server, detect on drawn circuit boards, draw the result."),
    "export": ("triton_yolo.export.command", "export", "Make a model repository out of a YOLO's ONNX."),
    "prove": ("triton_yolo.export.prove_command", "export", "Make the proof of a served graph that has none."),
    "plan": ("triton_yolo.export.plan", "export", "Build the TensorRT plan of a served graph."),
    "calibrate": ("triton_yolo.calibration.command", "calibrate", "Quantise a served graph to INT8."),
    "boards": ("triton_yolo.boards.command", "server", "Draw circuit boards with known defects."),
    "bench": ("bench.__main__", "", "Measure the server here; part of a checkout."),
}
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
        module, extra, _ = VERBS[cmd_name]
        if cmd_name == "bench":
            sys.path.insert(0, str(CHECKOUT))
        try:
            function = import_module(module).main
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("triton_yolo", "bench") or not extra:
                raise
            leave(f"triton-yolo {cmd_name}", f"{missing} is not installed: pip install 'triton-yolo[{extra}]'")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command(cmd_name, cls=Command, context_settings=CONTEXT)(function)
        return typer.main.get_command(app)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the list of verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, VERBS[verb][2]) for verb in self.list_commands(ctx)])


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
        typer.echo(version("triton-yolo"))
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
