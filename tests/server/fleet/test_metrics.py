"""Metrics of several servers in one text."""

from __future__ import annotations

from triton_yolo.server.fleet.metrics import merged

ONE = """# HELP requests Number of requests
# TYPE requests counter
requests{model="a}b",version="1"} 3
requests{model="c",version="1"} 0
# HELP up Whether it is up
# TYPE up gauge
up 1
"""


def test_each_family_is_there_once_with_the_samples_of_all_servers() -> None:
    assert merged({"0": ONE, "1": ONE.replace("} 3", "} 5")}).splitlines() == [
        "# HELP requests Number of requests",
        "# TYPE requests counter",
        'requests{server="0",model="a}b",version="1"} 3',
        'requests{server="0",model="c",version="1"} 0',
        'requests{server="1",model="a}b",version="1"} 5',
        'requests{server="1",model="c",version="1"} 0',
        "# HELP up Whether it is up",
        "# TYPE up gauge",
        'up{server="0"} 1',
        'up{server="1"} 1',
    ]


def test_what_is_of_no_server_keeps_its_labels() -> None:
    assert merged({"": ONE}) == ONE


def test_a_server_that_tells_nothing_adds_nothing() -> None:
    assert merged({"0": "", "1": "up 1 1700000000\n\n# a comment\n"}) == 'up{server="1"} 1 1700000000\n'


def test_values_that_are_no_numbers_are_kept() -> None:
    text = '# TYPE age summary\nage{quantile="0.5"} NaN\nage{} +Inf\n'
    assert merged({"0": text}).splitlines()[1:] == ['age{server="0",quantile="0.5"} NaN', 'age{server="0"} +Inf']
