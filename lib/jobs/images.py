"""What gnt-cluster verify and verify-disks say of the images of instances' disks.

Each node of a group is asked about the images of the disks that are its own, which
spreads the work; one of them also lists what nobody is known to have.  Where images
are open all nodes' OSDs tell; only where some of them cannot, images are opened.
"""

import dataclasses
import ipaddress
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ganeti import constants, locking

from ganeti_ceph import rpc, state, wire
from ganeti_ceph.disk import options
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.errors import PrereqError, UsageError
from ganeti_ceph.facts import ImagesFacts, PlaceFacts, UnknownImage
from ganeti_ceph.rpc import (
    LookAtImages,
    LookAtPlace,
    RenameCluster,
    Reply,
    Watched,
)

_RBD = constants.DT_RBD


@dataclasses.dataclass(frozen=True)
class OwnDisk:
    """An instance's disk; nodes and groups are UUIDs."""

    instance: str
    index: int
    volume: Volume
    node: str
    group: str
    #: Whether Ganeti has the instance's disks activated.
    active: bool

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"disk/{self.index}: the image {self.volume}"


@dataclasses.dataclass(frozen=True)
class Complaint:
    """A line of ``gnt-cluster verify``."""

    code: tuple[str, str, str]
    #: The name of the instance or node.
    item: str
    text: str
    warning: bool = False


def _kind(one: Complaint) -> tuple[tuple[str, str, str], str, bool]:
    return one.code, one.item, one.warning


# Ganeti's verification


