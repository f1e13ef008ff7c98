"""The monitor of a server from start to stop: the sampler and its listeners.

This module joins them: work wakes the sampler, the sampler feeds the reporter of the log and the
viewers of the live page, and slow requests go to the reporter. It never reads a count.
"""

import asyncio
from functools import partial
from typing import Any

from ..runtime.lifecycle import Lifecycle
from ..runtime.limits import describe_limits
from ..wire.sanic_types import App
from .live_stream import Viewers
from .log_reporter import Reporter
from .sampler import Sampler
from .totals import read_totals


class Monitor:
    """The sampler of one app's server, and its listeners: viewers and log."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        settings = lifecycle.settings
        self.sampler = Sampler(partial(read_totals, lifecycle), asyncio.get_running_loop())
        self.viewers = Viewers(self.sampler, partial(describe_settings, lifecycle))
        self._reporter = Reporter(settings.log_interval_s)
        self.sampler.listeners.append(self._reporter.note)
        lifecycle.observer.on_slow = self._reporter.note_request
        if settings.instruments:
            lifecycle.on_work = lifecycle.observer.on_work = self.sampler.wake

    async def end(self) -> None:
        """End all streams, and log what was not logged yet."""
        self.sampler.close()
        self._reporter.flush()
        await self.viewers.close()


def install_monitor(app: App) -> None:
    """Install the monitor of an app. To be installed before its lifecycle, which uses it.

    It costs nothing until there is work, or somebody looks.
    """
    app.register_listener(_begin, "before_server_start")
    app.register_listener(_end, "before_server_stop")


async def _begin(app: App) -> None:
    app.ctx.monitor = Monitor(app.ctx.lifecycle)


async def _end(app: App) -> None:
    await app.ctx.monitor.end()


def describe_settings(lifecycle: Lifecycle) -> dict[str, Any]:
    """Return the settings of the server for viewers, which seldom change."""
    return {"durability": lifecycle.engine.durability, "limits": describe_limits(lifecycle)}
