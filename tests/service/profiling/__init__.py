"""Tests of service/profiling."""
