"""Each module has one name: whatever is imported, in a fresh process and from the checkout."""

import importlib.util
import json
import subprocess
import sys

from tests.style.sources import ROOT, SERVICE, read_project

MODULES = sorted(
    source.module
    for source in read_project()
    if source.layer in ("ledgercore", "service") and source.suffix in (".py", ".pyx")
)
LOOK = """
import importlib, json, os, sys
for name in json.load(sys.stdin):
    importlib.import_module(name)
files = {}
for name, module in list(sys.modules.items()):
    if getattr(module, "__file__", None) and name != "__main__":
        files.setdefault(os.path.realpath(module.__file__), []).append(name)
print(json.dumps({file: names for file, names in files.items() if len(names) > 1}))
"""


def run(code: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own, from the root of the checkout."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True)


def find_doubles(code: str) -> dict[str, list[str]]:
    """Return the files of ours that have several names in a process where all are imported."""
    process = run(code, json.dumps([name for name in MODULES if not name.endswith("__main__")]))
    assert process.returncode == 0, process.stderr
    found: dict[str, list[str]] = json.loads(process.stdout)
    return {file: names for file, names in found.items() if file.startswith(f"{ROOT}/")}


def test_no_file_has_two_names() -> None:
    assert len(MODULES) > 150
    assert find_doubles(LOOK) == {}


def test_a_second_name_is_seen() -> None:
    second = (
        "import importlib.util as u, sys\n"
        f"s = u.spec_from_file_location('second', {str(ROOT / 'service/wire/integers.py')!r})\n"
        "sys.modules['second'] = u.module_from_spec(s)\n"
    )
    assert [sorted(names) for names in find_doubles(second + LOOK).values()] == [
        [f"{SERVICE}.wire.integers", "second"]
    ]


def test_the_folder_is_not_a_package_of_its_own() -> None:
    """Also where it could be found: from the root of the checkout."""
    for name in ("service", "service.client", "service.app", "service.wire.problems"):
        process = run(f"import {name}")
        last = process.stderr.splitlines()[-1]
        assert process.returncode == 1 and last.startswith("ImportError: "), process.stderr
        assert "ledgercore.service" in last and "from ledgercore.client import" in last
    process = subprocess.run(
        [sys.executable, "-m", "service"], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 1 and "python -m ledgercore" in process.stderr


def test_nothing_called_service_is_installed() -> None:
    process = subprocess.run(
        [sys.executable, "-P", "-c", "import importlib.util as u; print(u.find_spec('service'))"],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert process.stdout == "None\n", process.stderr
    assert importlib.util.find_spec(SERVICE) is not None
