"""Real networks on their way to a served graph: exports that LibreYOLO makes here, and one trained YOLOX."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.export.libreyolo import FAMILIES, Family, export_to, make_network, prepared
from triton_yolo.export.network import Network, prepare
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.proof import BOX_TOLERANCE, SCORE_TOLERANCE, prove
from triton_yolo.export.recognise import ExportOptions, RecognisedNetwork, recognise
from triton_yolo.export.samples import samples
from triton_yolo.export.served_graph import served_graph
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.runner import Runner
from triton_yolo.graphs.tensor_info import measured_tensors
from triton_yolo.nms.suppression import non_maximum_suppression
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.server.runtimes.onnxruntime_cuda.late_decoding import decode_late

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # PyTorch and LibreYOLO warn of their own use of each other
]

TOP_K = 1000
Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One export: of which family, at which height and width, with a free batch size or of one image."""

    family: str
    size: tuple[int, int]
    dynamic: bool = False

    def __str__(self) -> str:
        words = (self.family, "x".join(map(str, self.size)), "dynamic" * self.dynamic)
        return " ".join(word for word in words if word)


CASES = [
    *(Case(family, (320, 320)) for family in FAMILIES),
    Case("yolox", (416, 416), dynamic=True),
    Case("yolo9", (384, 640)),
    *(
        pytest.param(Case(family, (416, 416), dynamic=True), marks=pytest.mark.long)
        for family in FAMILIES
        if family != "yolox"
    ),
]


@dataclass(frozen=True)
class Export:
    """A case's file, opened as the command line opens it, and the network of LibreYOLO that it was made from."""

    case: Case
    family: Family
    original: Any
    network: Network
    recognised: RecognisedNetwork


@lru_cache
def drawn(family: str) -> Any:
    return make_network(FAMILIES[family])


@lru_cache
def drawn_samples(letterbox: Any) -> Pixels:
    """The pictures of a proof, which take half a second to draw."""
    return samples(None, letterbox)[:4]


@pytest.fixture(scope="module", params=CASES, ids=str)
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    libreyolo = pytest.importorskip("libreyolo", reason="LibreYOLO is not installed")
    try:
        _ = libreyolo.LibreYOLO9  # imports PyTorch and torchvision
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"LibreYOLO cannot be imported: {error}")
    case = request.param
    original = drawn(case.family)
    path = tmp_path_factory.mktemp("export") / "network.onnx"
    export_to(path, original, case.size, dynamic=case.dynamic)
    network = prepare(read_network(path), None)
    yield Export(case, FAMILIES[case.family], original, network, recognise(network, ExportOptions()))


def answers(export: Export, images: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Boxes [N, A, 4] and scores [N, A, 80] as LibreYOLO's export lays them out."""
    outputs = export.network.original.run(export.network.typed(export.recognised.pixels.apply(images)))
    arrays = [array.astype(np.float32) for array in outputs.values()]
    if export.family.head == "split":
        boxes, scores = sorted(arrays, key=lambda array: array.shape[2])
        return boxes, scores
    rows = arrays[0].transpose(0, 2, 1) if arrays[0].shape[1] == 84 else arrays[0]
    return rows[..., :4], rows[..., 5:] * rows[..., 4:5] if export.family.head == "yolox" else rows[..., 4:]


def test_the_answers_vary_over_the_anchors_and_from_picture_to_picture(export: Export) -> None:
    boxes, scores = answers(export, drawn_samples(export.recognised.letterbox))
    best, kind = scores.max(2), scores.argmax(2)
    assert best.std(1).max() > 0.04
    assert min(len(np.unique(of_one)) for of_one in kind) >= 20  # of 80 classes
    for a, b, least in [(0, 1, 0.1), (0, 2, 0.015)]:  # a photo and a scan, two photos
        assert (kind[a] != kind[b]).mean() > 0.2
        assert np.abs(best[a] - best[b]).max() > least
        assert np.abs(boxes[a] - boxes[b]).max() > 4 * BOX_TOLERANCE


def test_a_network_is_recognised_as_libreyolo_makes_it(export: Export) -> None:
    recognised, family = export.recognised, export.family
    assert (recognised.head.name, str(recognised.pixels)) == (family.head, family.input)
    assert recognised.letterbox.centred == (family.letterbox != "top-left")
    assert any("stretched" in note for note in recognised.notes) == (family.letterbox == "stretched")
    assert (recognised.classes, recognised.labels[0], recognised.labels[-1]) == (80, "person", "toothbrush")
    assert (export.network.height, export.network.width) == export.case.size
    assert export.network.free_batch == export.case.dynamic


def test_a_network_sees_the_pixels_that_libreyolos_own_inference_gives_it(export: Export, tmp_path: Path) -> None:
    height, width = export.case.size
    if export.family.letterbox != "stretched":
        width = width * 3 // 4  # the rest is padding; nothing is resized, since libraries differ in that
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), picture[..., ::-1])
    wanted = prepared(export.original, picture, export.case.size).numpy()
    pixels = samples(tmp_path, export.recognised.letterbox)
    np.testing.assert_allclose(export.recognised.pixels.apply(pixels), wanted, rtol=1e-5, atol=1e-5)


