"""The default of a callback that nobody has set."""


def ignore(*_: object) -> None:
    """Do nothing with the arguments."""
