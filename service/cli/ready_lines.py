"""The lines that the command prints once a server is ready: its addresses, and next steps.

This module owns these lines, which are for people and for programs that wait for them. What the log
tells of the same moment is in lifecycle_log.py, and is left out where both would be on one screen.
"""

import json
import socket
import sys
from collections.abc import Sequence

from ..engine_port import EnginePort
from ..http.listeners import spell_place
from ..runtime.lifecycle import Lifecycle
from ..settings import Settings
from ..telemetry.lifecycle_log import log_started

WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
DEMO = ("acct-0", "acct-1")


def announce(lifecycle: Lifecycle, engine: EnginePort, listeners: Sequence[socket.socket]) -> None:
    """Print that a server is ready, and log it."""
    settings = lifecycle.settings
    scheme = "https" if settings.tls_cert else "http"
    addresses = [f"{scheme}://{spell_place(listener)}" for listener in listeners]
    note = "" if settings.is_durable else " (no journal: nothing survives this process)"
    lines = []
    numbers = engine.statistics()
    is_one_screen = is_watched() and sys.stderr.isatty()
    if numbers.recovered_records > 0 and not is_one_screen:
        speed = numbers.recovered_records / numbers.recovery_seconds
        lines.append(
            f"recovered {numbers.recovered_records} records in"
            f" {numbers.recovery_seconds:.3f} s ({speed:,.0f} a second)"
        )
    is_open = lifecycle.admission.is_open
    if is_open:
        lines.append("no API keys: everybody on this machine may do everything")
    lines.append(
        f"serving {' and '.join(addresses)} data={settings.data}"
        f" durability={settings.durability}{note} accounts={numbers.accounts}"
    )
    if is_watched():
        lines += list_next_steps(settings, addresses[0], is_open, numbers.accounts > 0)
    sys.stdout.write("".join(f"ledgercore: {line}\n" for line in lines))
    sys.stdout.flush()
    if not is_one_screen:
        log_started(settings, addresses[0])


def is_watched() -> bool:
    """Return whether a person looks at what is printed."""
    return sys.stdout.isatty()


def list_next_steps(
    settings: Settings, address: str, is_open: bool, has_accounts: bool
) -> list[str]:
    """Return what to do with a new server: look at it, read about it, and ask it for something."""
    for wildcard, own in WILDCARDS.items():
        address = address.replace(f"//{wildcard}:", f"//{own}:")
    steps = [f"look at it: {address}/ (live), {address}/docs (all that it can be asked)"]
    words = ["curl"]
    if settings.tls_cert:
        words.append(f"--cacert {settings.tls_cert}")
    if not is_open:
        words.append('-H "Authorization: Bearer $TOKEN"')
    words.append("-H 'Content-Type: application/json'")
    if settings.demo_accounts >= len(DEMO) and has_accounts:
        words.append("-H 'Idempotency-Key: hello-1'")
        body: dict[str, str | int] = {"from": DEMO[0], "to": DEMO[1], "amount": 1}
        path = "/transfer"
    else:
        body, path = {"id": "alice", "asset": "USD/2"}, "/accounts"
    words += [f"-d '{json.dumps(body)}'", f"{address}{path}"]
    steps.append(f"ask it: {' '.join(words)}")
    steps.append("stop it: Ctrl-C")
    return steps
