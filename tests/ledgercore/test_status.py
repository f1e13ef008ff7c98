"""The Python mirror of `enum lc_status`: walked to its end, so that the two cannot drift."""

from ledgercore.outcome import status_names
from ledgercore.status import Status


def test_python_and_c_have_the_same_statuses() -> None:
    assert status_names() == {int(status): status.name for status in Status}


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
