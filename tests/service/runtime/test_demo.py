"""The demo ledger: made once, finished when it was cut short, and nobody else's."""

from typing import Any

import pytest

from ledgercore import Engine
from ledgercore.service.runtime import demo
from ledgercore.service.runtime.demo import create_demo

ACCOUNTS = 5
FUNDS = 100


class CutShort(Exception):
    """Stands for the kill of the process."""


def state_of(engine: Engine) -> list[tuple[str, int, int | None, int | None]]:
    return [
        (account.id, account.balance, account.floor, account.ceiling)
        for account in engine.accounts(0, 100)
    ]


COMPLETE = [
    ("world", -ACCOUNTS * FUNDS, None, None),
    *((f"acct-{number}", FUNDS, 0, None) for number in range(ACCOUNTS)),
]


def test_demo(ledger: Engine) -> None:
    create_demo(ledger, ACCOUNTS, FUNDS)
    assert state_of(ledger) == COMPLETE
    assert ledger.account("acct-0").asset == "USD/2"
    assert ledger.find_key("demo-fund-0", "ledgercore").state == "applied"


def test_no_demo(ledger: Engine) -> None:
    create_demo(ledger, 0, FUNDS)
    assert state_of(ledger) == []


def test_demo_without_funds(ledger: Engine) -> None:
    create_demo(ledger, 1, 0)
    assert state_of(ledger) == [("world", 0, None, None), ("acct-0", 0, 0, None)]


def test_complete_demo_is_left_alone(ledger: Engine) -> None:
    create_demo(ledger, ACCOUNTS, FUNDS)
    ledger.transfer("acct-0", "acct-1", FUNDS, key="k")
    before = state_of(ledger)
    create_demo(ledger, ACCOUNTS + 1, FUNDS)
    assert state_of(ledger) == before


@pytest.mark.parametrize("account_id", ["mine", "world", "acct-0"])
def test_other_ledger_is_left_alone(ledger: Engine, account_id: str) -> None:
    ledger.open_account(account_id, asset="USD/2", floor=None)
    before = state_of(ledger)
    create_demo(ledger, ACCOUNTS, FUNDS)
    assert state_of(ledger) == before


class Cut:
    """An engine that is killed before, or right after, a certain call."""

    def __init__(self, engine: Engine, name: str, after: bool) -> None:
        self._engine = engine
        self._name = name
        self._after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._engine, name)
        if name != self._name:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            if self._after:
                real(*arguments, **options)
            raise CutShort

        return call


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "name", ["open_account", "open_accounts", "transfer_batch", "change_account"]
)
def test_demo_that_was_cut_short_is_finished(ledger: Engine, name: str, after: bool) -> None:
    with pytest.raises(CutShort):
        create_demo(Cut(ledger, name, after), ACCOUNTS, FUNDS)  # type: ignore[arg-type]
    create_demo(ledger, ACCOUNTS, FUNDS)
    assert state_of(ledger) == COMPLETE


def test_demo_that_was_cut_within_a_batch_is_finished(ledger: Engine) -> None:
    with pytest.raises(CutShort):
        create_demo(Cut(ledger, "transfer_batch", False), ACCOUNTS, FUNDS)  # type: ignore[arg-type]
    # A crash may keep any first part of a batch. Its keys may be forgotten by the next start.
    for number in range(2):
        ledger.transfer("world", f"acct-{number}", FUNDS, key=f"forgotten-{number}")
    create_demo(ledger, ACCOUNTS, FUNDS)
    assert state_of(ledger) == COMPLETE


def test_demo_that_was_stopped_is_finished(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CHUNK_ROWS", 2)
    answers = iter([False, True])
    create_demo(ledger, ACCOUNTS, FUNDS, lambda: next(answers))
    assert len(state_of(ledger)) == 3
    create_demo(ledger, ACCOUNTS, FUNDS)
    assert state_of(ledger) == COMPLETE


def test_demo_that_was_cut_while_accounts_were_opened(ledger: Engine) -> None:
    ledger.open_account("world", asset="USD/2", floor=None, ceiling=0)
    ledger.open_account("acct-0", asset="USD/2")
    create_demo(ledger, ACCOUNTS, FUNDS)
    assert state_of(ledger) == COMPLETE
