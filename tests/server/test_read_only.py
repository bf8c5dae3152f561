"""The server as the Helm chart runs it: it may write to /tmp and /dev/shm alone, and has no capabilities."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.server.pictures import jpeg, picture
from triton_yolo.clients import Detector
from triton_yolo.server.process import free_addresses

SCRIPT = """
set -e
mount --make-rprivate /
for folder in / "$CHECKOUT" "$PYTHON"; do mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder"; done
for folder in /tmp /dev/shm; do mount -t tmpfs own "$folder"; done
cd /
! touch "$CHECKOUT/written" 2> /dev/null
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all env HOME=/tmp "$@"
"""


@pytest.mark.slow
def test_a_server_that_may_write_nowhere_but_to_its_temporary_folders_answers(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        pytest.skip("mount namespaces need root, unshare and setpriv")
    at = free_addresses()
    ports = ("--http-port", at.http, "--grpc-port", at.grpc, "--metrics-port", at.metrics)
    command = [sys.executable, "-m", "triton_yolo", "serve", *map(str, ports)]
    with subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", SCRIPT, "bash", *command],
        env={**os.environ, "CHECKOUT": str(ROOT), "PYTHON": sys.base_prefix, "TMPDIR": "/tmp"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            lines = []
            while "metrics" not in (lines or [""])[-1]:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                lines.append(line)
            with Detector(f"127.0.0.1:{at.grpc}") as detector:
                detector.detect(jpeg(picture(1, 240, 320)))
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert not (ROOT / "written").exists()
