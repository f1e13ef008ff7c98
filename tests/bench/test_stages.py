"""Every stage keeps the same ledger: equal statuses and equal balances for equal transfers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ledgercore
from bench.stages import STAGES, Runner
from bench.stages.numpy_arrays import ArrayLedger
from bench.stages.over_http import ServiceRunner, find_status
from bench.stages.python_dict import Account, DictLedger
from bench.workloads import Rows, Workload
from ledgercore import Status

SEQUENTIAL = ["numpy", "kernel", "batches", "journal"]
CONCURRENT = ["threads", "http-plain", "http-batched", "http-native", "http-bulk"]

POOR = Workload(accounts=20, seed=7, floor=-50, funds=300)
RICH = Workload(accounts=20, seed=7, floor=0, funds=1_000_000)

INT64_MAX = 2**63 - 1


def corrupt(workload: Workload, count: int) -> Rows:
    """Return transfers of which some cannot be applied, whatever the balances are."""
    rows = workload.transfers(count)
    random = np.random.default_rng(workload.seed)
    choices = random.permutation(count).reshape(10, -1)
    beyond = workload.accounts + 1 + random.integers(0, 5, (2, choices.shape[1]))
    rows["from"][choices[0]] = beyond[0]
    rows["to"][choices[1]] = beyond[1]
    rows["to"][choices[2]] = rows["from"][choices[2]]
    return rows


def repeat(rows: Rows, *, change: int = 0) -> Rows:
    """Return some of the transfers again, each under its old key, `change` of them dearer by 1."""
    again = rows[::5].copy()
    again["amount"][:change] += 1
    return again


def apply(runner: Runner, rows: Rows) -> list[Status]:
    runner.run(runner.prepare(rows))
    statuses = runner.statuses
    assert len(statuses) == len(rows)
    return statuses


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runner]]:
    """Open the pure-Python stage for each workload."""
    path = tmp_path_factory.mktemp("dict")
    with STAGES["dict"].open(POOR, path) as poor, STAGES["dict"].open(RICH, path) as rich:
        yield {"poor": poor, "rich": rich}


# -- one after the other --------------------------------------------------------------------------


def make_hard() -> Rows:
    """Return transfers of which what becomes of each depends on all that came before."""
    rows = corrupt(POOR, 2_000)
    rows["amount"][::31] = 0
    hard = np.concatenate([rows, repeat(rows, change=100)])
    order = np.arange(len(hard), dtype=np.float64)
    # A repeated transfer follows some way behind its first.
    order[len(rows) :] = np.arange(len(rows))[::5] + 40.5
    return hard[np.argsort(order)]


@pytest.fixture(scope="module")
def hard(reference: dict[str, Runner]) -> tuple[Rows, list[Status], dict[str, int]]:
    """Return the hard transfers, and what the pure-Python stage makes of them."""
    rows = make_hard()
    statuses = apply(reference["poor"], rows)
    return rows, statuses, reference["poor"].balances()


def test_the_hard_transfers_are_hard(hard: tuple[Rows, list[Status], dict[str, int]]) -> None:
    rows, statuses, balances = hard
    counts = {status: statuses.count(status) for status in Status}
    assert {status for status, count in counts.items() if count >= 20} == {
        Status.APPLIED,
        Status.SOURCE_NOT_FOUND,
        Status.TARGET_NOT_FOUND,
        Status.SAME_ACCOUNT,
        Status.INSUFFICIENT_FUNDS,
        Status.AMOUNT_INVALID,
        Status.KEY_REUSED,
    }
    assert len(np.unique(rows["key"])) == 2_000
    assert sum(balances.values()) == 0
    assert min(balance for name, balance in balances.items() if name != "world") < 0


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_hard_transfers_end_alike(
    name: str, hard: tuple[Rows, list[Status], dict[str, int]], tmp_path: Path
) -> None:
    rows, statuses, balances = hard
    with STAGES[name].open(POOR, tmp_path) as runner:
        assert apply(runner, rows) == statuses
        assert runner.balances() == balances


# -- at once --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def easy(reference: dict[str, Runner]) -> tuple[list[Rows], list[list[Status]], dict[str, int]]:
    """Return transfers whose order does not matter, and what the pure-Python stage makes of them.

    Everybody can pay, so only who is named and which key is used decide. What repeats a key with
    another amount comes later, so that it is clear which of the two was first.
    """
    rows = corrupt(RICH, 1_000)
    parts = [np.concatenate([rows, repeat(rows)]), repeat(rows, change=100)]
    statuses = [apply(reference["rich"], part) for part in parts]
    return parts, statuses, reference["rich"].balances()


def test_the_easy_transfers_cover_what_they_can(
    easy: tuple[list[Rows], list[list[Status]], dict[str, int]],
) -> None:
    _, (first, second), balances = easy
    named = {Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND, Status.SAME_ACCOUNT}
    assert set(first) == named | {Status.APPLIED}
    assert set(second) == set(first) | {Status.KEY_REUSED}
    assert sum(balances.values()) == 0


@pytest.mark.parametrize("name", CONCURRENT)
def test_concurrent_transfers_end_alike(
    name: str,
    easy: tuple[list[Rows], list[list[Status]], dict[str, int]],
    tmp_path: Path,
) -> None:
    parts, statuses, balances = easy
    with STAGES[name].open(RICH, tmp_path) as runner:
        cpu_s = runner.cpu_s
        assert [apply(runner, part) for part in parts] == statuses
        assert runner.balances() == balances
        assert runner.cpu_s >= cpu_s


def test_every_stage_is_compared() -> None:
    assert list(STAGES) == [
        "dict", "numpy", "kernel", "batches", "threads", "journal",
        "http-plain", "http-batched", "http-native", "http-bulk",
    ]  # fmt: skip
    assert {"dict", *SEQUENTIAL, *CONCURRENT} == set(STAGES)
    assert all(name == stage.name for name, stage in STAGES.items())


# -- the rules that no workload reaches -----------------------------------------------------------

LIMITS = st.one_of(st.none(), st.integers(0, 20), st.just(INT64_MAX - 1))
ACCOUNTS = st.builds(
    Account,
    asset=st.sampled_from(["USD/2", "USD/2", "USD/2", "EUR/2"]),
    floor=LIMITS.map(lambda limit: None if limit is None else -limit),
    ceiling=LIMITS,
    frozen=st.integers(0, 7).map(lambda number: number == 0),
)
NAMES = ("a", "b", "c", "d")
TRANSFERS = st.tuples(
    st.sampled_from([*NAMES, "nobody"]),
    st.sampled_from([*NAMES, "nobody"]),
    st.one_of(st.integers(1, 12), st.sampled_from([INT64_MAX, INT64_MAX - 10])),
    st.integers(0, 40).map(str),
)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[ACCOUNTS] * len(NAMES)), st.lists(TRANSFERS, max_size=60))
def test_the_dict_judges_as_the_kernel(
    accounts: tuple[Account, ...], transfers: list[tuple[str, str, int, str]]
) -> None:
    model = DictLedger()
    with ledgercore.open(durability="memory", accounts_max=64, keys_max=1_000) as engine:
        for name, account in zip(NAMES, accounts, strict=True):
            model.accounts[name] = Account(
                account.asset, account.floor, account.ceiling, account.frozen
            )
            engine.open_account(
                name,
                asset=account.asset,
                floor=account.floor,
                ceiling=account.ceiling,
                frozen=account.frozen,
            )
        for source, target, amount, key in transfers:
            outcome = engine.transfer(source, target, amount, key=key)
            assert model.transfer(source, target, amount, key) is outcome.status
        assert [engine.balance(name) for name in NAMES] == [
            model.accounts[name].balance for name in NAMES
        ]


def test_the_arrays_do_not_wrap() -> None:
    ledger = ArrayLedger(3)
    for name in ("rich", "poor", "bank"):
        ledger.open_account(name, None)
    assert ledger.transfer("bank", "rich", INT64_MAX, "1") is Status.APPLIED
    assert ledger.transfer("bank", "rich", 1, "2") is Status.BALANCE_OVERFLOW
    assert ledger.transfer("poor", "rich", 1, "3") is Status.BALANCE_OVERFLOW
    assert ledger.balances.tolist() == [INT64_MAX, 0, -INT64_MAX]


# -- the clients ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("http_status", "body", "status"),
    [
        (201, b"{}", Status.APPLIED),
        (422, b'{"reason":"insufficient-funds"}', Status.INSUFFICIENT_FUNDS),
        (422, b'{"reason":"KEY_REUSED"}', Status.KEY_REUSED),
        (422, b'{"type":"urn:x:problem:idempotency-key-reused"}', Status.KEY_REUSED),
    ],
)
def test_an_answer_becomes_a_status(http_status: int, body: bytes, status: Status) -> None:
    assert find_status(http_status, body) is status


def test_an_answer_of_another_kind_is_no_status() -> None:
    with pytest.raises(KeyError):
        find_status(503, b'{"type":"urn:ledgercore:problem:queue-full"}')


def test_clients_whose_server_is_gone_say_so(tmp_path: Path) -> None:
    rows = RICH.transfers(10)
    with STAGES["http-plain"].open(RICH, tmp_path) as runner:
        assert isinstance(runner, ServiceRunner)
        prepared = runner.prepare(rows)
        runner.server.stop()
        with pytest.raises(ConnectionError, match="the server hung up"):
            runner.run(prepared)
        with pytest.raises(ConnectionRefusedError):
            runner.prepare(rows)
