"""Which address does what: one short handler each."""
