"""Who sends on a connection: found out anew with another token or host, and with other keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgercore.service.access.key_file import FILE_NAME
from ledgercore.service.access.key_ring import revoke_key
from tests.support.keyed import bearer, make_key, spell_transfer
from tests.support.local import LocalServer, serve_as_asked
from tests.support.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    data = tmp_path / "ledger"
    make_key(data, "first")
    with serve_as_asked(data, demo_accounts=2, durability="memory") as start:
        yield start("native", allow_host="ledger.example")


def test_one_connection_may_send_for_several(server: LocalServer, tmp_path: Path) -> None:
    """Also within what arrives at once; each has the keys of its own transfers."""
    data = tmp_path / "ledger"
    keys = [make_key(data, name) for name in ("alice", "bob")]
    server.lifecycle.admission.reload()
    tokens = [keys[0].token, keys[1].token, "nonsense", keys[0].token]
    with server.connect() as connection:
        connection.send(b"".join(spell_transfer("k", bearer(token)) for token in tokens))
        answers = connection.read_answers(4)
    assert [answer.status for answer in answers] == [201, 201, 401, 201]
    assert "idempotent-replayed" not in answers[1].headers
    assert answers[3].headers["idempotent-replayed"] == "true"


def test_a_key_that_was_revoked_is_no_sender_any_more(server: LocalServer, tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    key = make_key(data, "alice")
    server.lifecycle.admission.reload()
    with server.connect() as connection:
        connection.send(spell_transfer("k", bearer(key.token)))
        assert connection.read_answers(1)[0].status == 201
        revoke_key(data / FILE_NAME, key.credential.id)

        def is_refused() -> bool:
            connection.send(spell_transfer("k", bearer(key.token)))
            return connection.read_answers(1)[0].status == 401

        wait_until(is_refused, "the change of the keys")


def test_a_host_that_is_not_ours_is_told_so_however_many_were(server: LocalServer) -> None:
    (credential,) = server.lifecycle.admission.keys.credentials()
    assert credential.client == "first"
    ours = spell_transfer("k", bearer("nonsense"))
    other = ours.replace(b"Host: localhost", b"Host: elsewhere.example")
    with server.connect() as connection:
        connection.send(ours + other)
        assert [answer.status for answer in connection.read_answers(2)] == [401, 421]
