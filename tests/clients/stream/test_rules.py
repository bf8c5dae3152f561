"""Rules: which detections count, which frames fail by them, and what a line's file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.stream.results import Found, detections, inspected, late, lost, one
from tests.docs.pages import page
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.frames import Result
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.line import read_line
from triton_yolo.clients.stream.rules import Motion, Rule, VerdictSettings, matches
from triton_yolo.clients.stream.sinks.settings import LogSettings, RecordsSettings
from triton_yolo.clients.stream.strict import Strict
from triton_yolo.clients.stream.verdict import Verdict

SQUARE = ((20, 20), (80, 20), (80, 80), (20, 80))
L_SHAPE = ((0, 0), (100, 0), (100, 20), (20, 20), (20, 100), (0, 100))


@pytest.mark.parametrize(
    ("rule", "found", "counts"),
    [
        ({}, [], []),
        ({}, [one(), one("spur", 0.01)], [True, True]),
        # Scores: what lies on the limit counts, although 0.9 is no float32.
        ({"score": 0.0}, [one(score=0.0), one(score=1.0)], [True, True]),
        ({"score": 1.0}, [one(score=1.0), one(score=0.99999)], [True, False]),
        ({"score": 0.9}, [one(score=0.9), one(score=0.8999)], [True, False]),
        # Classes.
        ({"classes": ["short"]}, [one("open"), one("short")], [False, True]),
        ({"classes": ["short", "open"]}, [one("open"), one("short"), one("spur")], [True, True, False]),
        # Sizes: the longer side.
        ({"size": 10}, [one(side=10), one(side=9.9)], [True, False]),
        ({"size": 10}, [("open", 0.9, (0, 0, 2, 10)), ("open", 0.9, (0, 0, 10, 2))], [True, True]),
        ({"size": 0}, [one(side=0)], [True]),
        # Zones: the centre, and the edge belongs to it.
        ({"zone": SQUARE}, [one(x=50), one(x=10), one(x=20, y=20), one(x=80, y=50)], [True, False, True, True]),
        ({"zone": SQUARE}, [one(x=15, side=100)], [False]),
        ({"zone": SQUARE[::-1]}, [one(x=50), one(x=10)], [True, False]),
        ({"zone": L_SHAPE}, [one(x=50, y=50), one(x=10, y=90), one(x=90, y=10)], [False, True, True]),
        ({"zone": SQUARE}, [], []),
        # All at once.
        (
            {"classes": ["open"], "score": 0.5, "size": 10, "zone": SQUARE},
            [one(), one("short"), one(score=0.4), one(side=5), one(x=90)],
            [True, False, False, False, False],
        ),
    ],
)
def test_what_counts_by_a_rule(rule: dict[str, Any], found: list[Found], counts: list[bool]) -> None:
    assert matches(Rule.model_validate(rule), detections(*found)) == counts


@pytest.mark.parametrize(
    ("rules", "result", "verdict", "why", "defects"),
    [
        # Without rules, whatever is detected is a defect.
        ([], inspected(0), "pass", "", 0),
        ([], inspected(0, one(score=0.01)), "fail", "1 defect", 1),
        ([], inspected(0, one(), one("spur")), "fail", "2 defects", 2),
        # With rules, what none of them looks for is none.
        ([{"classes": ["short"]}], inspected(0, one("open")), "pass", "", 0),
        ([{"classes": ["short"]}], inspected(0, one("open"), one("short")), "fail", "1 short", 1),
        ([{"classes": ["short"], "name": "bridge"}], inspected(0, one("short")), "fail", "1 bridge", 1),
        # How many it takes.
        ([{"count": 2}], inspected(0, one()), "pass", "", 0),
        ([{"count": 2}], inspected(0, one(), one()), "fail", "2 defects", 2),
        # Any rule fails a frame; a detection of two of them is one defect.
        (
            [{"classes": ["open"]}, {"score": 0.5}],
            inspected(0, one("open"), one("spur"), one("spur", 0.4)),
            "fail",
            "1 open; 2 defects",
            2,
        ),
        # Rules for other cameras do not count; a camera without one of its own is judged as without rules.
        ([{"cameras": ["side"], "score": 0.95}], inspected(0, one()), "fail", "1 defect", 1),
        ([{"cameras": ["side", "top"], "score": 0.95}], inspected(0, one()), "pass", "", 0),
        ([{"cameras": ["side"]}, {"score": 0.95}], inspected(0, one()), "pass", "", 0),
        # In how many frames of a board is no question of one frame.
        ([{"frames": 3}], inspected(0, one()), "fail", "1 defect", 1),
        # What was not inspected is never good.
        ([], late(0), "not inspected", "late", None),
        ([{"score": 1}], lost(0), "not inspected", "source lost", None),
    ],
)
def test_the_verdict_on_a_frame(
    rules: list[dict[str, Any]], result: Result, verdict: str, why: str, defects: int | None
) -> None:
    settings = VerdictSettings.model_validate({"rules": rules, "boards": "motion"})

    judged = Judge(settings).frame(result)

    assert (judged.verdict, judged.why) == (Verdict(verdict), why)
    assert (None if judged.defects is None else len(judged.defects)) == defects


def test_the_defects_of_a_frame_are_those_detections_that_count() -> None:
    settings = VerdictSettings.model_validate({"rules": [{"classes": ["short"]}]})

    judged = Judge(settings).frame(inspected(0, one("open", 0.9), one("short", 0.8), one("spur", 0.7)))

    assert judged.defects is not None
    assert judged.defects.as_dict() == detections(one("short", 0.8)).as_dict()


@pytest.mark.parametrize(
    ("verdict", "where", "what"),
    [
        ("{rules: [{score: 2}]}", "verdict.rules[0].score", "less than or equal to 1"),
        ("{rules: [{score: -0.1}]}", "verdict.rules[0].score", "greater than or equal to 0"),
        ("{rules: [{count: 0}]}", "verdict.rules[0].count", "greater than or equal to 1"),
        ("{rules: [{klass: a}]}", "verdict.rules[0].klass", "unknown key; there are name, cameras, classes"),
        ("{rules: [{zone: [[0, 0], [1, 1]]}]}", "verdict.rules[0].zone", "at least 3"),
        ("{rules: [{zone: [[0, 0], [1, 1], [2, 2]]}]}", "verdict.rules[0].zone", "the polygon has no inside"),
        ("{rules: [{zone: [[0, 0], [1, .nan], [2, 2]]}]}", "verdict.rules[0].zone[1][1]", "finite"),
        ("{rules: [{cameras: [b]}]}", "", "verdict.rules[0].cameras: there is no camera b"),
        ("{boards: belt}", "verdict.boards", "'frame', 'motion' or 'trigger'"),
        ("{bords: frame}", "verdict.bords", "unknown key; there are rules, boards"),
        ("{motion: {level: 1}}", "verdict.motion.level", "unknown key; there are threshold, settle"),
        ("{rules: [{frames: 2}]}", "verdict", "rules[0].frames: 2 frames are more than the 1 of a board"),
        ("{boards: trigger, frames_per_board: 2, min_frames: 3}", "verdict", "3 frames are more than the 2 of a board"),
        ("{frames_per_board: 3}", "verdict", "need boards: motion or boards: trigger"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(tmp_path: Path, verdict: str, where: str, what: str) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(f"cameras: [{{name: a, uri: 'synthetic:photo'}}]\nverdict: {verdict}\n")

    with pytest.raises(LineError) as caught:
        read_line(file)

    assert str(caught.value).startswith(f"{file}: {where}")
    assert what in str(caught.value)


@pytest.mark.parametrize("example", page("docs/verdicts.md").fenced("yaml"))
def test_what_the_page_on_verdicts_shows_as_files_can_be_read(tmp_path: Path, example: str) -> None:
    (tmp_path / "line.yaml").write_text(example)

    line = read_line(tmp_path / "line.yaml")

    assert line.verdict.boards == "motion"


@pytest.mark.parametrize("settings", [Rule, VerdictSettings, Motion, RecordsSettings, LogSettings])
def test_the_page_on_verdicts_names_every_setting(settings: type[Strict]) -> None:
    text = page("docs/verdicts.md").text
    assert not [name for name in settings.model_fields if name != "kind" and f"`{name}`" not in text]
