"""ConnectionLimit: how many connections there may be, and which one goes."""

from ledgercore.service.admission.connection_limit import LEAVING_MAX, PROBES_MAX, ConnectionLimit


class Connection:
    """A connection that only knows whether it was sent away."""

    def __init__(self) -> None:
        self.is_away = False

    def turn_away(self) -> None:
        assert not self.is_away
        self.is_away = True


def test_who_comes_beyond_the_limit_may_ask_for_probes_only() -> None:
    limit = ConnectionLimit(2)
    connections = [Connection() for _ in range(3)]
    assert [limit.add(connection) for connection in connections] == [False, False, True]
    # To ask again changes nothing.
    assert [limit.add(connection) for connection in connections] == [False, False, True]
    assert limit.count == 3
    limit.remove(connections[0])
    limit.remove(connections[0])
    assert limit.count == 2 and not limit.add(connections[1])


def test_the_oldest_of_them_goes_when_one_more_comes() -> None:
    limit = ConnectionLimit(1)
    assert not limit.add(Connection())
    probes = [Connection() for _ in range(PROBES_MAX)]
    assert all(limit.add(connection) for connection in probes)
    assert not any(connection.is_away for connection in probes)
    limit.remove(probes[1])
    limit.add(Connection())
    assert not any(connection.is_away for connection in probes), "a place was free"
    limit.add(Connection())
    assert [connection.is_away for connection in probes] == [True] + [False] * (PROBES_MAX - 1)
    assert not limit.add(probes[0]), "who goes does not count"


def test_those_who_go_are_bounded_too() -> None:
    limit = ConnectionLimit(1)
    connections = [Connection() for _ in range(1 + PROBES_MAX + LEAVING_MAX)]
    for connection in connections:
        assert not limit.is_overfull
        limit.add(connection)
    assert limit.is_overfull
    assert sum(connection.is_away for connection in connections) == LEAVING_MAX
    limit.remove(connections[1])
    assert not limit.is_overfull
