"""Meters: each answer counted once, ids of traces as W3C wants them, and who is looked at."""

import re

import pytest

from ledgercore.service.telemetry.meters import Meters

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MS = 1_000_000


def test_answers_are_counted_by_route_status_and_outcome() -> None:
    meters = Meters()
    for _ in range(3):
        meters.note("/accounts", 200, "ok", 5 * MS)
    meters.note("/accounts", 404, "account-not-found", MS)
    assert meters.read_answers() == {
        ("/accounts", 200, "ok"): 3,
        ("/accounts", 404, "account-not-found"): 1,
    }
    latency = meters.read_latencies()["/accounts"]
    assert (latency.count, latency.sum) == (4, 16 * MS)


def test_meters_that_are_off_count_nothing() -> None:
    meters = Meters(is_on=False)
    meters.note("/accounts", 200, "ok", MS)
    assert meters.read_answers() == {} and meters.read_latencies()["/transfer"].count == 0


def test_trace_that_is_told_goes_on() -> None:
    trace_id, parent, span, flags = Meters().begin_trace(PARENT)
    assert (f"{trace_id:032x}", f"{parent:016x}", flags) == (
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        1,
    )
    assert span not in (0, parent)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        PARENT[:-1],
        PARENT + b"-more",
        PARENT.upper(),
        b"ff" + PARENT[2:],
        b"0g" + PARENT[2:],
        PARENT.replace(b"-", b"_"),
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        PARENT[:-2] + b"0 ",
    ],
)
def test_trace_that_is_none_begins_anew(text: bytes) -> None:
    trace_id, parent, span, flags = Meters().begin_trace(text)
    assert f"{trace_id:032x}" not in text.decode().lower() and trace_id > 0 and span > 0
    assert (parent, flags) == (0, 0)


def test_higher_version_is_read_as_far_as_it_is_known() -> None:
    trace_id, parent, _, _ = Meters().begin_trace(b"cc" + PARENT[2:] + b"-what-comes-next")
    assert f"{trace_id:032x}".encode() in PARENT and f"{parent:016x}".encode() in PARENT


def test_ids_are_all_different() -> None:
    meters = Meters()
    traces = [meters.begin_trace() for _ in range(10_000)]
    assert len({trace[0] for trace in traces}) == len({trace[2] for trace in traces}) == 10_000
    assert all(re.fullmatch(r"[0-9a-f]{32}", f"{trace[0]:032x}") for trace in traces)


class Nobody:
    """An observer, that there is one."""

    def observe_transfer(self, *_: object) -> bool:
        return False


def test_slow_and_sampled_requests_are_of_interest() -> None:
    meters = Meters(slow_ms=10)
    assert not meters.interests(0, 99 * MS, 1)  # Nobody wants to know.
    meters.observer = Nobody()
    assert not meters.interests(1, 0, 1)  # There is nowhere to keep it.
    meters.is_tracing = True
    assert not meters.interests(1, 9 * MS, 0)
    assert meters.interests(2, 10 * MS, 0)
    assert meters.interests(2 * MS, 0, 1)
    assert not Meters(slow_ms=0).interests(3 * MS, 99 * MS, 0)


def test_there_are_a_thousand_looks_a_second_at_most() -> None:
    meters = Meters(slow_ms=1)
    meters.observer = Nobody()
    looks = sum(meters.interests(step * 1_000, MS, 1) for step in range(1_000_000))
    assert looks == 1_000


@pytest.mark.parametrize("per_million", [0, 1_000, 250_000, 1_000_000])
def test_share_that_is_looked_at_by_chance(per_million: int) -> None:
    meters = Meters(samples_per_million=per_million)
    meters.is_tracing = True
    meters.observer = Nobody()
    looks = sum(meters.interests(step * MS, 0, 0) for step in range(200_000))
    expected = 200_000 * per_million / 1_000_000
    assert abs(looks - expected) <= 6 * expected**0.5 * (per_million < 1_000_000)