def test_the_served_graph_detects_the_same(export: Export) -> None:
    graph = served_graph(export.network, export.recognised, TOP_K)
    proof = prove(export.network, export.recognised, graph, drawn_samples(export.recognised.letterbox))
    assert proof.holds, proof
    assert proof.detections > 150


def test_decoding_after_the_choice_of_the_best_changes_nothing(export: Export) -> None:
    graph = served_graph(export.network, export.recognised, TOP_K)
    late = decode_late(graph)
    softmaxes = [node.output[0] for node in late.graph.node if node.op_type == "Softmax"]
    if "yolo9" in export.case.family:
        assert all(TOP_K in tensor.shape for tensor in measured_tensors(late, softmaxes).values())
    images = drawn_samples(export.recognised.letterbox)[:2]
    [before], [after] = (Runner(model).run(images).values() for model in (graph, late))
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_a_graph_with_the_channels_the_other_way_round_is_refused(export: Export) -> None:
    pixels = export.recognised.pixels
    swapped = dataclasses.replace(pixels, order="rgb" if pixels.order == "bgr" else "bgr")
    graph = served_graph(export.network, dataclasses.replace(export.recognised, pixels=swapped), TOP_K)
    proof = prove(export.network, export.recognised, graph, drawn_samples(export.recognised.letterbox))
    assert not proof.holds
    assert proof.box > 4 * BOX_TOLERANCE
    assert proof.score > 10 * SCORE_TOLERANCE


# A trained YOLOX without decoding


@pytest.fixture(scope="module")
def characters() -> Network:
    """The detector of characters that ddddocr (MIT) carries; the package itself is not imported."""
    package = importlib.util.find_spec("ddddocr")
    if package is None or not package.submodule_search_locations:
        pytest.skip("ddddocr, which carries a trained YOLOX, is not installed")
    [path] = Path(package.submodule_search_locations[0]).rglob("common_det.onnx")
    return prepare(read_network(path), None)


def test_a_trained_yolox_is_recognised_from_its_answers_alone(characters: Network) -> None:
    recognised = recognise(characters, ExportOptions())
    assert (recognised.head.name, recognised.classes, recognised.letterbox.centred) == ("yolox-raw", 1, False)
    assert recognised.pixels == PixelFormat.parse("bgr-0-255")
    assert (characters.height, characters.width, characters.metadata) == (416, 416, {})


def test_a_trained_yolox_finds_the_characters_of_a_drawn_picture(characters: Network, tmp_path: Path) -> None:
    picture = np.full((240, 416, 3), 255, np.uint8)
    places = {"R": (40, 90), "7": (170, 200), "K": (300, 110)}  # left and bottom
    wanted = []
    for letter, (left, bottom) in places.items():
        blank = np.zeros(picture.shape[:2], np.uint8)
        cv2.putText(blank, letter, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 255, 5, cv2.LINE_AA)
        picture[blank > 0] = (180, 40, 20)
        x, y, width, height = cv2.boundingRect(blank)
        wanted.append([x, y, x + width, y + height])
    cv2.imwrite(str(tmp_path / "picture.png"), picture[..., ::-1])
    recognised = recognise(characters, ExportOptions())
    graph = served_graph(characters, recognised, TOP_K)
    pixels = samples(tmp_path, recognised.letterbox)
    proof = prove(characters, recognised, graph, pixels)
    assert proof.holds, proof
    candidates = Runner(graph).run(pixels)["candidates"]
    found = non_maximum_suppression(candidates[0], Thresholds(0.25, 0.45), 100)
    assert len(found) == len(wanted)
    for box, letter in zip(sorted(found[:, :4].tolist()), wanted, strict=True):  # from left to right
        assert overlap(box, letter) > 0.5


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes, x1, y1, x2, y2."""
    width, height = (max(min(a[i + 2], b[i + 2]) - max(a[i], b[i]), 0) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)
