"""Telemetry of single requests: counts, traces and log lines."""
