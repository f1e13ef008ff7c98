"""The messages between a load process and its coordinator: lines of JSON over pipes.

This module owns the messages, what is counted in them, and how they become lines. Big arrays
travel as files.
"""

from collections import Counter

import msgspec

GO, STOP, CHECK, LEAVE = "go", "stop", "check", "leave"


class Order(msgspec.Struct, frozen=True):
    """What a load process is to do next. The end of its input is an order to leave."""

    what: str
    at_s: float = 0.0
    """When to start, by the clock that all processes of a machine share."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """All clients have had their chance to connect."""


class Counts(msgspec.Struct):
    """Intents that were offered, dropped, answered and failed; tries sent, and retries in them.

    They add up once a run has ended: `offered` is `answered` and `failed` and `dropped`, and `sent`
    is `answered` and `failed` and `retries`.
    """

    offered: int = 0
    sent: int = 0
    retries: int = 0
    dropped: int = 0
    answered: int = 0
    failed: int = 0


class Progress(msgspec.Struct, tag="progress"):
    """How far a load process is, told a few times a second: all since the start but latencies."""

    counts: Counts = msgspec.field(default_factory=Counts)
    refusals: dict[str, int] = msgspec.field(default_factory=Counter)
    """Answers that were no success, by the name of the problem; retried ones as well."""
    failures: dict[str, int] = msgspec.field(default_factory=Counter)
    """Tries without an answer, by what happened instead."""
    latencies_us: list[int] = []
    """Of the intents that were answered since the last time."""
    at_s: float = 0.0
    cpu_s: float = 0.0
    """Processor time of the process so far."""
    waited_s: float = 0.0
    """How long it was ready to run so far, while others had the processor."""


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The load has ended."""

    samples: str
    """A file: what was kept of it."""
    names: list[str]
    is_complete: bool
    """Whether it has offered all that it was to offer."""


class Checked(msgspec.Struct, tag="checked"):
    """What asking every answered key again has shown."""

    moves: str
    """A file: by how much the balance of each account should have changed."""
    asked: int = 0
    unasked: int = 0
    mismatches: int = 0
    examples: list[str] = []
    open_keys: int = 0
    """Keys whose answer was lost, and which were looked up."""
    unknown_keys: int = 0
    """Those of them of which nothing could be learned."""


Message = Ready | Progress | Loaded | Checked

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_message = msgspec.json.Decoder(Message).decode
