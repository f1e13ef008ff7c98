"""Lets `python -m service` do what the command `ledgercore` does; owns nothing else."""

from .command import main

if __name__ == "__main__":
    main(prog_name="ledgercore")
