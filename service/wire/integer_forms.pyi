"""The types of integer_forms.pyx."""

from collections.abc import Sequence
from typing import overload

class IntegerForms:
    """The form of whole numbers in answers, now and by the LSN of a transfer."""

    def __init__(self, starts: Sequence[int] = ()) -> None: ...
    @property
    def starts_as_tuple(self) -> tuple[int, ...]:
        """The LSNs at which the form changed; it began with numbers."""
    @property
    def are_strings(self) -> bool:
        """Whether the form in force is that of strings."""
    def are_strings_at(self, lsn: int) -> bool:
        """Tell whether the answer to the transfer of an LSN has strings."""
    @overload
    def write(self, value: int) -> int | str: ...
    @overload
    def write(self, value: None) -> None: ...
    @overload
    def write(self, value: int | None) -> int | str | None:
        """Return a number as it is told now; None stays."""
