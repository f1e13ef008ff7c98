"""The servers that are measured: all on one core, all alive at once, each with funded accounts.

This module owns how each is started. They are alike in what they are asked: a plain handler, the
service with a journal and without, and the sketch in Go where its binary is named.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..load.generators import Generator
from ..machine import CpuTimes, read_cpu_times
from ..measure import Tell
from ..processes import PLAIN, SERVICE, GoServer, Server

FUNDS = 100_000_000
KEYS_MAX = 16_777_216
"""The limit that the service has if it is told none."""

PLAIN_NAME, MEMORY, DURABLE = "plain", "memory", "durable"
GO_MEMORY, GO_LOG = "go-memory", "go-log"
TITLES = {
    PLAIN_NAME: "a plain Sanic handler",
    MEMORY: "the service, in memory",
    DURABLE: "the service, durable",
    GO_MEMORY: "Go, in memory",
    GO_LOG: "Go, with its log",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the servers run and lie, for how much they are made, and how they are measured.

    `keys` is how many transfers each of them is to expect in all.
    """

    core: int
    load_core: int
    scratch: Path
    accounts: int
    keys: int
    generator: Generator
    rounds: int
    seconds: float
    tell: Tell
    go_binary: Path | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that is up, what a table calls it, and the lines that each request's head has."""

    name: str
    title: str
    url: str
    pid: int
    headers: tuple[str, ...] = ()

    @property
    def cpu_times(self) -> CpuTimes:
        return read_cpu_times(self.pid)


def open_subjects(setting: Setting, stack: ExitStack) -> dict[str, Subject]:
    """Start all servers, for as long as the stack lasts, and return them by name."""
    names = [name for name in TITLES if setting.go_binary or name not in (GO_MEMORY, GO_LOG)]
    opened = {name: open_subject(name, setting, stack) for name in names}
    # Nobody is to wait for the disk because of what a start left to be written.
    os.sync()
    return opened


def open_subject(name: str, setting: Setting, stack: ExitStack) -> Subject:
    """Start one server. Raises ProcessFailed."""
    log = setting.scratch / f"{name}.log"
    server: Server | GoServer
    if name in (GO_MEMORY, GO_LOG):
        assert setting.go_binary is not None
        wal = setting.scratch / "go.wal" if name == GO_LOG else None
        server = GoServer(
            setting.core, setting.go_binary, log, accounts=setting.accounts, wal=wal, funds=FUNDS
        )
    elif name == PLAIN_NAME:
        server = Server(setting.core, *PLAIN, log=log)
    else:
        place = f"--data={setting.scratch / name}" if name == DURABLE else "--durability=memory"
        return open_service(name, TITLES[name], setting, stack, place)
    stack.enter_context(server)
    return Subject(name, TITLES[name], server.url, server.pid)


def open_service(
    name: str,
    title: str,
    setting: Setting,
    stack: ExitStack,
    *flags: str,
    headers: tuple[str, ...] = (),
) -> Subject:
    """Start the service with flags besides those for accounts that can pay, and for the keys."""
    demo = (
        f"--demo-accounts={setting.accounts}",
        f"--demo-funds={FUNDS}",
        # A table that grows stands still meanwhile, which is of another benchmark's concern.
        f"--keys-reserved={setting.keys}",
        f"--keys-max={max(setting.keys, KEYS_MAX)}",
    )
    log = setting.scratch / f"{name}.log"
    server = stack.enter_context(Server(setting.core, *SERVICE, *flags, *demo, log=log))
    return Subject(name, title, server.url, server.pid, headers)
