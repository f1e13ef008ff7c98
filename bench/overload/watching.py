"""What the server itself says while it is overloaded: looks at its metrics, some in a second.

This module owns the looks. It judges nothing: that is figures.py.
"""

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from ledgercore.client.loopback import make_options
from ledgercore.client.signing import HEADER, sign

from ..machine import run_on

LOOK_INTERVAL_S = 0.2
TIMEOUT_S = 10.0
TARGET = "/metrics"
P99 = "inflight_p99_ms"


class Watch:
    """The p99 of the server's last window at each look, in milliseconds, from admission to answer.

    A look that is not answered is none.
    """

    def __init__(self) -> None:
        self.p99s_ms: list[float] = []

    def look(self, client: httpx.Client, key: Mapping[str, str]) -> None:
        """Look once."""
        try:
            answer = client.get(TARGET, headers=make_headers(key))
            answer.raise_for_status()
            p99_ms = float(answer.json()[P99])
        except (httpx.HTTPError, KeyError, ValueError):
            return
        if p99_ms > 0:  # Before the first window there is none.
            self.p99s_ms.append(p99_ms)


@contextmanager
def watching(url: str, key: Mapping[str, str], core: int) -> Iterator[Watch]:
    """Look at a server from another thread, on this core, for as long as the block lasts."""
    watch, is_over = Watch(), threading.Event()

    def run() -> None:
        with (
            run_on(core),
            httpx.Client(base_url=url, timeout=TIMEOUT_S, **make_options(url)) as client,
        ):
            while not is_over.wait(LOOK_INTERVAL_S):
                watch.look(client, key)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield watch
    finally:
        is_over.set()
        thread.join()


def make_headers(key: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of one look, by the names in which the simulator takes a key."""
    if not key:
        return {}
    nonce = secrets.token_hex(16)
    signature = sign(
        key["LEDGERCORE_CLIENT_SECRET"], "GET", TARGET, b"", timestamp=int(time.time()), nonce=nonce
    )
    return {"Authorization": f"Bearer {key['LEDGERCORE_CLIENT_KEY']}", HEADER: signature}
