"""The routes of transfers, accounts, audit and probes, one short handler each.

This module owns which address does what. It never parses, never encodes and never waits for a disk
itself: it joins the modules that do.
"""

from collections.abc import Callable
from functools import partial

from sanic import Blueprint
from sanic.response import HTTPResponse

from ledgercore import Account, AccountNotFound, Status

from ..access.key_ring import Scope
from ..admission.body_budget import read_body
from ..admission.guard import (
    admission_of,
    check_signature,
    client_of,
    guard,
    read_timeout,
    readable,
    reading,
)
from ..chaos.faults import exposed
from ..engine_port import EnginePort
from ..monitoring.live_stream import viewers_of
from ..runtime.lifecycle import lifecycle_of
from ..wire import answers, arrow, bulk
from ..wire.json_bodies import (
    AccountRequest,
    check_content_type,
    read_account,
    read_account_changes,
    read_transfer,
)
from ..wire.paths import (
    ACCOUNT_PARAMETER,
    KEY_PARAMETER,
    check_parameters,
    has_parameter,
    locate_account,
    read_page,
    read_path_account,
    read_path_key,
    read_query_account,
    read_query_key,
    read_switch,
    read_transfer_id,
    takes,
)
from ..wire.problems import TRANSFER_NOT_FOUND, Problem
from ..wire.sanic_types import AnyRequest

ledger_routes = Blueprint("ledger")
_get = partial(readable, ledger_routes)


# -- transfers -------------------------------------------------------------------------------


@ledger_routes.post("/transfer")
@guard(Scope.TRANSFER, is_charged=False)
@exposed
async def post_transfer(request: AnyRequest) -> HTTPResponse:
    """Move money, once per key, and answer when that is durable."""
    batcher, admission = request.app.ctx.lifecycle.batcher, admission_of(request)
    client, headers = client_of(request), request.headers
    with reading(request):
        check_content_type(headers.getall("content-type", ()))
        transfer = read_transfer(request.body, headers.getall("idempotency-key", ()))
        deadline_ns = admission.deadline(read_timeout(request))
    charge = admission.admit(client, 1, transfer.amount)
    if charge is not None:
        place = await batcher.transfer(charge, transfer, deadline_ns)
    else:
        place = submission, index = await batcher.look_up(client, transfer)
        if submission.outcome(index).status is Status.DEADLINE_PASSED:
            raise admission.make_money_problem(client, transfer.amount)
    request.ctx.place = place
    submission, row = place
    return answers.answer_transfer(submission, row, lifecycle_of(request).forms)


@ledger_routes.post("/transfers", stream=True)
@guard(Scope.TRANSFER, is_charged=False, is_streamed=True)
@exposed
async def post_transfers(request: AnyRequest) -> HTTPResponse:
    """Move money many times, in the order of the body, and answer when all of it is durable."""
    lifecycle = lifecycle_of(request)
    engine, batcher = lifecycle.engine, lifecycle.batcher
    client, admission = client_of(request), admission_of(request)
    # Whether the client has signed this is seen once the body is there.
    with reading(request, is_charged=not client.is_signed):
        content_types = request.headers.getall("content-type", ())
        is_arrow = arrow.is_arrow(content_types)
        if not is_arrow:
            check_content_type(content_types)
        bulk.check_headers(request.headers.getall("idempotency-key", []))
    fill = arrow.fill_submission if is_arrow else bulk.fill_submission
    answer = arrow.answer_transfers if is_arrow else bulk.answer_transfers
    with lifecycle.bodies.holding() as holding:
        body = await read_body(request, holding)
        check_signature(request, body)
        with reading(request):
            check_parameters(request.query_string)
            deadline_ns = admission.deadline(read_timeout(request))
            submission = await lifecycle.call(fill, engine, body, client.name)
        del body
        holding.release()
        holding.acquire(len(submission) * bulk.ROW_BYTES)
        late = await batcher.apply_bulk(client, submission, deadline_ns)
    return answer(submission, lifecycle.forms, late)


@_get("/transfers/<transfer_id:str>")
@guard(Scope.READ)
async def get_transfer(request: AnyRequest, transfer_id: str) -> HTTPResponse:
    """Return a transfer, applied or refused."""
    lifecycle = lifecycle_of(request)
    engine, batcher = lifecycle.engine, lifecycle.batcher
    number = read_transfer_id(transfer_id)
    transfer = None if number is None else await lifecycle.call(engine.find_transfer, number)
    if transfer is None:
        raise Problem(TRANSFER_NOT_FOUND, "No transfer has this id.")
    await batcher.barrier(transfer.id)
    return answers.answer_json(answers.describe_transfer(transfer, lifecycle.forms))


@_get("/idempotency-keys/<key:path>")
@guard(Scope.READ)
async def get_key(request: AnyRequest, key: str) -> HTTPResponse:
    """Return what is known of an idempotency key."""
    return await _answer_key(request, read_path_key(key))


@_get("/idempotency-keys")
@guard(Scope.READ)
@takes(KEY_PARAMETER)
async def find_key(request: AnyRequest) -> HTTPResponse:
    """Return what is known of an idempotency key that the query names."""
    return await _answer_key(request, read_query_key(request.query_string))


