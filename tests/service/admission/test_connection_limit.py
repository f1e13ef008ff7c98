"""Seats: how many connections there may be, and which one goes."""

from ledgercore.service.admission.connection_limit import LEAVING_MAX, SPARE_SEATS, Seats


class Guest:
    """A connection that only knows whether it was sent away."""

    def __init__(self) -> None:
        self.is_away = False

    def turn_away(self) -> None:
        assert not self.is_away
        self.is_away = True


def test_who_comes_beyond_the_limit_may_ask_for_probes_only() -> None:
    seats = Seats(2)
    guests = [Guest() for _ in range(3)]
    assert [seats.take(guest) for guest in guests] == [False, False, True]
    # To ask again changes nothing.
    assert [seats.take(guest) for guest in guests] == [False, False, True]
    assert seats.count == 3
    seats.leave(guests[0])
    seats.leave(guests[0])
    assert seats.count == 2 and not seats.take(guests[1])


def test_the_oldest_of_them_goes_when_one_more_comes() -> None:
    seats = Seats(1)
    assert not seats.take(Guest())
    spares = [Guest() for _ in range(SPARE_SEATS)]
    assert all(seats.take(guest) for guest in spares)
    assert not any(guest.is_away for guest in spares)
    seats.leave(spares[1])
    seats.take(Guest())
    assert not any(guest.is_away for guest in spares), "a seat was free"
    seats.take(Guest())
    assert [guest.is_away for guest in spares] == [True] + [False] * (SPARE_SEATS - 1)
    assert not seats.take(spares[0]), "who goes has no seat"


def test_those_who_go_are_bounded_too() -> None:
    seats = Seats(1)
    guests = [Guest() for _ in range(1 + SPARE_SEATS + LEAVING_MAX)]
    for guest in guests:
        assert not seats.is_crammed
        seats.take(guest)
    assert seats.is_crammed
    assert sum(guest.is_away for guest in guests) == LEAVING_MAX
    seats.leave(guests[1])
    assert not seats.is_crammed
