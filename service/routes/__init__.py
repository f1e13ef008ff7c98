"""The routes: one short handler for each address."""
