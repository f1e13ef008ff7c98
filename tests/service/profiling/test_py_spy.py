"""py-spy: found, started on this process, ended whatever happens, and its refusals told."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ledgercore.service.profiling import py_spy
from ledgercore.service.profiling.py_spy import (
    SamplingRefused,
    explain_refusal,
    find_sampler,
    sample_self,
)
from ledgercore.service.profiling.stacks import Stacks, read_stacks
from tests.support.children import list_children
from tests.support.samplers import make_failing, make_stubborn
from tests.support.spinning import NAME, spinning
from tests.support.waiting import DEADLINE_S, wait_until


async def take_stacks(scratch: Path, seconds: int) -> Stacks:
    """Return what py-spy sees of this process; skip where it may not look, or is not there."""
    try:
        path = await sample_self(scratch, seconds, 100)
    except SamplingRefused as refusal:
        if str(refusal).startswith("py-spy failed"):
            raise
        pytest.skip(str(refusal))
    return read_stacks(path.read_text())[0]


def test_the_sampler_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for directory in (own, other):
        directory.mkdir()
        (directory / "py-spy").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(own / "python"))
    monkeypatch.setenv("PATH", str(other))
    assert find_sampler() == (str(own / "py-spy"),)
    (own / "py-spy").unlink()
    assert find_sampler() == (str(other / "py-spy"),)
    (other / "py-spy").unlink()
    assert find_sampler() == ("py-spy",)


async def test_this_process_is_sampled(tmp_path: Path) -> None:
    before = list_children()
    with spinning():
        stacks = await take_stacks(tmp_path, 1)
    spun = [stack for stack in stacks[NAME] if any(frame.name == "spin" for frame in stack)]
    assert spun and stacks[NAME].total() > 20
    assert list_children() == before


async def test_a_missing_sampler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SamplingRefused, match=r"^py-spy is not installed\.$"):
        await sample_self(tmp_path, 1, 50)


async def test_a_missing_privilege_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = make_failing(tmp_path)
    monkeypatch.setattr(py_spy, "find_sampler", lambda: sampler)
    with pytest.raises(SamplingRefused, match=r"^py-spy may not trace [^\n]*ptrace[^\n]*\.$"):
        await sample_self(tmp_path, 1, 50)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("Error: Operation not permitted (os error 1)", "py-spy may not trace"),
        ("Error: the moon is full\nRun it later.", "py-spy failed: Error: the moon is full"),
        ("", "py-spy failed: it said nothing"),
    ],
)
def test_a_refusal_is_one_sentence(output: str, sentence: str) -> None:
    told = explain_refusal(output)
    assert told.startswith(sentence) and "\n" not in told


async def test_a_run_that_takes_too_long_tells_what_it_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(py_spy, "ANSWER_S", 3.0)
    with spinning():
        stacks = await take_stacks(tmp_path, 60)
    assert stacks[NAME].total() > 20


async def test_whoever_cancels_ends_even_a_stubborn_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = make_stubborn(tmp_path)
    monkeypatch.setattr(py_spy, "find_sampler", lambda: sampler)
    monkeypatch.setattr(py_spy, "END_S", 0.05)
    before = list_children()
    task = asyncio.create_task(sample_self(tmp_path, 30, 50))
    await asyncio.to_thread(wait_until, (tmp_path / "heeds-nothing").exists, "the stand-in")
    assert len(list_children() - before) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE_S)
    assert list_children() == before


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_nobody_is_left_whenever_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: Callable[[], Any]
) -> None:
    sampler = make_stubborn(tmp_path)
    monkeypatch.setattr(py_spy, "find_sampler", lambda: sampler)
    monkeypatch.setattr(py_spy, "END_S", 0.01)
    before = list_children()

    async def cancel_after(turns: int) -> bool:
        task = asyncio.create_task(sample_self(tmp_path, 30, 50))
        for _ in range(turns):
            await asyncio.sleep(0)
        has_begun = list_children() != before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return has_begun

    with asyncio.Runner(loop_factory=loop) as runner:
        begun = set()
        for turns in range(12):
            begun.add(runner.run(cancel_after(turns)))
            assert list_children() == before, f"after {turns} turns of the loop"
    assert begun == {False, True}, "cancelled before and after the process was there"


def test_a_tracer_is_allowed_where_that_has_to_be_said() -> None:
    # Where there is no Yama this says so, and that must not hurt anybody.
    py_spy.allow_tracer(os.getppid())
    py_spy.allow_tracer(0)
