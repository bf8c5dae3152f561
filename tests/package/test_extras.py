"""Each verb imports what its extra installs, and the client what is installed without one."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from triton_yolo.cli.main import GPU_PACKAGES, VERBS

PROJECT = "triton-yolo"
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Imported where something is asked for that the verb's extra does not stand for; each says how it is installed.
ELSEWHERE = {
    *GPU_PACKAGES,
    "tensorrt",
    "triton_python_backend_utils",  # in Triton's own processes
}


def source(module: str) -> Path | None:
    """The file of one of the project's modules; None for others."""
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports(path: Path, *, inner: bool) -> Iterator[str]:
    """Absolute names that a file imports.

    Args:
        path: of the file.
        inner: those in functions too.
    """
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not inner:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def third_party(module: str, *, inner: bool) -> dict[str, str]:
    """Top-level names of other people's packages that a module and the project's modules below it import, and where."""
    found: dict[str, str] = {}
    waiting, seen = [module], {module}
    while waiting:
        parents = waiting.pop().split(".")
        for depth in range(1, len(parents) + 1):
            path = source(".".join(parents[:depth]))
            for name in imports(path, inner=inner) if path else ():
                top = name.partition(".")[0]
                if top in ("triton_yolo", "bench", "deploy"):
                    if source(name) and name not in seen:
                        seen.add(name)
                        waiting.append(name)
                elif top not in sys.stdlib_module_names:
                    found.setdefault(top, str(path))
    return found


def declared(extras: set[str]) -> list[str]:
    """What pyproject.toml lists for the project and for some of its extras."""
    return [
        *DECLARED["dependencies"],
        *(line for one in extras if one for line in DECLARED["optional-dependencies"][one]),
    ]


@cache
def distributions(extra: str) -> set[str]:
    """What an extra installs, and what that requires, as far as it is installed here."""
    found: set[str] = set()
    waiting, seen = [Requirement(f"{PROJECT}[{extra}]" if extra else PROJECT)], set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if (name, frozenset(extras)) in seen:
            continue
        seen.add((name, frozenset(extras)))
        found.add(name)
        for line in requires(name) or [] if name != PROJECT else declared(extras):
            deeper = Requirement(line)
            if (
                name == PROJECT
                or deeper.marker is None
                or any(deeper.marker.evaluate({"extra": one}) for one in extras)
            ):
                waiting.append(deeper)
    return found


@cache
def providers() -> dict[str, set[str]]:
    """The distributions that provide each top-level name."""
    return {name: set(map(canonicalize_name, homes)) for name, homes in packages_distributions().items()}


def missing(names: dict[str, str], installed: set[str]) -> list[str]:
    """Names that no installed distribution provides, and where they are imported."""
    return [f"{path} imports {name}" for name, path in names.items() if not providers().get(name, set()) & installed]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_with_its_extra(verb: str) -> None:
    module, extra, _ = VERBS[verb]
    assert not missing(third_party(module, inner=False), distributions(extra))


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_imports_later_comes_with_its_extra_or_is_known(verb: str) -> None:
    module, extra, _ = VERBS[verb]
    names = third_party(module, inner=True)
    later = {name: path for name, path in names.items() if name not in ELSEWHERE}
    assert not missing(later, distributions(extra) | distributions("draw"))


@pytest.mark.parametrize("module", ["triton_yolo.clients", "triton_yolo.clients.commands.detect"])
def test_the_client_loads_without_an_extra(module: str) -> None:
    assert not missing(third_party(module, inner=False), distributions(""))


def test_the_server_loads_its_runtimes_with_its_extra() -> None:
    folders = sorted((ROOT / "server" / "runtimes").glob("*/*.py"))
    modules = [f"triton_yolo.{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}" for path in folders]
    for module in modules:
        names = third_party(module.removesuffix(".__init__"), inner=True)
        later = {name: path for name, path in names.items() if name not in ELSEWHERE}
        assert not missing(later, distributions("server")), module


def test_every_extra_of_a_verb_is_declared() -> None:
    assert {extra for _, extra, _ in VERBS.values()} <= set(DECLARED["optional-dependencies"])


@pytest.mark.parametrize("extra", DECLARED["optional-dependencies"])
def test_what_an_extra_names_has_a_version_in_the_constraints(extra: str) -> None:
    if extra == "train":
        pytest.skip("training's versions are the container's")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    wanted = {canonicalize_name(Requirement(line).name) for line in declared({extra})} - {PROJECT}
    assert wanted <= pinned
