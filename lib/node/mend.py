"""What Ceph mends by itself once it is told to: damaged copies, warnings of crashes."""

import time

from ganeti_ceph import ceph
from ganeti_ceph.facts import damaged_groups
from ganeti_ceph.node.cluster import details
from ganeti_ceph.steps import ArchiveCrashes, RepairGroups

#: Seconds in which small placement groups are mended, and told of by their OSDs.
_PATIENCE = 60
_PAUSE = 1.0


def repair_groups(step: RepairGroups) -> str:
    """Have OSDs make damaged copies anew; large groups take longer than it waits.

    A group without a good copy of something is said, and no failure: what else there is
    to do shall not wait until it is whole.
    """
    end = time.monotonic() + _PATIENCE
    groups = set(step.groups)
    with ceph.connect() as cluster:
        for one in step.groups:
            ceph.manager_command(cluster, "pg repair", pgid=one)
        while True:
            told = details(cluster)
            left = groups.intersection(damaged_groups(told))
            if not left:
                return f"placement groups {', '.join(step.groups)} are whole"
            if time.monotonic() > end:
                break
            time.sleep(_PAUSE)
    lost = groups.intersection(damaged_groups(told, failed=True))
    if lost:
        return (
            f"placement groups {', '.join(sorted(lost))} are damaged still, Ceph may"
            " have no good copy of something: look at the disks of their OSDs"
            " ('gnt-storage status' names them), and have it from a backup"
        )
    return (
        f"placement groups {', '.join(sorted(left))} are being mended; 'gnt-storage"
        " status' shows when they are whole"
    )


def archive_crashes(_: ArchiveCrashes) -> str:
    """Mark all that crashed as seen."""
    with ceph.connect() as cluster:
        ceph.manager_command(cluster, "crash archive-all")
    return "what crashed is marked as seen"
