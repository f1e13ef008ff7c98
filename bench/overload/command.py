"""`python -m bench overload`: a server with an adaptive limit, asked for five times its peak.

This module owns the flags, the run and what is printed. Exits with 1 when a bound does not hold.
"""

import csv
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import httpx

from ledgercore.client.loopback import make_options
from ledgercore.client.signing import HEADER, sign

from ..machine import describe_machine, make_scratch, pick_cores, run_on
from ..options import as_json_option, connections_option, seconds_option
from ..processes import SERVICE, Server, create_key, python, run
from .figures import Overload, make_overload

ACCOUNTS = 1000
DEADLINE_S = 300.0
LOOK_INTERVAL_S = 0.2


@click.command()
@click.option(
    "--signed/--plain",
    default=True,
    show_default=True,
    help="A signed request costs the server more than the client, so that many can be offered.",
)
@seconds_option(5.0, click.FloatRange(0, min_open=True), "Of each load.")
@connections_option("--clients", maximum=None, default=400)
@click.option("--factor", default=5.0, show_default=True, help="Of the peak, to offer.")
@click.option("--target-ms", default=20, show_default=True, help="The p99 to hold.")
@as_json_option
def main(signed: bool, as_json: bool, **flags: Any) -> None:
    """Find the peak of a server in a closed loop, and then offer many times of it.

    The server has one core and the load another. The simulator keeps at most --clients requests
    under way, each client heeding `Retry-After`, and drops what none of them was free for; what
    has really reached the server is told beside what was offered.
    """
    with make_scratch() as scratch:
        figures = run_overload(scratch, make_key(scratch / "ledger") if signed else {}, **flags)
    if as_json:
        click.echo(json.dumps(asdict(figures)))
    else:
        click.echo("\n".join([describe_machine(), "", *_format_figures(figures)]))
    if faults := figures.faults():
        raise click.ClickException("; ".join(faults))


def make_key(ledger: Path) -> dict[str, str]:
    """Make a key that signs, and return the environment in which the simulator uses it."""
    told = create_key(ledger, "overload", "--scope=admin", "--signed")
    return {"LEDGERCORE_CLIENT_KEY": told["token"], "LEDGERCORE_CLIENT_SECRET": told["secret"]}


def run_overload(
    scratch: Path,
    key: dict[str, str],
    *,
    seconds: float,
    clients: int,
    factor: float,
    target_ms: int,
) -> Overload:
    """Start a server in a directory, load it, and return the figures."""
    server_core, load_core = pick_cores()
    flags = [
        f"--data={scratch / 'ledger'}",
        f"--demo-accounts={ACCOUNTS}",
        "--demo-funds=100000000",
        f"--target-p99-ms={target_ms}",
        # Else the table of the keys would grow meanwhile, as it would without any overload.
        "--keys-reserved=4000000",
    ]
    module, *arguments = SERVICE
    with Server(server_core, module, *arguments, *flags, log=scratch / "log") as server:
        common = [f"--seconds={seconds}", f"--clients={clients}", "--try-timeout-s=10"]
        # The first warms up: tables, allocators, the processor's own memory.
        peaks = [run_simulator(load_core, server.url, key, *common) for _ in range(2)]
        peak = max(peaks, key=lambda each: float(each["answered_per_s"]))
        before_mb = _read_memory_mb(server.pid)
        table = scratch / "table.csv"
        rate = factor * float(peak["answered_per_s"])
        with watching(server.url, key, load_core) as server_p99s_ms:
            loaded = run_simulator(
                load_core, server.url, key, *common, f"--rate={rate}", "--seed=2", f"--csv={table}"
            )
        after_mb = _read_memory_mb(server.pid)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    return make_overload(
        peak,
        loaded,
        rows,
        clients=clients,
        seconds=seconds,
        target_ms=target_ms,
        before_mb=before_mb,
        after_mb=after_mb,
        server_p99s_ms=server_p99s_ms,
    )


def run_simulator(core: int, url: str, key: dict[str, str], *flags: str) -> dict[str, Any]:
    """Run the simulator to its end, and return its summary, whether it found fault or not."""
    command = python(
        "bench", "simulate", url, f"--accounts={ACCOUNTS}", "--quiet", "--json", *flags
    )
    ended = run(command, core=core, deadline_s=DEADLINE_S, environment=key)
    if not ended.stdout:
        raise click.ClickException(f"the simulator failed: {ended.stderr.strip()}")
    summary: dict[str, Any] = json.loads(ended.stdout)
    return summary


@contextmanager
def watching(url: str, key: Mapping[str, str], core: int) -> Iterator[list[float]]:
    """Read the p99 of a server from another thread, on a core, while the block lasts.

    Yield what becomes a list of what the looks have seen.
    """
    seen_ms: list[float] = []
    is_over = threading.Event()

    def watch() -> None:
        with run_on(core), httpx.Client(base_url=url, timeout=10.0, **make_options(url)) as client:
            while not is_over.wait(LOOK_INTERVAL_S):
                seen_ms.extend(look(client, key))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen_ms
    finally:
        is_over.set()
        thread.join()


def look(client: httpx.Client, key: Mapping[str, str]) -> list[float]:
    """Return the p99 of the server's last window, in milliseconds, from admission to answer.

    That is none before the first window, and where the look is not answered.
    """
    headers = {}
    if key:
        secret, at_s = key["LEDGERCORE_CLIENT_SECRET"], int(time.time())
        nonce = secrets.token_hex(16)
        signature = sign(secret, "GET", "/metrics", b"", timestamp=at_s, nonce=nonce)
        headers["Authorization"] = f"Bearer {key['LEDGERCORE_CLIENT_KEY']}"
        headers[HEADER] = signature
    try:
        answer = client.get("/metrics", headers=headers)
        p99_ms = float(answer.raise_for_status().json()["inflight_p99_ms"])
    except (httpx.HTTPError, KeyError, ValueError):
        return []
    return [p99_ms] if p99_ms > 0 else []


def _read_memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} tells no VmRSS")


def _format_figures(figures: Overload) -> Sequence[str]:
    bound = figures.before_mb + figures.allowed_mb
    highest, target = figures.server_p99_max_ms, figures.target_ms
    windows = f"median of its windows, up to {highest:.1f}; target {target:g} ms"
    return [
        f"peak      {figures.peak:>10,.0f} /s   closed loop",
        f"offered   {figures.offered:>10,.0f} /s   {figures.factor:.1f} times the peak",
        f"sent      {figures.sent:>10,.0f} /s   what had a free client, tries again included",
        f"goodput   {figures.goodput:>10,.0f} /s   {figures.share:.0%} of the peak",
        f"p99       {figures.p99_ms:>10.1f} ms   of the admitted, as their clients saw it",
        f"in server {figures.server_p99_ms:>10.1f} ms   from admission to answer: {windows}",
        f"turn      {figures.turn_ms:>10.1f} ms   of {figures.clients:,} clients that always ask",
        f"generator {figures.load_share:>10.0%}      of its core",
        f"refused   {figures.refused:>10,}      with 503 and Retry-After",
        f"memory    {figures.after_mb:>10.1f} MB   was {figures.before_mb:.1f}, up to {bound:.1f}",
        f"lost      {figures.lost:>10,}      of {figures.transfers:,} answered keys asked again",
        f"given up  {figures.given_up:>10,}      refused until patience was over, then looked up",
        f"audit     {'ok' if figures.is_audited else 'FAULT':>10}",
    ]
