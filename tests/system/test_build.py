"""What `make` and setup.py know of what is to be built anew: every source, and from any folder."""

import os
import runpy
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest

from tests.support.servers import ROOT

FOLDERS = ("src", "src/wire", "ledgercore", "service", "service/http")
SUFFIXES = {".h", ".pxd", ".pxi", ".pyx"}
INPUTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("src", "ledgercore", "service")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in SUFFIXES
)
# In the order in which they are made.
STAMPS = ("environment", "compiled", "installed", "tools")
COMPILE = "setup.py --quiet build_ext"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout in which nothing is due, in a folder whose name has spaces."""
    checkout = tmp_path_factory.mktemp("a checkout") / "of mine"
    (checkout / ".venv").mkdir(parents=True)
    for name in ("Makefile", "setup.py", "pyproject.toml", *INPUTS):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name)
    for stamp in STAMPS:
        (checkout / ".venv" / stamp).touch()
    return checkout


def preview(checkout: Path, *arguments: str) -> str:
    """Return the commands that make would run."""
    # Given the compiler, make does not ask Python for it.
    command = ["make", "--dry-run", "CC=cc", *arguments]
    # As if nobody had called make around us.
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        command, cwd=checkout, env=kept, capture_output=True, text=True, check=True
    ).stdout


def test_nothing_is_due_that_has_not_changed(built: Path) -> None:
    assert COMPILE not in preview(built, "build")


@pytest.mark.parametrize("path", [*INPUTS, "setup.py", "pyproject.toml"])
def test_each_input_is_compiled_anew(built: Path, path: str) -> None:
    assert COMPILE in preview(built, "-W", path, "build")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_an_input_that_is_new_is_one_too(built: Path, folder: str, suffix: str) -> None:
    new = built / folder / f"new{suffix}"
    new.touch()
    try:
        assert COMPILE in preview(built, "-W", new.relative_to(built).as_posix(), "build")
    finally:
        new.unlink()


def test_each_extension_depends_on_what_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    patterns = runpy.run_path("setup.py")["SHARED"]
    shared = {name for name in INPUTS if not name.endswith(".pyx")}
    assert {file for pattern in patterns for file in glob(pattern, recursive=True)} == shared


@pytest.mark.parametrize(
    "target", ["run", "test", "check", "bench", "lint", "debug", "pythons", "sanitize", "build"]
)
def test_no_command_spells_the_path_of_the_checkout(built: Path, target: str) -> None:
    # A shell would take it apart at its spaces; `$PWD` in quotes is taken as it is.
    commands = preview(built, "-W", "setup.py", "-W", "pyproject.toml", target)
    assert COMPILE in commands
    assert str(built) not in commands and "of mine" not in commands


def test_a_build_keeps_nothing_of_the_one_before(tmp_path: Path) -> None:
    """All of the folder is packed into the wheel, so what was renamed would be installed too."""
    left = [
        tmp_path / name for name in ("service/app.py", "service/http/a.so", "ledgercore/old.py")
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    command = [sys.executable, "setup.py", "--quiet", "build", f"--build-lib={tmp_path}"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"LEDGERCORE_PREBUILT": "1"}, check=True)
    assert [path for path in left if path.exists()] == []
    for name in ("__init__.py", "engine.py", "_c.pxd", "service/app.py", "service/openapi.json"):
        assert (tmp_path / "ledgercore" / name).is_file(), name
