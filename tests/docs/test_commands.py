"""The commands that the pages show: verbs, options, modules, make targets and extras exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import typer

from tests.conftest import ROOT
from tests.docs.pages import Page, page, pages
from triton_yolo.cli.main import app

OURS = ("bench", "deploy", "training")  # folders whose modules are command lines, each with a function main
OPTION = re.compile(r"(?<=\s)(--?[a-z][a-z-]*)")

every_page = pytest.mark.parametrize("read", pages(), ids=lambda read: read.name)


def calls(read: Page, program: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what is called, a verb or a module, and the options that it is given."""
    for line in read.code():
        for part in re.split(r"&&|[|;]|\s#\s", line):
            found = re.search(rf"(?:^|[\s/]){program}\s+((?:bench )?[a-z][\w.]*)(?=\s|$)(.*)", part)
            if found:
                yield found[1], OPTION.findall(found[2])


def options_of(command: Any) -> set[str]:
    """Return the names of a command's options."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help",
        "-h",
    }


def command_of(module: str) -> Any:
    """Return the command that ``python -m module`` runs."""
    single = typer.Typer()
    single.command()(import_module(module).main)
    return typer.main.get_command(single)


@every_page
def test_every_verb_exists_with_its_options(read: Page) -> None:
    group: Any = typer.main.get_command(app)
    context = group.context_class(group)
    wrong = []
    for verb, options in calls(read, "triton-yolo"):
        words = verb.split()
        command = group.resolve_command(context, words)[1] if words[1:] else group.get_command(context, verb)
        wrong += (
            [verb] if command is None else [f"{verb} {name}" for name in options if name not in options_of(command)]
        )
    assert not wrong


@every_page
def test_every_module_can_be_run_with_its_options(read: Page) -> None:
    wrong = []
    for module, options in calls(read, r"python3? -m"):
        spec = find_spec(module)
        runs = spec is not None and (not spec.submodule_search_locations or find_spec(f"{module}.__main__") is not None)
        if not runs:
            wrong.append(module)
        elif module.split(".")[0] in OURS:
            known = options_of(command_of(f"{module}.__main__" if spec and spec.submodule_search_locations else module))
            wrong += [f"{module} {name}" for name in options if name not in known]
    assert not wrong


@every_page
def test_every_make_target_exists(read: Page) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {target for target, _ in calls(read, "make")} <= set(targets)


@every_page
def test_every_extra_exists(read: Page) -> None:
    section = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    named = re.findall(r"pip install .*?(?:\.|triton-yolo|\.whl)\[([\w,]+)\]", "\n".join(read.code()))
    assert {extra for names in named for extra in names.split(",")} <= extras


def test_the_wheel_that_the_readme_installs_is_of_this_version() -> None:
    [version] = re.findall(r"triton_yolo-([\d.]+)-py3", page("README.md").text)
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    read = Page(
        ROOT / "README.md", "Run `make lint`.\n\n    triton-yolo serve --gpu 1  # --no\n\n```bash\nmake test\n```\n"
    )
    assert list(calls(read, "triton-yolo")) == [("serve", ["--gpu"])]
    assert sorted(calls(read, "make")) == [("lint", []), ("test", [])]
