"""The images of an instance's disks as its node sees them."""

import contextlib
import errno
import logging
import time
from collections.abc import Iterable

from ganeti import constants

from ganeti_ceph.disk import (
    describe,
    image,
    inventory,
    mappers,
    monitor,
    running,
    trash,
)
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import CONF, DISK_USER, Place, Volume
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.facts import DiskFacts, ImageFacts
from ganeti_ceph.rpc import (
    CloneImages,
    DisksFacts,
    LookAtDisks,
    LookInTrash,
    MapImages,
    Mapped,
    ReleaseImages,
    RenameCluster,
    RenameImages,
    Told,
    Trash,
)

#: Seconds that QEMU has to make snapshots, for which it waits for all that is written.
_PATIENCE = 30


def look(asked: LookAtDisks) -> DisksFacts:
    """Return what this node knows of an instance's disks."""
    now = running.plugged(asked.instance)
    seen: dict[Volume, ImageFacts | CephError | None] = {}

    def look_at(place: Place) -> None:
        for _, volume in asked.disks:
            if volume.place != place:
                continue
            try:
                seen[volume] = image.look(volume)
            except CephError as err:
                if err.errno == errno.ETIMEDOUT:
                    # So will all others.
                    raise
                seen[volume] = err

    places = {volume.place for _, volume in asked.disks} if asked.images else set()
    silent = inventory.ask(places, look_at)
    found = []
    for uuid, volume in asked.disks:
        facts = seen.get(volume, silent.get(volume.place))
        error = str(facts) if isinstance(facts, CephError) else None
        plugged = now.get(uuid)
        userspace = plugged.opened if plugged else None
        found.append(
            DiskFacts(
                None if isinstance(facts, CephError) else facts,
                error,
                mappers.find(volume),
                userspace,
            )
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
            held = _held(asked.images, asked.running)
            lasts = any(err.errno != errno.EBUSY for err in held)
            if not held or lasts or time.monotonic() >= end:
                return Told(tuple(map(str, held)))
            time.sleep(1)


def _held(volumes: Iterable[Volume], running: bool) -> list[CephError]:
    held: list[CephError] = []
    for volume in volumes:
        try:
            if not running:
                mappers.unmap(volume)
            image.check_removable(volume, running)
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
    ours = [place for place in seen if (place.user, place.conf) == (DISK_USER, CONF)]
    answers = [place for place in ours if not _is_silent(seen[place])]
    for found in inventory.ask(answers[:1], image.beside).values():
        # A failure is one of the places that were asked for, too.
        further = set() if isinstance(found, CephError) else {*found} - {*seen}
        seen.update(inventory.ask(further, trash.content))
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
        all(isinstance(found, CephError) for found in seen.values()),
    )


def _is_silent(seen: object) -> bool:
    return isinstance(seen, CephError) and seen.errno == errno.ETIMEDOUT


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


def rename(asked: RenameImages) -> None:
    """Give images that nobody uses new names; if one cannot have its own, none has."""
    with image.together(), contextlib.ExitStack() as done:
        for volume, name in asked.images:
            image.rename(volume, name)
            done.callback(_rename_back, volume.place.volume(name), volume.image)
        done.pop_all()


def _rename_back(volume: Volume, name: str) -> None:
    try:
        image.rename(volume, name)
    except CephError as err:
        # What stood in the way of the others is what is told.
        logging.error("ganeti-ceph: the image %s was %s: %s", volume, name, err)


def clone(asked: CloneImages) -> Told:
    """Clone the images of an instance as they are now; tell what is not as it might be.

    Of several disks that a guest is writing to QEMU makes the snapshots, if it has
    opened all of them itself: in one transaction, in which each disk that has its
    snapshot completes no write before all have theirs.  So no write is in one of them
    while one that the guest did before it, on another disk, is missing.
    """
    wanted = [(volume, name) for _, volume, name in asked.images]
    now = running.plugged(asked.instance) if len(wanted) > 1 else {}
    if not now:
        image.clone(wanted)
        return Told(())
    plugged = [now.get(uuid) for uuid, _, _ in asked.images]
    disks = [disk.name for disk in plugged if disk and disk.opened]
    if len(disks) < len(wanted):
        image.clone(wanted)
        return Told(
            (
                "The disks were snapshotted one right after the other: QEMU, which can"
                " do it at one moment, has not opened all of them itself"
                " (access=userspace)",
            )
        )
    names = [name for _, name in wanted]
    pairs = list(zip(disks, names, strict=True))
    image.clone(wanted, lambda: _snapshot(asked.instance, pairs))
    return Told(())


def _snapshot(instance: str, wanted: Iterable[tuple[str, str]]) -> None:
    """Make snapshots, by name, of disks of a running QEMU; all or none."""
    from ganeti import errors
    from ganeti.hypervisor import hv_kvm

    kind = "blockdev-snapshot-internal-sync"
    actions = [
        {"type": kind, "data": {"device": disk, "name": name}} for disk, name in wanted
    ]
    qemu = monitor.of(hv_kvm.KVMHypervisor(), instance, _PATIENCE)
    try:
        qemu.run("transaction", actions=actions)
    except errors.HypervisorError as err:
        raise ExecError(f"QEMU: {err}") from err
