"""The one admission: who is whom, what a key allows, what is charged and what is given back."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ledgercore
from ledgercore import Submission
from ledgercore.client.signing import sign
from ledgercore.service.access.key_file import FILE_NAME
from ledgercore.service.access.key_ring import KeyRing, NewKey, Scope, revoke_key
from ledgercore.service.access.nonces import NonceMemory
from ledgercore.service.access.signatures import SignatureCheck
from ledgercore.service.admission.admission import Admission, Client
from ledgercore.service.admission.limiter import Limiter
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import Problem
from tests.support.histories import open_funded, open_small, wait_readable
from tests.support.keyed import make_key
from tests.support.waiting import wait_until

INT64_MAX = 2**63 - 1


class Steps:
    """A clock that is a second later at each look, so that the file of keys is read at each."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def make_admission(folder: Path, *, deadline_ms: int = 0, **limits: Any) -> Admission:
    ring = KeyRing(folder / FILE_NAME, clock=Steps())
    return Admission(ring, SignatureCheck(NonceMemory(None)), Limiter(**limits), deadline_ms)


def refused(kind: problems.Kind, work: Any, *arguments: Any, **options: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        work(*arguments, **options)
    assert caught.value.kind is kind
    return caught.value


def left(admission: Admission, client: Client) -> int:
    """Return what remains of the client's quota."""
    state = admission.limiter.describe(client.limit)
    assert state is not None and state.name == "money"
    return int(state.remaining)


@pytest.fixture
def ledger() -> Iterator[ledgercore.Engine]:
    with open_small(None, durability="memory") as engine:
        open_funded(engine, ["a", "b"], 1000)
        yield engine


def fill(ledger: ledgercore.Engine, *amounts: int, client: str = "") -> Submission:
    submission = ledger.new_submission(max(1, len(amounts)))
    for row, amount in enumerate(amounts):
        submission.add(client, f"k-{row}", "a", "b", amount)
    return submission


def complete(ledger: ledgercore.Engine, submission: Submission) -> None:
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]


# -- who -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "nonsense", f"lck_00000000_{'A' * 43}"])
@pytest.mark.parametrize("scope", Scope)
def test_without_keys_everybody_may_do_everything(
    tmp_path: Path, token: str | None, scope: Scope
) -> None:
    admission = make_admission(tmp_path)
    assert admission.is_open
    client = admission.identify(token, scope)
    assert (client.name, client.credential, client.is_signed) == ("", None, False)
    assert client.scope == Scope.ADMIN


@pytest.mark.parametrize("wanted", Scope)
@pytest.mark.parametrize("own", Scope)
def test_a_scope_includes_those_below(tmp_path: Path, own: Scope, wanted: Scope) -> None:
    key = make_key(tmp_path, "alice", own)
    admission = make_admission(tmp_path)
    assert not admission.is_open
    if own >= wanted:
        client = admission.identify(key.token, wanted)
        assert (client.name, client.scope, client.credential) == ("alice", own, key.credential)
        return
    problem = refused(problems.FORBIDDEN, admission.identify, key.token, wanted)
    assert problem.headers == {
        "www-authenticate": 'Bearer realm="ledgercore", error="insufficient_scope",'
        f' scope="{wanted.label}"'
    }


@pytest.mark.parametrize("token", [None, "", "nonsense", "\udcff", f"lck_00000000_{'A' * 43}"])
def test_who_is_not_known_is_told_how_to_be(tmp_path: Path, token: str | None) -> None:
    make_key(tmp_path, "alice")
    problem = refused(problems.UNAUTHORIZED, make_admission(tmp_path).identify, token, Scope.READ)
    challenge = 'Bearer realm="ledgercore"' + ("" if token is None else ', error="invalid_token"')
    assert problem.headers == {"www-authenticate": challenge}


def test_a_client_is_kept_until_the_keys_change(tmp_path: Path) -> None:
    keys = [make_key(tmp_path, "alice"), make_key(tmp_path, "alice"), make_key(tmp_path, "bob")]
    admission = make_admission(tmp_path)
    clients = [admission.identify(key.token, Scope.READ) for key in keys]
    assert admission.identify(keys[0].token, Scope.READ) is clients[0]
    # Two keys of one name share what they may use.
    assert clients[0].limit is clients[1].limit and clients[0].limit is not clients[2].limit
    generation = admission.generation
    revoke_key(tmp_path / FILE_NAME, keys[0].credential.id)
    wait_until(lambda: not knows(admission, keys[0]), "the change")
    assert admission.generation > generation
    again = admission.identify(keys[1].token, Scope.READ)
    assert again is not clients[1] and again.limit is clients[1].limit


def knows(admission: Admission, key: NewKey) -> bool:
    try:
        admission.identify(key.token, Scope.READ)
    except Problem:
        return False
    return True


# -- what it has signed ----------------------------------------------------------------------------


