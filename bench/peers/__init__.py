"""Other ledgers, measured beside ledgercore with the same transfers: `python -m bench peers`.

Each peer is what a careful engineer would set up with it: one transfer is one transaction with an
idempotency key and a floor, and an answer means that it is on the disk.
"""
