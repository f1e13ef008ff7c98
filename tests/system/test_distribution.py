"""The distribution's name, which is not the package's: that one is somebody else's on PyPI."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points, metadata
from pathlib import Path

import pytest

import ledgercore
from tests.support.servers import ROOT

NAME = "ledgercore-engine"
# Whatever installs or looks up a distribution of the package's name.
STRANGER = [
    re.compile(r"\b(?:pip3?|uv|pipx|poetry)\b[^\n`]*?[ '\"=]ledgercore(?![\w./-]|_engine)(?!\.)"),
    re.compile(r"\bledgercore\[\w+"),
    re.compile(r"\b(?:version|metadata|distribution|requires)\(\s*[\"']ledgercore[\"']"),
    re.compile(r"package_name *= *[\"']ledgercore[\"']"),
    re.compile(r"^name *= *[\"']ledgercore[\"']", re.M),
    re.compile(r"pypi\.org/(?:project|simple|pypi)/ledgercore\b(?!-engine)"),
]
FOLDERS = ("src", "ledgercore", "service", "bench", "docs", "tests", ".ci", ".github")
SUFFIXES = {".c", ".h", ".html", ".in", ".js", ".json", ".md", ".pxd", ".py", ".pyi", ".pyx", ".sh"}
SUFFIXES |= {".toml", ".yml", ""}


def texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the project by its path, but for this one, which holds what is sought."""
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        is_own = "__pycache__" in name or name == "tests/system/test_distribution.py"
        if path.suffix in SUFFIXES and not is_own:
            yield name, path.read_text()


def test_nothing_installs_the_strangers_package() -> None:
    found = [
        f"{name}: {match[0]}"
        for name, text in texts()
        for pattern in STRANGER
        for match in pattern.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "pip install ledgercore",
        "python -m pip install --upgrade 'ledgercore'",
        "With `pip install 'ledgercore[arrow]'` it takes",
        "uv add ledgercore",
        'version("ledgercore")',
        'package_name="ledgercore"',
        'name = "ledgercore"',
        "https://pypi.org/project/ledgercore/",
    ],
)
def test_the_stranger_would_be_found(text: str) -> None:
    assert any(pattern.search(text) for pattern in STRANGER)


@pytest.mark.parametrize(
    "text",
    ["pip install ledgercore-engine", "pip install dist/ledgercore_engine-*.whl", "pip install ."],
)
def test_our_own_is_not_taken_for_the_stranger(text: str) -> None:
    assert not any(pattern.search(text) for pattern in STRANGER)


def test_the_name_and_the_version_are_told_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == NAME and "version" not in project
    assert metadata(NAME)["Version"] == ledgercore.__version__
    commands = entry_points(group="console_scripts", name="ledgercore")
    (command,) = (entry for entry in commands if entry.dist and entry.dist.name == NAME)
    assert callable(command.load())


USES_IT = """
import ledgercore
from ledgercore.client import LedgerClient

with ledgercore.open("data") as ledger, LedgerClient("http://127.0.0.1:8000") as client:
    reveal_type(ledger.transfer("a", "b", 1, key="k"))
    reveal_type(client.transfer("a", "b", 1))
ledgercore.nothing
"""


def test_a_type_checker_finds_what_is_installed_editable(tmp_path: Path) -> None:
    # This environment has it so; a hook of the interpreter in its stead is what no checker follows.
    (tmp_path / "uses_it.py").write_text(USES_IT)
    check = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "uses_it.py"]
    told = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True).stdout
    assert 'Revealed type is "ledgercore.outcome.Outcome"' in told
    assert 'Revealed type is "ledgercore.client.types.TransferResult"' in told
    assert "Found 1 error" in told and 'Module has no attribute "nothing"' in told


def test_what_an_error_tells_to_install_is_what_the_extras_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    named = {re.split(r"[<>=\[]", line)[0] for lines in extras for line in lines}
    told = {
        match[1]
        for name, text in texts()
        if name.startswith(("service/", "ledgercore/")) and name.endswith((".py", ".pyx"))
        for match in re.finditer(r"pip install '?([\w-]+)", text)
    }
    assert told >= {"memray", "opentelemetry-proto"} and told <= named
