"""Tests of `sparring.training`."""
