"""Tests of service/routes."""
