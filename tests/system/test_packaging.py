"""What is shipped: the sdist builds the wheel, and the wheel alone can serve."""

import re
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

from tests.support.servers import ROOT, make_environment

pytestmark = pytest.mark.slow

DEADLINE_S = 300.0
MADE = [".git", ".venv", ".*_cache", ".hypothesis", ".benchmarks", "build", "dist", "data"]
MADE += ["*.so", "*.egg-info", "__pycache__"]
"""What stands in a checkout and is no source."""


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
    made = shutil.ignore_patterns(*MADE)
    shutil.copytree(ROOT, directory / "copy", ignore=made)
    run_well(sys.executable, "-m", "build", "--outdir", directory, cwd=directory / "copy")
    return directory


def list_sources(*folders: str) -> set[str]:
    """Return the files of folders, without what was compiled in their midst."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__" and path.suffix != ".so"
    }


def test_the_sdist_ships_all_sources_and_nothing_else(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    sources = list_sources(
        "src", "ledgercore", "service", "bench", "docs", "tests", ".ci", ".github"
    )
    assert len(sources) > 500
    assert sources - names == set()
    texts = {"LICENSE", "README.md", "CHANGELOG.md", "MANIFEST.in", "Makefile", ".gitignore"}
    texts |= {"CONTRIBUTING.md", "SECURITY.md", ".pre-commit-config.yaml"}
    texts |= {"pyproject.toml", "setup.py"}
    assert texts - names == set()
    others = {name for name in names - sources - texts if ".egg-info/" not in name}
    assert others == {"PKG-INFO", "setup.cfg"}


def test_the_wheel_ships_the_two_packages(distributions: Path) -> None:
    (path,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(path).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ledgercore"}
    # The folder service/ is the package ledgercore.service, and nothing else is called so.
    sources = {
        re.sub(r"^service/", "ledgercore/service/", name)
        for name in list_sources("ledgercore", "service")
    }
    compiled = {name for name in sources if name.endswith(".pyx")}
    assert compiled != set() and sources - compiled - names == set()
    assert [name for name in names if name.endswith((".c", ".h", ".pyx"))] == []
    extensions = {name.partition(".")[0] + ".pyx" for name in names if name.endswith(".so")}
    assert extensions == compiled


@pytest.fixture(scope="module")
def programs(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in an environment of its own, and return the folder of its programs."""
    (wheel,) = distributions.glob("*.whl")
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory / "venv", with_pip=True)
    programs = directory / "venv" / "bin"
    run_well(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=directory)
    return programs


def test_the_wheel_passes_what_each_wheel_is_tried_with(programs: Path, tmp_path: Path) -> None:
    run_well(programs / "python", ROOT / "tests" / "system" / "smoke.py", cwd=tmp_path)


def test_the_wheel_serves(programs: Path, tmp_path: Path) -> None:
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
