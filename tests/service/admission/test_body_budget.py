"""The memory for bodies: bounded over all requests, with the answers that nobody has read yet."""

import pytest

from ledgercore.service.admission.body_budget import BodyBudget
from ledgercore.service.admission.unread_answers import Unread
from ledgercore.service.wire.problems import Problem
from tests.service.admission.test_unread_answers import ScriptedTransport


def test_the_budget_is_given_back() -> None:
    budget = BodyBudget(10)
    with budget.holding() as holding:
        holding.acquire(6)
        with budget.holding() as more, pytest.raises(Problem, match="queue-full"):
            more.acquire(5)
        holding.acquire(4)
        holding.release()
        holding.acquire(3)
        # To look whether there is room takes none.
        holding.check(7)
        holding.check(7)
    with budget.holding() as holding:
        holding.acquire(6)
        # What may take more than there is takes all of it, where nobody else has any.
        holding.acquire_at_most(100)
        with budget.holding() as more, pytest.raises(Problem, match="queue-full"):
            more.acquire(1)
    with budget.holding() as holding, budget.holding() as more:
        more.acquire(1)
        with pytest.raises(Problem, match="queue-full"):
            holding.acquire_at_most(100)


def test_what_nobody_reads_is_of_the_same_budget() -> None:
    unread = Unread()
    budget = BodyBudget(10, unread=unread)
    stuck = ScriptedTransport(4)
    unread.note(stuck)
    with budget.holding() as holding:
        with pytest.raises(Problem, match="queue-full"):
            holding.acquire(7)
        holding.acquire(6)
        unread.end(stuck)
        holding.acquire(4)


def test_what_is_beyond_the_budget_is_told_when_to_come_by_how_fast_bodies_pass() -> None:
    now_ns = 10**12
    budget = BodyBudget(1000, lambda: now_ns)

    def wait_of(taken: int) -> dict[str, str] | None:
        """Return what a body too many is told while others hold so many bytes."""
        with budget.holding() as holding, budget.holding() as more:
            holding.acquire(taken)
            with pytest.raises(Problem) as caught:
                more.acquire(1001 - taken)
        return caught.value.headers

    assert wait_of(900) == {"retry-after": "1"}
    now_ns += 1_000_000_000
    # 900 bytes in a second, and 500 of them under way.
    assert wait_of(500) == {"retry-after": "1"}
    now_ns += 900_000_000
    # 1,400 bytes in 1.9 s.
    assert wait_of(1000) == {"retry-after": "2"}