async def _answer_key(request: AnyRequest, key: str) -> HTTPResponse:
    lifecycle = lifecycle_of(request)
    engine, batcher = lifecycle.engine, lifecycle.batcher
    state = await lifecycle.call(engine.find_key, key, client_of(request).name)
    if state.transfer is not None:
        await batcher.barrier(state.transfer.id)
    return answers.answer_json(answers.describe_key(key, state, lifecycle.forms))


# -- accounts --------------------------------------------------------------------------------


@ledger_routes.post("/accounts")
@guard(Scope.ADMIN)
async def post_account(request: AnyRequest) -> HTTPResponse:
    """Open an account; asking again with the same settings is fine."""
    lifecycle = lifecycle_of(request)
    engine = lifecycle.engine
    check_content_type(request.headers.getall("content-type", ()))
    wanted = read_account(request.body)
    account, is_new = await lifecycle.call(_open_account, engine, wanted)
    body = answers.describe_account(account, lifecycle.forms)
    location = {"location": locate_account(account.id)}
    return answers.answer_json(body, 201 if is_new else 200, location)


def _open_account(engine: EnginePort, wanted: AccountRequest) -> tuple[Account, bool]:
    # Two who open one account at the same moment may both be told that it is new, which it is.
    is_new = not _has_account(engine, wanted.id)
    account = engine.open_account(
        wanted.id,
        asset=wanted.asset,
        floor=wanted.floor,
        ceiling=wanted.ceiling,
        frozen=wanted.frozen,
    )
    return account, is_new


def _has_account(engine: EnginePort, account_id: str) -> bool:
    try:
        engine.peek_account(account_id)
    except AccountNotFound:
        return False
    return True


@_get("/accounts/<account_id:path>")
@guard(Scope.READ)
async def get_account(request: AnyRequest, account_id: str) -> HTTPResponse:
    """Return an account and its balance."""
    return await _answer_account(request, read_path_account(account_id))


async def _answer_account(request: AnyRequest, account_id: str) -> HTTPResponse:
    lifecycle = lifecycle_of(request)
    account = lifecycle.engine.peek_account(account_id)
    await lifecycle.batcher.barrier()
    return answers.answer_json(answers.describe_account(account, lifecycle.forms))


@ledger_routes.patch("/accounts/<account_id:path>")
@guard(Scope.ADMIN)
async def patch_account(request: AnyRequest, account_id: str) -> HTTPResponse:
    """Change the settings of an account that the body names."""
    return await _change_account(request, partial(read_path_account, account_id))


@ledger_routes.patch("/accounts")
@guard(Scope.ADMIN)
@takes(ACCOUNT_PARAMETER)
async def patch_sought_account(request: AnyRequest) -> HTTPResponse:
    """Change the settings of an account that the query names."""
    return await _change_account(request, partial(read_query_account, request.query_string))


async def _change_account(request: AnyRequest, read_id: Callable[[], str]) -> HTTPResponse:
    lifecycle = lifecycle_of(request)
    engine = lifecycle.engine
    check_content_type(request.headers.getall("content-type", ()))
    changes = read_account_changes(request.body)
    account = await lifecycle.call(engine.change_account, read_id(), **changes)
    return answers.answer_json(answers.describe_account(account, lifecycle.forms))


@_get("/accounts")
@guard(Scope.READ)
@takes("limit", "cursor", ACCOUNT_PARAMETER)
async def get_accounts(request: AnyRequest) -> HTTPResponse:
    """List the accounts in the order in which they were opened, a page at a time; or tell one."""
    if has_parameter(request.query_string, ACCOUNT_PARAMETER):
        return await _answer_account(request, read_query_account(request.query_string))
    lifecycle = lifecycle_of(request)
    page = read_page(request.query_string)
    accounts = lifecycle.engine.peek_accounts(page.start, page.limit + 1)
    await lifecycle.batcher.barrier()
    return answers.answer_json(answers.describe_page(accounts, page.limit, lifecycle.forms))


# -- the ledger and the server ---------------------------------------------------------------


@_get("/audit")
@guard(Scope.READ)
@takes("journal")
async def get_audit(request: AnyRequest) -> HTTPResponse:
    """Check the whole ledger, and its journal against it."""
    journal = read_switch(request.query_string, "journal")
    lifecycle = lifecycle_of(request)
    audit = await lifecycle.calls.call_shared(lifecycle.engine.audit, journal=journal)
    viewers_of(request).note_audit(audit)
    return answers.answer_json(answers.describe_audit(audit, lifecycle.forms))


@_get("/healthz")
async def get_health(request: AnyRequest) -> HTTPResponse:
    """Return 200 while the process answers requests."""
    return answers.answer_json({"status": "ok"})


@_get("/readyz")
async def get_readiness(request: AnyRequest) -> HTTPResponse:
    """Return whether the ledger takes requests, or why it does not."""
    engine = lifecycle_of(request).check_ready()
    return answers.answer_json({"status": "ready", "durability": engine.durability})
