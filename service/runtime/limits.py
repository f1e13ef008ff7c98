"""The limits of a running server: which there are, what they are now, and how they change.

This module owns their names, once. It never keeps a limit: the limiter, the admission and the
regulator do. What is changed here lasts until the server stops, and the settings of its start stay.
"""

from collections.abc import Mapping

from ..units import NS_PER_MS
from ..wire.json_bodies import refuse_body
from .lifecycle import Lifecycle

LIMITS = (
    "client_rate",
    "client_burst",
    "client_quota",
    "quota_window_s",
    "global_rate",
    "global_burst",
    "request_deadline_ms",
    "target_p99_ms",
    "inflight_min",
    "inflight_max",
)
"""What can be changed, by the names and within the ranges of settings.py."""

_LIMITER = {name: name.replace("client_quota", "quota") for name in LIMITS[:6]}
"""The limiter's own names for those that are its."""


def describe_limits(lifecycle: Lifecycle) -> dict[str, int | float]:
    """Return the limits in force, by the names of the settings."""
    admission, regulator = lifecycle.admission, lifecycle.batcher.regulator
    limiter = admission.limiter.settings()
    own = {name: limiter[theirs] for name, theirs in _LIMITER.items()}
    deadline = {"request_deadline_ms": admission.deadline_ns // NS_PER_MS}
    return own | deadline | regulator.settings()


def change_limits(lifecycle: Lifecycle, changes: Mapping[str, int]) -> None:
    """Let limits of sound values hold from now on. Refuses bounds that cross, and changes nothing.

    All of it happens in one turn of the loop, so that no request meets the half of it.
    """
    admission, regulator = lifecycle.admission, lifecycle.batcher.regulator
    in_flight = {name: changes.get(name) for name in regulator.settings()}
    try:
        regulator.configure(**in_flight)
    except ValueError as error:
        refuse_body("conflict", f"{error}.")
    admission.limiter.configure(
        **{theirs: changes[name] for name, theirs in _LIMITER.items() if name in changes}
    )
    if "request_deadline_ms" in changes:
        admission.deadline_ns = changes["request_deadline_ms"] * NS_PER_MS
