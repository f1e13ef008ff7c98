"""`python -m bench cost` compares what it says: variants that differ in one thing each."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.http_speed.cost import (
    BARE,
    GUARDED,
    TITLES,
    UNWATCHED,
    compare_variants,
    find_doubts,
    open_variant,
)
from bench.http_speed.subjects import Setting, Subject
from bench.http_speed.throughput import Turn, make_rows, run_rounds
from bench.load.generators import Generator, Load, LoadFailed, make_generator
from bench.machine import CpuTimes, pick_cores
from bench.options import OWN, WRK

CORE, LOAD_CORE = pick_cores()
ACCOUNTS = 50


def make_setting(scratch: Path, load: Generator) -> Setting:
    return Setting(
        CORE,
        LOAD_CORE,
        scratch,
        ACCOUNTS,
        keys=100_000,
        generator=load,
        rounds=2,
        seconds=0.1,
        tell=lambda _: None,
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    setting = make_setting(
        tmp_path_factory.mktemp("cost"), make_generator(OWN, LOAD_CORE, ACCOUNTS)
    )
    with ExitStack() as stack:
        yield {name: open_variant(name, setting, stack) for name in (BARE, GUARDED)}


# -- the variants ---------------------------------------------------------------------------------


def test_the_guarded_variant_asks_for_all_that_it_is_measured_for(
    opened: dict[str, Subject],
) -> None:
    bare, guarded = opened[BARE], opened[GUARDED]
    body = {"from": "acct-0", "to": "acct-1", "amount": 1}
    key = {"Idempotency-Key": "k-1"}
    assert httpx.post(f"{bare.url}/transfer", json=body, headers=key).status_code == 201
    assert httpx.post(f"{guarded.url}/transfer", json=body, headers=key).status_code == 401
    assert bare.headers == ()
    own = dict(line.split(": ", 1) for line in guarded.headers)
    answer = httpx.post(f"{guarded.url}/transfer", json=body, headers=key | own)
    assert answer.status_code == 201
    assert int(own["X-Request-Timeout-Ms"]) > 0
    limits = {
        name: httpx.get(f"{one.url}/metrics", headers=dict(h.split(": ", 1) for h in one.headers))
        .json()["limits"]
        for name, one in opened.items()
    }  # fmt: skip
    for name in ("client_rate", "global_rate", "request_deadline_ms"):
        assert limits[BARE][name] == 0 and limits[GUARDED][name] > 0
    assert bare.title != guarded.title and set(TITLES) == {BARE, GUARDED, UNWATCHED}


@pytest.mark.parametrize("name", [OWN, WRK])
def test_each_variant_has_the_headers_of_its_own(name: str, opened: dict[str, Subject]) -> None:
    if name == WRK and shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    load = make_generator(name, LOAD_CORE, ACCOUNTS)
    for one in opened.values():
        assert load(one.url, 2, 0.2, one.headers).requests > 0
    with pytest.raises(LoadFailed, match=r"'401'|'status'"):
        load(opened[GUARDED].url, 2, 0.2, ())


@pytest.mark.parametrize("name", [OWN, WRK])
def test_a_percent_sign_in_a_header_is_one(name: str, opened: dict[str, Subject]) -> None:
    if name == WRK and shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    load = make_generator(name, LOAD_CORE, ACCOUNTS)
    headers = ("X-Odd: 100%d %s", "X-More: 1")
    assert load(opened[BARE].url, 2, 0.2, headers).requests > 0


# -- the figures ----------------------------------------------------------------------------------


def make_turn(rate: float) -> Turn:
    return Turn(Load(int(rate), 1.0, 1.0, 2.0, 0.5), CpuTimes(0.25, 0.5))


def test_pairs_are_compared_round_by_round_each_with_its_goal() -> None:
    rates = {BARE: (100, 200, 400), GUARDED: (93, 184, 380), UNWATCHED: (100, 205, 404)}
    turns = {(name, 8): [make_turn(rate) for rate in some] for name, some in rates.items()}
    guarded, watched = compare_variants(turns, 8)
    assert (guarded.name, watched.name) == ("guarded : bare", "bare : unwatched")
    assert (guarded.by_wall.median, guarded.by_wall.goal) == (0.93, 0.93)
    assert watched.by_wall.median == pytest.approx(400 / 404) and watched.by_wall.goal == 0.97
    assert guarded.by_wall.is_reached and watched.by_wall.is_reached


@pytest.mark.parametrize(
    ("shares", "load_share", "doubts"), [((0.9, 0.2), 0.5, 1), ((0.9, 0.8), 0.5, 0), ((0.2,), 1, 0)]
)
def test_a_machine_that_is_busy_is_told(
    shares: tuple[float, ...], load_share: float, doubts: int
) -> None:
    subjects = {name: Subject(name, "", "", 0) for name in (BARE, GUARDED)}
    turns = {
        (name, 8): [Turn(Load(10, 1.0, 1.0, 2.0, load_share), CpuTimes(share, 0.0))]
        for name, share in zip(subjects, shares, strict=False)
    }
    told = find_doubts(make_rows(subjects, turns))
    assert len(told) == doubts
    assert all("only 20% of its core" in line for line in told)


def test_no_server_is_always_the_one_after_a_certain_other(
    opened: dict[str, Subject], tmp_path: Path
) -> None:
    asked: list[str] = []

    def load(url: str, connections: int, seconds: float, headers: Sequence[str]) -> Load:
        assert headers in [one.headers for one in opened.values() if one.url == url]
        asked.append(url)
        return Load(1, 1.0, 1.0, 1.0, 0.5)

    turns = run_rounds(opened, make_setting(tmp_path, load), [8])
    bare, guarded = opened[BARE].url, opened[GUARDED].url
    assert asked == [bare, guarded, guarded, bare, bare, guarded]
    assert {key: len(timed) for key, timed in turns.items()} == {(BARE, 8): 2, (GUARDED, 8): 2}


# -- the command ----------------------------------------------------------------------------------


def run_cost(*flags: str) -> Result:
    return CliRunner().invoke(main, ["cost", f"--accounts={ACCOUNTS}", *flags])


def test_the_command_measures_all_variants_in_one_run(tmp_path: Path) -> None:
    flags = ("--rounds=2", "--seconds=0.2", "--connections=4", "--generator=own")
    told = run_cost(*flags, f"--json={tmp_path / 'cost.json'}")
    assert told.exit_code == 0, told.output
    data = json.loads((tmp_path / "cost.json").read_text())
    assert [row["title"] for row in data["rows"]] == list(TITLES.values())
    assert len(data["ratios"]) == 2
    for ratio in data["ratios"]:
        assert ratio["by_wall"]["rounds"] == 2 and ratio["verdict"]
    assert "| guarded : bare" in told.stdout and "2 rounds of 0.2 s" in told.stdout


@pytest.mark.parametrize("flag", ["--rounds=0", "--seconds=0", "--connections=0", "--generator=x"])
def test_a_flag_that_is_wrong_is_told(flag: str) -> None:
    assert run_cost(flag).exit_code == 2


def test_a_load_that_fails_is_no_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = run_cost("--generator=wrk")
    assert told.exit_code == 1 and "wrk is not installed" in told.stderr
