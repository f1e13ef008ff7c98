"""The tables of problems: complete, consistent, and rendered as RFC 9457 wants."""

import json

import pytest

from ledgercore import Status
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import STATUS_KINDS, Kind, Problem, answer_problem

SERVICE_KINDS = [value for value in vars(problems).values() if isinstance(value, Kind)]


@pytest.mark.parametrize("status", Status)
def test_every_status_has_its_answer(status: Status) -> None:
    kind = STATUS_KINDS[status]
    if status is Status.APPLIED:
        assert kind.http_status == 201
    elif status in (Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND):
        assert kind.http_status == 404
    elif status.is_outcome:
        assert kind.http_status == 422


@pytest.mark.parametrize("status", [status for status in Status if status.is_outcome])
def test_every_outcome_is_named_for_its_status(status: Status) -> None:
    assert STATUS_KINDS[status].name == status.name.lower().replace("_", "-")


def test_rejections() -> None:
    rejected = {status: STATUS_KINDS[status] for status in Status if not status.is_outcome}
    assert {status: kind.http_status for status, kind in rejected.items()} == {
        Status.KEY_MISSING: 400,
        Status.AMOUNT_INVALID: 400,
        Status.KEY_REUSED: 422,
        Status.KEYS_FULL: 503,
        Status.DEADLINE_PASSED: 504,
        Status.KEY_EXPIRED: 422,
        Status.LEDGER_FULL: 507,
    }
    assert rejected[Status.KEY_REUSED].name == "idempotency-key-reused"


def test_names_and_titles_are_one_to_one() -> None:
    kinds = {*SERVICE_KINDS, *STATUS_KINDS.values()}
    assert len({kind.name for kind in kinds}) == len(kinds)
    assert len({kind.title for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("kind", SERVICE_KINDS, ids=lambda kind: kind.name)
def test_problem_is_rendered(kind: Kind) -> None:
    errors = [{"pointer": "/amount", "code": "out-of-range", "detail": "Too much."}]
    response = answer_problem(Problem(kind, "A detail.", errors))
    assert response.status == kind.http_status
    assert response.content_type == "application/problem+json"
    assert ("retry-after" in response.headers) == (kind.http_status == 503)
    assert json.loads(response.body or b"") == {
        "type": f"urn:ledgercore:problem:{kind.name}",
        "title": kind.title,
        "status": kind.http_status,
        "detail": "A detail.",
        "errors": errors,
    }


def test_problem_has_members_of_its_own() -> None:
    problem = Problem(problems.QUOTA_EXCEEDED, "A detail.", extra={"violated-policies": ["client"]})
    body = json.loads(answer_problem(problem).body or b"")
    assert body["violated-policies"] == ["client"]
    assert body["detail"] == "A detail."
    assert "errors" not in body
