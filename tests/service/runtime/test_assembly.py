"""The parts of a server, made from its settings."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from ledgercore.service.access.nonces import FILE_NAME
from ledgercore.service.chaos.plan import InvalidPlan
from ledgercore.service.runtime.assembly import (
    make_admission,
    make_chaos,
    open_ledger,
    open_nonces,
)
from ledgercore.service.settings import Settings
from ledgercore.service.wire.problems import Problem
from tests.support.histories import open_small


class Target:
    """What faults happen to."""

    fault_injector: Any = None


@pytest.mark.parametrize("durability", ["sync", "memory"])
def test_nonces_are_kept_where_the_ledger_is(tmp_path: Path, durability: str) -> None:
    settings = Settings(data=str(tmp_path), durability=durability)
    open_nonces(settings).close()
    assert (tmp_path / FILE_NAME).exists() == (durability == "sync")


def test_an_engine_is_as_the_settings_have_it(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), queue_size=32, batch_max=32, demo_accounts=2)
    with open_ledger(settings) as engine:
        assert (engine.durability, engine.options.queue_size) == ("sync", 32)
        assert engine.statistics().accounts == 3  # and the one that they are paid from


def test_an_admission_is_as_the_settings_have_it(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), client_rate=7, client_quota=50, request_deadline_ms=20)
    nonces = open_nonces(settings)
    admission = make_admission(settings, nonces)
    limits = admission.limiter.settings()
    assert (limits["client_rate"], limits["quota"]) == (7, 50)
    assert admission.deadline_ns == 20_000_000 and admission.is_open
    nonces.close()


async def test_chaos_is_as_the_settings_have_it(tmp_path: Path) -> None:
    loop, plan = asyncio.get_running_loop(), tmp_path / "plan.json"
    plan.write_text('{"seed": 7, "drop_before": {"probability": 0.5}}')
    with open_small(None, durability="memory") as engine:
        target = Target()
        none = make_chaos(Settings(), engine, cast(Any, target), loop)
        assert target.fault_injector is None and none.describe()["struck"] == {}
        planned = Settings(allow_chaos=1, chaos=str(plan))
        switch = make_chaos(planned, engine, cast(Any, target), loop)
        assert target.fault_injector is not None and switch.describe()["plan"]["seed"] == 7
        switch.end()
        assert target.fault_injector is None
        plan.write_text("nonsense")
        with pytest.raises((InvalidPlan, Problem)):
            make_chaos(planned, engine, cast(Any, target), loop)
