"""What both clients ask and read by the dozen: transfers at once, and accounts page by page."""

import pytest

from ledgercore.client import NotExecuted, OutcomeUnknown, ProblemError, TransferIntent
from tests.support import scripted
from tests.support.clients import make_client
from tests.support.scripted import QUEUE_FULL, Script, Step, answer, answer_problem

pytest_plugins = ["tests.support.client_fixtures"]

# -- many at once ---------------------------------------------------------------------------------

INTENTS = [TransferIntent("a", "b", 5, key="k-0"), TransferIntent("b", "c", 6, memo="rent")]
ITEM = {"id": 7, "status": "applied", "created_at": "2026-11-22T14:01:43.813128Z"}
REFUSED_ITEM = {**ITEM, "id": 8, "status": "refused", "reason": "insufficient-funds"}


def test_many_at_once(kind: str, script: Script) -> None:
    script.play(scripted.drop, QUEUE_FULL, answer(200, [{**ITEM, "replayed": True}, REFUSED_ITEM]))
    with make_client(kind, script.url) as ledger_client:
        first, second = ledger_client.transfers(INTENTS)
        assert ledger_client.transfers([]) == []
    assert (first.key, first.id, first.is_applied, first.replayed) == ("k-0", 7, True, True)
    assert (second.status, second.reason, second.id) == ("refused", "insufficient-funds", 8)
    assert [request.target for request in script.requests] == ["/transfers"] * 3
    assert len({request.body for request in script.requests}) == 1
    assert script.requests[0].json == [
        {"idempotency_key": "k-0", "from": "a", "to": "b", "amount": 5},
        {"idempotency_key": second.key, "from": "b", "to": "c", "amount": 6, "memo": "rent"},
    ]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer_problem(400, "malformed", errors=[{"pointer": "/1/amount"}]), ProblemError),
        (answer(200, [ITEM]), OutcomeUnknown),
        (answer(200, [ITEM, {**ITEM, "status": "pending"}]), OutcomeUnknown),
        (answer(200, {"status": "ok"}), OutcomeUnknown),
    ],
)
def test_many_that_fail_tell_all_their_keys(
    kind: str, script: Script, step: Step, error: type[Exception]
) -> None:
    script.play(step)
    with (
        make_client(kind, script.url) as ledger_client,
        pytest.raises((ProblemError, NotExecuted, OutcomeUnknown)) as caught,
    ):
        ledger_client.transfers(INTENTS)
    assert caught.type is error
    assert list(caught.value.keys) == [i["idempotency_key"] for i in script.requests[0].json]
    assert caught.value.key is None
    if error is ProblemError:
        assert caught.value.problem is not None
        assert caught.value.problem.errors == ({"pointer": "/1/amount"},)


# -- pages ----------------------------------------------------------------------------------------


def make_page(number: int, cursor: str | None) -> Step:
    account = {"id": f"acct-{number}", "asset": "USD/2", "balance": 0, "floor": 0}
    page = {"accounts": [{**account, "ceiling": None, "frozen": False}], "next": cursor}
    return answer(200, page)


def test_pages(kind: str, script: Script) -> None:
    script.play(make_page(0, "a+b"), QUEUE_FULL, make_page(1, "c"), make_page(2, None))
    with make_client(kind, script.url) as ledger_client:
        ids = [account.id for account in ledger_client.accounts()]
    assert ids == ["acct-0", "acct-1", "acct-2"]
    targets = [request.target.partition("?")[2] for request in script.requests]
    assert targets[:3] == ["limit=1000", "limit=1000&cursor=a%2Bb", "limit=1000&cursor=a%2Bb"]


def test_pages_that_go_in_a_circle(kind: str, script: Script) -> None:
    script.play(make_page(0, "a"))
    with make_client(kind, script.url) as ledger_client, pytest.raises(NotExecuted, match="circle"):
        list(ledger_client.accounts())
