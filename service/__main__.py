"""Lets `python -m service` do what the command `ledgercore` does; owns nothing else."""

from .start import main

if __name__ == "__main__":
    main()
