"""The default of a callback that nobody has set."""


def ignore(*_: object) -> None:
    """Do nothing with what a listener would be told."""
