"""Of two reasons to refuse a request, which is told: the same one by every way in.

ORDER is that of admission.pyx, with what comes before and after it. Each pair of it is made true at
once, and the earlier one has to be the answer.
"""

import json
from collections.abc import Callable, Iterator
from itertools import combinations, count
from pathlib import Path
from typing import NamedTuple

import pytest

from ledgercore.service.access.key_ring import Scope
from ledgercore.service.admission.limiter import Verdict
from ledgercore.service.wire.arrow import MEDIA_TYPE
from tests.support.keyed import bearer, make_key, spell, spell_bulk, spell_transfer
from tests.support.local import Answer, LocalServer, serve_both_ways
from tests.support.tables import make_table, write_table

SINGLE = ("native", "ordinary")
TRANSFERS = (*SINGLE, "bulk", "arrow")
AMOUNT, QUOTA = 60, 50
FREE = 10**15  # a quota that nobody reaches
UNLIMITED = 2**63 - 1
CLIENTS = {Scope.READ: "reader", Scope.ADMIN: "admin"}

count_case = count(1)


class Reason(NamedTuple):
    """Why a request is refused: what is told, and how it comes to that."""

    told: str
    arrange: Callable[[LocalServer], None] | None = None
    """None: the request itself is the reason."""
    is_of_reads: bool = False
    """Whether what moves no money is refused for it as well."""


def fill(server: LocalServer) -> None:
    server.lifecycle.admission.in_flight.limit = 0


def fill_look_ups(server: LocalServer) -> None:
    spend_money(server)
    server.lifecycle.admission.is_look_up_full = lambda: True


def spend_own_rate(server: LocalServer) -> None:
    limiter = server.lifecycle.admission.limiter
    limiter.configure(client_rate=0.001, client_burst=1)
    for name in CLIENTS.values():
        while limiter.admit_now(limiter.find_client(name)) == Verdict.ADMITTED:
            pass


def spend_rate_of_all(server: LocalServer) -> None:
    """Let others have used it up, whatever rates of their own they have."""
    limiter = server.lifecycle.admission.limiter
    limiter.configure(global_rate=0.001, global_burst=1)
    others = (limiter.find_client(f"other-{number}") for number in range(100))
    while limiter.admit_now(next(others)) == Verdict.ADMITTED:
        pass


def lower_quota(server: LocalServer) -> None:
    server.lifecycle.admission.limiter.configure(quota=QUOTA)


def spend_money(server: LocalServer) -> None:
    """Let nothing be left of a quota that is large enough, or else of the one that is not."""
    limiter = server.lifecycle.admission.limiter
    if limiter.settings()["quota"] == FREE:
        limiter.configure(quota=AMOUNT)
    limiter.admit_now(
        limiter.find_client(CLIENTS[Scope.ADMIN]), 0, int(limiter.settings()["quota"])
    )


def be_late(server: LocalServer) -> None:
    server.lifecycle.admission.deadline_ns = 1


ORDER = {
    "unknown": Reason("unauthorized", None, True),
    "not allowed": Reason("forbidden", None, True),
    "in flight": Reason("overloaded", fill),
    "own rate": Reason("quota-exceeded client", spend_own_rate, True),
    "rate of all": Reason("quota-exceeded global", spend_rate_of_all, True),
    "nonsense": Reason("malformed", None, True),
    "above quota": Reason("above-quota", lower_quota),
    "money": Reason("quota-exceeded money", spend_money),
    "deadline": Reason("deadline-passed", be_late),
    "ledger": Reason("source-not-found"),
}
"""No case has an account to take from, so that the last is true of each transfer that is none."""

WAYS = {way: tuple(ORDER) for way in TRANSFERS}
WAYS |= {"read": tuple(name for name, reason in ORDER.items() if reason.is_of_reads)}
CASES = [(way, *pair) for way, names in WAYS.items() for pair in combinations(names, 2)]


class Served(NamedTuple):
    """Servers that refuse nothing, and the keys of each."""

    servers: dict[str, LocalServer]
    tokens: dict[tuple[str, Scope], str]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data: Path = tmp_path_factory.mktemp("precedence")
    tokens = {
        (way, scope): make_key(data / way, name, scope).token
        for way in SINGLE
        for scope, name in CLIENTS.items()
    }
    with serve_both_ways(data, demo_accounts=2, durability="memory") as servers:
        yield Served(servers, tokens)


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """Let each case begin with what refuses nothing, and look its own keys up."""
    originals = {}
    for name, server in shared.servers.items():
        admission = server.lifecycle.admission
        originals[name] = admission.is_look_up_full
        admission.limiter.configure(0, 0, 0, 0, FREE)
        admission.in_flight.limit, admission.deadline_ns = UNLIMITED, 0
    yield shared
    for name, server in shared.servers.items():
        server.lifecycle.admission.is_look_up_full = originals[name]


def ask(served: Served, way: str, *reasons: str) -> str:
    """Return what is told of a request for which these reasons are true."""
    server = served.servers["ordinary" if way == "ordinary" else "native"]
    for reason in reasons:
        if reason in ORDER and (arrange := ORDER[reason].arrange) is not None:
            arrange(server)
    lines: tuple[str, ...] = ()
    if "unknown" not in reasons:
        scope = Scope.READ if "not allowed" in reasons else Scope.ADMIN
        lines = (bearer(served.tokens["ordinary" if way == "ordinary" else "native", scope]),)
    return tell(server.ask(spell_way(way, lines, is_nonsense="nonsense" in reasons)))


def spell_way(way: str, lines: tuple[str, ...], *, is_nonsense: bool) -> bytes:
    """Return a request for one way in, with a key of its own."""
    key = f"key-{next(count_case)}"
    if way == "read":
        # What only an administrator may, and moves no money.
        return spell("GET", "/admin/keys?x=1" if is_nonsense else "/admin/keys", *lines)
    if way == "arrow":
        table = write_table(make_table([(key, "nobody", "acct-1", AMOUNT)]))
        body = b"nonsense" if is_nonsense else table
        return spell("POST", "/transfers", f"Content-Type: {MEDIA_TYPE}", *lines, body=body)
    if is_nonsense:
        return spell("POST", "/transfers" if way == "bulk" else "/transfer", *lines, body=b"{")
    if way == "bulk":
        return spell_bulk(key, lines=lines, amount=AMOUNT).replace(b"acct-0", b"nobody")
    return spell_transfer(key, *lines, amount=AMOUNT, source="nobody")


def tell(answer: Answer) -> str:
    """Return the name of a problem, with the limit that it is of."""
    body = json.loads(answer.body)
    return " ".join([answer.problem, *body.get("violated-policies", ())])


@pytest.mark.parametrize(("way", "first", "second"), CASES)
def test_of_two_reasons_the_first_is_told(
    served: Served, way: str, first: str, second: str
) -> None:
    assert ask(served, way, first, second) == ORDER[first].told


@pytest.mark.parametrize("second", ["own rate", "rate of all", "above quota", "deadline", "ledger"])
@pytest.mark.parametrize("way", TRANSFERS)
def test_where_no_more_keys_can_be_looked_up_money_refuses_nothing(
    served: Served, way: str, second: str
) -> None:
    """It is not known whether it is new: what has no room for the look is told nothing else."""
    for name in served.servers.values():
        fill_look_ups(name)
    assert ask(served, way, second) == "overloaded"
    # And before that come those who may not ask at all.
    assert ask(served, way, second, "not allowed") == "forbidden"
