"""Tests of what is built, installed and run as a whole."""
