"""Hypothesis on busy machines, and over sources that may be read-only."""

import shutil

import pytest
from hypothesis import HealthCheck, settings

from ganeti_ceph.disk import silence

settings.register_profile(
    "unit",
    deadline=None,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _no_notes(monkeypatch, tmp_path_factory):
    """Let no test learn from another one that a storage cluster did not answer."""
    root = tmp_path_factory.getbasetemp() / "silent"
    monkeypatch.setattr(silence, "ROOT", root)
    shutil.rmtree(root, ignore_errors=True)
