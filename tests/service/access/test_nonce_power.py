"""Real power cuts of a file system: no signed request passes twice, and honest ones soon pass."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from ledgercore.client.signing import HEADER, sign
from ledgercore.service.access.key_ring import NewKey, Scope
from ledgercore.service.access.nonce_file import RESERVE_S
from ledgercore.service.access.nonces import NonceMemory
from tests.support.keyed import make_key
from tests.support.servers import ROOT, Server
from tests.support.volumes import WITH_JOURNAL, WITHOUT_JOURNAL, Volume, open_volume
from tests.support.waiting import DEADLINE_S, wait_until

ACCEPT = """
import itertools, sys, time
from pathlib import Path
from ledgercore.service.access.nonces import NonceMemory
memory = NonceMemory(Path(sys.argv[1]))
for number in itertools.count():
    second = int(time.time())
    if memory.remember("shop", str(number), second):
        print(number, second, flush=True)
    time.sleep(0.002)  # So many a second, as clients would send.
"""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with ExitStack() as stack:
        try:
            volume = stack.enter_context(open_volume(tmp_path))
        except OSError as error:
            pytest.skip(str(error))
        yield volume


@pytest.mark.parametrize("how", [WITH_JOURNAL, WITHOUT_JOURNAL])
@pytest.mark.parametrize("accepted_s", [0.5, 3.5])
def test_a_power_cut_costs_what_is_promised(volume: Volume, how: int, accepted_s: float) -> None:
    """Before and after reservations were renewed in the background."""
    path = volume.path / "nonces"
    child = subprocess.Popen(
        [sys.executable, "-c", ACCEPT, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    lines = child.stdout
    passed: list[tuple[str, int]] = []

    def take() -> None:
        number, second = lines.readline().split()
        passed.append((number, int(second)))

    try:
        take()
        ends_s = time.monotonic() + accepted_s
        while time.monotonic() < ends_s:
            take()
        volume.cut_power(how)
    finally:
        child.kill()
        # What it was told of before the cut counts; what it wrote later, nobody has.
        child.communicate(timeout=DEADLINE_S)
    volume.unmount()
    volume.mount()
    last_s = max(second for _, second in passed)
    with closing(NonceMemory(path)) as nonces:
        assert not any(nonces.remember("shop", *request) for request in passed)
        assert nonces.closed_s <= last_s + RESERVE_S + 1
        wait_until(lambda: time.time() > nonces.closed_s + 1, "the seconds that are closed")
        assert nonces.remember("shop", "fresh", int(time.time()))
        assert not any(nonces.remember("shop", *request) for request in passed)


def sign_transfer(key: NewKey, number: int) -> tuple[bytes, dict[str, str]]:
    body = b'{"from":"acct-0","to":"acct-1","amount":1,"idempotency_key":"k-%d"}' % number
    assert key.secret is not None
    signature = sign(
        key.secret, "POST", "/transfer", body, timestamp=int(time.time()), nonce=f"n-{number}"
    )
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key.token}"}
    return body, headers | {HEADER: signature}


def send(client: httpx.Client, request: tuple[bytes, dict[str, str]]) -> int:
    return client.post("/transfer", content=request[0], headers=request[1]).status_code


def test_a_server_is_signed_to_again_soon_after_a_power_cut(volume: Volume) -> None:
    data = volume.path / "ledger"
    key = make_key(data, "shop", Scope.TRANSFER, is_signed=True)
    captured = []
    with Server(data, "--demo-accounts=2") as server, httpx.Client(base_url=server.url) as client:
        for number in range(200):
            request = sign_transfer(key, number)
            assert send(client, request) == 201
            captured.append(request)
        volume.cut_power()
        cut_s = time.time()
        server.kill()
    volume.unmount()
    volume.mount()
    with Server(data) as server, httpx.Client(base_url=server.url) as client:
        assert {send(client, request) for request in captured} == {401}
        wait_until(
            lambda: send(client, sign_transfer(key, time.monotonic_ns())) == 201, "a signature"
        )
        # What is promised, and the time that a process takes to start here.
        assert time.time() - cut_s < RESERVE_S + DEADLINE_S / 2
        assert {send(client, request) for request in captured} == {401}
        assert not any("damaged" in line for line in server.told)
        assert server.stop() == 0
