"""What values the convolutions read: against plain arithmetic, and what is kept of it in files."""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.calibration.graphs import example, served, tensors_in
from tests.calibration.material import coloured, pixels_of, saved
from tests.conftest import ROOT
from triton_yolo.calibration.options import METHODS
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.calibration.quantise import readers
from triton_yolo.calibration.ranges import Ranges, collect, read_ranges, sha256_of

TENSORS = list(readers(example()))


@pytest.fixture(scope="module")
def found(colours: Pictures) -> dict[str, Ranges]:
    return collect(example(), TENSORS, colours, METHODS)


def test_minmax_is_the_least_and_the_most_of_all_images(found: dict[str, Ranges], colours: Pictures) -> None:
    values = tensors_in(example(), TENSORS, pixels_of(colours))
    assert set(found["minmax"].values) == set(TENSORS)
    for name, value in zip(TENSORS, values, strict=True):
        # Run as one batch, which may add up in another order.
        assert found["minmax"].values[name] == pytest.approx((value.min(), value.max()), rel=1e-5)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_no_method_goes_beyond_the_extremes(method: str, found: dict[str, Ranges]) -> None:
    for name, (low, high) in found["minmax"].values.items():
        lower, higher = found[method].values[name]
        assert low <= lower < higher <= high


# Grey levels up to 25, and one of 255 in one picture; of 590,000 values.
@pytest.fixture(scope="module")
def outlier(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 26, (96, 128, 3), np.uint8) for _ in range(16)]
    images[11][50, 60] = (255, 0, 0)
    some = saved(tmp_path_factory.mktemp("outlier"), images)
    ranges = collect(served("raw = Conv (x, w)", {"w": (6, 3, 1, 1)}, (96, 128)), ["x"], some, METHODS)
    return {method: ranges[method].values["x"] for method in METHODS}


def test_one_value_far_from_all_others_is_in_the_range_of_minmax(outlier: dict[str, tuple[float, float]]) -> None:
    assert outlier["minmax"] == pytest.approx((0, 1))


def test_percentile_leaves_one_value_out_that_is_far_from_all_others(outlier: dict[str, tuple[float, float]]) -> None:
    low, high = outlier["percentile"]
    assert low == 0
    assert high == pytest.approx(25 / 255, abs=2 / 512)  # two of the 512 bins on its side


def test_entropy_is_not_minmax_but_weighs_one_value_far_from_all_others_against_fine_steps(
    outlier: dict[str, tuple[float, float]],
) -> None:
    low, high = outlier["entropy"]
    assert low == 0
    assert 25 / 255 < high < 0.5


def test_the_order_of_the_images_does_not_matter(found: dict[str, Ranges], colours: Pictures) -> None:
    backwards = dataclasses.replace(colours, files=colours.files[::-1], hashes=colours.hashes[::-1])
    again = collect(example(), TENSORS, backwards, METHODS)
    for method in METHODS:
        assert again[method].values == found[method].values


def test_the_same_images_give_the_same_file(found: dict[str, Ranges], colours: Pictures, tmp_path: Path) -> None:
    again = collect(example(), TENSORS, colours, METHODS)
    for method in METHODS:
        one = found[method].write(tmp_path / "one", "model")
        other = again[method].write(tmp_path / "other", "model")
        assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def test_only_the_methods_that_were_asked_for_are_collected(colours: Pictures) -> None:
    assert list(collect(example(), TENSORS, colours, ["percentile"])) == ["percentile"]


def test_a_tensor_that_is_always_zero_has_a_range_of_zero(colours: Pictures) -> None:
    model = served("none = Sub (x, x)  raw = Conv (none, w)", {"w": (6, 3, 1, 1)})
    for method, ranges in collect(model, ["none"], colours, METHODS).items():
        assert ranges.values == {"none": (0, 0)}, method


RANGES = Ranges("entropy", "graph", ("first", "second"), {"a": (-0.5, 1.25), "b": (0.0, float(np.float32(0.1)))})


def read(folder: Path, **other: object) -> Ranges | None:
    asked: dict[str, object] = {
        **{"name": "model", "method": "entropy", "graph": "graph", "images": ["first", "second"]},
        **{"tensors": ["b", "a"], **other},
    }
    return read_ranges(folder, **asked)  # type: ignore[arg-type]  # of the kinds that it takes


