"""Command line: python -m deploy.api_keys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.files import write_whole
from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet.access import read_keys
from triton_yolo.server.fleet.envoy_access import KEYS, RATES, keys, rates

COMMAND = "python -m deploy.api_keys"


def main(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="NAME KEY [REQUESTS/S] on each line.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for what becomes the secret.")],
) -> None:
    """Write what Envoy reads of API keys: hashes of the keys, and rates; for a Kubernetes secret or for Compose."""
    try:
        known = read_keys(file)
        out.mkdir(parents=True, exist_ok=True)
        for name, content in ((KEYS, keys(known)), (RATES, rates(known))):
            write_whole(out / f"{name}.json", f"{json.dumps(content, indent=1)}\n".encode())
            os.chmod(out / f"{name}.json", 0o640)
    except ServerError as error:
        leave(COMMAND, str(error))
    except OSError as error:
        leave(COMMAND, f"cannot write {error.filename or out}: {error.strerror}")


if __name__ == "__main__":
    typer.run(main)
