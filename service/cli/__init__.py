"""The command `ledgercore`: serve, look after a directory, ask a running server, API keys."""
