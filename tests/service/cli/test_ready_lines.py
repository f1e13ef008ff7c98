"""What is printed when a server is ready, for people and for programs."""

import json
import os
import pty
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.cli.ready_lines import list_next_steps
from ledgercore.service.settings import Settings
from tests.support.standing import read_until, serve_raw
from tests.support.waiting import DEADLINE_S


def read_terminal(data: Path, *flags: str, **variables: Any) -> tuple[str, list[str]]:
    """Start a server on a terminal, do what it says, stop it; what it said and what curl got."""
    ours, theirs = pty.openpty()
    with serve_raw(data, *flags, stdout=theirs, stderr=theirs, **variables) as process:
        os.close(theirs)
        told = read_until(ours, b"stop it").decode()
        answers = []
        for line in told.splitlines():
            if " curl " in line:
                words = shlex.split(line.partition(": ask it: ")[2])
                answers.append(
                    subprocess.run(
                        [*words, "--silent", "--show-error"],
                        capture_output=True,
                        text=True,
                        check=True,
                        timeout=DEADLINE_S,
                    ).stdout
                )
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    os.close(ours)
    return told, answers


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--demo-accounts=2",), {"status": "applied", "from": "acct-0", "amount": 1}),
        ((), {"id": "alice", "balance": 0}),
    ],
    ids=["demo", "empty"],
)
def test_a_person_is_told_what_to_do_next_and_it_works(
    tmp_path: Path, flags: tuple[str, ...], expected: dict[str, Any]
) -> None:
    told, answers = read_terminal(tmp_path / "ledger", *flags)
    # The same line works the second time, for it has its key.
    for answer in answers:
        assert expected.items() <= json.loads(answer).items()
    assert len(answers) == 1
    assert "/docs" in told and "/ (live)" in told


def test_nothing_is_said_twice_and_nothing_is_sanics(tmp_path: Path) -> None:
    """Each line is the service's own, with no sign of a colour, and tells what no other does."""
    for _ in range(2):  # The second start has something to recover.
        told, _ = read_terminal(tmp_path / "ledger", "--demo-accounts=2", NO_COLOR="1")
    lines = told.replace("\r", "").splitlines()
    assert all(line.startswith("ledgercore: ") for line in lines), lines
    assert "\x1b" not in told and "anic" not in told
    assert sum("serv" in line and "://" in line for line in lines) == 1
    assert sum("recovered" in line or "read from the journal" in line for line in lines) == 1
    assert len(set(lines)) == len(lines)


def test_a_program_is_told_where_it_serves_and_no_more(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with serve_raw(tmp_path / "ledger", stdout=writing) as process:
        told = read_until(reading, b"serving").decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    os.close(writing)
    told += os.read(reading, 1 << 16).decode()
    os.close(reading)
    assert len(told.splitlines()) == 2 and "curl" not in told


def test_steps_know_of_keys_and_certificates() -> None:
    settings = Settings(tls_cert="/x/cert.pem", tls_key="/x/key.pem", host="0.0.0.0")
    steps = list_next_steps(settings, "https://0.0.0.0:8000", is_open=False, has_accounts=True)
    text = "\n".join(steps)
    assert '"Authorization: Bearer $TOKEN"' in text and "--cacert /x/cert.pem" in text
    assert "0.0.0.0" not in text and "https://127.0.0.1:8000/accounts" in text
