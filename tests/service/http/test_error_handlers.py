"""Exceptions: what becomes of each, and that nothing of the inside is told."""

import asyncio
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from sanic import Sanic
from sanic import exceptions as web
from sanic.compat import Header

from ledgercore import InvalidArgument, LedgerError
from ledgercore.service.app import create_app
from ledgercore.service.settings import Settings
from ledgercore.service.wire.errors import LEDGER_KINDS


@pytest.fixture(scope="module")
def app() -> Sanic[Any, Any]:
    app = create_app(Settings())
    app.router.finalize()
    return app


def answer(app: Sanic[Any, Any], error: BaseException) -> Any:
    """Return the answer to a request whose handler raised the error."""
    request = SimpleNamespace(
        method="GET",
        path="/accounts?secret",
        route=SimpleNamespace(path="accounts"),
        name=None,
        app=app,
        stream=None,
        url="/accounts",
        headers=Header(),
        ctx=SimpleNamespace(),
    )
    return app.error_handler.response(request, error)


def name_of(response: Any) -> str:
    name: str = json.loads(response.body)["type"].rsplit(":", 1)[1]
    return name


@pytest.mark.parametrize("error", LEDGER_KINDS, ids=lambda error: error.__name__)
def test_ledger_error(app: Sanic[Any, Any], error: type[LedgerError]) -> None:
    response = answer(app, error("a secret of the inside"))
    kind, _ = LEDGER_KINDS[error]
    assert (response.status, name_of(response)) == (kind.http_status, kind.name)
    assert b"secret" not in response.body


def test_invalid_argument_names_its_field(app: Sanic[Any, Any]) -> None:
    response = answer(app, InvalidArgument("floor", "is above the ceiling"))
    assert (response.status, name_of(response)) == (400, "malformed")
    (error,) = json.loads(response.body)["errors"]
    assert (error["pointer"], error["detail"]) == ("/floor", "is above the ceiling")


@pytest.mark.parametrize(
    ("error", "http_status", "name"),
    [
        (web.NotFound("x"), 404, "not-found"),
        (web.BadRequest("x"), 400, "malformed"),
        (web.InvalidHeader("x"), 400, "malformed"),
        (web.PayloadTooLarge("x"), 413, "payload-too-large"),
        (web.URITooLong("x"), 414, "uri-too-long"),
        (web.RequestTimeout("x"), 408, "request-timeout"),
        (web.ExpectationFailed("x"), 417, "expectation-failed"),
        (web.MethodNotAllowed("x"), 405, "method-not-allowed"),
    ],
)
def test_web_error(app: Sanic[Any, Any], error: Exception, http_status: int, name: str) -> None:
    response = answer(app, error)
    assert (response.status, name_of(response)) == (http_status, name)


def test_answer_that_took_too_long_is_no_503(app: Sanic[Any, Any]) -> None:
    # A 503 promises that nothing was applied, and here that is not known.
    response = answer(app, web.ServiceUnavailable("Response Timeout"))
    assert (response.status, name_of(response)) == (500, "outcome-unknown")


@pytest.mark.parametrize(
    "error", [KeyError("a secret"), LedgerError("a secret"), web.ServerError("a secret")]
)
def test_bug_is_logged_and_not_told(
    app: Sanic[Any, Any], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []

    def take(*_: Any, exc_info: Exception, extra: dict[str, str]) -> None:
        logged.append(exc_info)
        assert len(extra.pop("trace_id")) == 32
        assert extra == {"event": "bug", "method": "GET", "route": "/accounts"}

    monkeypatch.setattr(logging.getLogger("ledgercore"), "error", take)
    response = answer(app, error)
    assert (response.status, name_of(response)) == (500, "internal-error")
    assert b"secret" not in response.body
    assert logged == [error]


def test_client_that_has_gone_is_no_bug(app: Sanic[Any, Any]) -> None:
    for error in (asyncio.CancelledError(), web.RequestCancelled()):
        gone = answer(app, error)
        assert (gone.status, gone.outcome) == (499, "hung-up")
