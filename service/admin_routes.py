"""The addresses under /admin: what an operator sees and changes of a server that runs.

This module owns which of them does what. All need the scope `admin`. What they change is gone
with the process.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from sanic import Blueprint, Request
from sanic.response import HTTPResponse

from . import answers
from .authorization import guard
from .chaos import InvalidPlan, read_plan
from .chaos_switch import ChaosSwitch
from .credentials import Scope
from .requests import check_content_type, refuse_body

AnyRequest = Request[Any, Any]
Handler = Callable[..., Awaitable[HTTPResponse]]

admin_routes = Blueprint("admin", url_prefix="/admin")


def _route(path: str, *methods: str) -> Callable[[Handler], Handler]:
    decorate: Callable[[Handler], Handler] = admin_routes.route(path, methods=methods)
    return decorate


def _chaos_of(request: AnyRequest) -> ChaosSwitch:
    switch: ChaosSwitch = request.app.ctx.lifecycle.chaos
    switch.check_allowed()
    return switch


@_route("/chaos", "GET", "HEAD")
@guard(Scope.ADMIN)
async def get_chaos(request: AnyRequest) -> HTTPResponse:
    """Tell what goes wrong on purpose, and how often it has."""
    return answers.answer_json(_chaos_of(request).describe())


@_route("/chaos", "PUT")
@guard(Scope.ADMIN)
async def put_chaos(request: AnyRequest) -> HTTPResponse:
    """Let go wrong what the body plans, and nothing else; an empty object ends all of it."""
    chaos = _chaos_of(request)
    check_content_type(request.headers.getall("content-type", ()))
    try:
        chaos.change(read_plan(request.body))
    except InvalidPlan as error:
        refuse_body("plan", f"The plan cannot be used: {error}.")
    return answers.answer_json(chaos.describe())
