"""What stands in for a listener that nobody has set."""


def ignore(*_: object) -> None:
    """Do nothing with what a listener would be told."""
