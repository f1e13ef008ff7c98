"""Viewers: what is told to whom, and that a slow one is let go."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from ledgercore import Audit
from ledgercore.service.monitoring import live_stream as viewers_module
from ledgercore.service.monitoring.live_stream import (
    EVENTS_MAX,
    HEARTBEAT,
    VIEWERS_MAX,
    Viewer,
    Viewers,
    encode_event,
)
from ledgercore.service.monitoring.sampler import Sampler
from ledgercore.service.wire.problems import VIEWERS_FULL, Problem
from tests.support.scripted_loop import ScriptedLoop
from tests.support.scripted_totals import make_totals


class Scene:
    """Viewers of a server that does nothing."""

    def __init__(self) -> None:
        self.loop = ScriptedLoop()
        self.sampler = Sampler(lambda: make_totals(self.loop.now_s), self.loop)
        self.settings = {"durability": "sync"}
        self.viewers = Viewers(self.sampler, lambda: dict(self.settings))
        self.dropped: list[str] = []

    def dropper(self, name: str) -> Callable[[], None]:
        return lambda: self.dropped.append(name)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def decode(event: bytes) -> tuple[str, Any]:
    name, data, *rest = event.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def take(viewer: Viewer, count: int) -> list[tuple[str, Any]]:
    """Return the next events of a viewer."""
    events = viewer.events()
    return [decode(await anext(events)) for _ in range(count)]


async def test_viewer_is_told_the_past_and_then_each_second(scene: Scene) -> None:
    scene.sampler.wake()
    scene.loop.step()
    with scene.viewers.watching(scene.dropper("a")) as viewer:
        assert await take(viewer, 2) == [
            ("settings", scene.settings),
            ("history", {"samples": list(scene.sampler.samples), "samples_max": 300}),
        ]
        scene.loop.step()
        assert (await take(viewer, 2))[1] == ("sample", scene.sampler.samples[-1])


async def test_settings_are_told_when_they_change_and_only_then(scene: Scene) -> None:
    with scene.viewers.watching(scene.dropper("a")) as viewer:
        scene.loop.step()
        await take(viewer, 4)
        scene.loop.step()
        assert [name for name, _ in await take(viewer, 1)] == ["sample"]
        scene.settings = {"durability": "memory"}
        scene.loop.step()
        assert await take(viewer, 2) == [
            ("settings", {"durability": "memory"}),
            ("sample", scene.sampler.samples[-1]),
        ]


async def test_an_audit_is_told_to_all_and_to_who_comes_later(scene: Scene) -> None:
    audit = Audit(7, 2, {"USD/2": 0}, tuple(f"violation {i}" for i in range(50)), False)
    with scene.viewers.watching(scene.dropper("a")) as early:
        scene.viewers.note_audit(audit)
        with scene.viewers.watching(scene.dropper("b")) as late:
            for viewer in (early, late):
                name, told = (await take(viewer, 3))[-1]
                assert name == "audit" and told["sums"] == {"USD/2": "0"} and not told["ok"]
                assert len(told["violations"]) == 20 and told["violations_total"] == 50


async def test_viewers_are_bounded_and_a_place_comes_back(scene: Scene) -> None:
    places = [scene.viewers.watching(scene.dropper("a")) for _ in range(VIEWERS_MAX)]
    for place in places:
        place.__enter__()
    with pytest.raises(Problem) as caught, scene.viewers.watching(scene.dropper("b")):
        pass
    assert caught.value.kind is VIEWERS_FULL
    places.pop().__exit__(None, None, None)
    with scene.viewers.watching(scene.dropper("b")):
        assert scene.sampler.is_awake
    for place in places:
        place.__exit__(None, None, None)
    scene.loop.step()
    assert not scene.sampler.is_awake  # Nobody watches any more, and nothing happens.


async def test_slow_viewer_is_dropped_and_holds_up_nobody(scene: Scene) -> None:
    with (
        scene.viewers.watching(scene.dropper("slow")),
        scene.viewers.watching(scene.dropper("fast")) as fast,
    ):
        for _ in range(EVENTS_MAX):
            scene.loop.step()
            await take(fast, 1)
        assert set(scene.dropped) == {"slow"}


async def test_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers_module, "HEARTBEAT_S", 0.01)
    events = Viewer(lambda: None).events()
    assert [await anext(events) for _ in range(3)] == [HEARTBEAT] * 3
    assert HEARTBEAT.startswith(b":") and HEARTBEAT.endswith(b"\n\n")


async def test_closing_ends_all_streams_and_waits_for_that(scene: Scene) -> None:
    async def watch() -> int:
        with scene.viewers.watching(scene.dropper("a")) as viewer:
            return len([event async for event in viewer.events()])

    watching = [asyncio.create_task(watch()) for _ in range(3)]
    await asyncio.sleep(0)
    await scene.viewers.close()
    assert [task.done() and task.result() for task in watching] == [2, 2, 2]
    assert scene.dropped == []
    assert await watch() == 2  # Who was about to begin.


async def test_who_does_not_read_the_end_is_dropped(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewers_module, "CLOSE_S", 0.01)
    with scene.viewers.watching(scene.dropper("a")):
        await scene.viewers.close()
        assert scene.dropped == ["a"]


async def test_who_cannot_be_greeted_takes_no_place() -> None:
    def refuse() -> dict[str, Any]:
        raise Problem(VIEWERS_FULL, "no")

    loop = ScriptedLoop()
    sampler = Sampler(lambda: make_totals(loop.now_s), loop)
    viewers = Viewers(sampler, refuse)
    for _ in range(VIEWERS_MAX + 1):
        with pytest.raises(Problem, match="no"), viewers.watching(lambda: None):
            pass
    loop.step()
    assert not sampler.is_awake


def test_an_event_is_one_line_of_data() -> None:
    assert encode_event("sample", {"a": "b\nc"}) == b'event: sample\ndata: {"a":"b\\nc"}\n\n'