def test_what_was_written_is_read_again_to_the_last_bit(tmp_path: Path) -> None:
    RANGES.write(tmp_path / "new", "model")
    assert read(tmp_path / "new") == RANGES


OTHERS: dict[str, dict[str, object]] = {
    "method": {"method": "percentile"},
    "graph": {"graph": "another"},
    "an image": {"images": ("first", "third")},
    "the images' order": {"images": ("second", "first")},
    "fewer images": {"images": ("first",)},
    "more images": {"images": ("first", "second", "third")},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_other_methods_graphs_and_images_have_other_files_and_do_not_take_this_one(
    other: dict[str, object], tmp_path: Path
) -> None:
    path = RANGES.write(tmp_path, "model")
    assert read(tmp_path, **other) is None

    changed = dataclasses.replace(RANGES, **other)  # type: ignore[arg-type]  # of the kinds that it has
    assert changed.path(tmp_path, "model") != path
    path.rename(changed.path(tmp_path, "model"))  # what is inside counts, not what it is called
    assert read(tmp_path, **other) is None


@pytest.mark.parametrize("tensors", [["a"], ["a", "b", "c"], ["a", "c"], []], ids=str)
def test_ranges_of_other_tensors_are_not_taken(tensors: list[str], tmp_path: Path) -> None:
    RANGES.write(tmp_path, "model")
    assert read(tmp_path, tensors=tensors) is None


def without(key: str) -> Callable[[str], str]:
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != key})


DAMAGES: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "a byte less": lambda text: text[:-3],
    "no JSON": lambda text: "ranges",
    "a list": lambda text: "[]",
    "a number": lambda text: "3",
    "one number": lambda text: text.replace("1.25", ""),
    "a word": lambda text: text.replace("1.25", '"much"'),
    "no number": lambda text: text.replace("1.25", "null"),
    "no ranges": lambda text: json.dumps({**json.loads(text), "ranges": None}),
    "other bins": lambda text: text.replace("1024", "128"),
    "other levels": lambda text: text.replace("256", "128"),
    **{f"no {key}": without(key) for key in ("method", "settings", "graph_sha256", "images_sha256")},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_and_one_of_other_settings_are_not_taken(damage: Callable[[str], str], tmp_path: Path) -> None:
    path = RANGES.write(tmp_path, "model")
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    assert read(tmp_path) is None


def test_where_there_is_no_file_there_are_no_ranges(tmp_path: Path) -> None:
    assert read(tmp_path / "none") is None


@contextmanager
def little_room(most: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = RANGES.write(tmp_path, "model")
    before = path.read_bytes()
    with little_room(100), pytest.raises(OSError):
        dataclasses.replace(RANGES, values={"a": (0.0, 1.0), "b": (0.0, 1.0)}).write(tmp_path, "model")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_graph_with_one_other_weight_has_another_hash() -> None:
    model = example()
    before = sha256_of(model)
    assert sha256_of(example()) == before
    [weights] = (tensor for tensor in model.graph.initializer if tensor.name == "w_one")
    weights.raw_data = bytes([weights.raw_data[0] ^ 1]) + weights.raw_data[1:]
    assert sha256_of(model) != before


SIZE, CHANNELS = (160, 160), 32
TENSOR = SIZE[0] * SIZE[1] * CHANNELS * 4  # bytes of the largest
PEAK = """
import sys
from pathlib import Path
from triton_yolo.calibration.pictures import find_pictures, read_pictures
from triton_yolo.calibration.ranges import collect
from tests.calibration.graphs import served
from triton_yolo.nms.letterbox import Letterbox

shapes = {{"w": ({channels}, 3, 1, 1), "v": (6, {channels}, 1, 1)}}
model = served("wide = Conv (x, w)  raw = Conv (wide, v)", shapes, {size})
some = read_pictures(find_pictures(Path(sys.argv[1])), Letterbox(*{size}), 1000)
collect(model, ["x", "wide"], some, ["minmax", "percentile"])
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak) * 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peaks = []
    for count in (8, 48):
        coloured(tmp_path / str(count), SIZE, count)
        command = [sys.executable, "-c", PEAK.format(size=SIZE, channels=CHANNELS), str(tmp_path / str(count))]
        runs = [
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300) for _ in range(3)
        ]
        peaks.append(min(int(run.stdout) for run in runs))  # threads that are late hold some more
    assert peaks[1] - peaks[0] < 8 * TENSOR  # holding them all would take 40 more
