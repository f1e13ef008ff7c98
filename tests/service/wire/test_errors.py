"""What each error of the ledger is over HTTP, and a problem as the bytes of a whole answer."""

import json

import pytest

import ledgercore
from ledgercore import LedgerError
from ledgercore.service.wire import problems
from ledgercore.service.wire.errors import (
    BUG,
    CLOSING_KINDS,
    LEDGER_KINDS,
    encode_error,
    find_problem,
)
from ledgercore.service.wire.problems import Busy, Problem


def test_every_error_of_a_running_ledger_has_its_answer() -> None:
    # The others belong to the start, when no request is answered, or name their field.
    elsewhere = {"DirectoryLocked", "MemoryUnavailable", "ClockRefused", "InvalidArgument"}
    # A forked child serves nothing, and a refusal is raised by who asks for that.
    elsewhere |= {"EngineForked", "TransferRefused"}
    # By name: the package loads what it offers when it is asked for it.
    offered = {name: getattr(ledgercore, name) for name in ledgercore.__all__}
    errors = {
        name
        for name, value in offered.items()
        if isinstance(value, type) and issubclass(value, LedgerError) and value is not LedgerError
    }
    assert {error.__name__ for error in LEDGER_KINDS} == errors - elsewhere


@pytest.mark.parametrize("error", LEDGER_KINDS, ids=lambda error: error.__name__)
def test_an_error_is_a_whole_answer(error: type[LedgerError]) -> None:
    reply, kind = encode_error(error("a secret of the inside"))
    head, _, body = reply.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert kind is LEDGER_KINDS[error][0] and told["detail"] == LEDGER_KINDS[error][1]
    assert head.startswith(f"HTTP/1.1 {kind.http_status} ".encode()) and b"secret" not in reply
    assert f"content-length: {len(body)}".encode() in head.lower().split(b"\r\n")
    ending = b"close" if kind in CLOSING_KINDS else b"keep-alive"
    assert b"connection: " + ending in head.lower().split(b"\r\n")


def test_a_bug_is_told_as_one() -> None:
    reply, kind = encode_error(ZeroDivisionError("a secret of the inside"))
    assert kind is problems.INTERNAL_ERROR and BUG.encode() in reply and b"secret" not in reply
    assert find_problem(ZeroDivisionError()) is None


def test_who_is_to_come_again_is_told_when() -> None:
    problem = find_problem(Busy("no room", 7))
    assert problem is not None and problem.headers == {"retry-after": "7"}
    own = Problem(problems.NOT_FOUND, "nothing")
    assert encode_error(own)[1] is problems.NOT_FOUND
