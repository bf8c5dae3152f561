"""What the project's modules import, read from their source, and which distributions that comes from."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = "triton-yolo"
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = ("triton_yolo", "deploy", "bench", "training")  # importable at the top of a checkout


def source(module: str) -> Path | None:
    """The file of one of the project's modules; None for others."""
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports(path: Path, *, inner: bool = True, typing_only: bool = False) -> Iterator[str]:
    """Absolute names that a file imports.

    Args:
        path: of the file.
        inner: those in functions too.
        typing_only: those under ``if TYPE_CHECKING`` too.
    """
    for name, in_function, for_types in _all_imports(path):
        if (inner or not in_function) and (typing_only or not for_types):
            yield name


@cache
def _all_imports(path: Path) -> tuple[tuple[str, bool, bool], ...]:
    """Each name, and whether it is imported in a function, and under ``if TYPE_CHECKING``."""
    found: list[tuple[str, bool, bool]] = []
    waiting: list[tuple[ast.AST, bool, bool]] = [(ast.parse(path.read_text()), False, False)]
    while waiting:
        node, in_function, for_types = waiting.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, in_function, for_types) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            # `from triton_yolo import clients` imports triton_yolo.clients.
            found += [(f"{node.module}.{alias.name}", in_function, for_types) for alias in node.names]
        in_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        typed = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for field, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else ():
                if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):  # no expression imports anything
                    waiting.append((child, in_function, for_types or (typed and field == "body")))
    return tuple(found)


def below(module: str, *, inner: bool) -> dict[str, Path]:
    """The file of each of the project's modules that one of them imports, and itself.

    Args:
        module: where to start.
        inner: follow imports in functions too.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = source(name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting.append(name.rpartition(".")[0])  # importing a module imports its package
        for imported in imports(path, inner=inner):
            if imported.partition(".")[0] in OURS:
                waiting += [imported, imported.rpartition(".")[0]]  # the name may be a module's, or in it
    return found


def third_party(module: str, *, inner: bool) -> dict[str, str]:
    """Top-level names of other people's packages that a module and those below it import, and where.

    Args:
        module: one of the project's.
        inner: count imports in functions too.
    """
    found = {}
    for path in below(module, inner=inner).values():
        for name in imports(path, inner=inner):
            top = name.partition(".")[0]
            if top not in (*OURS, *sys.stdlib_module_names):
                found[top] = str(path)
    return found


def declared(extras: set[str]) -> list[str]:
    """What pyproject.toml lists for the project and for some of its extras."""
    optional = DECLARED["optional-dependencies"]
    return [*DECLARED["dependencies"], *(line for extra in extras - {""} for line in optional[extra])]


def closure(wanted: list[str]) -> set[str]:
    """The names of distributions that requirements install, with all that those require, as installed here.

    Args:
        wanted: requirements such as "tritonclient[grpc]" or "triton-yolo[server]".
    """
    found: set[str] = set()
    waiting, seen = [Requirement(line) for line in wanted], set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), {"", *requirement.extras}
        if (name, frozenset(extras)) in seen:
            continue
        seen.add((name, frozenset(extras)))
        found.add(name)
        if name == PROJECT:  # as declared now; what is installed may be older
            waiting += map(Requirement, declared(extras))
            continue
        for deeper in map(Requirement, requires(name) or []):
            marker = deeper.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(deeper)
    return found


@cache
def providers() -> dict[str, set[str]]:
    """The distributions that provide each top-level name."""
    return {name: set(map(canonicalize_name, homes)) for name, homes in packages_distributions().items()}


def missing(names: dict[str, str], installed: set[str]) -> list[str]:
    """Names that no installed distribution provides, and where they are imported."""
    return [f"{path} imports {name}" for name, path in names.items() if not providers().get(name, set()) & installed]
