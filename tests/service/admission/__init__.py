"""Tests of service/admission."""
