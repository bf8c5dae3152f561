"""The narrowest cut through a graph."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import pytest
from onnx import parser

from triton_yolo.graphs.cuts import NoCut, narrowest_cut

GRAPH = """<ir_version: 10, opset_import: ["" : 20]>
net (float[N, 3] images) => (float[N, 3] answer)
{
    a = Relu (images)
    b = Relu (a)
    c = Relu (a)
    d = Add (b, c)
    e = Relu (d)
    answer = Add (e, b)
}"""


def cut(widths: Mapping[str, int], above: str = "a", below: str = "answer") -> list[str]:
    model: onnx.ModelProto = parser.parse_model(GRAPH)
    return narrowest_cut(model, {above}, {below}, widths.get)


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ({"a": 5, "b": 9, "c": 9, "d": 9, "e": 9}, ["a"]),
        ({"a": 9, "b": 2, "c": 3, "d": 9, "e": 9}, ["b", "c"]),
        ({"a": 9, "b": 2, "c": 9, "d": 3, "e": 9}, ["b", "d"]),
        ({"a": 9, "b": 2, "c": 9, "d": 3, "e": 3}, ["b", "e"]),  # the last of those that are alike
        ({"a": 9, "b": 9}, ["a"]),  # what has no width is not cut
    ],
    ids=str,
)
def test_the_fewest_bytes_are_cut(widths: Mapping[str, int], expected: list[str]) -> None:
    assert cut(widths) == expected


def test_a_tensor_that_both_halves_read_is_counted_once() -> None:
    assert cut({"a": 9, "b": 5, "c": 9, "d": 1, "e": 9}) == ["b", "d"]
    assert cut({"a": 5, "b": 5, "c": 9, "d": 1, "e": 9}) == ["a"]


def test_nothing_goes_back_from_the_second_half() -> None:
    # Through c alone would be 1, with b made behind it; but b is read by d, which would then lie before c.
    assert cut({"b": 100, "c": 1, "d": 100, "e": 1}, above="c") == ["b", "e"]


@pytest.mark.parametrize(
    ("widths", "above", "below"),
    [({}, "a", "answer"), ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, "d", "b")],
    ids=["no tensor may be cut", "the second half makes what the first one needs"],
)
def test_where_there_is_no_cut_that_is_said(widths: Mapping[str, int], above: str, below: str) -> None:
    with pytest.raises(NoCut):
        cut(widths, above, below)
