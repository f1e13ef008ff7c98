"""One server for a whole test module, and for each test accounts and keys of its own in it.

A module asks for these fixtures with `pytest_plugins = ["tests.support.serving"]`.
"""

from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from tests.support.servers import Server, open_accounts

count_name = count(1)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # With no worker to add there is nothing to tell, however long a test's requests are.
    flags = ("--segments=2", "--workers-max=1", "--slow-request-ms=60000")
    with Server(tmp_path_factory.mktemp("routes") / "ledger", *flags) as server:
        yield server.url
        assert server.stop() == 0
        assert server.complaints == []


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def name(client: httpx.Client) -> str:
    """Return a name of the test's own, for accounts and keys; its bank has no floor."""
    own = f"test-{next(count_name)}"
    open_accounts(client, [f"{own}:bank"], floor=None)
    open_accounts(client, [f"{own}:a", f"{own}:b"])
    return own
