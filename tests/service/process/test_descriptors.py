"""Descriptors: how many there are, and what is left of them for connections."""

import resource
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ledgercore.service.process.descriptors import (
    RESERVED,
    TooFewDescriptors,
    find_room,
    raise_limit,
)
from tests.support.servers import ROOT, Server
from tests.support.waiting import DEADLINE_S


def test_what_is_kept_back_comes_first() -> None:
    assert find_room(1024, 64) == 1024 - RESERVED - 64
    assert find_room(RESERVED + 65, 64) == 1
    with pytest.raises(TooFewDescriptors, match=r"100 descriptors are too few.*193"):
        find_room(100, 64)
    with pytest.raises(TooFewDescriptors):
        find_room(RESERVED + 64, 64)
    assert find_room(resource.RLIM_INFINITY, 64) > 1_000_000


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    program = (
        "import resource\n"
        "from ledgercore.service.process.descriptors import raise_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))\n"
        "assert raise_limit() == 256\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, 256)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=DEADLINE_S)


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_server_at_rest_has_few(tmp_path: Path) -> None:
    """What is kept back is for more than this: see RESERVED."""
    with Server(tmp_path / "ledger", "--demo-accounts=2", "--host=localhost") as server:
        assert httpx.get(f"{server.url}/audit").json()["ok"]
        used = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        assert used < RESERVED // 3
        assert server.stop() == 0
