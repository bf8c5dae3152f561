"""Verdicts come out in the order of capture, each once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.order import Order


def verdict(number: int) -> Result:
    return Result("a", number, ResultState.LATE)


@given(st.integers(0, 60).flatmap(lambda count: st.permutations(range(count))))
def test_any_order_of_answers_gives_each_number_once_and_in_order(numbers: list[int]) -> None:
    out: list[int] = []
    order = Order(lambda one: out.append(one.number))
    for place, number in enumerate(numbers, 1):
        order.add(verdict(number))
        known = set(numbers[:place])
        first = next(number for number in range(len(numbers) + 1) if number not in known)
        assert out == list(range(first))  # what can be passed on is not held back
        assert order.next == first
    assert out == sorted(numbers)


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(0, 61))
def test_what_has_no_verdict_and_is_nowhere_is_unknown(judged: set[int], present: set[int], end: int) -> None:
    order = Order(lambda one: None)
    for number in judged:
        order.add(verdict(number))
    assert order.unknown(end, present) == sorted(set(range(end)) - judged - present)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_a_second_verdict_on_a_frame_is_an_error(numbers: list[int]) -> None:
    out: list[int] = []
    order, seen = Order(lambda one: out.append(one.number)), set[int]()
    for number in numbers:
        if number in seen:
            with pytest.raises(ValueError, match=f"a second result of frame {number} of a"):
                order.add(verdict(number))
        else:
            order.add(verdict(number))
        seen.add(number)
    assert out == sorted(set(out))
