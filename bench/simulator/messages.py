"""What a load process and its coordinator tell each other: one line of JSON a message, by pipes.

This module owns the messages and how they become lines. Big arrays travel as files.
"""

import msgspec

from .tally import Progress

GO, STOP, CHECK, LEAVE = "go", "stop", "check", "leave"


class Order(msgspec.Struct, frozen=True):
    """What a load process is to do next."""

    what: str
    at_s: float = 0.0
    """When to start, by the clock that all processes of a machine share."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """All clients have had their chance to connect."""


class Running(msgspec.Struct, frozen=True, tag="running"):
    """How far it is, so many seconds after the start."""

    at_s: float
    progress: Progress


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The load has ended, and what was kept of it is in these files."""

    samples: str
    lateness: str
    names: list[str]
    is_complete: bool
    """Whether it has offered all that it was to offer."""


class Checked(msgspec.Struct, frozen=True, tag="checked"):
    """What asking every answered key again has shown."""

    moves: str
    """A file: by how much the balance of each account should have changed."""
    asked: int
    unasked: int
    mismatches: int
    examples: list[str]
    open_keys: int
    """Keys whose answer was lost, and which were looked up."""
    unknown_keys: int
    """Those of them of which nothing could be learned."""


Message = Ready | Running | Loaded | Checked

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_message = msgspec.json.Decoder(Message).decode
