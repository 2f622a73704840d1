"""Bringing the storage cluster, or some of its nodes, to what Ganeti is told."""

from collections.abc import Callable

from ganeti import locking

from ganeti_ceph.disk import config
from ganeti_ceph.errors import PrereqError
from ganeti_ceph.jobs.base import StorageUnit, ganeti_terms
from ganeti_ceph.jobs.init import LUInitDistributedStorage
from ganeti_ceph.jobs.survey import half_made
from ganeti_ceph.state import Phase


class LURepair(LUInitDistributedStorage):
    """Do what is missing until the storage cluster is what the configuration says.

    Options: ``nodes``, names with commas between them, where it is about these nodes
    alone, whose OSDs then hold data again; ``archive_crashes``, ``yes`` where what
    crashed shall be marked as seen.
    """

    def ExpandNames(self) -> None:
        """Find the group of the storage cluster; lock all groups, and its nodes."""
        StorageUnit.ExpandNames(self)
        with ganeti_terms():
            found = self.storage_group()
            if found is None or found[1].phase is Phase.MARKED:
                raise PrereqError(
                    "there is no storage cluster; 'gnt-storage init-distributed-storage"
                    " -s ceph GROUP' makes one"
                )
        self.group_uuid = self.cfg.LookupNodeGroup(found[0])
        self.needed_locks[locking.LEVEL_NODE] = []

    def check(self) -> None:
        """Find the nodes, and plan what they lack."""
        self.group = self.cfg.GetNodeGroup(self.group_uuid)
        names = [name for name in self.options.get("nodes", "").split(",") if name]
        if not names:
            self.again = "gnt-storage repair"
            self.check_nodes(None)
            return
        group = self.storage_group()
        if group is None or group[1].phase is not Phase.READY:
            raise PrereqError(half_made(self.group.name))
        joining = {}
        for name in names:
            uuid, full_name = self.cfg.ExpandNodeName(name)
            if uuid is None:
                raise PrereqError(f"there is no node {name}")
            if uuid not in self.group.members:
                raise PrereqError(
                    f"{full_name} is not in node group {self.group.name}, whose nodes"
                    " make up the storage cluster"
                )
            if self.cfg.GetNodeInfo(uuid).offline:
                raise PrereqError(
                    f"{full_name} is offline: 'gnt-node add --readd {full_name}' brings"
                    " it back"
                )
            joining[uuid] = full_name
        self.again = f"gnt-storage repair {' '.join(joining.values())}"
        self.check_nodes(frozenset(joining))

    def execute(self, feedback: Callable[[str], None]) -> str:
        """Do it, and let the disks' user use all pools that disks are in."""
        done = super().execute(feedback)
        config.grant_again(self, feedback)
        return done
