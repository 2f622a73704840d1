"""What an instance runs with, which decides as long as it runs.

A change of ``access`` counts from the next start on.  Until then QEMU has the images
open itself, or has their block devices open, as it was started.  The node reads that;
a job asks the node.
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from ganeti import constants

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import options
from ganeti_ceph.errors import UsageError
from ganeti_ceph.facts import DiskFacts
from ganeti_ceph.rpc import LookAtDisks

_ACCESS = constants.LDP_ACCESS


@dataclasses.dataclass(frozen=True)
class Plugged:
    """A disk of a running instance."""

    #: What QEMU calls it.
    name: str
    #: Whether QEMU opened the image itself.
    opened: bool


def plugged(instance: str) -> dict[str, Plugged]:
    """Return the disks of a running instance by UUID; none if it does not run here.

    Ganeti keeps with a running instance how it was started, in both releases as JSON:
    QEMU's command, NICs, parameters, and (disk, path, URI) of each disk.
    """
    from ganeti import errors
    from ganeti.hypervisor import hv_kvm

    hypervisor = hv_kvm.KVMHypervisor()
    _, _, alive = hypervisor._InstancePidAlive(instance)
    if not alive:
        return {}
    try:
        runtime = json.loads(hypervisor._ReadKVMRuntime(instance))
        return {
            disk["uuid"]: Plugged(disk["hvinfo"]["id"], uri is not None)
            for disk, _, uri in runtime[3]
        }
    except (errors.HypervisorError, ValueError, LookupError, TypeError):
        return {}


def set_access(instance: str, disks: Iterable[Any]) -> None:
    """Let disks of Ganeti's have the access that the instance runs with, if it runs."""
    ours = [disk for disk in disks if disk.dev_type == constants.DT_RBD]
    now = plugged(instance) if ours else {}
    for disk in ours:
        if disk.uuid in now:
            disk.params = {**disk.params, _ACCESS: _name(now[disk.uuid].opened)}


def ask(unit: Any, guest: Any, node: str) -> list[tuple[str, str, DiskFacts]]:
    """Return name, configured access and what a node knows of each rbd disk.

    Nothing of a node that is offline or does not answer.  Ceph is not asked.
    """
    return ask_all(unit, guest, [node])[node]


def ask_all(
    unit: Any, guest: Any, nodes: Iterable[str]
) -> dict[str, list[tuple[str, str, DiskFacts]]]:
    """Return what :func:`ask` does of each node, all of which are asked at once."""
    found: dict[str, list[tuple[str, str, DiskFacts]]] = {node: [] for node in nodes}
    defaults = unit.cfg.GetInstanceDiskParams(guest).get(constants.DT_RBD, {})
    disks = []
    for disk in unit.cfg.GetInstanceDisks(guest.uuid):
        if disk.dev_type != constants.DT_RBD:
            continue
        try:
            volume = options.image_of(disk, defaults)
        except UsageError:
            # It can neither be mapped nor opened.
            continue
        access = {**defaults, **disk.params}.get(_ACCESS, constants.DISK_KERNELSPACE)
        disks.append((disk.iv_name, access, disk.uuid, volume))
    online = [node for node in found if not unit.cfg.GetNodeInfo(node).offline]
    if not disks or not online:
        return found
    asked = LookAtDisks(
        guest.name, tuple((uuid, volume) for *_, uuid, volume in disks), images=False
    )
    sent = wire.encode(asked)
    for node, reply in rpc.call(
        unit.rpc, rpc.DISKS, dict.fromkeys(online, sent)
    ).items():
        if reply.answer is not None:
            found[node] = [
                (name, access, facts)
                for (name, access, *_), facts in zip(
                    disks, reply.answer.disks, strict=True
                )
            ]
    return found


def access_now(configured: str, facts: DiskFacts) -> str:
    """Return the access that counts: a running instance's is what it runs with."""
    return configured if facts.userspace is None else _name(facts.userspace)


def _name(userspace: bool) -> str:
    return str(constants.DISK_USERSPACE if userspace else constants.DISK_KERNELSPACE)
