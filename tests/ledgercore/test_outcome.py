"""The outcome of one transfer: a value, that is neither true nor false."""

import pickle
from collections.abc import Iterator

import pytest

import ledgercore
from ledgercore import Status
from tests.support.histories import open_funded, open_small


@pytest.fixture
def ledger() -> Iterator[ledgercore.Engine]:
    """A ledger with two accounts."""
    with open_small(None, durability="memory") as engine:
        open_funded(engine, ["alice", "bob"], 1000)
        yield engine


def test_an_outcome_is_neither_true_nor_false(ledger: ledgercore.Engine) -> None:
    for amount in (5, 5000):
        outcome = ledger.transfer("alice", "bob", amount, key=f"k-{amount}")
        with pytest.raises(TypeError, match=r"is_applied.*raise_if_refused\(\)"):
            bool(outcome)
        with pytest.raises(TypeError, match="neither true nor false"):
            assert outcome


def test_a_refusal_can_be_raised(ledger: ledgercore.Engine) -> None:
    applied = ledger.transfer("alice", "bob", 5, key="k")
    assert applied.is_applied and applied.raise_if_refused() is applied
    again = ledger.transfer("alice", "bob", 5, key="k")
    assert again.replayed and again.is_applied
    for key, reason in (("poor", Status.INSUFFICIENT_FUNDS), ("k", Status.KEY_REUSED)):
        refused = ledger.transfer("alice", "bob", 5000, key=key)
        assert not refused.is_applied
        with pytest.raises(ledgercore.TransferRefused, match=reason.name) as caught:
            refused.raise_if_refused()
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.outcome, str(error)) == (refused, str(caught.value))
