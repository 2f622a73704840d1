"""The images of an instance's disks as its node sees them."""

import errno
import json
import time
from collections.abc import Iterable

from ganeti import constants

from ganeti_ceph.disk import describe, image, inventory, mappers, trash
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.facts import DiskFacts
from ganeti_ceph.rpc import (
    DisksFacts,
    LookAtDisks,
    LookInTrash,
    MapImages,
    Mapped,
    ReleaseImages,
    RenameCluster,
    Told,
    Trash,
)


def look(asked: LookAtDisks) -> DisksFacts:
    """Return what this node knows of an instance's disks."""
    running = _opened_by_qemu(asked.instance)
    found = []
    with image.together():
        for uuid, volume in asked.disks:
            facts, error = None, None
            try:
                facts = image.look(volume)
            except CephError as err:
                error = str(err)
            found.append(
                DiskFacts(facts, error, mappers.find(volume), running.get(uuid))
            )
    return DisksFacts(tuple(found))


def map_all(asked: MapImages) -> Mapped:
    """Make block devices of images; those that are made stay if another fails.

    An image that is open already, here or elsewhere, is refused.
    """
    with image.together():
        return Mapped(tuple(_map(volume, mapper) for volume, mapper in asked.images))


def _map(volume: Volume, mapper: Mapper) -> str:
    if device := mappers.find(volume):
        return device
    facts = image.look(volume)
    if facts is not None and facts.watchers:
        raise ExecError(
            f"the image {volume} is in use at {', '.join(facts.watchers)}; a block"
            " device would be a second way to it"
        )
    return mappers.map(volume, mapper, image.features(volume))


def release(asked: ReleaseImages) -> Told:
    """Unmap images that are to be removed; tell what else holds some of them.

    So that none is removed while another one of the same instance would stay.  A
    client that was killed just now is waited for, as Ganeti waits for each disk.
    """
    end = time.monotonic() + constants.DISK_REMOVE_RETRY_TIMEOUT
    with image.together():
        while True:
            held = _held(asked.images)
            lasts = any(err.errno != errno.EBUSY for err in held)
            if not held or lasts or time.monotonic() >= end:
                return Told(tuple(map(str, held)))
            time.sleep(1)


def _held(volumes: Iterable[Volume]) -> list[CephError]:
    held: list[CephError] = []
    for volume in volumes:
        try:
            mappers.unmap(volume)
            image.check_removable(volume)
        except CephError as err:
            held.append(err)
            if err.errno == errno.ETIMEDOUT:
                # So will all others.
                break
        except ExecError as err:
            held.append(CephError(str(err), errno.EBUSY))
    return held


def in_trash(asked: LookInTrash) -> Trash:
    """Return what is in the trash of all places that can be seen."""
    seen = inventory.ask(asked.places, trash.content)
    return Trash(
        tuple(
            one
            for found in seen.values()
            if not isinstance(found, CephError)
            for one in found
        ),
        tuple(
            f"{place}: {found}"
            for place, found in seen.items()
            if isinstance(found, CephError)
        ),
    )


def tell_name(asked: RenameCluster) -> Told:
    """Have all images of the cluster tell its new name, also those of no instance."""
    seen = inventory.ask(
        asked.places, lambda place: describe.rename_cluster(place, asked.old, asked.new)
    )
    return Told(
        tuple(
            str(error)
            for found in seen.values()
            for error in ([found] if isinstance(found, CephError) else found)
        )
    )


def _opened_by_qemu(instance: str) -> dict[str, bool]:
    """Tell of each disk of a running instance, by UUID, whether QEMU opened its image.

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
        return {disk["uuid"]: uri is not None for disk, _, uri in runtime[3]}
    except (errors.HypervisorError, ValueError, LookupError, TypeError):
        return {}
