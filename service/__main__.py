"""Lets `python -m ledgercore.service` do what the command `ledgercore` does; owns nothing else."""

from .cli.start import main

if __name__ == "__main__":
    main()
