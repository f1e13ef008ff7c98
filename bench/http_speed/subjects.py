"""The servers that are measured: all on one core, all alive at once, each with funded accounts.

This module owns how each is started. They are alike in what they are asked: a plain handler, the
service with a journal and without, and the sketch in Go where its binary is named.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from ledgercore.client.loopback import make_options

from ..machine import CpuTimes, read_cpu_times
from ..peers.peer import DEADLINE_S
from ..peers.processes import await_server, pick_port, run_server
from ..servers import PLAIN, SERVICE, Server

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
    """Where the servers run and lie, and for how much they are made.

    `keys` is how many transfers each of them is to expect in all.
    """

    core: int
    load_core: int
    scratch: Path
    accounts: int
    keys: int
    go_binary: Path | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that is up."""

    name: str
    url: str
    pid: int

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return TITLES[self.name]

    @property
    def cpu_times(self) -> CpuTimes:
        """The processor time that it has had so far."""
        return read_cpu_times(self.pid)


def open_subjects(setting: Setting, stack: ExitStack) -> dict[str, Subject]:
    """Start all servers, for as long as the stack lasts, and return them by name."""
    names = [PLAIN_NAME, MEMORY, DURABLE]
    if setting.go_binary is not None:
        names += [GO_MEMORY, GO_LOG]
    opened = {}
    for name in names:
        open_one = open_go if name in (GO_MEMORY, GO_LOG) else open_own
        opened[name] = open_one(name, setting, stack)
    # Nobody is to wait for the disk because of what a start left to be written.
    os.sync()
    return opened


def open_own(name: str, setting: Setting, stack: ExitStack) -> Subject:
    """Start the service or the plain handler."""
    commands = {
        PLAIN_NAME: PLAIN,
        MEMORY: (*SERVICE, "--durability=memory", *describe_demo(setting)),
        DURABLE: (*SERVICE, f"--data={setting.scratch / 'data'}", *describe_demo(setting)),
    }
    log = setting.scratch / f"{name}.log"
    server = stack.enter_context(Server(setting.core, *commands[name], log=log))
    return Subject(name, server.url, server.process.pid)


def describe_demo(setting: Setting) -> tuple[str, ...]:
    """Return the flags for accounts that can pay, and for the keys that are to be expected."""
    return (
        f"--demo-accounts={setting.accounts}",
        f"--demo-funds={FUNDS}",
        # A table that grows stands still meanwhile, which is of another benchmark's concern.
        f"--keys-reserved={setting.keys}",
        f"--keys-max={max(setting.keys, KEYS_MAX)}",
    )


def open_go(name: str, setting: Setting, stack: ExitStack) -> Subject:
    """Start the sketch in Go. Raises PeerFailed if its binary is none."""
    assert setting.go_binary is not None
    address = f"127.0.0.1:{pick_port()}"
    flags = {
        "-addr": address,
        "-accounts": str(setting.accounts),
        "-funds": str(FUNDS),
        "-procs": "1",
    }
    if name == GO_LOG:
        flags["-wal"] = str(setting.scratch / "go.wal")
    command = [str(setting.go_binary.resolve()), *(word for flag in flags.items() for word in flag)]
    log = setting.scratch / f"{name}.log"
    process = stack.enter_context(run_server(setting.core, command, log))
    url = f"http://{address}"
    # Whatever it answers to this, it is there.
    ask = partial(httpx.get, url, timeout=DEADLINE_S, **make_options(url))
    await_server(process, log, ask, httpx.ConnectError)
    return Subject(name, url, process.pid)
