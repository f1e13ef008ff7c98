"""What `make test` installs of Debian: it says so before, asks nothing, and may be told not to."""

import subprocess
from pathlib import Path

import pytest

from tests.support.servers import ROOT

# Stands for the machine: nothing is there that tests need, the user is root, and apt-get tells what
# was said before it, and ends the script before that changes anything.
COMMANDS = {
    "id": "echo 0",
    "ls": "exit 1",
    "apt-get": 'cp "$SAID" "$SAID.before"; kill $PPID',
    "cp": 'exec /bin/cp "$@"',
}


def run(directory: Path, **settings: str) -> tuple[str, str | None]:
    """Run the script; returns what it says, and what it had said before it called apt-get."""
    programs = directory / "bin"
    programs.mkdir()
    for name, script in COMMANDS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    said = directory / "said"
    with said.open("w") as out:
        subprocess.run(
            ["/bin/sh", "tests/setup_debian.sh"],
            cwd=ROOT,
            env={"PATH": str(programs), "SAID": str(said)} | settings,
            stdin=subprocess.DEVNULL,
            stdout=out,
            timeout=60,
        )
    before = directory / "said.before"
    return said.read_text(), before.read_text() if before.exists() else None


def test_it_says_what_it_installs_before_it_does(tmp_path: Path) -> None:
    _, before = run(tmp_path)
    assert before is not None
    assert before.startswith("installing these packages of Debian with apt-get")
    assert {"strace", "postgresql", "redis-server"} <= set(before.split())


@pytest.mark.parametrize("user", ["root", "another"])
def test_it_installs_nothing_where_it_must_not(
    tmp_path: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "id", f"echo {0 if user == 'root' else 1000}")
    said, before = run(tmp_path, **({"APT": "no"} if user == "root" else {}))
    assert before is None
    assert said.startswith("not run: tests of failing disks") and "strace" in said
