"""The benchmark of planning: its simulated nodes are what planning takes."""

import runpy

import pytest
from benchkit.lab import _DATA


@pytest.mark.parametrize("count", [3, 30])
def test_planning_is_timed(count):
    program = runpy.run_path(str(_DATA / "plan.py"), run_name="plan")
    taken = program["measure"](count, 2)
    assert set(taken) == {"new", "complete"}
    assert min(taken.values()) > 0
