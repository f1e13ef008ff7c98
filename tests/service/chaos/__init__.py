"""Tests of service/chaos."""
