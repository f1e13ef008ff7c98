"""What is shipped: the sdist builds the wheel, and the wheel alone can serve."""

import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from .support import ROOT, make_environment

pytestmark = pytest.mark.slow

DEADLINE_S = 300.0


def run(*command: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, whatever that is."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=make_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
    )


def run_well(*command: str | Path, cwd: Path) -> None:
    """Run a command that must succeed; show what it said if it does not."""
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, f"{command}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, and return the directory that holds both."""
    directory = tmp_path_factory.mktemp("dist")
    # Asked through pip, since only pip knows which index this machine uses.
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "setuptools>=77"]
    if run(*fetch, "--dest", directory / "probe", cwd=directory).returncode != 0:
        pytest.skip("the package index cannot be reached, and building a wheel needs it")
    # In a copy, since a build leaves its traces, and the checkout's own build would redo them.
    made = shutil.ignore_patterns(".*", "build", "data", "*.so", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, directory / "copy", ignore=made)
    run_well(sys.executable, "-m", "build", "--outdir", directory, cwd=directory / "copy")
    return directory


def test_the_sdist_ships_sources_only(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    headers = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("src/*.h")}
    modules = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "ledgercore").rglob("*.p[yx]*")
    }
    modules -= {name for name in modules if "__pycache__" in name}
    assert headers | modules | {"LICENSE", "README.md", "CHANGELOG.md", "setup.py"} <= names
    assert [name for name in names if name.endswith((".c", ".so"))] == []


def test_the_wheel_ships_the_two_packages(distributions: Path) -> None:
    (path,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(path).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ledgercore", "service"}
    stubs = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("ledgercore/*.pyi")}
    assert stubs | {"ledgercore/py.typed", "service/py.typed"} <= set(names)
    assert [name for name in names if name.endswith((".c", ".h", ".pyx"))] == []


def test_the_wheel_serves(distributions: Path, tmp_path: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    run_well(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    command: list[str | Path] = [programs / "ledgercore", "serve", "--port=0", "--data=data"]
    with subprocess.Popen(
        [*command, "--demo-accounts=2", "--demo-funds=100"],
        cwd=tmp_path,
        env=make_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert "no API keys" in server.stdout.readline()
            ready = server.stdout.readline()
            url = next(word for word in ready.split() if word.startswith("http://"))
            moved = httpx.post(
                f"{url}/transfer",
                json={"from": "acct-0", "to": "acct-1", "amount": 40},
                headers={"Idempotency-Key": "first"},
            )
            assert moved.status_code == 201, moved.text
            assert httpx.get(f"{url}/accounts/acct-1").json()["balance"] == 140
            server.send_signal(signal.SIGTERM)
            assert server.wait(DEADLINE_S) == 0
        finally:
            server.kill()
