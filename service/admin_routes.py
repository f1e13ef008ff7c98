"""The addresses under /admin: what an operator sees and changes of a server that runs.

This module owns which of them does what. All need the scope `admin`. What they change is gone
with the process.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sanic import Blueprint, Request
from sanic.response import HTTPResponse

from ledgercore import InvalidArgument

from . import answers
from .authorization import client_of, guard
from .chaos import InvalidPlan, read_plan
from .chaos_switch import ChaosSwitch
from .credentials import Scope
from .lifecycle import Lifecycle
from .requests import (
    Checks,
    Fault,
    check_content_type,
    check_members,
    read_members,
    refuse,
    refuse_body,
)

AnyRequest = Request[Any, Any]
Handler = Callable[..., Awaitable[HTTPResponse]]

logger = logging.getLogger("ledgercore")

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


# -- workers ---------------------------------------------------------------------------------


@_route("/workers", "GET", "HEAD")
@guard(Scope.ADMIN)
async def get_workers(request: AnyRequest) -> HTTPResponse:
    """Tell how many workers each segment has, what waits for them, and the bounds of both."""
    return answers.answer_json(describe_workers(request.app.ctx.lifecycle))


@_route("/workers", "PATCH")
@guard(Scope.ADMIN)
async def patch_workers(request: AnyRequest) -> HTTPResponse:
    """Change how many workers a segment has at least or at most; the scaler follows."""
    lifecycle: Lifecycle = request.app.ctx.lifecycle
    check_content_type(request.headers.getall("content-type", ()))
    wanted = read_members(request.body)
    if errors := check_members(wanted, _WORKERS_CHECKS, frozenset()):
        refuse(errors)
    scaler = lifecycle.scaler
    before = scaler.bounds
    workers_min = wanted.get("workers_min", before[0])
    workers_max = wanted.get("workers_max", before[1])
    try:
        scaler.set_bounds(workers_min, workers_max)
    except InvalidArgument as error:
        refuse_body("out-of-range", f"{error}.")
    if scaler.bounds != before:
        name = client_of(request).name or "an open server's client"
        logger.warning(
            "workers of each segment: %d to %d -> %d to %d (by %s)", *before, *scaler.bounds, name
        )
    return answers.answer_json(describe_workers(lifecycle))


def describe_workers(lifecycle: Lifecycle) -> dict[str, Any]:
    """Return the bounds, and what each segment has."""
    workers_min, workers_max = lifecycle.scaler.bounds
    segments = [
        {"workers": load.workers, "queue_depth": load.queue_depth}
        for load in lifecycle.engine.statistics().segments
    ]
    return {"workers_min": workers_min, "workers_max": workers_max, "segments": segments}


def _check_count(value: object) -> Fault | None:
    return None if type(value) is int else ("integer-expected", "It is a whole number.")


_WORKERS_CHECKS: Checks = {"workers_min": _check_count, "workers_max": _check_count}
