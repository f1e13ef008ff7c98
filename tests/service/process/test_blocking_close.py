"""A stop with no memory for a thread: the ledger is closed and sealed all the same."""

import threading
from pathlib import Path

import pytest

from ledgercore.service.process.blocking_close import close_apart
from ledgercore.verification import inspect
from tests.support.histories import open_small


def refuse_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_without_a_thread_it_is_closed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_small(tmp_path / "ledger")
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", refuse_thread)
        await close_apart(engine.close)
    seal = inspect(tmp_path / "ledger").seal
    assert seal is not None and seal["clean"]
    open_small(tmp_path / "ledger").close()  # Its lock is free.


async def test_with_one_it_is_closed_there() -> None:
    threads: list[int] = []
    await close_apart(lambda: threads.append(threading.get_ident()))
    assert len(threads) == 1 and threads != [threading.get_ident()]


async def test_what_goes_wrong_is_told() -> None:
    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await close_apart(fail)
