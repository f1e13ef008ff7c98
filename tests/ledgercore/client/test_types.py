"""What a caller sees of results and errors."""

import pickle

import pytest

from ledgercore.client.types import (
    LedgerClientError,
    NotExecuted,
    OutcomeUnknown,
    Problem,
    ProblemError,
    TransferRefused,
    TransferResult,
    TransferStatus,
)

PROBLEM = Problem(name="malformed", http_status=400, detail="No.", errors=({"pointer": "/to"},))


@pytest.mark.parametrize("status", ["applied", "refused", "rejected"])
def test_result_is_applied_only_if_it_says_so(status: str) -> None:
    result = TransferResult(
        key="k",
        id=1,
        status=status,  # type: ignore[arg-type]  # It is one of the three.
        source="a",
        target="b",
        amount=5,
        asset=None,
        created_at="",
    )
    assert result.is_applied is (status == "applied")
    with pytest.raises(AttributeError):
        result.amount = 6  # type: ignore[misc]  # This is what fails.


def make_result(status: TransferStatus, reason: str | None = None) -> TransferResult:
    return TransferResult(
        key="k-1", id=7, status=status, source="a", target="b", amount=5, created_at="",
        reason=reason,
    )  # fmt: skip


@pytest.mark.parametrize("status", ["applied", "refused", "not-stored"])
def test_a_result_is_neither_true_nor_false(status: TransferStatus) -> None:
    with pytest.raises(TypeError, match=r"is_applied.*raise_if_refused\(\)"):
        bool(make_result(status))


def test_a_refusal_can_be_raised() -> None:
    applied = make_result("applied")
    assert applied.raise_if_refused() is applied
    for refused in (make_result("refused", "insufficient-funds"), make_result("not-stored", "x")):
        with pytest.raises(TransferRefused, match=f"transfer 7: {refused.reason}") as caught:
            refused.raise_if_refused()
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.result, error.key, str(error)) == (refused, "k-1", str(caught.value))
        assert isinstance(error, LedgerClientError)


@pytest.mark.parametrize("kind", [ProblemError, NotExecuted, OutcomeUnknown])
def test_error_crosses_processes(kind: type[LedgerClientError]) -> None:
    error = pickle.loads(pickle.dumps(kind("It failed.", ("k-1",), 3, PROBLEM)))
    assert type(error) is kind
    assert (str(error), error.keys, error.key) == ("It failed.", ("k-1",), "k-1")
    assert (error.tries, error.problem) == (3, PROBLEM)


@pytest.mark.parametrize("keys", [(), ("a", "b")])
def test_key_is_there_only_if_it_is_the_only_one(keys: tuple[str, ...]) -> None:
    assert LedgerClientError("", keys).key is None


def test_kinds_of_errors_are_no_kinds_of_each_other() -> None:
    kinds = (ProblemError, NotExecuted, OutcomeUnknown)
    assert all(issubclass(a, b) == (a is b) for a in kinds for b in kinds)


def test_problem_in_words() -> None:
    assert str(PROBLEM) == "malformed (400): No."
    assert str(Problem(name="", http_status=502, detail="")) == "no problem document (502): "
