"""The simulator's arithmetic: patterns, arrivals, choices, mixes, figures, and what is told."""

import itertools

import numpy as np
import pytest
from rich.console import Console

from bench.load.link import LOST
from bench.simulator.coordinator import Run
from bench.simulator.live import Board, make_view
from bench.simulator.messages import Checked, Counts, Progress, decode_message, encode
from bench.simulator.patterns import PATTERNS, Pattern, make_pattern, schedule_arrivals
from bench.simulator.plan import Plan, Share
from bench.simulator.samples import (
    ANSWERED,
    ENDS,
    LIMITED,
    OTHER,
    PROMPT,
    SAMPLE,
    Recorder,
    Sent,
    merge_samples,
)
from bench.simulator.server_facts import Audit, Metrics
from bench.simulator.summary import find_reasons, measure_latency
from bench.simulator.verification import judge
from bench.simulator.workload import (
    CHUNK,
    IMPOLITE,
    KINDS,
    AccountChoice,
    apportion,
    deal_kinds,
    draw_transfers,
    read_mix,
    split_mix,
)

SEED = 7


def make_random(stream: int = 0) -> np.random.Generator:
    return np.random.default_rng([SEED, stream])


# -- patterns -------------------------------------------------------------------------------------


def integrate(
    pattern: Pattern, edges: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> list[float]:
    """Return the integral of a pattern from 0 to each edge, by nothing but its factor."""
    steps = np.linspace(0.0, 1.0, 100_001)
    middles = (steps[:-1] + steps[1:]) / 2
    sums = np.cumsum([0.0, *(pattern.factor(x) for x in middles)]) / len(middles)
    return list(np.interp(edges, steps, sums))


@pytest.mark.parametrize("name", PATTERNS)
def test_the_mean_and_the_peak_of_a_pattern_are_those_of_its_factor(name: str) -> None:
    pattern = make_pattern(name, burst=4.0)
    assert pattern.mean == pytest.approx(integrate(pattern, np.ones(1))[0], abs=1e-9)
    factors = [pattern.factor(x) for x in np.linspace(0.0, 1.0, 100_000, endpoint=False)]
    assert max(factors) == pytest.approx(pattern.peak, abs=1e-3)


@pytest.mark.parametrize("name", PATTERNS)
def test_the_inverse_of_a_pattern_leads_back(name: str) -> None:
    pattern = make_pattern(name, burst=4.0)
    sums = np.linspace(0.0, pattern.mean, 1_001)
    moments = pattern.invert(sums)
    assert (np.diff(moments) >= 0).all()
    assert moments.min() >= 0
    assert moments.max() <= 1 + 1e-9
    assert integrate(pattern, moments) == pytest.approx(sums, abs=1e-8)


def test_patterns_have_the_factors_of_their_formulas() -> None:
    at = {name: make_pattern(name, burst=5.0).factor for name in PATTERNS}
    assert [at["steady"](x) for x in (0, 0.5, 1)] == [1, 1, 1]
    assert [at["ramp"](x) for x in (0, 0.25, 1)] == [0, 0.25, 1]
    assert [at["spike"](x) for x in (0.44, 0.45, 0.54, 0.55)] == [1, 5, 5, 1]
    assert [at["sawtooth"](x) for x in (0.0625, 0.25, 0.375)] == [0.25, 0, 0.5]
    assert [at["overload"](x) for x in (0.12, 0.13, 0.17, 0.18, 0.9)] == [1, 5, 5, 1, 5]
    with pytest.raises(ValueError, match="no-such"):
        make_pattern("no-such")


# -- arrivals -------------------------------------------------------------------------------------


def test_poisson_arrivals_have_the_moments_of_a_poisson_process() -> None:
    moments = schedule_arrivals(
        make_pattern("steady"), 1000, seconds=50, transfers=None, process="poisson",
        random=make_random(),
    )  # fmt: skip
    gaps = np.diff(moments)
    # The gaps of a Poisson process are exponential: mean and deviation are both 1 / rate.
    assert gaps.mean() == pytest.approx(1e-3, rel=0.02)
    assert gaps.std() == pytest.approx(1e-3, rel=0.03)
    counts = np.histogram(moments, bins=1000, range=(0, 50))[0]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("process", ["poisson", "even"])
@pytest.mark.parametrize("name", PATTERNS)
def test_arrivals_follow_the_pattern(name: str, process: str) -> None:
    pattern = make_pattern(name)
    seconds = 40_000 / (500.0 * pattern.mean)
    moments = schedule_arrivals(
        pattern, 500.0, seconds=seconds, transfers=40_000, process=process, random=make_random()
    )
    assert len(moments) == 40_000
    assert (np.diff(moments) >= 0).all()
    edges = np.linspace(0.0, 1.0, 21)
    counts = np.histogram(moments / seconds, edges)[0]
    expected = np.diff(integrate(pattern, edges)) * 500.0 * seconds
    tolerance = 1.0 if process == "even" else 5 * np.sqrt(expected.max())
    assert np.abs(counts - expected).max() <= tolerance


def test_arrivals_are_shared_out_whole() -> None:
    plan = make_plan(rate=900.0, transfers=1001, processes=3)
    parts = [Share(plan, index).arrivals() for index in range(3)]
    alone = Share(make_plan(rate=900.0, transfers=1001), 0).arrivals()
    assert np.array_equal(np.sort(np.concatenate(parts)), alone)
    assert [Share(plan, index).transfers() for index in range(3)] == [len(part) for part in parts]


def make_plan(**settings: object) -> Plan:
    values = {"url": "http://127.0.0.1:9", "run": "r", "mix": split_mix(0.0)} | settings
    return Plan(**values)  # type: ignore[arg-type]


# -- accounts and kinds ---------------------------------------------------------------------------


def test_zipf_gives_each_account_its_share() -> None:
    drawn = AccountChoice(100, 1.2, make_random()).draw(200_000)
    weights = np.arange(1, 101) ** -1.2
    expected = weights / weights.sum()
    shares = np.bincount(drawn, minlength=100) / len(drawn)
    assert shares == pytest.approx(expected, abs=0.004)
    assert shares[0] == pytest.approx(expected[0], rel=0.02)


def test_without_a_skew_all_accounts_are_alike() -> None:
    shares = np.bincount(AccountChoice(50, 0.0, make_random()).draw(200_000)) / 200_000
    assert shares == pytest.approx(np.full(50, 0.02), abs=0.002)


@pytest.mark.parametrize(("accounts", "zipf"), [(2, 0.0), (2, 9.0), (1000, 1.0)])
def test_a_transfer_is_between_two_accounts(accounts: int, zipf: float) -> None:
    choice = AccountChoice(accounts, zipf, make_random())
    drawn = list(itertools.islice(draw_transfers(choice, 5, make_random(1)), CHUNK + 10))
    for source, target, amount in drawn:
        assert source != target
        assert 0 <= source < accounts
        assert 0 <= target < accounts
        assert 1 <= amount <= 5
    assert {amount for _, _, amount in drawn} == {1, 2, 3, 4, 5}


def test_impolite_clients_are_split_evenly() -> None:
    assert apportion(split_mix(0.2), 100) == {"polite": 80, **dict.fromkeys(IMPOLITE, 5)}
    assert apportion(split_mix(0.0), 7)["polite"] == 7


@pytest.mark.parametrize("clients", [1, 2, 3, 10, 99])
def test_shares_become_whole_clients(clients: int) -> None:
    mix = {"polite": 0.61, "hammer": 0.3, "reuse": 0.09}
    counts = apportion(mix, clients)
    assert sum(counts.values()) == clients
    assert all(abs(counts[kind] - share * clients) < 1 for kind, share in mix.items())
    assert sorted(deal_kinds(mix, clients, 1)) == sorted(
        kind for kind, count in counts.items() for _ in range(count)
    )


def test_a_mix_is_read_from_text() -> None:
    assert read_mix("polite=3, hammer=1") == {"polite": 3.0, "hammer": 1.0}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rude=1", "no kind"),
        ("polite", "no share"),
        ("polite=x", "no share"),
        ("polite=nan", "above zero"),
        ("polite=-1", "above zero"),
        ("polite=1,polite=2", "twice"),
        ("polite=0", "all shares"),
    ],
)
def test_a_mix_that_is_none_is_told(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_mix(text)


# -- rows and figures -----------------------------------------------------------------------------


def test_rows_are_kept_as_they_were_told() -> None:
    recorder = Recorder(100.0)
    times = (101.0, 101.5, 102.0)
    sent = Sent(5, 6, 7, 8)
    recorder.record("reuse", ANSWERED, *times, sent, 3, 422, "nope", b"12345678", LIMITED)
    recorder.record_drop(103.0)
    answered, dropped = recorder.samples()
    assert [answered[name] for name in ("scheduled_s", "sent_s", "answered_s")] == [1.0, 1.5, 2.0]
    assert [answered[name] for name in ("number", "source", "target", "amount")] == [5, 6, 7, 8]
    assert (answered["status"], answered["tries"], answered["flags"]) == (422, 3, LIMITED)
    assert KINDS[answered["kind"]] == "reuse"
    assert recorder.names[answered["problem"]] == "nope"
    assert answered["digest"] == int.from_bytes(b"12345678", "little")
    assert ENDS[dropped["end"]] == "dropped"
    assert np.isnan(dropped["sent_s"])


def test_rows_of_processes_share_their_names() -> None:
    parts = []
    for shift, names in enumerate((["b", "a"], ["a", "c"])):
        recorder = Recorder(0.0)
        for place, name in enumerate(names):
            sent = Sent(shift, 0, 1, 1)
            recorder.record("polite", LOST, place - shift / 2, 0, 0, sent, 1, 0, name)
        parts.append((recorder.samples(), recorder.names))
    samples, names = merge_samples(parts)
    assert [names[code] for code in samples["problem"]] == ["a", "b", "c", "a"]
    assert list(samples["scheduled_s"]) == [-0.5, 0.0, 0.5, 1.0]


def test_a_server_cannot_invent_names_without_end() -> None:
    recorder = Recorder(0.0)
    for number in range(1000):
        recorder.record("polite", LOST, 0, 0, 0, Sent(0, 0, 1, 1), 1, 0, f"name-{number}")
    assert len(recorder.names) <= 256
    assert recorder.names[recorder.samples()["problem"][-1]] == OTHER


def test_the_names_of_processes_have_a_bound_together() -> None:
    parts = []
    for process in range(3):
        recorder = Recorder(0.0)
        for number in range(200):
            name = f"name-{process}-{number}"
            recorder.record("polite", LOST, process, 0, 0, Sent(0, 0, 1, 1), 1, 0, name)
        parts.append((recorder.samples(), recorder.names))
    samples, names = merge_samples(parts)
    assert len(names) <= 256
    assert [names[samples["problem"][place]] for place in (0, -1)] == ["name-0-0", OTHER]


def test_percentiles_are_exact() -> None:
    samples = np.zeros(1000, SAMPLE)
    samples["scheduled_s"] = np.arange(1000)
    latencies_ms = np.random.default_rng(SEED).permutation(np.arange(1, 1001))
    samples["answered_s"] = samples["scheduled_s"] + latencies_ms / 1000
    found = measure_latency(samples)
    assert found["avg"] == pytest.approx(500.5)
    # Between the two nearest ranks: of the values 1 to 1000, p is at 1 + 999 p.
    assert found["p50"] == pytest.approx(500.5)
    assert found["p90"] == pytest.approx(900.1)
    assert found["p99"] == pytest.approx(990.01)
    assert found["p99_9"] == pytest.approx(999.001)
    assert found["max"] == pytest.approx(1000)
    assert set(measure_latency(samples[:0]).values()) == {None}


def test_messages_come_back_as_they_were() -> None:
    counts = Counts(6, 7, 3, 1, 2, 2)
    message = Progress(counts, {"queue-full": 2}, {"lost": 1}, [10, 20], 1.5, 0.25, 0.5)
    assert decode_message(encode(message)) == message


def make_board() -> Board:
    """Return a board that has heard of two processes for two seconds."""
    board = Board(2)
    for step in range(9):
        for index in range(2):
            counts = Counts(offered=step * 10, sent=step * 12, retries=step * 2, answered=step * 10)
            latencies_us, at_s, cpu_s = [step * 1000], step * 0.25, step * 0.2
            board.update(
                index, Progress(counts, {"queue-full": step}, {}, latencies_us, at_s, cpu_s)
            )
    return board


def test_the_board_adds_up_what_the_processes_tell() -> None:
    board = make_board()
    assert (board.counts.offered, board.counts.sent) == (160, 192)
    assert board.refusals == {"queue-full": 16}
    recent = board.recent()
    assert recent.answered_per_s == pytest.approx(80, rel=0.15)
    # Of the last second alone: what took 4 to 8 ms, and not the quicker ones before.
    assert (recent.p50_ms, recent.p99_ms) == (6.0, 8.0)
    assert board.cpu_shares() == pytest.approx([0.8, 0.8])


def test_the_view_shows_what_the_board_knows() -> None:
    board = make_board()
    console = Console(width=120, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(make_view(make_plan(), board))
    text = capture.get()
    for word in (
        "offered",
        "160",
        "sent",
        "192",
        "retries",
        "32",
        "p99",
        "8.0 ms",
        "queue-full 16",
    ):
        assert word in text
    assert "n/a" in text
    board.readings.append((1.0, Metrics(queue_depth=1234, active_workers=3)))
    with console.capture() as capture:
        console.print(make_view(make_plan(), board))
    assert "1,234" in capture.get()
    assert "n/a" not in capture.get()


# -- what is said ---------------------------------------------------------------------------------


def make_run(dropped: int = 0, cpu: float = 0.5, wanted: float = 0.5, late_s: float = 0.0) -> Run:
    board = Board(2)
    for index, (used_s, wanted_s) in enumerate([(0.1, 0.2), (cpu, wanted)]):
        counts = Counts(dropped=dropped * index)
        board.update(index, Progress())
        board.update(index, Progress(counts, at_s=1.0, cpu_s=used_s, waited_s=wanted_s - used_s))
    samples = np.zeros(100, SAMPLE)
    samples["flags"], samples["sent_s"] = PROMPT, late_s
    return Run(
        plan=make_plan(),
        board=board,
        samples=samples,
        names=[""],
        is_interrupted=False,
        is_complete=True,
        checks=None,
    )


def test_the_client_is_not_blamed_without_a_reason() -> None:
    assert find_reasons(make_run(cpu=0.89, wanted=0.9, late_s=0.001)) == []


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        ({"cpu": 0.95}, "used 95% of a processor; more help: --processes 2"),
        ({"wanted": 0.97}, "wanted a processor 97% of the time and had one 50%"),
        ({"late_s": 0.02}, "20.0 ms late"),
        ({"dropped": 3}, "--clients 200"),
    ],
)
def test_the_client_as_a_bottleneck_is_told(signs: dict[str, float], reason: str) -> None:
    (told,) = find_reasons(make_run(**signs))  # type: ignore[arg-type]
    assert reason in told


def test_checks_are_judged(tmp_path: object) -> None:
    path = f"{tmp_path}/moves.npy"
    np.save(path, np.array([-5, 5]))
    result = Checked(path, 10, 0, 0, [], 1, 0)
    before = np.array([100, 100])
    once, again = before + np.array([-5, 5]), before + np.array([-10, 10])
    right = judge([result], Audit(True, {"USD/2": 0}), before, once, is_shared=False)
    assert right.is_ok
    assert right.balances == "as answered"
    twice = judge([result], Audit(True, {"USD/2": 0}), before, again, is_shared=False)
    assert "2 balances are not what" in twice.faults[0]
    shared = judge([result], Audit(True, {}), before, again, is_shared=True)
    assert shared.is_ok
    unequal = judge([result], Audit(True, {"USD/2": 1}), None, None, is_shared=False)
    assert "do not sum to zero" in unequal.faults[0]
    silent = judge([result], "GET /audit has no answer: lost", None, None, is_shared=False)
    assert not silent.is_ok
