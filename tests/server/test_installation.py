"""What an installed tritonserver needs, and what is said where it is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from triton_yolo.server import installation
from triton_yolo.server.errors import ServerError
from triton_yolo.server.installation import find_installation, find_libpython, link_backends

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY = f"libpython{VERSION}.so.1.0"


def test_this_installation_is_complete() -> None:
    found = find_installation()
    assert os.access(found.binary, os.X_OK)
    assert os.access(found.stub, os.X_OK)
    assert found.stub.parent.name == VERSION
    assert (found.libraries[0] / LIBRARY).is_file()


def test_the_backend_folder_is_made_of_links(tmp_path: Path) -> None:
    link_backends(find_installation(), None, tmp_path)
    names = {path.name for path in (tmp_path / "python").iterdir()}
    assert names == {"libtriton_python.so", "triton_python_backend_utils.py", "triton_python_backend_stub"}
    for path in (tmp_path / "python").iterdir():
        assert path.is_symlink()
        assert path.is_file()


def test_other_backends_are_linked_beside_it(tmp_path: Path) -> None:
    library = tmp_path / "more" / "dali" / "libtriton_dali.so"
    library.parent.mkdir(parents=True)
    library.touch()
    (tmp_path / "more" / "notes").mkdir()
    assert link_backends(find_installation(), tmp_path / "more", tmp_path / "backends") == ["dali"]
    assert (tmp_path / "backends" / "dali" / "libtriton_dali.so").resolve() == library
    assert sorted(path.name for path in (tmp_path / "backends").iterdir()) == ["dali", "python"]


def test_a_folder_without_backends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    with pytest.raises(ServerError, match="holds no backends of Triton: --backends wants a folder with dali/"):
        link_backends(find_installation(), tmp_path / "more", tmp_path / "backends")


def test_this_interpreter_comes_first_on_the_servers_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/somewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/else")
    environment = find_installation().environment()
    assert environment["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/somewhere"
    assert environment["LD_LIBRARY_PATH"].endswith(f"{os.pathsep}/else")
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert "" not in find_installation().environment()["LD_LIBRARY_PATH"].split(os.pathsep)


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServerError, match="nvidia-pytriton is not installed: "):
        find_installation()


def test_a_python_that_the_package_has_no_stub_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "sys", SimpleNamespace(version_info=SimpleNamespace(major=3, minor=99)))
    with pytest.raises(ServerError, match=r"no triton_python_backend_stub for Python 3\.99: use Python 3\.10 to 3\.12"):
        find_installation()


def interpreter(monkeypatch: pytest.MonkeyPatch, prefix: Path, **variables: str | None) -> None:
    """Pretend that this interpreter was built and installed elsewhere."""
    monkeypatch.setattr(sys, "base_prefix", str(prefix))
    monkeypatch.setattr(sysconfig, "get_config_var", variables.get)


@pytest.mark.parametrize("place", ["LIBDIR", "LIBPL"])
def test_the_library_is_found_where_the_build_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    (tmp_path / LIBRARY).touch()
    interpreter(monkeypatch, tmp_path / "prefix", **{place: str(tmp_path)})
    assert find_libpython(VERSION) == tmp_path


def test_the_library_is_found_beside_an_interpreter_that_was_moved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / LIBRARY).touch()
    interpreter(monkeypatch, tmp_path, LIBDIR="/install/lib")
    assert find_libpython(VERSION) == tmp_path / "lib"


def test_a_python_without_its_library_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interpreter(monkeypatch, tmp_path)
    with pytest.raises(ServerError) as caught:
        find_libpython(VERSION)
    text = str(caught.value)
    assert text.startswith(f"{LIBRARY} of {tmp_path} is missing")
    assert f"apt-get install libpython{VERSION}" in text
    assert "\n" not in text


def test_the_library_of_another_python_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(__file__, tmp_path / "libpython3.0.so.1.0")
    interpreter(monkeypatch, tmp_path, LIBDIR=str(tmp_path))
    with pytest.raises(ServerError, match="is missing"):
        installation.find_libpython(VERSION)


def test_the_environment_has_defaults_that_give_way_to_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DALI_USE_EXEC2": "1", "MALLOC_ARENA_MAX": "2"}.items():
        monkeypatch.delenv(name, raising=False)
        assert find_installation().environment()[name] == value
        monkeypatch.setenv(name, "0")
        assert find_installation().environment()[name] == "0"
