"""Measures ganeti-ceph against what can be done without it."""
