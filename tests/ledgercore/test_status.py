"""The Python mirror of `enum lc_status`: neither side has a status that the other lacks."""

from ledgercore.status import Status
from tests.support.headers import read_enum


def test_python_and_c_have_the_same_statuses() -> None:
    in_c = read_enum("status.h", "lc_status")
    ends = {name: in_c.pop(name) for name in ("OUTCOME_END", "REJECTION_FIRST", "STATUS_END")}
    assert in_c == {status.name: int(status) for status in Status}
    outcomes, rejections = (
        [status for status in Status if status.is_outcome == is_outcome]
        for is_outcome in (True, False)
    )
    assert ends == {
        "OUTCOME_END": max(outcomes) + 1,
        "REJECTION_FIRST": min(rejections),
        "STATUS_END": max(rejections) + 1,
    }


def test_every_status_is_listed_by_its_number() -> None:
    assert list(Status) == sorted(Status)


def test_outcomes_and_rejections_are_told_apart() -> None:
    assert [status for status in Status if not status.is_outcome] == [
        Status.KEY_MISSING,
        Status.AMOUNT_INVALID,
        Status.KEY_REUSED,
        Status.KEYS_FULL,
        Status.DEADLINE_PASSED,
        Status.KEY_EXPIRED,
        Status.LEDGER_FULL,
    ]
    # The number of an outcome is part of the journal's format, and never changes its meaning.
    assert [status.value for status in Status if status.is_outcome] == list(range(10))
