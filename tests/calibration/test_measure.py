"""How good a graph is, against sums done by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.calibration.conftest import Known
from tests.calibration.graphs import UNSORTED, example
from tests.calibration.material import coloured, pixels_of, rows, saved, served_as
from tests.conftest import right_engine
from triton_yolo.calibration.measure import MIN_REFERENCE, MIN_SIGNAL, Candidates, Evaluator, noise_to_signal
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.calibration.runtimes import Run, onnxruntime_engine
from triton_yolo.clients.coco import AnnotationError, Annotations

BOX = (0, 0, 10, 10)
FAR = (50, 50, 70, 90)
ONE = rows((*BOX, 0.8, 1))
TWO = rows((*FAR, 0.9, 0), (*BOX, 0.8, 1))

# what the float graph finds in one picture, what the quantised one finds, noise, signal
CASES: dict[str, tuple[Candidates, Candidates, float, float]] = {
    "the same": (TWO, TWO, 0, 0.9**2 + 0.8**2),
    "in another order": (TWO, TWO[::-1], 0, 0.9**2 + 0.8**2),
    "half the score": (ONE, rows((*BOX, 0.4, 1)), 0.4**2, 0.8**2),
    "a higher score": (ONE, rows((*BOX, 1.0, 1)), 0.2**2, 0.8**2),
    # 8 x 10 of 10 x 10 + 2 x 10: an intersection over union of 80 / 120
    "moved by two of ten": (ONE, rows((2, 0, 12, 10, 0.8, 1)), (0.8 - 0.8 * 80 / 120) ** 2, 0.8**2),
    "moved to where less than half overlaps": (ONE, rows((5, 0, 15, 10, 0.8, 1)), 0.8**2 + 0.8**2, 0.8**2),
    "lost": (TWO, TWO[:1], 0.8**2, 0.9**2 + 0.8**2),
    "all lost": (TWO, rows(), 0.9**2 + 0.8**2, 0.9**2 + 0.8**2),
    "one more": (TWO[:1], TWO, 0.8**2, 0.9**2),
    "another class": (ONE, rows((*BOX, 0.8, 2)), 0.8**2 + 0.8**2, 0.8**2),
    "the best of two that overlap": (ONE, rows((1, 0, 11, 10, 0.9, 1), (*BOX, 0.7, 1)), 0.1**2, 0.8**2),
    "doubled": (ONE, rows((*BOX, 0.8, 1), (*BOX, 0.8, 1)), 0, 0.8**2),
    "two that become one": (rows((*BOX, 0.8, 1), (1, 0, 11, 10, 0.5, 1)), ONE, (0.5 - 0.8 * 9 / 11) ** 2, 0.89),
    "too low to count, and lost": (rows((*FAR, 0.9, 0), (*BOX, 0.049, 1)), rows((*FAR, 0.9, 0)), 0, 0.81),
    "too low to count, and new": (rows((*FAR, 0.9, 0)), rows((*FAR, 0.9, 0), (*BOX, 0.049, 1)), 0, 0.81),
    "fallen just below what counts": (rows((*BOX, 0.06, 1)), rows((*BOX, 0.03, 1)), 0.03**2, 0.06**2),
    "risen just above what counts": (
        rows((*FAR, 0.9, 0), (*BOX, 0.04, 1)),
        rows((*FAR, 0.9, 0), (*BOX, 0.06, 1)),
        0,
        0.81,
    ),
}


@pytest.mark.parametrize(("expected", "found", "noise", "signal"), CASES.values(), ids=CASES.keys())
def test_noise_to_signal_of_one_picture(expected: Candidates, found: Candidates, noise: float, signal: float) -> None:
    assert noise_to_signal([expected], [found]) == pytest.approx(noise / signal, abs=1e-6)


def test_energies_of_several_pictures_are_added_before_they_are_divided() -> None:
    names = ("half the score", "one more", "the same", "all lost")
    expected, found, noise, signal = zip(*(CASES[name] for name in names), strict=True)
    assert noise_to_signal(expected, found) == pytest.approx(sum(noise) / sum(signal), abs=1e-6)


@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_where_nothing_is_expected_and_nothing_found_there_is_no_noise(pictures: int) -> None:
    assert noise_to_signal([rows()] * pictures, [rows()] * pictures) == 0


def test_pictures_without_anything_do_not_change_the_rest() -> None:
    expected, found, noise, signal = CASES["moved by two of ten"]
    assert noise_to_signal([rows(), expected], [rows(), found]) == pytest.approx(noise / signal)


def test_numbers_of_pictures_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError):
        noise_to_signal([ONE], [ONE, ONE])


class TestEngines:
    @pytest.mark.parametrize("engine", [onnxruntime_engine, right_engine], ids=["ONNX Runtime", "fastest"])
    def test_a_later_run_leaves_what_an_earlier_one_found(self, engine: Any, colours: Pictures) -> None:
        run, (first, second, *_) = engine(example()), pixels_of(colours)
        found = run(first)
        kept = found.copy()
        assert not np.array_equal(run(second), kept)
        np.testing.assert_array_equal(found, kept)
        assert (found.shape, found.dtype) == ((8, 6), np.float32)

    def test_they_agree_on_a_float_graph(self, colours: Pictures) -> None:
        one, other = onnxruntime_engine(example(UNSORTED)), right_engine(example(UNSORTED))
        for pixels in pixels_of(colours):
            np.testing.assert_allclose(one(pixels), other(pixels), atol=1e-4)


LABELS = ("open", "short")
IDS = (7, 3, 1000, 5, 6, 8, 9, 10)  # of the pictures in their order


def boxes_of(image: int) -> list[tuple[float, float, float, float, float, float]]:
    """What is in the picture at this place among the pictures, in its own pixels: a box, and two in every second."""
    first = (4.0 + image, 6.0, 24.0 + image, 20.0, 0.9, float(image % 2))
    return [first, (30.0, 2.0, 44.0, 28.0, 0.6, 0.0)] if image % 2 else [first]


def annotations_of(images: Sequence[int], crowds: bool = False) -> Annotations:
    """In COCO's own form, of the boxes in these places; one in the last picture that is no crowd."""
    found = [
        {"image_id": IDS[i], "category_id": int(kind) + 20, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(crowds)}
        for i in images
        for x1, y1, x2, y2, _, kind in boxes_of(i)
    ]
    if crowds:
        found.append({"image_id": IDS[-1], "category_id": 20, "bbox": [1, 1, 9, 9]})
    return Annotations.from_dict(
        {
            "images": [{"id": number, "file_name": f"{i:02}.png"} for i, number in enumerate(IDS)],
            "categories": [{"id": i + 20, "name": name} for i, name in enumerate(LABELS)],
            "annotations": found,
        }
    )


