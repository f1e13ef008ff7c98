"""What is told of limits, read back by a reader of structured fields that knows nothing of it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.service.admission.limit_headers import (
    DETAILS,
    INTEGER_MAX,
    make_limit_headers,
    make_limit_problem,
)
from ledgercore.service.admission.limiter import Limiter, LimitState, Verdict
from ledgercore.service.wire.problems import answer_problem

NS = 1_000_000_000

Parameters = dict[str, int | str]

# RFC 9651, sections 3.3.1 (integers), 3.3.3 (strings), 3.1.2 (parameters).
STRING = r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
PARAMETER = re.compile(rf"; *([a-z*][a-z0-9_.*-]*)=(?:(-?[0-9]{{1,15}})|{STRING})")


def read_item(field: str) -> tuple[str, Parameters]:
    """Read a list of one string with parameters, to its end."""
    match = re.match(STRING, field)
    assert match is not None, field
    at, parameters = match.end(), Parameters()
    while at < len(field):
        found = PARAMETER.match(field, at)
        assert found is not None, field[at:]
        name, integer, text = found.groups()
        parameters[name] = int(integer) if integer is not None else text
        at = found.end()
    return match[1], parameters


large = st.integers(0, (1 << 63) - 1)
states = st.builds(
    LimitState,
    st.sampled_from(sorted(DETAILS)),
    large,
    large,
    large,
    large,
    st.integers(0, 1 << 33),
)


@given(states)
def test_every_state_reads_back(state: LimitState) -> None:
    headers = make_limit_headers(state)
    name, policy = read_item(headers["ratelimit-policy"])
    assert name == state.name
    expected: Parameters = {
        "q": min(state.quota, INTEGER_MAX),
        "w": min(state.window_s, INTEGER_MAX),
    }
    if name == "money":
        expected["qu"] = "minor-units"
    assert policy == expected
    name, limit = read_item(headers["ratelimit"])
    assert name == state.name
    assert limit == {
        "r": min(state.remaining, INTEGER_MAX),
        "t": min(state.reset_s, INTEGER_MAX),
    }
    assert headers.get("retry-after") == (str(state.retry_after_s) if state.retry_after_s else None)


def test_the_examples_of_the_draft() -> None:
    state = LimitState("client", 100, 1, 0, 3, 3)
    assert make_limit_headers(state) == {
        "ratelimit-policy": '"client";q=100;w=1',
        "ratelimit": '"client";r=0;t=3',
        "retry-after": "3",
    }


@pytest.mark.parametrize("name", sorted(DETAILS))
def test_a_refusal_is_a_problem(name: str) -> None:
    response = answer_problem(make_limit_problem(LimitState(name, 100, 1, 0, 7, 7)))
    assert response.status == 429
    assert response.content_type == "application/problem+json"
    assert response.headers["retry-after"] == "7"
    assert read_item(response.headers["ratelimit"]) == (name, {"r": 0, "t": 7})
    body = json.loads(response.body or b"")
    assert body.pop("detail").endswith("This request has stored nothing; try again in 7 s.")
    assert body == {
        "type": "urn:ledgercore:problem:quota-exceeded",
        "title": "The client has asked for too much",
        "status": 429,
        "violated-policies": [name],
    }


@given(
    rate=st.floats(0.001, 1e9),
    burst=st.integers(0, 10**6),
    is_global=st.booleans(),
    count=st.integers(1, 10**6),
)
def test_asking_again_when_told_succeeds(
    rate: float, burst: int, is_global: bool, count: int
) -> None:
    now_ns = 10 * NS
    settings: dict[str, Any]
    settings = {"global_rate": rate, "global_burst": burst} if is_global else {}
    settings = settings or {"client_rate": rate, "client_burst": burst}
    limiter = Limiter(**settings, clock_ns=lambda: now_ns)
    client = limiter.find_client("a")
    while (verdict := limiter.admit_now(client, count)) is Verdict.ADMITTED:
        limiter.admit_now(client, 10**6)
    state = limiter.describe(client, now_ns, verdict, count)
    assert state is not None
    assert state.name == ("global" if is_global else "client")
    headers = make_limit_headers(state)
    assert int(headers["retry-after"]) >= 1
    # One second less is too early, unless it is the least that can be told.
    now_ns += (int(headers["retry-after"]) - 1) * NS
    assert now_ns == 10 * NS or limiter.admit_now(client, count) is verdict
    now_ns += NS
    assert limiter.admit_now(client, count) is Verdict.ADMITTED


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({"client_rate": 100}, ("client", {"q": 100, "w": 1})),
        ({"client_rate": 100, "client_burst": 1000}, ("client", {"q": 1000, "w": 10})),
        ({"client_rate": 100, "client_burst": 5}, ("client", {"q": 100, "w": 1})),
        ({"client_rate": 0.001}, ("client", {"q": 1, "w": 1000})),
        ({"client_rate": 0.3, "client_burst": 2}, ("client", {"q": 2, "w": 7})),
        ({"global_rate": 100}, ("global", {"q": 100, "w": 1})),
        (
            {"quota": (1 << 63) - 1, "global_rate": 100},
            ("money", {"q": INTEGER_MAX, "qu": "minor-units", "w": 86_400}),
        ),
    ],
)
def test_the_policy_of_each_limit(
    settings: dict[str, float], policy: tuple[str, Parameters]
) -> None:
    limiter = Limiter(**settings, clock_ns=lambda: NS)  # type: ignore[arg-type]
    state = limiter.describe(limiter.find_client("a"))
    assert state is not None
    headers = make_limit_headers(state)
    assert read_item(headers["ratelimit-policy"]) == policy
    assert "retry-after" not in headers


def test_without_limits_there_is_nothing_to_tell() -> None:
    limiter = Limiter()
    assert limiter.describe(limiter.find_client("a")) is None
