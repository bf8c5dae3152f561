"""Docker Compose 2, which is the plugin of docker or a program of its own."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


@cache
def compose_command() -> tuple[str, ...] | None:
    """The command to run Compose 2 with; None where it is not installed."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) is None:
            continue
        result = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        if result.returncode == 0 and not result.stdout.lstrip("v").startswith("1."):
            return command
    return None