def ids_of(pictures: Pictures) -> dict[Path, int]:
    return dict(zip(pictures.files, IDS, strict=True))


def knowing(pictures: Pictures, wrong: Sequence[int] = ()) -> Run:
    """A graph that finds what boxes_of says, in the network's pixels, but nothing in some pictures."""
    known = {pixels.tobytes(): i for i, (pixels, _) in enumerate(pictures)}
    sizes = [size for _, size in pictures]

    def run(pixels: npt.NDArray[np.uint8]) -> Candidates:
        image = known[pixels.tobytes()]
        if image in wrong:
            return rows()
        height, width = sizes[image]
        top, left, new_height, new_width = pictures.letterbox.place(height, width)
        found = rows(*boxes_of(image))
        found[:, :4] *= np.array([new_width / width, new_height / height] * 2)
        found[:, :4] += np.array([left, top] * 2)
        return found

    return run


@pytest.fixture(scope="module", params=[(32, 48), (64, 64)], ids=["as it is", "letterboxed"])
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    plain = coloured(tmp_path_factory.mktemp("judged"), (32, 48))
    images = [pixels.transpose(1, 2, 0) for pixels in pixels_of(plain)]
    return saved(tmp_path_factory.mktemp("judged"), images, request.param)


class TestEvaluatorOfAnnotations:
    def test_a_graph_that_finds_what_is_annotated_has_a_precision_of_1(self, pictures: Pictures) -> None:
        evaluator = Evaluator.of_annotations(
            annotations_of(range(8)), ids_of(pictures), pictures, served_as(pictures, *LABELS)
        )
        result = evaluator.precision(knowing(pictures))
        assert result.overall.ap50_95 == pytest.approx(1)
        assert list(result.per_class) == list(LABELS)

    def test_one_that_finds_nothing_in_half_of_the_pictures_has_half_of_it(self, pictures: Pictures) -> None:
        evaluator = Evaluator.of_annotations(
            annotations_of(range(8)), ids_of(pictures), pictures, served_as(pictures, *LABELS)
        )
        # Of "short" there is one in each of 1, 3, 5, 7, and nothing else.
        result = evaluator.precision(knowing(pictures, wrong=(1, 3)))
        assert result.per_class["short"].ap50_95 == pytest.approx(0.5, abs=0.01)  # at 101 recalls
        assert evaluator.precision(knowing(pictures, wrong=range(8))).overall.ap50_95 == 0

    def test_only_the_pictures_that_are_there_are_judged(self, pictures: Pictures) -> None:
        few = pictures.spread(3)
        evaluator = Evaluator.of_annotations(
            annotations_of(range(8)), ids_of(pictures), few, served_as(pictures, *LABELS)
        )
        numbers = [ids_of(pictures)[file] for file in few.files]
        assert evaluator.images == tuple(numbers)
        assert (
            set(evaluator.annotations.images)
            == {box["image_id"] for box in evaluator.annotations.boxes}
            == set(numbers)
        )
        assert evaluator.precision(knowing(pictures)).overall.ap50_95 == pytest.approx(1)

    def test_pictures_with_nothing_to_find_are_refused(self, pictures: Pictures) -> None:
        few = pictures.spread(2)
        assert few.files == (pictures.files[0], pictures.files[4])
        for known in (annotations_of([1, 2]), annotations_of([0, 4], crowds=True)):
            with pytest.raises(AnnotationError, match=r"^none of the 2 images has a box to find"):
                Evaluator.of_annotations(known, ids_of(pictures), few, served_as(pictures, *LABELS))

    def test_candidates_are_those_of_each_picture_in_order(self, pictures: Pictures) -> None:
        evaluator = Evaluator.of_annotations(
            annotations_of(range(8)), ids_of(pictures), pictures, served_as(pictures, *LABELS)
        )
        run = knowing(pictures)
        found = evaluator.candidates(run)
        for one, pixels in zip(found, pixels_of(pictures), strict=True):
            np.testing.assert_array_equal(one, run(pixels))


