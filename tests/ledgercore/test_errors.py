"""The exceptions: one root to catch, and the built-in class that a caller would expect."""

import inspect
import pickle

import pytest

from ledgercore import errors

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if value.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_one_root_and_an_explanation(error: type[Exception]) -> None:
    assert issubclass(error, errors.LedgerError)
    assert inspect.getdoc(error)


def test_errors_are_what_python_would_call_them() -> None:
    assert issubclass(errors.InvalidArgument, ValueError)
    assert issubclass(errors.AccountNotFound, KeyError)


def test_an_invalid_argument_names_its_field() -> None:
    error = errors.InvalidArgument("amount", "must be positive")
    assert (error.field, error.message) == ("amount", "must be positive")
    assert str(error) == "amount: must be positive"


def test_an_unknown_account_reads_like_a_sentence() -> None:
    # KeyError shows the repr of its argument, with quotes that no reader wants.
    assert str(errors.AccountNotFound("no account 'ghost'")) == "no account 'ghost'"
    assert str(errors.AccountNotFound()) == "no such account"


@pytest.mark.parametrize("error", CLASSES)
def test_no_error_is_caught_as_another(error: type[Exception]) -> None:
    # Each class stands for one way to act on it, so only the root may be above them.
    others = [other for other in CLASSES if other not in (error, errors.LedgerError)]
    assert not any(issubclass(error, other) for other in others)


def test_an_invalid_argument_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.InvalidArgument("amount", "must be positive")))
    assert (error.field, error.message) == ("amount", "must be positive")
