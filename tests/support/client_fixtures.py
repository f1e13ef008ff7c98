"""Each test of a client twice, once for either kind, before a server that does what a script says.

A module asks for these fixtures with `pytest_plugins = ["tests.support.client_fixtures"]`.
"""

from collections.abc import Iterator

import pytest

from tests.support.clients import APPLIED, KINDS
from tests.support.scripted import Script, answer


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def script() -> Iterator[Script]:
    with Script(answer(201, APPLIED)) as script:
        yield script