def test_only_who_signs_is_asked_for_a_signature(tmp_path: Path) -> None:
    plain, signed = make_key(tmp_path, "a"), make_key(tmp_path, "b", is_signed=True)
    admission = make_admission(tmp_path)
    client = admission.identify(plain.token, Scope.READ)
    admission.verify(client, "GET", "/x", b"", None)
    admission.verify(client, "GET", "/x", b"", "nonsense")
    client = admission.identify(signed.token, Scope.READ)
    assert signed.secret is not None
    header = sign(signed.secret, "GET", "/x", b"", timestamp=int(time.time()), nonce="n")
    refused(problems.UNAUTHORIZED, admission.verify, client, "GET", "/x", b"", None)
    refused(problems.UNAUTHORIZED, admission.verify, client, "GET", "/y", b"", header)
    admission.verify(client, "GET", "/x", b"", header)
    refused(problems.UNAUTHORIZED, admission.verify, client, "GET", "/x", b"", header)


# -- how much --------------------------------------------------------------------------------------


def test_beyond_a_limit_is_a_problem_with_its_headers(tmp_path: Path) -> None:
    admission = make_admission(tmp_path, client_rate=0.001, client_burst=2)
    client = admission.identify(None, Scope.READ)
    admission.charge_request(client)
    assert admission.admit(client, 1, 5) is not None
    for refuse in (lambda: admission.charge_request(client), lambda: admission.admit(client, 1, 5)):
        problem = refused(problems.QUOTA_EXCEEDED, refuse)
        assert problem.extra == {"violated-policies": ["client"]}
        assert problem.headers is not None
        assert set(problem.headers) == {"retry-after", "ratelimit", "ratelimit-policy"}


def test_where_there_is_no_room_nothing_is_charged(tmp_path: Path) -> None:
    admission = make_admission(tmp_path, client_rate=0.001, client_burst=1, quota=10)
    client = admission.identify(None, Scope.READ)
    admission.in_flight.limit = 0
    refused(problems.OVERLOADED, admission.admit, client, 1, 5)
    admission.in_flight.limit = 1
    # Nor where the quota does not reach, and no more keys can wait to be looked up.
    admission.is_look_up_full = lambda: True
    refused(problems.OVERLOADED, admission.admit, client, 1, 11)
    assert admission.in_flight.refused == 2
    # The one token of the burst and all of the money are there still.
    charge = admission.admit(client, 1, 10)
    assert charge is not None and (charge.client, charge.amount) == (client, 10)


def test_a_read_comes_in_however_much_is_in_flight(tmp_path: Path) -> None:
    admission = make_admission(tmp_path)
    admission.in_flight.limit = 0
    admission.charge_request(admission.identify(None, Scope.READ))


def test_money_is_charged_and_given_back(tmp_path: Path, ledger: ledgercore.Engine) -> None:
    """Applied is charged once; refused, replayed and late are not."""
    admission = make_admission(tmp_path, quota=100)
    client = admission.identify(None, Scope.READ)
    submission = ledger.new_submission(4)
    for key, source, amount in (("x", "a", 5), ("x", "a", 5), ("y", "nobody", 7), ("z", "a", 11)):
        submission.add("", key, source, "b", amount)
    submission.limit_time(1, 3)
    charge = admission.admit_all(client, submission)
    assert charge is not None and left(admission, client) == 100 - 28
    complete(ledger, submission)
    charge.refund_unmoved(submission)
    assert left(admission, client) == 95


def test_rows_are_settled_one_by_one(tmp_path: Path, ledger: ledgercore.Engine) -> None:
    admission = make_admission(tmp_path, quota=100)
    client = admission.identify(None, Scope.READ)
    assert admission.admit(client, 1, 2000) is None
    submission = fill(ledger, 5, 7, 83)
    charges = [admission.admit(client, 1, amount) for amount in (5, 7, 83)]
    first, second, third = (charge for charge in charges if charge is not None)
    assert left(admission, client) == 5
    third.refund()
    assert left(admission, client) == 88
    submission.limit_time(1, 1)
    complete(ledger, submission)
    first.refund_unmoved(submission, 0)
    assert left(admission, client) == 88
    second.refund_unmoved(submission, 1)
    assert left(admission, client) == 95


def test_what_no_quota_has_charged_is_not_given_back(tmp_path: Path) -> None:
    admission = make_admission(tmp_path)
    client = admission.identify(None, Scope.READ)
    free = admission.admit(client, 1, 5)
    assert free is not None and free.amount == 0
    admission.limiter.configure(quota=100)
    assert admission.admit(client, 1, 30) is not None
    free.refund()
    assert left(admission, client) == 70


def test_where_the_money_does_not_reach_the_look_is_charged(
    tmp_path: Path, ledger: ledgercore.Engine
) -> None:
    """As any request is, so that nobody can have keys looked up for nothing."""
    admission = make_admission(tmp_path, quota=10, client_rate=0.001, client_burst=6)
    client = admission.identify(None, Scope.READ)
    assert admission.admit_all(client, fill(ledger, 6, 5)) is None
    assert admission.admit_all(client, fill(ledger, 6, 4)) is not None
    assert admission.admit(client, 1, 1) is None
    # Of the six requests of the burst five are spent.
    admission.charge_request(client)
    for refuse in (lambda: admission.admit(client, 1, 1), lambda: admission.charge_request(client)):
        assert refused(problems.QUOTA_EXCEEDED, refuse).extra == {"violated-policies": ["client"]}


