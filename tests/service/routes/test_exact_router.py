"""Addresses: exactly those that are there, and none with a slash more or less."""

import pytest
from sanic.exceptions import MethodNotAllowed, NotFound

from ledgercore.service.app import create_app
from ledgercore.service.routes.exact_router import ExactRouter
from ledgercore.service.settings import Settings


@pytest.fixture(scope="module")
def router() -> ExactRouter:
    app = create_app(Settings())
    app.finalize()
    assert isinstance(app.router, ExactRouter)
    return app.router


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/transfer"),
        ("GET", "/accounts"),
        ("GET", "/accounts/a"),
        ("GET", "/accounts/a/"),
        ("GET", "/accounts/a//"),
        ("PATCH", "/accounts/a/"),
        ("GET", "/idempotency-keys//"),
        ("GET", "/debug/pprof"),
        ("GET", "/debug/pprof/"),
    ],
)
def test_what_is_there(router: ExactRouter, method: str, path: str) -> None:
    route, handler, _ = router.get(path, method, None)
    assert handler is not None and method in route.methods


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "//"),
        ("GET", "///"),
        ("POST", "/transfer/"),
        ("POST", "/transfer//"),
        ("POST", "//transfer"),
        ("POST", "/transfers/"),
        ("POST", "/accounts/"),
        ("GET", "/transfers/7/"),
        ("GET", "/healthz/"),
        ("GET", "/debug/pprof//"),
        ("GET", "/debug/pprof/heap/"),
        ("PATCH", "/admin/limits/"),
        ("DELETE", "/admin/keys/x/"),
        ("GET", "/metrics/stream/"),
        ("GET", "/docs/docs.css/"),
    ],
)
def test_what_is_nearly_there(router: ExactRouter, method: str, path: str) -> None:
    with pytest.raises(NotFound):
        router.get(path, method, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/transfer"), ("POST", "/"), ("POST", "/debug/pprof/"), ("POST", "/accounts/a/")],
)
def test_what_is_there_for_other_methods(router: ExactRouter, method: str, path: str) -> None:
    with pytest.raises(MethodNotAllowed):
        router.get(path, method, None)
