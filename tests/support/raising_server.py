"""The command, with handlers that fail and say in their exceptions all that they were sent.

This module owns these faults. A test runs it as a process, in the place of
`python -m ledgercore.service`.
"""

from typing import Any, NoReturn

from ledgercore.service.cli.serve import main
from ledgercore.service.routes import transfers


class Careless(Exception):
    """What a careless library raises: with the input in its text."""


def fail(*inputs: Any) -> NoReturn:
    """Raise what quotes all inputs, because of something else that does so too."""
    try:
        raise KeyError(*inputs)
    except KeyError as error:
        raise Careless(f"cannot be read: {inputs!r}") from error


if __name__ == "__main__":
    for name in ("read_account", "read_transfer", "read_path_key"):
        setattr(transfers, name, fail)
    main()
