"""Monitoring of the whole server: totals, samples, live stream, Prometheus, log lines."""
