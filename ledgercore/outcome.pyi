"""The types of outcome.pyx. The docstrings here are its reference."""

from typing import NoReturn, Self

from .status import Status

class Outcome:
    """What became of one transfer. `id` is its LSN, 0 where nothing was stored."""

    @property
    def id(self) -> int: ...
    @property
    def status(self) -> Status: ...
    @property
    def replayed(self) -> bool: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def is_applied(self) -> bool:
        """Whether the money has moved, by this call or, if `replayed`, by an earlier one."""

    def __init__(self, id: int, status: Status, replayed: bool, time_ns: int) -> None: ...
    def __bool__(self) -> NoReturn:
        """Raise TypeError: a refused transfer would otherwise be as true as an applied one."""

    def __hash__(self) -> int: ...
    def raise_if_refused(self) -> Self:
        """Return the outcome of an applied transfer. Raises TransferRefused for any other."""
