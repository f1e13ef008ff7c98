"""Tests of service/monitoring."""
