from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.clients.commands import run
from tests.clients.comparing import assert_same
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from triton_yolo.clients import Detections, Detector
from triton_yolo.clients.commands.detect import main
from triton_yolo.server.process import TritonServer, free_addresses

COMMAND = [sys.executable, "-m", "triton_yolo", "detect"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file that is no image, under the name of one."""
    path = tmp_path / "text.png"
    path.write_text("no image")
    return path


def test_json_has_a_line_a_file_with_what_the_detector_finds(
    url: str, detector: Detector, folder: Path, images: list[Path], frames: list[np.ndarray]
) -> None:
    thresholds = ["--score-threshold", "0.01", "--iou-threshold", "0.3"]
    done = subprocess.run([*COMMAND, folder, "--url", url, "--json", *thresholds], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(image) for image in images]
    for line, image, frame in zip(lines, images, frames, strict=True):
        assert (line["height"], line["width"]) == frame.shape[:2]
        expected = detector.detect(image, score_threshold=0.01, iou_threshold=0.3)
        assert_same(Detections.from_dict(line), expected)


def test_every_memory_finds_the_same(grpc_url: str, images: list[Path]) -> None:
    plain, shared = (
        run(main, images[0], "--url", grpc_url, "--json", "--memory", kind, "--score-threshold", "0.01")
        for kind in ("plain", "system")
    )

    assert plain.exit_code == shared.exit_code == 0
    assert plain.stdout == shared.stdout


def test_files_that_fail_are_told_and_do_not_stop_the_others(grpc_url: str, images: list[Path], text: Path) -> None:
    done = run(main, images[0], text, "nowhere.png", images[1], "--url", grpc_url, "--json")

    assert done.exit_code == 1
    told = {line["file"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert "detections" in told[str(images[0])]
    assert "detections" in told[str(images[1])]
    assert told[str(text)]["error"].startswith("image is neither JPEG nor PNG")
    assert told["nowhere.png"] == {
        "file": "nowhere.png",
        "error": "no image found: no such file or folder",
    }


def test_a_pipe_gets_a_line_a_detection_and_errors_apart(
    grpc_detector: Detector, grpc_url: str, images: list, text: Path
) -> None:
    done = run(main, text, images[2], "--url", grpc_url, "--score-threshold", "0.01")

    assert done.exit_code == 1
    assert done.stderr.startswith(f"{text}: image is neither JPEG nor PNG")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = grpc_detector.detect(images[2], score_threshold=0.01)
    assert [row[:2] for row in rows] == [[str(images[2]), name] for name in expected.names]
    np.testing.assert_allclose([[float(v) for v in row[3:]] for row in rows], expected.boxes, atol=0.051)


def test_a_terminal_gets_a_table(grpc_url: str, images: list[Path]) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, str(images[0]), "--url", grpc_url, "--score-threshold", "0"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "120"}) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)

    assert process.returncode == 0
    assert shown.decode().startswith("┏━")
    assert b"score" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_drawings_have_the_images_names_sizes_and_boxes(
    grpc_url: str, grpc_detector: Detector, folder: Path, images: list[Path], tmp_path: Path
) -> None:
    done = run(main, folder, "--url", grpc_url, "--draw", tmp_path / "drawn", "--score-threshold", "0")

    assert (done.exit_code, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [image.name for image in images]
    for image in images:
        before, after = cv2.imread(str(image)), cv2.imread(str(tmp_path / "drawn" / image.name))
        assert after.shape == before.shape
        found = len(grpc_detector.detect(image, score_threshold=0)) > 0
        assert (np.abs(after.astype(int) - before).max() > 60) == found


def test_a_drawing_of_a_file_of_another_name_is_a_png(grpc_url: str, images: list[Path], tmp_path: Path) -> None:
    image = shutil.copy(images[0], tmp_path / "board.bin")

    done = run(main, image, "--url", grpc_url, "--draw", tmp_path / "drawn")

    assert done.exit_code == 0
    assert (tmp_path / "drawn" / "board.bin.png").read_bytes().startswith(b"\x89PNG")


def test_a_drawing_never_lands_on_an_image_or_on_another(grpc_url: str, images: list[Path], tmp_path: Path) -> None:
    twin = shutil.copy(images[0], tmp_path)

    onto_itself = run(main, twin, "--url", grpc_url, "--draw", tmp_path)
    onto_another = run(main, images[0], twin, "--url", grpc_url, "--draw", tmp_path / "drawn")

    assert onto_itself.exit_code == onto_another.exit_code == 2
    assert "would overwrite" in onto_itself.stderr
    assert "have the same name" in onto_another.stderr
    assert not (tmp_path / "drawn").exists()
    assert Path(twin).read_bytes() == images[0].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nowhere", "*.nothing"],
            "no image found: nowhere: no such file or folder; *.nothing: no file has",
        ),
        ([], "Missing argument"),
        (["{image}", "--url", "127.0.0.1:1"], "the server at 127.0.0.1:1 is not available"),
        (["{image}", "--url", "ftp://127.0.0.1"], "is no address of a server"),
        (["{image}", "--url", "http://127.0.0.1:1", "--transport", "grpc"], "asks for http, and the transport is"),
        (["{image}", "--draw", "{image}"], "is a file"),
    ],
)
def test_what_cannot_begin_ends_with_2_and_says_why(arguments: list[str], message: str, images: list[Path]) -> None:
    done = run(main, *(argument.replace("{image}", str(images[0])) for argument in arguments))

    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize("transport", ["grpc", "system"])
def test_the_old_name_of_an_option_works_and_says_the_new_one(
    grpc_url: str, images: list[Path], transport: str
) -> None:
    done = run(main, images[0], "--url", grpc_url, "--json", "--transport", transport)

    assert done.exit_code == 0
    assert "detections" in json.loads(done.stdout)
    assert "--transport is deprecated: use --url " in done.stderr
    assert "--transport" not in run(main, "--help").stdout


@pytest.mark.parametrize("threshold", ["1.5", "-0.1", "nan"])
@pytest.mark.parametrize("option", ["--score-threshold", "--iou-threshold"])
def test_a_threshold_out_of_range_fails_once_before_anything_is_sent(
    images: list[Path], option: str, threshold: str
) -> None:
    done = run(main, *images, "--url", "127.0.0.1:1", f"{option}={threshold}")

    assert (done.exit_code, done.stdout) == (2, "")
    assert option in done.stderr
    assert "not available" not in done.stderr


@pytest.mark.parametrize("arguments", [["--draw", "--json"], ["--json", "--url", "--draw", "out"]])
def test_an_option_does_not_take_the_next_one_for_its_value(
    images: list[Path], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(main, images[0], *arguments)

    assert (done.exit_code, done.stdout) == (2, "")
    assert "needs a value, and the option --" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_files_of_every_kind_and_depth_are_taken_and_drawn(
    grpc_url: str, grpc_detector: Detector, frames: list[np.ndarray], tmp_path: Path
) -> None:
    names = ["a/board.bmp", "a/board.png", "b/board.tif", "b/in/board.webp"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(frames[0]).save(tmp_path / "in" / name, lossless=True)
    drawn = tmp_path / "drawn"

    done = run(main, tmp_path / "in", "-r", "--url", grpc_url, "--json", "--draw", drawn, "--score-threshold", "0.01")

    assert (done.exit_code, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(tmp_path / "in" / name) for name in names]
    for line in lines:
        assert (line["height"], line["width"]) == frames[0].shape[:2]
        assert_same(Detections.from_dict(line), grpc_detector.detect(frames[0], score_threshold=0.01))
    written = sorted(str(path.relative_to(drawn)) for path in drawn.rglob("*.*"))
    assert written == ["a/board.bmp.png", "a/board.png", "b/board.tif.png", "b/in/board.webp.png"]
    expected = cv2.imread(str(drawn / "a" / "board.png"))
    for name in written:
        np.testing.assert_array_equal(cv2.imread(str(drawn / name)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_that_goes_away_is_told_with_how_far_it_was(
    protocol: str, sent: signal.Signals, images: list[Path], tmp_path: Path
) -> None:
    addresses, repository = free_addresses(), copy_with_cells(REPOSITORY, tmp_path / "repository")
    (tmp_path / "boards").mkdir()
    for i in range(1000):
        (tmp_path / "boards" / f"{i:04}.png").symlink_to(images[0])
    url = f"http://127.0.0.1:{addresses.http}" if protocol == "http" else f"127.0.0.1:{addresses.grpc}"
    command = [*COMMAND, str(tmp_path / "boards"), "--url", url, "--json"]
    with TritonServer(repository, addresses, log=lambda line: None) as running:
        running.wait_until_ready()
        with (
            (tmp_path / "complaint").open("w") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
        ):
            assert process.stdout is not None
            first = process.stdout.readline()  # communicate() would lose what is read ahead of it
            running.running.send_signal(sent)
            rest = process.stdout.read()

    complaint = (tmp_path / "complaint").read_text()
    assert process.returncode == 2
    lines = [json.loads(line) for line in (first + rest).splitlines()]
    assert all("detections" in line for line in lines)
    assert complaint.startswith(f"triton-yolo detect: the server at {url} is ")
    assert complaint.endswith(f"; {len(lines)} of 1000 done\n")
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("columns", [80, 110])
def test_the_help_fits_the_terminal_and_shows_no_type_of_a_flag(columns: int) -> None:
    environment = {**os.environ, "COLUMNS": str(columns)}
    detect, evaluate = (
        subprocess.run([*COMMAND[:-1], verb, "--help"], env=environment, capture_output=True, text=True).stdout
        for verb in ("detect", "evaluate")
    )

    assert columns - 30 < max(map(len, (detect + evaluate).splitlines())) <= columns
    assert re.search(r"--json +Print", detect)
    assert re.search(r"--recursive +Also", detect)


def test_ctrl_c_ends_it_in_one_line(grpc_url: str, images: list[Path], tmp_path: Path) -> None:
    for i in range(1000):
        (tmp_path / f"{i:04}.png").symlink_to(images[0])
    command = [*COMMAND, str(tmp_path), "--url", grpc_url, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, complaint = process.communicate(timeout=20)

    assert process.returncode == 130
    assert complaint == "triton-yolo detect: interrupted\n"
    assert len(rest.splitlines()) < 999
