"""Trains a network for the boards, from random weights to an ONNX file: the command line."""

from __future__ import annotations

import importlib.util
import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

NEEDED = ("torch", "torchvision", "libreyolo", "onnx", "onnxruntime", "pycocotools")
"""What training imports beyond the boards' needs; the server and the clients need no PyTorch."""


class Network(str, Enum):
    """What --network takes."""

    yolov9t_elan = "yolov9t-elan"
    yolox_nano = "yolox-nano"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def fail(console: Console, message: str) -> typer.Exit:
    """Print one line of error, and return what ends the program."""
    console.print(f"[red]error:[/red] {message}", soft_wrap=True, highlight=False)
    return typer.Exit(2)


@app.command()
def main(
    deeppcb: Annotated[Path, typer.Option(help="Folder with train.json, val.json and images/ of DeepPCB.")],
    out: Annotated[Path, typer.Option(help="Folder for pcb-NETWORK.onnx and pcb-NETWORK.json.")] = Path("models"),
    network: Annotated[
        Network, typer.Option(help="The default model, or an example of depthwise convolutions, which quantise badly.")
    ] = Network.yolov9t_elan,
    epochs: Annotated[int, typer.Option(min=1, help="In each, as many pictures are shown as there are.")] = 64,
    boards: Annotated[int, typer.Option(min=4, help="Synthetic boards to learn from, scans and photos.")] = 4000,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in a step.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Chooses weights, boards and their order.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw boards.")] = os.cpu_count() or 1,
) -> None:
    """Train a network on DeepPCB's train split and synthetic boards; needs a GPU, torch and libreyolo."""
    console = Console(stderr=True)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise fail(console, f"training needs packages that are not installed here: pip install {names}")
    import torch

    from training.schedule import Settings, train

    if not torch.cuda.is_available():
        raise fail(console, "training needs a CUDA GPU, and PyTorch finds none")
    try:
        train(network.value, deeppcb, out, Settings(epochs, boards, batch, seed, workers), console)
    except (OSError, ValueError) as error:
        raise fail(console, str(error)) from None


if __name__ == "__main__":
    app()
