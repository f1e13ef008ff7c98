"""The plan of the faults to inject, and the random draws that say when.

This module owns the form of a plan, which comes from a file or over HTTP, and the chance of each
fault. It never does anything to a request or an engine, and reads no clock: whoever asks with the
same plan, as often, gets the same answers.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated

import msgspec

PLAN_BYTES_MAX = 16_384
DELAY_MAX_MS = 60_000
SEGMENT_MAX = 255
SEED_MAX = 2**53 - 1
"""The largest whole number that every reader of JSON keeps as it is."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that happens with this probability, each time that it could."""

    probability: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Delay(Fault, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A delay that then takes from `ms[0]` to `ms[1]` milliseconds."""

    ms: tuple[int, int]

    def __post_init__(self) -> None:
        lowest, highest = self.ms
        if not 0 <= lowest <= highest <= DELAY_MAX_MS:
            raise ValueError(f"ms {[lowest, highest]} is not a range within 0 to {DELAY_MAX_MS}")


class SegmentStall(
    Delay, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """A stall of one segment; without it, of whichever the batch at hand is for."""

    segment: Annotated[int, msgspec.Meta(ge=0, le=SEGMENT_MAX)] | None = None


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The faults to inject. One that is absent never happens.

    Requests for transfers: `latency` holds an answer back, `drop_before` aborts the connection when
    nothing was submitted, and `drop_after` when all was done but the answer. The engine, with each
    batch that is handed to it: `stall_segment` lets its workers wait, `kill_worker` ends one and
    starts another, `slow_sync` delays the next sync, and `fail_sync` fails it, which ends the
    server.
    """

    seed: Annotated[int, msgspec.Meta(ge=0, le=SEED_MAX)] = 0
    latency: Delay | None = None
    drop_before: Fault | None = None
    drop_after: Fault | None = None
    stall_segment: SegmentStall | None = None
    kill_worker: Fault | None = None
    slow_sync: Delay | None = None
    fail_sync: Fault | None = None

    @property
    def faults(self) -> dict[str, Fault]:
        """The faults that can happen, by their names."""
        found = {name: getattr(self, name) for name in FAULTS}
        return {name: fault for name, fault in found.items() if fault and fault.probability > 0}


FAULTS = tuple(name for name in Plan.__struct_fields__ if name != "seed")
"""The names of all faults."""


class InvalidPlan(ValueError):
    """A plan cannot be read, or asks for what there is not. The message is one line."""


def read_plan(body: bytes) -> Plan:
    """Return the plan that a JSON text is. Raises InvalidPlan, which names the place."""
    if len(body) > PLAN_BYTES_MAX:
        raise InvalidPlan(f"a plan has at most {PLAN_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(body, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPlan(" ".join(str(error).split())) from None


def load_plan(path: Path) -> Plan:
    """Return the plan in a file. Raises InvalidPlan, which names the file."""
    try:
        with path.open("rb") as file:
            return read_plan(file.read(PLAN_BYTES_MAX + 1))
    except OSError as error:
        raise InvalidPlan(f"{path}: {error.strerror}") from None
    except InvalidPlan as error:
        raise InvalidPlan(f"{path}: {error}") from None


def check_segments(plan: Plan, segments: int) -> None:
    """Raise InvalidPlan where a plan is for a segment that an engine of so many has not."""
    segment = None if plan.stall_segment is None else plan.stall_segment.segment
    if segment is not None and segment >= segments:
        raise InvalidPlan(
            f"segment {segment} is not 0 to {segments - 1} - at `$.stall_segment.segment`"
        )


def describe_plan(plan: Plan) -> str:
    """Return the plan in one line."""
    faults = plan.faults
    if not faults:
        return "off"
    told = ", ".join(f"{name} {_describe_fault(fault)}" for name, fault in faults.items())
    return f"on, with seed {plan.seed}: {told}"


def _describe_fault(fault: Fault) -> str:
    text = f"{fault.probability:g}"
    if isinstance(fault, Delay):
        text += " of {}-{} ms".format(*fault.ms)
    if isinstance(fault, SegmentStall) and fault.segment is not None:
        text += f" in segment {fault.segment}"
    return text


class FaultDraws:
    """The random draws of one plan: a generator for each fault, so that none depends on others.

    `make_random` makes what they are drawn with, of a text that is another for each seed and
    fault. `struck` counts how often each fault was to happen.
    """

    def __init__(self, plan: Plan, make_random: Callable[[str], Random] = Random) -> None:
        self.plan = plan
        self.struck: Counter[str] = Counter()
        self._faults = plan.faults
        self._randoms = {name: make_random(f"{plan.seed} {name}") for name in self._faults}

    def draw(self, name: str) -> bool:
        """Return whether a fault happens now."""
        fault = self._faults.get(name)
        if fault is None or self._randoms[name].random() >= fault.probability:
            return False
        self.struck[name] += 1
        return True

    def draw_ms(self, name: str) -> int | None:
        """Return for how many milliseconds a fault happens now; None where it does not."""
        if not self.draw(name):
            return None
        fault = self._faults[name]
        assert isinstance(fault, Delay)
        return self._randoms[name].randint(*fault.ms)
