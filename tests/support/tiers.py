"""The tier of a test, from what it and its fixtures call.

What is called is followed through the names of the functions' code, within the tests, the package and the benchmarks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType

import pytest

UNIT, NETWORKS, SERVER, TOOLS, GPU, CONTAINERS = "unit", "networks", "server", "tools", "gpu", "containers"
FOLLOWED = ("tests.", "triton_yolo.", "bench.", "deploy.")
# A function or class with this name, or a word of a command line: the tier of whoever reaches it.
NAMES = {
    "TritonServer": SERVER,
    "serving": SERVER,
    "serve": SERVER,
    "calibrate": NETWORKS,
    "export": NETWORKS,
    "InferenceSession": NETWORKS,  # of ONNX Runtime
    "compile_model": NETWORKS,  # of OpenVINO
    "PerfAnalyzer": TOOLS,
    "tool": TOOLS,  # looks a program up, or skips the test
    "run_beside": TOOLS,  # runs one of another project's beside the test
    "pip": TOOLS,
    "make": TOOLS,
    "compose_command": TOOLS,
}
FOLDERS = {"gpu": GPU, "containers": CONTAINERS}  # of tests


def tiers(item: pytest.Item) -> set[str]:
    """Return the tiers that a test belongs to, at least one.

    Args:
        item: as pytest has collected it.
    """
    found = {tier for folder, tier in FOLDERS.items() if folder in item.path.parent.parts}
    for function in _functions(item):
        found |= reached(function)
    return found or {UNIT}


def _functions(item: pytest.Item) -> Iterator[FunctionType]:
    """The test's function, and those of the fixtures that it uses."""
    if not isinstance(item, pytest.Function):
        return
    yield item.function
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        yield from (one.func for one in definitions[-1:] if isinstance(one.func, FunctionType))


@cache
def reached(start: FunctionType) -> frozenset[str]:
    """The tiers of what a function calls, and of what that calls."""
    found: set[str] = set()
    waiting: list[FunctionType] = [start]
    seen: set[FunctionType] = set()
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        tiers, called = _direct(function)
        found |= tiers
        waiting += called
    return frozenset(found)


@cache
def _direct(function: FunctionType) -> tuple[frozenset[str], tuple[FunctionType, ...]]:
    """The tiers of what a function itself names, and the functions that it calls."""
    found: set[str] = set()
    called: list[FunctionType] = []
    words = {*_words(function.__code__), *_strings(function.__defaults__), *_strings(function.__kwdefaults__)}
    for word in words:
        value = function.__globals__.get(word, word)
        names = {getattr(base, "__name__", "") for base in getattr(value, "__mro__", [value])} | {word}
        if isinstance(value, str) and "import " in value:  # a program for another interpreter
            names |= set(re.findall(r"\w+", value))
        found |= {NAMES[name] for name in names & set(NAMES)}
        called += _called(value)
    return frozenset(found), tuple(called)


def _called(value: object) -> Iterator[FunctionType]:
    """The functions of a value: itself, or a class's methods; those of other people's packages are not followed."""
    for one in vars(value).values() if isinstance(value, type) else [value]:
        for name in ("__func__", "fget", "func", "__wrapped__"):  # of methods of classes, properties and decorators
            one = getattr(one, name, one)
        if isinstance(one, FunctionType) and one.__module__.startswith(FOLLOWED):
            yield one


def _words(code: CodeType) -> Iterator[str]:
    """Names and strings of a function's code, and of functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _words(constant)
        else:
            yield from _strings(constant)


def _strings(value: object) -> Iterator[str]:
    """A string, or those in a tuple of constants or in the defaults of arguments."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