def test_a_sum_that_no_number_holds_is_beyond_any_quota(
    tmp_path: Path, ledger: ledgercore.Engine
) -> None:
    admission = make_admission(tmp_path, quota=INT64_MAX - 1)
    client = admission.identify(None, Scope.READ)
    assert admission.admit_all(client, fill(ledger, INT64_MAX, INT64_MAX)) is None
    assert admission.admit(client, 1, 2**70) is None
    assert left(admission, client) == INT64_MAX - 1


@pytest.mark.parametrize(
    ("amount", "kind", "wait_s"),
    [
        (101, problems.ABOVE_QUOTA, None),
        (100, problems.QUOTA_EXCEEDED, 86_400),
        (60, problems.QUOTA_EXCEEDED, 86_400),
        # What was in the way when it was asked for has been given back by now.
        (40, problems.QUOTA_EXCEEDED, 1),
    ],
)
def test_a_refusal_for_money_says_when_it_may_fit(
    tmp_path: Path, amount: int, kind: problems.Kind, wait_s: int | None
) -> None:
    admission = make_admission(tmp_path, quota=100)
    client = admission.identify(None, Scope.READ)
    assert admission.admit(client, 1, 60) is not None
    problem = admission.make_money_problem(client, amount)
    assert problem.kind is kind
    told = (problem.headers or {}).get("retry-after")
    assert (None if told is None else int(told)) == wait_s
    # Without a quota nothing is above it.
    admission.limiter.configure(quota=0)
    assert admission.make_money_problem(client, amount).kind is problems.QUOTA_EXCEEDED


def test_what_is_new_of_many_is_charged_once_for_each_key(
    tmp_path: Path, ledger: ledgercore.Engine
) -> None:
    admission = make_admission(tmp_path, quota=100)
    client = admission.identify(None, Scope.READ)
    assert ledger.transfer("a", "b", 50, key="known").id
    submission = ledger.new_submission(8)
    rows = (("known", 50), ("new", 30), ("new", 30), ("new", 31), ("known", 51), ("last", 25))
    for key, amount in rows:
        submission.add("", key, "a", "b", amount)
    assert admission.admit_all(client, submission) is None
    ledger.look_up(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission] and submission.late_count == 4
    charge = admission.charge_new(client, submission)
    assert charge is not None and charge.amount == 55
    assert left(admission, client) == 45
    # Meanwhile another request makes one of them: its money is given back.
    assert ledger.transfer("a", "b", 25, key="last").id
    submission.renew()
    complete(ledger, submission)
    charge.refund_unmoved(submission)
    assert left(admission, client) == 70 and submission.sum_new() == 30


def test_what_is_given_back_is_not_of_a_later_window(
    tmp_path: Path, ledger: ledgercore.Engine
) -> None:
    admission = make_admission(tmp_path, quota=10, quota_window_s=1)
    client = admission.identify(None, Scope.READ)
    charge = admission.admit_all(client, fill(ledger, 5))
    assert charge is not None
    wait_until(lambda: left(admission, client) == 10, "the next window")
    assert admission.admit(client, 1, 8) is not None
    charge.refund()
    assert left(admission, client) == 2


@pytest.mark.parametrize(
    ("keys", "allowed"),
    [
        ([{}], 4),
        ([{"rate": 0.001, "burst": 2}], 2),
        ([{"rate": 0.001, "burst": 2}, {}], 2),
        ([{"rate": 0.001, "burst": 2}, {"rate": 0.001, "burst": 3}], 3),
        ([{"rate": 0.0}], 10),
    ],
)
def test_limits_of_a_key(tmp_path: Path, keys: list[dict[str, Any]], allowed: int) -> None:
    """What the newest key of a name says counts for the client; 10 stands for no limit."""
    made = [make_key(tmp_path, "alice", **options) for options in keys]
    other = make_key(tmp_path, "bob")
    admission = make_admission(tmp_path, client_rate=0.001, client_burst=4)
    for key, wanted in ((made[0], allowed), (other, 4)):
        client = admission.identify(key.token, Scope.READ)
        count = 0
        try:
            for _ in range(10):
                admission.charge_request(client)
                count += 1
        except Problem:
            pass
        assert count == wanted


# -- how long --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own_ms", "client_ms", "wanted_ms"),
    [(0, 0, None), (0, 70, 70), (50, 0, 50), (50, 70, 50), (50, 30, 30), (0, 99_999_999, 10**8)],
)
def test_the_shorter_limit_counts(
    tmp_path: Path, own_ms: int, client_ms: int, wanted_ms: int | None
) -> None:
    admission = make_admission(tmp_path, deadline_ms=own_ms)
    before_ns = time.monotonic_ns()
    deadline_ns = admission.deadline(client_ms)
    after_ns = time.monotonic_ns()
    if wanted_ms is None:
        assert deadline_ns == 0
        return
    wanted_ns = min(wanted_ms, 99_999_999) * 1_000_000
    assert before_ns + wanted_ns <= deadline_ns <= after_ns + wanted_ns
