"""What Ceph mends once it is told to: damaged copies, warnings of crashes."""

import errno

import pytest
from fakes import Refused

from ganeti_ceph.errors import CephError
from ganeti_ceph.node import mend
from ganeti_ceph.steps import ArchiveCrashes, RepairGroups

STEP = RepairGroups(("2.1f", "3.0"))


def damage(**groups):
    """Return the health check of placement groups by their states."""
    return {
        "PG_DAMAGED": {
            "summary": {"message": "Possible data damage"},
            "detail": [
                {"message": f"pg {name} is active+clean+{state}, acting [1,0,2]"}
                for name, state in groups.items()
            ],
        }
    }


@pytest.fixture
def damaged(storage, clock):
    """A storage cluster with two damaged placement groups."""
    storage.mgrs = ["node1"]
    storage.checks = damage(**{"2.1f": "inconsistent", "3.0": "inconsistent"})
    return storage


def test_all_are_told_and_waited_for(damaged, clock):
    clock.after(20, lambda: damaged.checks.update(damage(**{"3.0": "inconsistent"})))
    clock.after(40, damaged.checks.clear)
    assert mend.repair_groups(STEP) == "placement groups 2.1f, 3.0 are whole"
    assert damaged.repairing == ["2.1f", "3.0"]
    assert clock.now >= 1040


def test_others_are_not_waited_for(damaged, clock):
    damaged.checks = damage(**{"2.2": "inconsistent", "3.0": "snaptrim_error"})
    assert mend.repair_groups(STEP) == "placement groups 2.1f, 3.0 are whole"


def test_what_takes_long_is_said(damaged, clock):
    clock.after(5, lambda: damaged.checks.update(damage(**{"3.0": "inconsistent"})))
    assert mend.repair_groups(STEP) == (
        "placement groups 3.0 are being mended; 'gnt-storage status' shows when they"
        " are whole"
    )


def test_what_has_no_good_copy_is_said(damaged, clock):
    damaged.checks = damage(**{"3.0": "inconsistent+failed_repair"})
    said = mend.repair_groups(STEP)
    assert said.startswith("placement groups 3.0 are damaged still, Ceph may have no")
    assert clock.now >= 1060


def test_one_that_failed_before_may_be_mended_now(damaged, clock):
    damaged.checks = damage(**{"3.0": "inconsistent+failed_repair"})
    clock.after(30, damaged.checks.clear)
    assert mend.repair_groups(STEP) == "placement groups 2.1f, 3.0 are whole"


def test_a_group_that_cannot_be_told_is_an_error(damaged, monkeypatch):
    def gone(**_):
        raise Refused(errno.ENOENT, "pg 2.1f does not exist")

    monkeypatch.setattr(damaged, "_pg_repair", gone)
    with pytest.raises(CephError, match=r"pg 2\.1f does not exist"):
        mend.repair_groups(STEP)


def test_crashes_are_marked_as_seen(damaged):
    damaged.checks = {"RECENT_CRASH": {"summary": {"message": "1 crashed"}}}
    assert mend.archive_crashes(ArchiveCrashes()) == "what crashed is marked as seen"
    assert damaged.checks == {}
