"""The whole server once a second: totals, samples, live stream, Prometheus, lines of the log."""