class TestNarrowed:
    def evaluator(self, pictures: Pictures, known: Annotations) -> Evaluator:
        return Evaluator.of_annotations(known, ids_of(pictures), pictures, served_as(pictures, *LABELS))

    @pytest.mark.parametrize("most", [1, 2, 3, 8, 100])
    def test_on_fewer_pictures_that_are_evenly_spread(self, most: int, pictures: Pictures) -> None:
        few = self.evaluator(pictures, annotations_of(range(8))).narrowed(most)
        assert few.pictures.files == pictures.spread(most).files
        assert few.images == tuple(ids_of(pictures)[file] for file in few.pictures.files)
        assert {box["image_id"] for box in few.annotations.boxes} == set(few.images)
        assert few.precision(knowing(pictures)).overall.ap50_95 == pytest.approx(1)

    def test_on_all_where_there_is_nothing_to_find_in_the_few(self, pictures: Pictures) -> None:
        for known in (annotations_of([1, 7]), annotations_of([0, 4], crowds=True)):
            whole = self.evaluator(pictures, known)
            assert whole.narrowed(2) is whole


class TestEvaluatorOfItself:
    def test_a_graph_judged_by_itself_has_a_precision_of_nearly_1(self, pictures: Pictures) -> None:
        run = knowing(pictures)
        evaluator = Evaluator.of_itself(run, pictures, served_as(pictures, *LABELS))
        assert evaluator.precision(run).overall.ap50_95 == pytest.approx(1)
        assert len(evaluator.annotations.boxes) == sum(len(boxes_of(i)) for i in range(8))
        assert evaluator.precision(knowing(pictures, wrong=(1, 3))).overall.ap50_95 < 0.8

    def test_the_default_network_too(self, yolov9: Known, boards: Pictures) -> None:
        names = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
        run, few = right_engine(yolov9.model), boards.spread(3)
        evaluator = Evaluator.of_itself(run, few, served_as(few, *names))
        assert len(evaluator.annotations.boxes) > 3
        assert (
            0.97 < evaluator.precision(run).overall.ap50_95 <= 1
        )  # what it is not sure of costs nothing that is better

    @pytest.mark.parametrize("score", [MIN_SIGNAL, MIN_REFERENCE - 0.01])
    def test_what_it_is_not_sure_of_stands_for_nothing(self, score: float, pictures: Pictures) -> None:
        def run(pixels: npt.NDArray[np.uint8]) -> Candidates:
            return rows((1, 1, 20, 20, MIN_REFERENCE, 0), (40, 2, 46, 30, score, 1))

        evaluator = Evaluator.of_itself(run, pictures, served_as(pictures, *LABELS))
        assert len(evaluator.annotations.boxes) == len(pictures)
        assert evaluator.annotations.categories == {0: "open"}

    @pytest.mark.parametrize(
        "found", [rows(), rows((1, 1, 20, 20, MIN_REFERENCE - 0.01, 0))], ids=["nothing", "nothing sure"]
    )
    def test_pictures_in_which_it_is_sure_of_nothing_are_refused(self, found: Candidates, pictures: Pictures) -> None:
        with pytest.raises(AnnotationError, match=r"^the float graph finds nothing with a score of 0\.25 in any image"):
            Evaluator.of_itself(lambda pixels: found, pictures, served_as(pictures, *LABELS))
