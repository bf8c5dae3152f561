"""Command line: triton-yolo bench copies, every copy of a frame in memory by the way that it travels."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.case.client import Job, seen_by
from bench.case.copies import counting, server_processes
from bench.case.measuring import READY, drawn
from bench.case.ways import Setting
from bench.counting_proxy import CountingProxy
from bench.origin import measured_on
from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses
from triton_yolo.server.runtimes.base import Device

ROOT = Path(__file__).resolve().parents[1]
WAYS = {  # of bench.case.ways
    "jpeg": "a JPEG over gRPC",
    "bytes": "an RGB frame over gRPC",
    "shared": "an RGB frame in shared memory",
    "bayer": "a Bayer frame in shared memory",
}
LEAST = 0.002  # of a way's bytes: copies of less are not shown


def main(
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    repository: Annotated[Path, typer.Option(help="Model repository to measure.")] = ROOT / "model_repository",
    device: Annotated[Literal["cpu", "gpu"], typer.Option(help="Device of the server.")] = "cpu",
) -> None:
    """Count every copy in memory that is made of a 1280x960 frame on its way to its detections.

    A library stands before memcpy(3) in the client and in all processes of the server, and tells for each size who
    copies, how often, and for how long; it takes a C compiler. Bytes over the connection are copied by the kernel
    twice. Copies to and from a GPU are none of the host. Leaves copies-DEVICE.json, and prints it as a table.
    """
    try:
        result = measure(repository, device)
    except TritonYoloError as error:
        leave("triton-yolo bench copies", str(error))
    write_whole(out / f"copies-{device}.json", f"{json.dumps(result, indent=2)}\n".encode())
    typer.echo(markdown(result), nl=False)


def measure(repository: Path, device: Device) -> dict[str, Any]:
    """Count for each way, one frame a request."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setting = drawn(folder, repository, device, cameras=1)
        with counting(folder), TritonServer(repository, free_addresses(), lambda line: None, device) as server:
            server.wait_until_ready(READY)
            processes = server_processes(server)
            for kind in WAYS:
                typer.echo(WAYS[kind], err=True)
                with CountingProxy("127.0.0.1", server.addresses.grpc) as proxy:
                    there = replace(setting, address=f"{proxy.host}:{proxy.port}")
                    told = seen_by(Job(kind, there, server.running.pid, 0.0, 0.0, str(folder), processes))
                    frames = len(told["detections"])
                    found[kind] = _a_frame(told["copies"], frames, round(proxy.bytes / 2 / frames), setting)
    return {"measured_on": measured_on(device), "ways": found}


def _a_frame(copies: Sequence[Mapping[str, Any]], frames: int, connection: int, setting: Setting) -> dict[str, Any]:
    """Return what was counted, for one frame."""
    rows = [
        {
            "process": one["process"],
            "library": one["library"],
            "what": _what(one["size"], setting),
            "copies": round(one["count"] / frames, 2),
            "bytes": round(one["nbytes"] / frames),
            "microseconds": round(one["microseconds"] / frames, 1),
        }
        for one in copies
    ]
    return {"connection_bytes": connection, "copied_bytes": sum(row["bytes"] for row in rows), "copies": rows}


def _what(size: int, setting: Setting) -> str:
    """Return what has so many bytes."""
    _, height, width = setting.shape
    network = setting.letterbox.height * setting.letterbox.width
    sizes = {
        0: "parts",
        3 * height * width: "an RGB frame",
        height * width: "a Bayer frame",
        3 * network: "the network's input",
        **{Path(path).stat().st_size: "the JPEG" for path in setting.jpegs},
    }
    if 3 * network == height * width:
        sizes[3 * network] = "a Bayer frame or the network's input"
    return sizes.get(size, f"{size} bytes")


def markdown(result: Mapping[str, Any]) -> str:
    """Return the result as tables."""
    lines = []
    for kind, way in result["ways"].items():
        lines += [
            f"**{WAYS[kind][0].upper()}{WAYS[kind][1:]}**: {way['connection_bytes'] / 1e3:,.1f} kB over the "
            f"connection, {way['copied_bytes'] / 1e6:.2f} MB copied in memory",
            "",
            "| process | what | copies | kB | \u00b5s | by |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['process']} | {row['what']} | {row['copies']:g} | {row['bytes'] / 1e3:,.0f} | "
            f"{row['microseconds']:.0f} | {row['library']} |"
            for row in way["copies"]
            if row["bytes"] > LEAST * way["copied_bytes"]
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
