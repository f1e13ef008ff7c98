"""What a head says of its sender and its deadline, and that a guard lets nobody else in."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanic.compat import Header

from ledgercore.service.access.key_ring import Scope
from ledgercore.service.admission.admission import Client
from ledgercore.service.admission.guard import (
    FORWARDING,
    TOKEN_CHARACTERS_MAX,
    check_direct,
    check_signature,
    client_of,
    guard,
    is_local,
    read_timeout,
    read_token,
)
from ledgercore.service.admission.limiter import Limiter
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import Problem


def request_of(*headers: tuple[str, str], **members: Any) -> Any:
    return SimpleNamespace(headers=Header(headers), ctx=SimpleNamespace(), **members)


# -- what comes through a proxy --------------------------------------------------------------------


@pytest.mark.parametrize("name", [*sorted(FORWARDING), "X-Forwarded-Port", "fORWARDED"])
def test_a_proxy_is_noticed(name: str) -> None:
    with pytest.raises(Problem, match=name):
        check_direct(request_of(("Host", "x"), (name, "a")))


@pytest.mark.parametrize("name", ["X-Forward", "X-Request-Id", "Traceparent", "Forwarded-For-X"])
def test_what_clients_send_themselves_is_no_proxy(name: str) -> None:
    check_direct(request_of(("Host", "x"), (name, "a")))


# -- tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([("Authorization", "Bearer abc")], "abc"),
        ([("authorization", "bEARER abc")], "abc"),
        ([("Authorization", "Bearer   abc \t")], "abc"),
        ([("Authorization", "Bearer")], ""),
        ([("Authorization", "")], ""),
        ([("Authorization", "abc")], ""),
        ([("Authorization", "Basic abc")], ""),
        ([("Authorization", "Bearer\tabc")], ""),
        ([("X-API-Key", "abc")], "abc"),
        ([("x-api-key", " abc\t")], "abc"),
        ([("x-api-key", "")], ""),
        ([("x-api-key", "k" * 255)], "k" * 255),
    ],
)
def test_tokens(headers: list[tuple[str, str]], token: str | None) -> None:
    assert read_token(request_of(*headers)) == token


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer a"), ("Authorization", "Bearer a")],
        [("X-API-Key", "a"), ("X-API-Key", "a")],
        [("X-API-Key", "a"), ("Authorization", "Bearer a")],
        [("X-API-Key", ""), ("Authorization", "")],
        [("X-API-Key", "a"), ("Authorization", "Basic a")],
    ],
)
def test_more_than_one_token_is_none(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as caught:
        read_token(request_of(*headers))
    assert caught.value.kind is problems.UNAUTHORIZED
    assert caught.value.headers == {
        "www-authenticate": 'Bearer realm="ledgercore", error="invalid_request"'
    }


def test_a_long_token_is_cut_and_stays_too_long() -> None:
    token = read_token(request_of(("x-api-key", "k" * 10_000)))
    assert token is not None and len(token) == TOKEN_CHARACTERS_MAX + 1


@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key"]), st.text()), max_size=3))
def test_any_text_is_a_token_none_or_a_problem(headers: list[tuple[str, str]]) -> None:
    if len(headers) > 1:
        with pytest.raises(Problem):
            read_token(request_of(*headers))
    else:
        assert (read_token(request_of(*headers)) is None) == (not headers)


# -- deadlines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "timeout_ms"),
    [([], 0), (["1"], 1), ([" 250\t"], 250), (["007"], 7), (["99999999"], 99_999_999)],
)
def test_timeouts(texts: list[str], timeout_ms: int) -> None:
    assert read_timeout(request_of(*(("X-Request-Timeout-Ms", t) for t in texts))) == timeout_ms


@pytest.mark.parametrize(
    "texts",
    [[""], ["0"], ["000"], ["-1"], ["+1"], ["1.5"], ["1e3"], ["100000000"], ["٣"], ["²"], ["1_0"],
     ["1", "1"], ["0x10"], ["1 0"], ["1;2"]],
)  # fmt: skip
def test_timeouts_that_are_none(texts: list[str]) -> None:
    with pytest.raises(Problem) as caught:
        read_timeout(request_of(*(("x-request-timeout-ms", text) for text in texts)))
    assert caught.value.kind is problems.MALFORMED
    assert caught.value.errors is not None
    assert [error["header"] for error in caught.value.errors] == ["X-Request-Timeout-Ms"]


# -- the guard -------------------------------------------------------------------------------------


class ScriptedAdmission:
    """An admission that says what it is told to, and remembers what it was asked in which order."""

    def __init__(self, *, is_signed: bool = False, refuses: str = "") -> None:
        limit = Limiter().find_client("")
        self.client: Any = Client("", None, limit)
        if is_signed:
            self.client = SimpleNamespace(is_signed=True)
        self.refuses = refuses
        self.asked: list[tuple[Any, ...]] = []

    def _ask(self, name: str, *arguments: Any) -> None:
        self.asked.append((name, *arguments))
        if name == self.refuses:
            raise Problem(problems.UNAUTHORIZED, name)

    def identify(self, token: str | None, scope: Scope, is_local: bool) -> Any:
        self._ask("identify", token, scope, is_local)
        return self.client

    def verify(self, client: Any, method: str, target: str, body: bytes, header: Any) -> None:
        self._ask("verify", method, target, body, header)

    def charge_request(self, client: Any) -> None:
        self._ask("charge_request")


def guarded(admission: ScriptedAdmission, *headers: tuple[str, str]) -> Any:
    app = SimpleNamespace(ctx=SimpleNamespace(lifecycle=SimpleNamespace(admission=admission)))
    transport = SimpleNamespace(get_extra_info=lambda name: ("127.0.0.1", 4711))
    return request_of(
        *headers,
        app=app,
        method="POST",
        raw_url=b"/x?y=z",
        query_string="",
        body=b"{}",
        transport=transport,
    )


async def handle(request: Any, **values: Any) -> Any:
    return client_of(request), values


async def test_a_guard_asks_in_this_order() -> None:
    admission = ScriptedAdmission(is_signed=True)
    request = guarded(admission, ("x-api-key", "abc"), ("x-signature", "s"))
    assert await guard(Scope.ADMIN)(handle)(request, id="7") == (admission.client, {"id": "7"})
    assert admission.asked == [
        ("identify", "abc", Scope.ADMIN, True),
        ("verify", "POST", "/x?y=z", b"{}", "s"),
        ("charge_request",),
    ]


@pytest.mark.parametrize("refuses", ["identify", "verify", "charge_request"])
async def test_who_is_refused_reaches_no_handler(refuses: str) -> None:
    admission = ScriptedAdmission(is_signed=True, refuses=refuses)

    async def never(request: Any) -> Any:
        raise AssertionError("the handler has run")

    with pytest.raises(Problem, match=refuses):
        await guard(Scope.READ)(never)(guarded(admission))
    # Nothing is asked after a refusal: above all nothing is charged.
    assert admission.asked[-1][0] == refuses


async def test_what_a_handler_charges_and_checks_itself() -> None:
    admission = ScriptedAdmission(is_signed=True)
    request = guarded(admission)
    await guard(Scope.READ, is_charged=False, is_streamed=True)(handle)(request)
    assert [name for name, *_ in admission.asked] == ["identify"]
    check_signature(request, b"body")
    assert admission.asked[-1] == ("verify", "POST", "/x?y=z", b"body", None)


@pytest.mark.parametrize("signatures", [[], ["a", "b"], ["a", "a"]])
async def test_one_signature_is_a_signature(signatures: list[str]) -> None:
    admission = ScriptedAdmission(is_signed=True)
    request = guarded(admission, *(("X-Signature", text) for text in signatures))
    await guard(Scope.READ)(handle)(request)
    assert admission.asked[1][-1] is None


async def test_who_does_not_sign_is_not_asked_to() -> None:
    admission = ScriptedAdmission()
    await guard(Scope.READ)(handle)(guarded(admission, ("X-Signature", "a")))
    assert [name for name, *_ in admission.asked] == ["identify", "charge_request"]


# -- where it comes from ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "is_here"),
    [
        (("127.0.0.1", 1), True),
        (("127.9.9.9", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        ("/run/ledger.sock", True),
        ("", True),
        (("203.0.113.9", 1), False),
        (("10.0.0.1", 1), False),
        (("0.0.0.0", 1), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        (("::ffff:203.0.113.9", 1, 0, 0), False),
        (("localhost", 1), False),
        (None, False),
    ],
)
def test_where_a_connection_comes_from(peer: Any, is_here: bool) -> None:
    assert is_local(SimpleNamespace(get_extra_info=lambda name: peer)) is is_here


def test_a_connection_that_is_gone_comes_from_nowhere() -> None:
    assert not is_local(None)
