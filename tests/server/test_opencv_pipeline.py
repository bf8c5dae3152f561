"""What OpenCV computes in DALI's place is what DALI makes of the same definition."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.server.pictures import ENCODINGS, picture
from tests.server.sensors import CODES, inputs, model, noise
from triton_yolo.dali_definition import DEFINITION, LETTERBOX, load_definition
from triton_yolo.server.runtimes.dali.cpu_pipeline import CpuPipeline
from triton_yolo.server.runtimes.dali.opencv_pipeline import DEFINITIONS, OpenCvPipeline, is_known

SIZES = [(2, 2), (96, 128), (642, 640), (960, 1280), (2, 6000), (4, 40_000)]  # height, width


def definition(name: str) -> Path:
    return REPOSITORY / name / "1" / DEFINITION


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_definition_of_the_repository_is_known(name: str) -> None:
    assert is_known(name, definition(name)), "dali.py has changed: see to DEFINITIONS, and to what OpenCV does for it"


def test_no_preprocessing_of_the_repository_is_forgotten() -> None:
    assert {path.parts[-3] for path in REPOSITORY.glob(f"*/1/{DEFINITION}")} == set(DEFINITIONS)


@pytest.mark.parametrize("what", [DEFINITION, "letterboxing.py", LETTERBOX])
def test_a_definition_that_somebody_has_changed_is_not_known(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "preprocess" / "1"
    shutil.copytree(definition("preprocess").parent, folder)
    assert is_known("preprocess", folder / DEFINITION)
    assert not is_known("other", folder / DEFINITION)

    content = (folder / what).read_text()
    changed = content.replace('"pad": 114', '"pad": 0') if what == LETTERBOX else f"{content}# changed\n"
    (folder / what).write_text(changed)

    assert not is_known("preprocess", folder / DEFINITION)


def compared(name: str, samples: list[tuple[np.ndarray, ...]], sources: list[str]) -> None:
    """Both make the same of the samples, but for a grey level here and there."""
    dali = CpuPipeline(getattr(load_definition(definition(name)), name), sources)
    opencv = OpenCvPipeline(name, definition(name))
    try:
        for wanted, found in zip(dali.run(samples), opencv.run(samples), strict=True):
            assert not isinstance(wanted, Exception)
            assert not isinstance(found, Exception)
            assert found[1].tolist() == wanted[1].tolist()
            difference = np.abs(found[0].astype(int) - wanted[0])
            assert difference.max() <= 1
            assert difference.mean() < 0.2
    finally:
        dali.close()
        opencv.close()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name != "JPEG CMYK"])
def test_encoded_images_are_those_of_dali(encoding: str) -> None:
    images = [ENCODINGS[encoding](picture(seed, *size)) for seed, size in enumerate(SIZES)]
    compared("preprocess", [(np.frombuffer(image, np.uint8),) for image in images], ["image"])


@pytest.mark.parametrize("pixel_format", ["rgb", *(pytest.param(name, marks=pytest.mark.slow) for name in CODES)])
def test_frames_are_those_of_dali(pixel_format: str) -> None:
    samples = []
    for size in SIZES:
        arrays = inputs(pixel_format, noise(pixel_format, *size))
        samples.append(tuple(array[0] for array in arrays.values()))
    compared(model(pixel_format), samples, list(arrays))


def test_an_image_that_cannot_be_decoded_is_an_answer_of_its_own() -> None:
    sound = np.frombuffer(ENCODINGS["PNG RGB"](picture(0, 8, 8)), np.uint8)
    pipeline = OpenCvPipeline("preprocess", definition("preprocess"))
    first, second = pipeline.run([(sound[:60],), (sound,)])
    pipeline.close()
    assert isinstance(first, RuntimeError)
    assert not isinstance(second, Exception)
