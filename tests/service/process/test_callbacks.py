"""What stands in for a listener takes whatever a listener may be told, and keeps none of it."""

from ledgercore.service.process.callbacks import ignore


def test_a_listener_that_nobody_has_set_takes_anything() -> None:
    calls = [ignore, lambda: ignore(), lambda: ignore(1, "two")]
    assert [call() for call in calls] == [None] * 3
