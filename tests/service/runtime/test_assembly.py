"""The parts of a server, made from its settings."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from ledgercore.service.access.nonces import FILE_NAME
from ledgercore.service.chaos.plan import InvalidPlan
from ledgercore.service.runtime.assembly import make_chaos, open_nonces
from ledgercore.service.settings import Settings
from ledgercore.service.wire.problems import Problem
from tests.support.histories import open_small


class Target:
    """What faults happen to."""

    disturber: Any = None


@pytest.mark.parametrize("durability", ["sync", "memory"])
def test_nonces_are_kept_where_the_ledger_is(tmp_path: Path, durability: str) -> None:
    settings = Settings(data=str(tmp_path), durability=durability)
    open_nonces(settings).close()
    assert (tmp_path / FILE_NAME).exists() == (durability == "sync")


async def test_chaos_is_as_the_settings_have_it(tmp_path: Path) -> None:
    loop, plan = asyncio.get_running_loop(), tmp_path / "plan.json"
    plan.write_text('{"seed": 7, "faults": {"drop_before": {"probability": 0.5}}}')
    with open_small(None, durability="memory") as engine:
        target = Target()
        none = make_chaos(Settings(), engine, cast(Any, target), loop)
        assert target.disturber is None and none.describe()["plan"]["faults"] == {}
        planned = Settings(allow_chaos=True, chaos=str(plan))
        switch = make_chaos(planned, engine, cast(Any, target), loop)
        assert target.disturber is not None and switch.describe()["plan"]["seed"] == 7
        switch.end()
        assert target.disturber is None
        plan.write_text("nonsense")
        with pytest.raises((InvalidPlan, Problem)):
            make_chaos(planned, engine, cast(Any, target), loop)
