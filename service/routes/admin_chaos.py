"""The addresses under /admin: what an operator sees and changes of a server that runs.

This module owns which of them does what. All need the scope `admin`. What they change is gone
with the process.
"""

from sanic import Blueprint
from sanic.response import HTTPResponse

from ..access.key_ring import Scope
from ..admission.guard import (
    guard,
    readable,
)
from ..chaos.plan import InvalidPlan, read_plan
from ..chaos.switch import ChaosSwitch
from ..runtime.lifecycle import lifecycle_of
from ..wire import answers
from ..wire.json_bodies import check_content_type, refuse_body
from ..wire.sanic_types import AnyRequest

admin_routes = Blueprint("admin", url_prefix="/admin")


def _chaos_of(request: AnyRequest) -> ChaosSwitch:
    switch = lifecycle_of(request).chaos
    switch.check_allowed()
    return switch


@readable(admin_routes, "/chaos")
@guard(Scope.ADMIN)
async def get_chaos(request: AnyRequest) -> HTTPResponse:
    """Return the plan of faults, and how often each has struck."""
    return answers.answer_json(_chaos_of(request).describe())


@admin_routes.put("/chaos")
@guard(Scope.ADMIN)
async def put_chaos(request: AnyRequest) -> HTTPResponse:
    """Replace the plan of faults with the body; an empty object ends all of them."""
    chaos = _chaos_of(request)
    check_content_type(request.headers.getall("content-type", ()))
    try:
        chaos.change(read_plan(request.body))
    except InvalidPlan as error:
        refuse_body("plan", f"The plan cannot be used: {error}.")
    return answers.answer_json(chaos.describe())
