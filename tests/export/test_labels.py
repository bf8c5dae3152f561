"""Class names from files and from what exporters leave in the ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from triton_yolo.export.errors import ExportError
from triton_yolo.export.labels import labels_in, read_labels


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> str:
    """The message, which is one line and names the file."""
    with pytest.raises(ExportError) as caught:
        read_labels(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["labels.txt", "coco.names", "labels"])
@pytest.mark.parametrize(
    ("content", "labels"),
    [
        pytest.param("open\nshort\n", ("open", "short"), id="a name a line"),
        pytest.param("open\nshort", ("open", "short"), id="no newline at the end"),
        pytest.param("open", ("open",), id="one class"),
        pytest.param("\ufeffopen\nshort\n", ("open", "short"), id="a byte order mark"),
        pytest.param("open\r\nshort\r\n", ("open", "short"), id="lines of Windows"),
        pytest.param("open\nshort\n\n  \n\n", ("open", "short"), id="blank last lines"),
        pytest.param("\topen \nshort circuit  \n", ("open", "short circuit"), id="spaces around and within"),
        pytest.param("défaut\n短路\n", ("défaut", "短路"), id="not ASCII"),
        pytest.param("0: open\n- short\n", ("0: open", "- short"), id="YAML's signs are a text file's own"),
    ],
)
def test_a_text_file_has_a_name_a_line(tmp_path: Path, name: str, content: str, labels: tuple[str, ...]) -> None:
    assert read_labels(written(tmp_path, name, content)) == labels


@pytest.mark.parametrize("name", ["data.yaml", "data.yml", "DATA.YAML"])
@pytest.mark.parametrize(
    ("content", "labels"),
    [
        pytest.param("- open\n- short\n", ("open", "short"), id="a list"),
        pytest.param("0: open\n1: short\n", ("open", "short"), id="a mapping"),
        pytest.param("1: short\n0: open\n", ("open", "short"), id="a mapping out of order"),
        pytest.param("'0': open\n'1': short\n", ("open", "short"), id="numbers as text"),
        pytest.param("names: [open, short]\n", ("open", "short"), id="names, a list"),
        pytest.param(
            "path: ../pcb\ntrain: images/train\nnc: 2\nnames:\n  0: open\n  1: short\n",
            ("open", "short"),
            id="a YOLO data set",
        ),
        pytest.param("classes: [open, short]\n", ("open", "short"), id="classes"),
        pytest.param("\ufeffnames:\r\n- open\r\n- short\r\n\r\n", ("open", "short"), id="mark and lines of Windows"),
        pytest.param("- 1\n- 2\n", ("1", "2"), id="names that are numbers"),
        pytest.param(
            "names:\n" + "".join(f"  {i}: class {i}\n" for i in range(12)),
            tuple(f"class {i}" for i in range(12)),
            id="ten comes after nine",
        ),
    ],
)
def test_a_yaml_file_has_a_list_or_a_mapping(tmp_path: Path, name: str, content: str, labels: tuple[str, ...]) -> None:
    assert read_labels(written(tmp_path, name, content)) == labels


@pytest.mark.parametrize("indent", [None, 2, "\t"], ids=["one line", "spaces", "tabs"])
@pytest.mark.parametrize(
    "content",
    [
        ["open", "short"],
        {"0": "open", "1": "short"},
        {"1": "short", "0": "open"},
        {"names": ["open", "short"]},
        {"names": {"0": "open", "1": "short"}},
    ],
    ids=["list", "mapping", "mapping out of order", "names list", "names mapping"],
)
def test_a_json_file_has_a_list_or_a_mapping(tmp_path: Path, content: object, indent: int | str | None) -> None:
    path = written(tmp_path, "labels.json", json.dumps(content, indent=indent))
    assert read_labels(path) == ("open", "short")


@pytest.mark.parametrize("ascii_only", [True, False])
def test_names_of_any_language_come_out_of_json_as_they_went_in(tmp_path: Path, ascii_only: bool) -> None:
    names = ("défaut", "短路", "\U0001f600")  # the last takes two escapes
    assert read_labels(written(tmp_path, "labels.json", json.dumps(names, ensure_ascii=ascii_only))) == names


@pytest.mark.parametrize("name", ["on", "off", "yes", "no", "y", "007", "1_000", "1.50", "1e3", "2024-01-01", "12:30"])
def test_a_name_in_yaml_stays_the_text_that_it_is(tmp_path: Path, name: str) -> None:
    assert read_labels(written(tmp_path, "data.yaml", f"names:\n  0: {name}\n  1: other\n")) == (name, "other")


@pytest.mark.parametrize(
    "content",
    ['{"names": {"0": "open", "2": "spur"}}', '{"names": {"1": "open", "2": "short"}}', '{"0": "open", "2": "spur"}'],
    ids=["one missing", "from one", "without names"],
)
@pytest.mark.parametrize("name", ["data.yaml", "data.json"])
def test_gaps_in_the_numbering_are_refused(tmp_path: Path, content: str, name: str) -> None:
    assert "hold no names" in refusal(written(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("labels.txt", "open\n\nshort\n", 2),
        ("labels.txt", "\nopen\n", 1),
        ("labels.txt", "open\nshort\n  \t\nspur\n", 3),
        ("data.yaml", "- open\n- ''\n", 2),
        ("data.yaml", "- open\n-\n- spur\n", 2),
        ("data.json", '["", "short"]', 1),
    ],
)
def test_an_empty_name_is_refused_with_its_line(tmp_path: Path, name: str, content: str, line: int) -> None:
    assert refusal(written(tmp_path, name, content)).endswith(f"have an empty line, number {line}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "open\nshort\nopen\n"),
        ("labels.txt", "open\nshort\n open \n"),
        ("data.yaml", "- open\n- short\n- open\n"),
        ("data.yaml", "names: {0: open, 1: open}"),
        ("data.json", '["open", "open"]'),
    ],
)
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, name: str, content: str) -> None:
    assert "name 'open' twice" in refusal(written(tmp_path, name, content))


@pytest.mark.parametrize("name", ["labels.txt", "data.yaml"])
@pytest.mark.parametrize("content", ["", "\n\n", "   ", "\ufeff"], ids=["empty", "newlines", "spaces", "only a mark"])
def test_a_file_without_names_is_refused(tmp_path: Path, name: str, content: str) -> None:
    assert "hold no names" in refusal(written(tmp_path, name, content))


@pytest.mark.parametrize(
    "content",
    [
        "only text",
        "5",
        "[]",
        "{}",
        "names:",
        "names: open",
        "names: []",
        "path: ../pcb\ntrain: images",
        "open: 0\nshort: 1",
        "!!python/object/apply:os.getcwd []",
    ],
)
def test_yaml_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    assert "hold no names" in refusal(written(tmp_path, "data.yaml", content))


@pytest.mark.parametrize(
    "content",
    ["names: [open", "\tnames: [open]", "a: 1\n---\nb: 2", "&loop\nnames: *loop", "- a: b: c", "[" * 5000],
    ids=["unclosed", "tab", "two documents", "within itself", "two colons", "too deep"],
)
def test_yaml_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    assert "are not valid YAML" in refusal(written(tmp_path, "data.yaml", content))


@pytest.mark.parametrize("content", ['["open", "short"', '["open" "short"]', "open", '"open"', "{'names': }"])
def test_json_that_is_broken_or_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    refusal(written(tmp_path, "labels.json", content))


@pytest.mark.parametrize("name", ["labels.txt", "data.yaml", "data.json"])
@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\x00\x00", "open\nshort\n".encode("utf-16"), "défaut\n".encode("latin-1"), b"\x80\x02}q\x00."],
    ids=["a picture", "UTF-16", "Latin-1", "a pickle"],
)
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    assert "are not text" in refusal(written(tmp_path, name, content))


@pytest.mark.parametrize("name", ["labels.txt", "data.yaml"])
def test_zeros_are_no_names(tmp_path: Path, name: str) -> None:
    refusal(written(tmp_path, name, b"\x00\x01\x00\x00"))


@pytest.mark.parametrize("name", ["labels.txt", "data.yaml"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    assert "No such file" in refusal(tmp_path / name)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("key", ["names", "classes", "labels"])
@pytest.mark.parametrize(
    ("value", "labels"),
    [
        pytest.param(str({0: "open", 1: "short"}), ("open", "short"), id="as Ultralytics writes it"),
        pytest.param(repr({0: "Dave's", 1: 'a "b"'}), ("Dave's", 'a "b"'), id="quotes within"),
        pytest.param('{"0": "open", "1": "short"}', ("open", "short"), id="JSON with string keys"),
        pytest.param('{"1": "short", "0": "open"}', ("open", "short"), id="out of order"),
        pytest.param('["open", "short"]', ("open", "short"), id="a JSON list"),
        pytest.param("['open', 'short']", ("open", "short"), id="a Python list"),
        pytest.param('["\\ud83d\\ude00"]', ("\U0001f600",), id="escapes"),
        pytest.param(str(dict(enumerate(map(str, range(12))))), tuple(map(str, range(12))), id="twelve"),
    ],
)
def test_the_exporters_names_are_found(key: str, value: str, labels: tuple[str, ...]) -> None:
    assert labels_in({"task": "detect", key: value}) == labels


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"stride": "32", "task": "detect"},
        {"names": ""},
        {"names": "{}"},
        {"names": "[]"},
        {"names": "open, short"},
        {"names": "'open'"},
        {"names": "3"},
        {"names": "{0: 'open', 2: 'spur'}"},
        {"names": "{1: 'open', 2: 'short'}"},
        {"names": "{0: open}"},
        {"names": "__import__('os').getcwd()"},
        {"names": "{0: 'open'"},
        {"names": "{{}: 'open'}"},
        {"names": "[" * 100_000},
    ],
    ids=lambda metadata: str(metadata)[:40],
)
def test_metadata_without_names_gives_none(metadata: dict[str, str]) -> None:
    assert labels_in(metadata) is None


def test_names_go_before_the_other_keys_and_a_broken_one_is_passed_over() -> None:
    assert labels_in({"labels": "['c']", "classes": "['b']", "names": "['a']"}) == ("a",)
    assert labels_in({"labels": "['c']", "classes": "['b']", "names": "?"}) == ("b",)