def verify_images(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Verify the images in the pools in use, after Ganeti's orphaned volumes."""
    unit = instance
    _, _, node_images, _ = args
    result = wrapped(*args, **kwargs)
    nodes = unit.all_node_info
    reachable = [
        uuid
        for uuid in sorted(unit.my_node_info, key=lambda uuid: nodes[uuid].name)
        if nodes[uuid].vm_capable
        and not nodes[uuid].offline
        and not node_images[uuid].rpc_fail
    ]
    disks, wrong = _disks(unit.cfg, unit.all_inst_info.values(), unit.all_disks_info)
    places = _places(unit.cfg, disks)
    if not places[unit.group_uuid] or not reachable:
        return result
    unit._feedback_fn("* Verifying images in the storage cluster")
    listed = _listed(unit, places)
    mine = [disk for disk in disks if disk.group == unit.group_uuid]
    asked = {
        # Of another node only what is mapped there, its addresses, its OSDs' word.
        **{
            uuid: LookAtImages((), Watched.BY_OSDS)
            for uuid in sorted(nodes, key=lambda uuid: nodes[uuid].name)
            if not nodes[uuid].offline
        },
        **questions(mine, places[unit.group_uuid], reachable, known(disks, listed)),
    }
    replies = _call(unit, asked)
    watched, left = watched_by_osds(asked, replies)
    looked = _call(unit, left) if left else {}
    watched |= watched_by_look(left, looked)
    names = {uuid: node.name for uuid, node in nodes.items()}
    addresses = _addresses(nodes, replies)
    found = [
        *wrong.get(unit.group_uuid, ()),
        *unreachable(asked, replies, names),
        *unreachable(left, looked, names),
        *misplaced(mine, watched, replies, addresses, names),
    ]
    for _, place, seen in _answers(left, looked):
        found += troubles(mine, place, seen)
    for asker, place, seen in _answers(asked, replies):
        found += troubles(mine, place, seen)
        unknown = _still_unknown(unit.cfg, seen.unknown)
        found += orphans(
            names[asker], place, unknown, replies, names, unit.cfg.GetClusterName()
        )
    # A message takes long, and there may be many of one kind.
    for (code, item, warning), some in itertools.groupby(found, _kind):
        level = unit.ETYPE_WARNING if warning else unit.ETYPE_ERROR
        unit._ErrorMsgList(code, item, [one.text for one in some], level)
    return result


def verify_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Add the images that active disks lack to what a group's verification returns."""
    unit = instance
    node_errors, offline, missing = wrapped(*args, **kwargs)
    nodes = unit.cfg.GetAllNodesInfo()
    disks, _ = _disks(
        unit.cfg, unit.instances.values(), unit.cfg.GetAllDisksInfo(), of_active=True
    )
    mine = [disk for disk in disks if not nodes[disk.node].offline]
    asked = questions(
        mine, {disk.volume.place for disk in mine}, [disk.node for disk in mine], {}
    )
    asked = {
        uuid: dataclasses.replace(one, watched=Watched.NOT)
        for uuid, one in asked.items()
    }
    replies = _call(unit, asked)
    for uuid, reply in replies.items():
        if reply.error is not None:
            node_errors[uuid] = f"ganeti-ceph: {reply.error}"
    for uuid, place, seen in _answers(asked, replies):
        if seen.error is not None:
            node_errors[uuid] = seen.error
        gone = {place.volume(image) for image in seen.missing}
        for disk in mine:
            if disk.node == uuid and disk.volume in gone:
                missing.setdefault(disk.instance, []).append([uuid, str(disk.volume)])
    return node_errors, offline, missing


def lock_one_by_one(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Let ``gnt-cluster repair-disk-sizes INSTANCE`` lock the instance's node.

    Ganeti asks for the node that belongs to the instances it holds, but would ask for
    both kinds of locks together, when it holds none yet, and then stumble over it.
    """
    result = wrapped(*args, **kwargs)
    instance.dont_collate_locks[locking.LEVEL_NODE_RES] = True
    return result


# A new name of the cluster


def rename_cluster(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Have the images tell the new name, by which verify and adopt know them."""
    unit = instance
    old = unit.cfg.GetClusterName()
    result = wrapped(*args, **kwargs)
    new = unit.cfg.GetClusterName()
    if new == old:
        return result
    asked = one_node_each(unit.cfg)
    sent = {
        uuid: wire.encode(RenameCluster(places, old, new))
        for uuid, places in asked.items()
    }
    for uuid, reply in rpc.call(unit.rpc, rpc.CLUSTER_NAME, sent).items():
        errors = reply.answer.errors if reply.answer else [str(reply.error)]
        for error in errors:
            unit.LogWarning(
                "%s: some images still tell the cluster's old name, so that"
                " 'gnt-cluster verify' takes them for another cluster's: %s;"
                " 'rbd image-meta set IMAGE ganeti.cluster %s' tells it later",
                unit.cfg.GetNodeName(uuid),
                error,
                new,
            )
    return result


def one_node_each(config: Any) -> dict[str, tuple[Place, ...]]:
    """Return for nodes of each group the group's places, each for one node only."""
    disks, _ = _disks(
        config, config.GetAllInstancesInfo().values(), config.GetAllDisksInfo()
    )
    places = _places(config, disks)
    asked: dict[str, tuple[Place, ...]] = {}
    taken: set[Place] = set()
    nodes = config.GetAllNodesInfo().values()
    for node in sorted(nodes, key=lambda node: str(node.name)):
        if node.offline or not node.vm_capable:
            continue
        mine = places[node.group] - taken
        if mine:
            asked[node.uuid] = tuple(sorted(mine))
            taken |= mine
    return asked


# What is asked


def questions(
    disks: Iterable[OwnDisk],
    places: Iterable[Place],
    nodes: Iterable[str],
    known: Mapping[Place, tuple[str, ...]],
) -> dict[str, LookAtImages]:
    """Return what each of these nodes is asked.

    A disk whose own node is not among them is looked at by another one.  ``known``
    has the known images of the places in which unknown ones are looked for, once.
    """
    ordered = list(dict.fromkeys(nodes))
    wanted: dict[str, dict[Place, list[str]]] = {uuid: {} for uuid in ordered}
    strays = []
    for disk in disks:
        if disk.node in wanted:
            wanted[disk.node].setdefault(disk.volume.place, []).append(
                disk.volume.image
            )
        else:
            strays.append(disk)
    listers = {}
    for place in sorted(places):
        # A node that has disks there can surely open it.
        users = [uuid for uuid in ordered if place in wanted[uuid]]
        listers[place] = (users or ordered)[0]
        if place in known:
            wanted[listers[place]].setdefault(place, [])
    for disk in strays:
        lister = listers[disk.volume.place]
        wanted[lister].setdefault(disk.volume.place, []).append(disk.volume.image)
    return {
        uuid: LookAtImages(
            tuple(
                LookAtPlace(
                    place,
                    tuple(images),
                    known.get(place) if listers[place] == uuid else None,
                    osds=listers[place] == uuid,
                )
                for place, images in sorted(wanted[uuid].items())
            ),
            Watched.BY_OSDS,
        )
        for uuid in ordered
    }


def known(
    disks: Iterable[OwnDisk], places: Iterable[Place]
) -> dict[Place, tuple[str, ...]]:
    """Return all instances' images in each place, by whomever they are opened."""
    images: dict[str, set[str]] = {}
    for disk in disks:
        images.setdefault(str(disk.volume.place), set()).add(disk.volume.image)
    return {place: tuple(sorted(images.get(str(place), ()))) for place in places}


# Where images are open


def watched_by_osds(
    asked: Mapping[str, LookAtImages], replies: Mapping[str, Reply[ImagesFacts]]
) -> tuple[dict[Volume, Iterable[str]], dict[str, LookAtImages]]:
    """Return where images are open, as OSDs tell, and which are left to look into.

    That are those in storage clusters of which not all OSDs that are up were heard:
    some are on hosts that are no nodes of ours, or did not answer.
    """
    heard = {
        one.osd: one.watched
        for reply in replies.values()
        if reply.answer is not None
        for one in reply.answer.watches
    }
    hosts: dict[Place, dict[str, set[str]]] = {}
    for _, place, seen in _answers(asked, replies):
        if seen.osds and heard.keys() >= set(seen.osds):
            at = hosts.setdefault(place, {})
            for osd in seen.osds:
                for image_id, addresses in heard[osd]:
                    at.setdefault(image_id, set()).update(addresses)
    watched: dict[Volume, Iterable[str]] = {}
    left: dict[str, list[LookAtPlace]] = {}
    for uuid, place, seen in _answers(asked, replies):
        if place not in hosts:
            if seen.ids:
                images = tuple(image for image, _ in seen.ids)
                left.setdefault(uuid, []).append(LookAtPlace(place, images, None))
            continue
        for image, image_id in seen.ids:
            if open_at := hosts[place].get(image_id):
                watched[place.volume(image)] = open_at
    return watched, {
        uuid: LookAtImages(tuple(places), Watched.BY_LOOK)
        for uuid, places in left.items()
    }


def watched_by_look(
    asked: Mapping[str, LookAtImages], replies: Mapping[str, Reply[ImagesFacts]]
) -> dict[Volume, Iterable[str]]:
    """Return where images are open, as was seen by looks into them."""
    return {
        place.volume(image): hosts
        for _, place, seen in _answers(asked, replies)
        for image, hosts in seen.watched
    }


# What is said


def unreachable(
    asked: Mapping[str, LookAtImages],
    replies: Mapping[str, Reply[ImagesFacts]],
    names: Mapping[str, str],
) -> Iterator[Complaint]:
    """Say what was not looked at; a storage cluster that is silent only once."""
    for uuid, reply in replies.items():
        # The others are complained of where their own group is verified.
        if reply.error is not None and asked[uuid].places:
            yield Complaint(
                constants.CV_ENODERPC, names[uuid], f"ganeti-ceph: {reply.error}"
            )
    said = set()
    for uuid, place, seen in _answers(asked, replies):
        if seen.error is not None and (place, seen.error) not in said:
            said.add((place, seen.error))
            yield Complaint(
                constants.CV_ENODERPC,
                names[uuid],
                f"the images in {place} were not verified: {seen.error}",
            )


def troubles(
    disks: Iterable[OwnDisk], place: Place, seen: PlaceFacts
) -> Iterator[Complaint]:
    """Say which images of disks are missing or cannot be opened."""
    broken = dict(seen.broken)
    for disk in disks:
        if disk.volume.place != place:
            continue
        if disk.volume.image in seen.missing:
            text = f"{disk} is missing; was it removed or renamed?"
            yield Complaint(constants.CV_EINSTANCEMISSINGDISK, disk.instance, text)
        if disk.volume.image in broken:
            text = f"disk/{disk.index}: {broken[disk.volume.image]}"
            yield Complaint(constants.CV_EINSTANCEFAULTYDISK, disk.instance, text)


def misplaced(
    disks: Iterable[OwnDisk],
    watched: Mapping[Volume, Iterable[str]],
    replies: Mapping[str, Reply[ImagesFacts]],
    addresses: Mapping[str, str],
    names: Mapping[str, str],
) -> Iterator[Complaint]:
    """Say which images are mapped or open where they should not be.

    ``addresses`` tells the nodes' UUIDs by address.
    """
    mapped: dict[str, dict[str, str]] = {}
    for uuid, reply in replies.items():
        if reply.answer is None:
            continue
        for image, device in reply.answer.mapped:
            mapped.setdefault(image, {})[uuid] = device
    for disk in disks:
        devices = mapped.get(str(disk.volume), {})
        # Who has it mapped has it open, too.
        held = {uuid: f"mapped to {device} on" for uuid, device in devices.items()}
        for host in sorted(watched.get(disk.volume, ())):
            at = addresses.get(_plain(host))
            if at is None:
                yield Complaint(
                    constants.CV_EINSTANCEWRONGNODE,
                    disk.instance,
                    f"{disk} is open at {host}, which is no node's address",
                    warning=True,
                )
            else:
                held.setdefault(at, "open on")
        for uuid, how in held.items():
            where = f"{disk} is {how} {names[uuid]}"
            if uuid != disk.node:
                start = "" if disk.active else "start the instance, then "
                clean_up = (
                    f"'gnt-instance migrate --cleanup -n {names[uuid]} {disk.instance}'"
                )
                yield Complaint(
                    constants.CV_EINSTANCEWRONGNODE,
                    disk.instance,
                    f"{where}, but its primary node is {names[disk.node]}; if a"
                    f" migration left it behind, {start}{clean_up} takes it away",
                )
            elif not disk.active:
                yield Complaint(
                    constants.CV_EINSTANCEWRONGNODE,
                    disk.instance,
                    f"{where}, but the instance's disks are not active",
                    warning=True,
                )


def orphans(
    node: str,
    place: Place,
    unknown: Iterable[UnknownImage],
    replies: Mapping[str, Reply[ImagesFacts]],
    names: Mapping[str, str],
    cluster: str,
) -> Iterator[Complaint]:
    """Say which images no instance has, unless they are of another Ganeti cluster."""
    for one in unknown:
        if one.cluster not in ("", cluster):
            continue
        volume = place.volume(one.image)
        former = f" ({one.instance} had it)" if one.instance else ""
        mapped = [
            f", mapped to {device} on {names[uuid]}"
            for uuid, reply in replies.items()
            if reply.answer
            for image, device in reply.answer.mapped
            if image == str(volume)
        ]
        yield Complaint(
            constants.CV_ENODEORPHANLV,
            node,
            f"the image {volume} is of no instance{former}{''.join(mapped)}; if nobody"
            f" needs it, remove it with 'rbd rm {volume}'",
            # As Ganeti has it with volumes.
            warning=True,
        )


# Ganeti's configuration


def _disks(
    config: Any,
    instances: Iterable[Any],
    disks: Mapping[str, Any],
    of_active: bool = False,
) -> tuple[list[OwnDisk], dict[str, list[Complaint]]]:
    """Return the rbd disks of instances, and by group what is wrong with some."""
    defaults: dict[str, Mapping[str, Any]] = {}
    found = []
    wrong: dict[str, list[Complaint]] = {}
    for one in instances:
        if one.forthcoming or (of_active and not one.disks_active):
            continue
        group = config.GetNodeInfo(one.primary_node).group
        for index, uuid in enumerate(one.disks):
            disk = disks[uuid]
            if disk.dev_type != _RBD:
                continue
            if group not in defaults:
                defaults[group] = _defaults(config, config.GetNodeGroup(group))
            try:
                volume = options.image_of(disk, defaults[group])
            except UsageError as err:
                wrong.setdefault(group, []).append(
                    Complaint(
                        constants.CV_EINSTANCEFAULTYDISK,
                        one.name,
                        f"disk/{index}: {err}",
                    )
                )
                continue
            found.append(
                OwnDisk(
                    one.name, index, volume, one.primary_node, group, one.disks_active
                )
            )
    return found, wrong


def _places(config: Any, disks: Iterable[OwnDisk]) -> dict[str, set[Place]]:
    """Return the places of each group: where disks are and, with storage, will be."""
    enabled = config.GetClusterInfo().IsDiskTemplateEnabled(_RBD)
    found: dict[str, set[Place]] = {}
    for group in config.GetAllNodeGroupsInfo().values():
        found[group.uuid] = set()
        if enabled and _has_storage(group):
            read = options.read(_defaults(config, group))
            found[group.uuid].add(options.place(read))
    for disk in disks:
        found[disk.group].add(disk.volume.place)
    return found


def _has_storage(group: Any) -> bool:
    try:
        its = state.group_state(group.GetTags())
    except PrereqError:
        return False
    return its is not None and its.phase is state.Phase.READY


def _defaults(config: Any, group: Any) -> Mapping[str, Any]:
    params: Mapping[str, Any] = config.GetGroupDiskParams(group)[_RBD]
    return params


def _listed(unit: Any, places: Mapping[str, set[Place]]) -> set[Place]:
    """Return the places in which this job looks for unknown images.

    Where all groups are verified, those that several have are the first one's.
    """
    mine = places[unit.group_uuid]
    # Only then a group's job waits for the one that verifies the configuration.
    if not unit.op.depends:
        return mine
    groups = unit.cfg.GetAllNodeGroupsInfo()
    able = {node.group for node in unit.all_node_info.values() if not node.offline}
    for uuid in sorted(able, key=lambda uuid: groups[uuid].name):
        if uuid == unit.group_uuid:
            break
        mine = mine - places[uuid]
    return mine


def _still_unknown(
    config: Any, unknown: tuple[UnknownImage, ...]
) -> list[UnknownImage]:
    """Leave out what has become an instance's since."""
    if not unknown:
        return []
    images = {
        disk.logical_id[1]
        for disk in config.GetAllDisksInfo().values()
        if disk.dev_type == _RBD
    }
    return [one for one in unknown if one.image not in images]


# The nodes


def _call(
    unit: Any, asked: Mapping[str, LookAtImages]
) -> dict[str, Reply[ImagesFacts]]:
    sent = {uuid: wire.encode(one) for uuid, one in asked.items()}
    return rpc.call(unit.rpc, rpc.IMAGES, sent)


def _answers(
    asked: Mapping[str, LookAtImages], replies: Mapping[str, Reply[ImagesFacts]]
) -> Iterator[tuple[str, Place, PlaceFacts]]:
    for uuid, one in asked.items():
        answer = replies[uuid].answer
        if answer is not None:
            for look, seen in zip(one.places, answer.places, strict=True):
                yield uuid, look.place, seen


def _addresses(
    nodes: Mapping[str, Any], replies: Mapping[str, Reply[ImagesFacts]]
) -> dict[str, str]:
    """Return the nodes' UUIDs by their addresses, also by those of Ceph's networks."""
    found = {}
    for uuid, node in nodes.items():
        found[_plain(node.primary_ip)] = found[_plain(node.secondary_ip)] = uuid
    for uuid, reply in replies.items():
        if reply.answer is not None:
            for address in reply.answer.addresses:
                # Ganeti's master address, for example, is on the node that has it.
                found.setdefault(_plain(address.partition("/")[0]), uuid)
    return found


def _plain(address: str) -> str:
    """Return an address in the one form that can be compared."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
