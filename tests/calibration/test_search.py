"""Which convolutions stay float: on made-up networks whose answer is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triton_yolo.calibration.layers import Convolution
from triton_yolo.calibration.search import MAX_RETURNS, Search
from triton_yolo.clients.coco import Precision, Result

FLOAT = 0.8  # precision of the float graph


def layers_of(macs: Sequence[int], last: int = 2) -> list[Convolution]:
    """Convolutions with so many multiplications, and some more that are the last."""
    inner = [Convolution(f"conv{i}", f"tensor{i}", each, 9, False) for i, each in enumerate(macs)]
    return inner + [Convolution(f"last{i}", f"feature{i}", 1000, 9, True) for i in range(last)]


class Additive:
    """A network that loses so much precision for each convolution in INT8, whatever the others are.

    Attributes:
        measured: what was measured, in its order.
    """

    def __init__(self, losses: Mapping[str, float], rest: float = 0.0) -> None:
        self.losses, self.rest = losses, rest
        self.measured: list[frozenset[str]] = []

    def precision(self, floats: Collection[str]) -> float:
        return FLOAT - self.rest - sum(loss for name, loss in self.losses.items() if name not in floats)

    def measure(self, floats: Collection[str]) -> Result:
        self.measured.append(frozenset(floats))
        return Result(Precision(self.precision(floats), 0.9), {})


def searched(
    layers: Sequence[Convolution], network: Additive, least: float, noise: Mapping[str, float] | None = None
) -> tuple[Search, frozenset[str] | None]:
    search = Search(layers, least, network.measure)
    found = search.run(noise or {layer.name: network.losses[layer.name] for layer in layers if not layer.last})
    return search, found.floats if found else None


LAST = {"last0", "last1"}
HARMLESS = dict.fromkeys((f"conv{i}" for i in range(40)), 0.0)


@pytest.mark.parametrize(
    "losses",
    [{}, {"conv7": 0.1}, {"conv7": 0.1, "conv20": 0.2, "conv39": 0.05}, {f"conv{i}": 0.02 for i in range(0, 40, 3)}],
    ids=lambda losses: f"{len(losses)} of 40",
)
def test_exactly_the_convolutions_that_lose_precision_stay_float(losses: dict[str, float]) -> None:
    network = Additive(HARMLESS | losses)
    _, floats = searched(layers_of([100 + 7 * i for i in range(40)]), network, 0.99 * FLOAT)
    assert floats == LAST | set(losses)


def test_a_convolution_that_loses_nothing_but_is_noisy_is_taken_back() -> None:
    network = Additive(HARMLESS | {"conv3": 0.1})
    noise = HARMLESS | {"conv3": 0.5, "conv8": 0.9, "conv30": 0.7}
    search, floats = searched(layers_of([100] * 40), network, 0.99 * FLOAT, noise)
    assert floats == LAST | {"conv3"}
    assert any({"conv3", "conv8", "conv30"} <= step.floats for step in search.path)


def test_of_two_that_lose_as_much_the_one_with_fewer_multiplications_stays_float() -> None:
    network = Additive({"conv0": 0.01, "conv1": 0.01, "conv2": 0.0})
    _, floats = searched(layers_of([900, 100, 500]), network, FLOAT - 0.015)
    assert floats == LAST | {"conv1"}


def test_the_last_convolutions_are_float_in_everything_that_is_measured() -> None:
    network = Additive(HARMLESS | {"conv1": 0.3})
    searched(layers_of([100] * 40), network, 0.99 * FLOAT)
    assert all(floats >= LAST for floats in network.measured)


def test_where_nothing_does_there_is_no_answer_and_all_in_float_was_tried() -> None:
    network = Additive(HARMLESS, rest=0.1)
    search, floats = searched(layers_of([100] * 40), network, 0.99 * FLOAT)
    assert floats is None
    assert network.measured[-1] == LAST | set(HARMLESS)
    assert not any(search.enough(step) for step in search.path)


def test_where_all_in_float_is_just_enough_that_is_the_answer() -> None:
    network = Additive(dict.fromkeys(HARMLESS, 0.1))
    _, floats = searched(layers_of([100] * 40), network, FLOAT)
    assert floats == LAST | set(HARMLESS)


def test_a_network_of_last_convolutions_alone_is_measured_once() -> None:
    network = Additive({})
    search = Search(layers_of([]), 0.5, network.measure)
    step = search.run({})
    assert step is not None
    assert (step.floats, network.measured) == (LAST, [LAST])


@pytest.mark.parametrize("bad", [*range(12), *range(12, 200, 17), 199, 200])
def test_few_graphs_are_measured(bad: int) -> None:
    network = Additive({f"conv{i}": 0.1 if i < bad else 0.0 for i in range(200)})
    search, floats = searched(layers_of([100] * 200), network, 0.99 * FLOAT)
    assert floats is not None
    assert len(floats - LAST) == bad
    # Doubling until enough, halving until exact, and the layers that are tried once more.
    assert len(search.path) <= 2 * math.log2(200) + 2 + MAX_RETURNS


def test_the_path_is_what_was_measured_in_its_order_with_its_precision() -> None:
    network = Additive(HARMLESS | {"conv1": 0.3, "conv2": 0.004})
    search, _ = searched(layers_of([100] * 40), network, 0.99 * FLOAT)
    assert [step.floats for step in search.path] == network.measured
    for step in search.path:
        assert step.result.overall.ap50_95 == network.precision(step.floats)
        assert search.enough(step) == (network.precision(step.floats) >= 0.99 * FLOAT)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1000), st.sampled_from([0.0, 0.001, 0.004, 0.02, 0.1])), max_size=9))
def test_the_answer_is_enough_and_nothing_more_can_be_taken_back(made: list[tuple[int, float]]) -> None:
    layers = layers_of([macs for macs, _ in made])
    network = Additive({f"conv{i}": loss for i, (_, loss) in enumerate(made)})
    least = 0.99 * FLOAT
    _, floats = searched(layers, network, least)
    assert floats is not None
    assert network.precision(floats) >= least
    for name in floats - LAST:
        assert network.precision(floats - {name}) < least


def test_where_losses_are_far_apart_no_choice_has_fewer_multiplications_in_float() -> None:
    layers = layers_of([310, 20, 450, 75, 120, 90, 260, 15])
    network = Additive({f"conv{i}": loss for i, loss in enumerate([0.0, 0.04, 0.0001, 0.0, 0.03, 0.001, 0.0002, 0.05])})
    _, floats = searched(layers, network, 0.99 * FLOAT)

    macs = {layer.name: layer.macs for layer in layers}
    inner = [layer.name for layer in layers if not layer.last]
    choices = (set(c) | LAST for n in range(len(inner) + 1) for c in itertools.combinations(inner, n))
    best = min((c for c in choices if network.precision(c) >= 0.99 * FLOAT), key=lambda c: sum(macs[n] for n in c))
    assert floats == best == LAST | {"conv1", "conv4", "conv7"}
