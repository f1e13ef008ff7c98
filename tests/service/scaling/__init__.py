"""Tests of service/scaling."""
