"""An export without data: what an instance is, and which images are its disks."""

from collections.abc import Callable

from ganeti import constants, locking
from ganeti.cmdlib import common

from ganeti_ceph.disk import options
from ganeti_ceph.errors import ExecError, PrereqError, UsageError
from ganeti_ceph.jobs.base import StorageUnit


class LUExportConfig(StorageUnit):
    """Write an instance's ``config.ini`` to a node, from which an import adopts images.

    Options: ``instance`` and ``node``.  Nothing is copied, so the instance runs on.
    """

    def ExpandNames(self) -> None:
        """Lock the instance, which shall not change, and the node."""
        node_uuid, _ = common.ExpandNodeUuidAndName(
            self.cfg, None, self.options.get("node", "")
        )
        _, name = common.ExpandInstanceUuidAndName(
            self.cfg, None, self.options.get("instance", "")
        )
        self.needed_locks = {
            locking.LEVEL_INSTANCE: [name],
            locking.LEVEL_NODE: [node_uuid],
        }
        self.share_locks[locking.LEVEL_INSTANCE] = 1
        self.name = name
        self.node_uuid = node_uuid

    def check(self) -> None:
        """Find the disks' images."""
        self.guest = self.cfg.GetInstanceInfoByName(self.name)
        self.node = self.cfg.GetNodeInfo(self.node_uuid)
        if self.node.offline:
            raise PrereqError(f"the node {self.node.name} is offline")
        disks = [disk.Copy() for disk in self.cfg.GetInstanceDisks(self.guest.uuid)]
        if not disks or any(disk.dev_type != constants.DT_RBD for disk in disks):
            raise UsageError(
                f"{self.name} has other disks than rbd's, whose data only an export"
                " keeps: leave out --config-only"
            )
        defaults = self.cfg.GetInstanceDiskParams(self.guest)[constants.DT_RBD]
        for disk in disks:
            image = options.image_of(disk, defaults).image
            disk.params = {**disk.params, constants.IDISK_ADOPT: image}
        self.disks = disks

    def execute(self, feedback: Callable[[str], None]) -> str:
        """Write it."""
        done = self.rpc.call_finalize_export(self.node.uuid, self.guest, self.disks)
        if done.fail_msg:
            raise ExecError(f"{self.node.name}: {done.fail_msg}")
        images = ", ".join(disk.params[constants.IDISK_ADOPT] for disk in self.disks)
        return (
            f"{self.node.name} has the configuration of {self.name}; 'gnt-backup"
            f" import' makes it anew of {images}, which are not copied"
        )
