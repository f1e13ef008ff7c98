"""The addresses under /admin for the limits, workers and keys of a running server.

This module owns what may be changed while the server runs, how such a change is asked for, and the
line in the log that tells it. It never keeps a setting: the limiter, the admission and the
regulator do. What is changed here lasts until the server stops, and the settings of its start stay.
"""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from sanic import Blueprint
from sanic.response import HTTPResponse

from ledgercore import InvalidArgument

from ..access.key_ring import (
    Credential,
    KeyFileError,
    NewKey,
    Scope,
    create_key,
    list_keys,
    revoke_key,
)
from ..admission.guard import (
    admission_of,
    client_of,
    guard,
    readable,
)
from ..runtime.lifecycle import Lifecycle, lifecycle_of
from ..runtime.limits import LIMITS, change_limits, describe_limits
from ..settings import RANGES
from ..wire.answers import answer_json, describe_load
from ..wire.integer_forms import IntegerForms
from ..wire.integers import MEMBERS, read_integer, read_integers
from ..wire.json_bodies import (
    Checks,
    Fault,
    check_content_type,
    check_flag,
    check_members,
    read_members,
    refuse,
    refuse_body,
)
from ..wire.problems import KEY_NOT_FOUND, KEYS_UNUSABLE, Problem
from ..wire.sanic_types import AnyRequest

logger = logging.getLogger("ledgercore")

limit_routes = Blueprint("limits", url_prefix="/admin")
_get = partial(readable, limit_routes)


def _log_change(request: AnyRequest, event: str, sentence: str, **fields: Any) -> None:
    """Log who has changed what; it never holds a token or a secret."""
    client = client_of(request).name or "an open server's client"
    logger.warning(
        "%s (by %s)", sentence, client, extra={"event": event, "client": client} | fields
    )


# -- limits ----------------------------------------------------------------------------------


@_get("/limits")
@guard(Scope.ADMIN)
async def get_limits(request: AnyRequest) -> HTTPResponse:
    """Return the limits in force."""
    return answer_json(format_limits(lifecycle_of(request)))


@limit_routes.patch("/limits")
@guard(Scope.ADMIN)
async def patch_limits(request: AnyRequest) -> HTTPResponse:
    """Change the limits that the body names, all of them or none."""
    check_content_type(request.headers.getall("content-type", ()))
    changes = read_members(request.body)
    if errors := check_members(changes, _LIMIT_CHECKS, frozenset()):
        refuse(errors)
    lifecycle = lifecycle_of(request)
    before = describe_limits(lifecycle)
    change_limits(lifecycle, read_integers(changes))
    after = describe_limits(lifecycle)
    for name in (name for name in LIMITS if after[name] != before[name]):
        values = {"before": before[name], "after": after[name]}
        sentence = f"limit {name}: {before[name]} -> {after[name]}"
        _log_change(request, "limit-changed", sentence, limit=name, **values)
    return answer_json(format_limits(lifecycle))


def format_limits(lifecycle: Lifecycle) -> dict[str, Any]:
    """Return the limits in force, money in the form of the server's answers."""
    limits = describe_limits(lifecycle)
    return limits | {"client_quota": lifecycle.forms.write(int(limits["client_quota"]))}


def _check_limit(name: str, value: object) -> Fault | None:
    lowest, highest = RANGES[name]
    number = read_integer(value) if name in MEMBERS else value
    if type(number) is not int:
        return "integer-expected", "A limit is a whole number."
    if not lowest <= number <= highest:
        return "out-of-range", f"It is between {lowest} and {highest}."
    return None


_LIMIT_CHECKS: Checks = {name: partial(_check_limit, name) for name in LIMITS}


# -- workers ---------------------------------------------------------------------------------


@_get("/workers")
@guard(Scope.ADMIN)
async def get_workers(request: AnyRequest) -> HTTPResponse:
    """Return how many workers a segment may have, and how many each has and what it has to do."""
    return answer_json(describe_workers(lifecycle_of(request)))


@limit_routes.patch("/workers")
@guard(Scope.ADMIN)
async def patch_workers(request: AnyRequest) -> HTTPResponse:
    """Change the bounds of the workers of a segment; who is retired finishes its batch first."""
    check_content_type(request.headers.getall("content-type", ()))
    changes = read_members(request.body)
    if errors := check_members(changes, _WORKER_CHECKS, frozenset()):
        refuse(errors)
    scaler = lifecycle_of(request).scaler
    before = scaler.bounds
    lowest, highest = changes.get("workers_min", before[0]), changes.get("workers_max", before[1])
    try:
        scaler.set_bounds(lowest, highest)
    except InvalidArgument as error:
        refuse_body("conflict", f"{error}.")
    if scaler.bounds != before:
        sentence = f"workers: {before[0]} to {before[1]} -> {lowest} to {highest} a segment"
        bounds = {"before": before, "after": (lowest, highest)}
        _log_change(request, "workers-bounds-changed", sentence, **bounds)
    return answer_json(describe_workers(lifecycle_of(request)))


def describe_workers(lifecycle: Lifecycle) -> dict[str, Any]:
    """Return the bounds of the workers, and what each segment has."""
    lowest, highest = lifecycle.scaler.bounds
    segments = [describe_load(load) for load in lifecycle.engine.statistics().segments]
    return {"workers_min": lowest, "workers_max": highest, "segments": segments}


