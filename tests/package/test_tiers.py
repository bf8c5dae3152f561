"""Tests get their tiers from what they call."""

from __future__ import annotations

from functools import cached_property

import pytest

from tests.deploy.conftest import tool
from tests.support.tiers import GPU, NETWORKS, SERVER, TOOLS, UNIT, reached, tiers
from triton_yolo.files import write_whole
from triton_yolo.graphs.runner import Runner
from triton_yolo.server.demo import main as demo


def starts_a_command() -> list[str]:
    return ["triton-yolo", "serve"]


def by_default(program: tuple[str, ...] = ("-m", "triton_yolo", "serve")) -> tuple[str, ...]:
    return program


def in_a_function() -> object:
    def inner() -> object:
        return Holder().session

    return inner


class Holder:
    @cached_property
    def session(self) -> object:
        return Runner


def looks_a_program_up() -> str:
    return tool("nginx", "apt-get install nginx-light")


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (write_whole, set()),
        (starts_a_command, {SERVER}),
        (by_default, {SERVER}),
        (demo, {SERVER}),
        (in_a_function, {NETWORKS}),
        (looks_a_program_up, {TOOLS}),
    ],
)
def test_a_function_reaches(function: object, wanted: set[str]) -> None:
    assert reached(function) >= wanted  # type: ignore[arg-type]  # each is a function
    assert bool(reached(function)) == bool(wanted)  # type: ignore[arg-type]


def test_every_test_has_a_tier_and_no_unit_test_has_another(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        found = tiers(item)
        assert found == {UNIT} or UNIT not in found
        assert not found - {mark.name for mark in item.iter_markers()}
        assert ("gpu" in item.path.parts) <= (GPU in found)


def test_a_test_with_a_server_s_fixture_is_of_the_server_s_tier(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        if isinstance(item, pytest.Function) and {"server", "float_server"} & set(item.fixturenames):
            assert SERVER in tiers(item), item.nodeid
