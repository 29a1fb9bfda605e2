"""Measurements. Whatever compares is a ratio within one run: both sides alternate, and the median ratio counts."""