_WORKER_CHECKS: Checks = {
    name: partial(_check_limit, name) for name in ("workers_min", "workers_max")
}


# -- keys ------------------------------------------------------------------------------------


@_get("/keys")
@guard(Scope.ADMIN)
async def get_keys(request: AnyRequest) -> HTTPResponse:
    """List the API keys, the oldest first, without what would help to use one."""
    lifecycle = lifecycle_of(request)
    keys = await lifecycle.call(_list_keys, lifecycle)
    return answer_json({"keys": [describe_credential(key, lifecycle.forms) for key in keys]})


@limit_routes.post("/keys")
@guard(Scope.ADMIN)
async def post_key(request: AnyRequest) -> HTTPResponse:
    """Make an API key; its token and secret are in this answer, and can never be had again."""
    check_content_type(request.headers.getall("content-type", ()))
    wanted = read_members(request.body)
    if errors := check_members(wanted, _KEY_CHECKS, frozenset(("name", "scope"))):
        refuse(errors)
    lifecycle = lifecycle_of(request)
    new = await lifecycle.call(_create_key, lifecycle, read_integers(wanted))
    admission_of(request).reload()
    credential = new.credential
    _log_change(
        request,
        "api-key-created",
        f"API key {credential.id} of {credential.client} created, scope {credential.scope.label}",
        key_id=credential.id,
        owner=credential.client,
        scope=credential.scope.label,
    )
    body = describe_credential(credential, lifecycle.forms) | {"token": new.token}
    if new.secret is not None:
        body["secret"] = new.secret
    headers = {"location": f"/admin/keys/{credential.id}", "cache-control": "no-store"}
    return answer_json(body, 201, headers)


@limit_routes.delete("/keys/<key_id:str>")
@guard(Scope.ADMIN)
async def delete_key(request: AnyRequest, key_id: str) -> HTTPResponse:
    """Revoke an API key. It opens nothing any more once this is answered."""
    if request.body:  # It says nothing, but it may have no other type than all bodies.
        check_content_type(request.headers.getall("content-type", ()))
    lifecycle = lifecycle_of(request)
    await lifecycle.call(_revoke_key, lifecycle, key_id)
    admission_of(request).reload()
    _log_change(request, "api-key-revoked", f"API key {key_id} revoked", key_id=key_id)
    return HTTPResponse(status=204)


def describe_credential(credential: Credential, forms: IntegerForms) -> dict[str, Any]:
    """Return what is told of a key: neither its token's hash nor its secret."""
    return {
        "id": credential.id,
        "name": credential.client,
        "scope": credential.scope.label,
        "signed": credential.is_signed,
        "rate": credential.rate,
        "burst": credential.burst,
        "quota": forms.write(credential.quota),
        "created_at": credential.created_at,
    }


def _list_keys(lifecycle: Lifecycle) -> list[Credential]:
    try:
        return list_keys(lifecycle.settings.keys_path)
    except KeyFileError as error:
        _refuse_file(error)


def _create_key(lifecycle: Lifecycle, wanted: Mapping[str, Any]) -> NewKey:
    try:
        return create_key(
            lifecycle.settings.keys_path,
            wanted["name"],
            Scope[wanted["scope"].upper()],
            is_signed=wanted.get("signed", False),
            rate=wanted.get("rate"),
            burst=wanted.get("burst"),
            quota=wanted.get("quota"),
        )
    except ValueError as error:
        name, _, detail = str(error).partition(": ")
        member = {"client": "name"}.get(name, name)
        refuse([{"pointer": f"/{member}", "code": "invalid", "detail": f"{detail}."}])
    except KeyFileError as error:
        _refuse_file(error)


def _revoke_key(lifecycle: Lifecycle, key_id: str) -> None:
    """Revoke the key of an id. A client's name, which the command takes too, is none here."""
    path = lifecycle.settings.keys_path
    try:
        if any(key.id == key_id for key in list_keys(path)):
            revoke_key(path, key_id)
            return
    except KeyFileError as error:
        _refuse_file(error)
    raise Problem(KEY_NOT_FOUND, "No API key has this id.")


def _refuse_file(error: KeyFileError) -> NoReturn:
    """Log what is wrong with the key file, and raise a problem that does not name its path."""
    logger.error("%s", error, extra={"event": "api-keys-unusable"})
    raise Problem(KEYS_UNUSABLE, "The API key file cannot be used; the log says why.") from None


def _check_name(value: object) -> Fault | None:
    return None if type(value) is str else ("string-expected", "A name is a string.")


def _check_scope(value: object) -> Fault | None:
    labels = [scope.label for scope in Scope]
    return None if value in labels else ("scope", f"A scope is one of {', '.join(labels)}.")


def _check_quota(value: object) -> Fault | None:
    return _check_number(read_integer(value))


def _check_number(value: object) -> Fault | None:
    is_number = value is None or type(value) is int
    return None if is_number else ("integer-expected", "It is a whole number, or null.")


_KEY_CHECKS: Checks = {
    "name": _check_name,
    "scope": _check_scope,
    "signed": check_flag,
    "rate": _check_number,
    "burst": _check_number,
    "quota": _check_quota,
}
