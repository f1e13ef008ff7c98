"""What is counted while a load process runs, and told to the coordinator a few times a second.

This module owns the counts, which add up once a run has ended: `offered` is `answered` and
`failed` and `dropped`, and `sent` is `answered` and `failed` and `retries`.
"""

from collections import Counter

import msgspec


class Counts(msgspec.Struct):
    """Intents that were offered, dropped, answered and failed; tries sent, and retries in them."""

    offered: int = 0
    sent: int = 0
    retries: int = 0
    dropped: int = 0
    answered: int = 0
    failed: int = 0

    def add(self, other: "Counts") -> None:
        """Add what another process has counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Progress(msgspec.Struct):
    """What a load process tells: all counts since the start, and what happened since last time."""

    counts: Counts
    refusals: dict[str, int]
    """Answers that were no success, by the name of the problem; retried ones as well."""
    failures: dict[str, int]
    """Tries without an answer, by what happened instead."""
    latencies_us: list[int]
    """Of the intents that were answered since the last time."""
    cpu_s: float
    """Processor time of the process so far."""
    waited_s: float = 0.0
    """How long it was ready to run so far, while others had the processor."""


class Tally:
    """The counts of one process while it runs."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.refusals: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._latencies_us: list[int] = []
        self.note_latency_us = self._latencies_us.append

    def tell(self, cpu_s: float, waited_s: float) -> Progress:
        """Return what there is to tell, and begin the next interval."""
        latencies_us = self._latencies_us.copy()
        self._latencies_us.clear()
        return Progress(
            self.counts,
            dict(self.refusals),
            dict(self.failures),
            latencies_us,
            cpu_s,
            waited_s,
        )
