"""What is: the facts of a node and of the storage cluster, as they travel."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

from ganeti_ceph.cephconf import Mon
from ganeti_ceph.disk.uri import Place

#: The buckets above a host in the CRUSH map as pairs of CRUSH type and name, the
#: outermost first.
CrushPlace = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Label:
    """What BlueStore wrote at the start of a device."""

    fsid: str
    osd_uuid: str
    osd_id: int | None
    complete: bool


@dataclasses.dataclass(frozen=True)
class Database:
    """The logical volume of an OSD's database, on a device that several share."""

    fsid: str
    osd_uuid: str
    osd_id: int | None
    #: Bytes.
    size: int


@dataclasses.dataclass(frozen=True)
class Device:
    """A block device that a storage parameter names, or why there is none."""

    #: As the parameter (or what its pattern matched) names it.
    path: str
    #: Where all its names lead, for example ``/dev/loop8``; "" if it is missing.
    real_path: str
    #: A name that stays the same over reboots.
    stable_path: str
    size: int
    #: Why nothing may be put on it, whatever ``wipe`` says; "" if nothing is.
    busy: str
    #: What it carries, as a phrase; "" for nothing.
    content: str
    #: Set where it carries an OSD.
    label: Label | None
    #: Of a partition, the ``real_path`` of its disk; "" for a whole disk.
    whole: str = ""
    #: Why it cannot be read, "" if it can.
    failing: str = ""
    databases: tuple[Database, ...] = ()
    #: Bytes that more databases may have beside those, be it in place of what
    #: ceph-volume did not finish; 0 if there are none.
    free: int = 0
    #: Why no database of the volume group there may be made or removed, "" if any may.
    fixed: str = ""
    #: Whether there is nothing but a volume group that ceph-volume put nothing in.
    unfinished: bool = False
    #: The UUIDs of the OSDs that it registered for that.
    registered: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class OsdDir:
    """An OSD's directory below /var/lib/ceph/osd."""

    id: int
    fsid: str | None
    osd_uuid: str | None
    #: The real path of its disk, None where that is gone.
    block: str | None = None


@dataclasses.dataclass(frozen=True)
class NodeFacts:
    """All that planning needs to know of one node."""

    hostname: str
    #: Package names and versions; an absent one is not installed.
    packages: tuple[tuple[str, str], ...]
    #: The node's ceph.conf, or None; it holds no secrets.
    conf: str | None
    #: Whether the keys of the cluster that ``conf`` names are there.
    has_keys: bool
    #: Whether the key that instances' disks are opened with is there.
    has_client: bool
    #: Whether the collector has its key and runs.
    has_collector: bool
    mons: tuple[str, ...]
    mgrs: tuple[str, ...]
    osds: tuple[OsdDir, ...]
    disks: tuple[Device, ...]
    db_devices: tuple[Device, ...]
    #: Addresses with prefix, for example ``192.0.2.1/24``.
    addresses: tuple[str, ...]
    device_mapper: bool
    #: Files with keys that have another owner or mode than they should.
    loose_keys: tuple[str, ...]
    #: Mons and OSDs that are there and do not run, such as ``mon.node1``.
    stopped: tuple[str, ...]
    #: The node's clock (seconds of the epoch) when it began and ended answering.
    clock: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Osd:
    """An OSD as the cluster knows it."""

    id: int
    uuid: str
    up: bool
    #: It has never run since it was created.
    new: bool
    #: Whether data is meant to be on it.
    inside: bool = True
    #: The host that it last ran on; before it ever ran, that of its place.
    host: str | None = None
    #: Its host in the CRUSH map, where administrators may give it any; None while it
    #: has no place there.
    bucket: str | None = None
    device_class: str | None = None


@dataclasses.dataclass(frozen=True)
class Rule:
    """Where a CRUSH rule of the plain kind puts copies."""

    #: The bucket, mostly a root, that all of them are below.
    below: str
    #: The CRUSH type of which each copy has its own: the failure domain.
    domain: str
    #: Of OSDs that it takes; None for all.
    device_class: str | None


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool as the cluster knows it."""

    name: str
    size: int
    min_size: int
    pg_num: int
    applications: tuple[str, ...]
    #: None for a rule of another kind than the plain one.
    rule: Rule | None = None
    #: Whether ``size`` counts the parts of an erasure code, not copies.
    coded: bool = False


@dataclasses.dataclass(frozen=True)
class ClusterFacts:
    """What the storage cluster says of itself."""

    fsid: str
    mons: tuple[Mon, ...]
    quorum: tuple[str, ...]
    mgrs: tuple[str, ...]
    osds: tuple[Osd, ...]
    pools: tuple[Pool, ...]
    health: str
    #: One sentence per health check that is not good.
    checks: tuple[str, ...]
    #: The place of each host in the CRUSH map, as pairs of type and name, the outermost
    #: first, which is the root; a host below no root has none.
    places: tuple[tuple[str, CrushPlace], ...] = ()
    #: How full an OSD may become by data that moves to it, as a part of its size.
    backfillfull: float = 0.9
    #: How many placement groups serve nobody now; None if no mgr counts them.
    inactive: int | None = 0
    #: The versions of Ceph that run on each host.
    versions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: The names of health checks, and what Ceph names for each: at most 50 sentences.
    details: tuple[tuple[str, tuple[str, ...]], ...] = ()


#: As ``ceph health detail`` has it: ``pg 2.1f is active+clean+inconsistent, acting
#: [1,0,2]`` (PGMap.cc of Ceph).
_DAMAGED = re.compile(r"pg ([0-9]+\.[0-9a-f]+) is (\S*\binconsistent\b[^\s,]*)")


def damaged_groups(
    details: Iterable[tuple[str, Sequence[str]]], failed: bool = False
) -> list[str]:
    """Return the placement groups whose copies differ, or cannot be read.

    ``details`` are the names of health checks and what Ceph tells of each.  With
    ``failed``, those of which Ceph tried in vain to mend one.
    """
    found = [
        _DAMAGED.match(text)
        for name, texts in details
        if name == "PG_DAMAGED"
        for text in texts
    ]
    return [
        one[1] for one in found if one and ("failed_repair" in one[2] or not failed)
    ]


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What there is to know of an image; sizes are in bytes."""

    size: int
    #: How much of it has been written, in whole objects; None if only a look at every
    #: object would tell.
    used: int | None
    features: tuple[str, ...]
    #: Addresses of the hosts that have it open.
    watchers: tuple[str, ...]
    snapshots: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...]
    #: The pool of its data where that is another one than its own, if it was asked for.
    data_pool: str = ""


@dataclasses.dataclass(frozen=True)
class DiskFacts:
    """What a node knows of an instance's disk."""

    #: None if there is no such image, or if ``error`` says why it is not known.
    image: ImageFacts | None
    error: str | None
    #: The block device that it is mapped to on the node.
    device: str | None
    #: Whether the running QEMU opened the image itself; None if none runs there.
    userspace: bool | None


@dataclasses.dataclass(frozen=True)
class UnknownImage:
    """An image with a name such as Ganeti gives, which no instance is known to have."""

    image: str
    #: What was written down with it, empty if nothing was.
    cluster: str
    instance: str


@dataclasses.dataclass(frozen=True)
class PlaceFacts:
    """What a node knows of the images in a pool or namespace."""

    #: Why nothing is known.
    error: str | None
    #: Those of the images asked for that are not there.
    missing: tuple[str, ...] = ()
    #: Those of them that cannot be opened, and why.
    broken: tuple[tuple[str, str], ...] = ()
    #: Those of them that are open to write, and the addresses where they are.
    watched: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unknown: tuple[UnknownImage, ...] = ()
    #: The ids of those of them that are there, by which OSDs know them.
    ids: tuple[tuple[str, str], ...] = ()
    #: The OSDs that are up in the pool's storage cluster, as in :class:`OsdWatches`.
    osds: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class OsdWatches:
    """The images that are open to write, as far as an OSD is in charge of them."""

    #: ``FSID/ID`` of the OSD.
    osd: str
    #: Ids of images, and the addresses where they are open.
    watched: tuple[tuple[str, tuple[str, ...]], ...]


@dataclasses.dataclass(frozen=True)
class ImagesFacts:
    """What a node knows of images."""

    #: In the order in which they were asked for.
    places: tuple[PlaceFacts, ...]
    #: Images that are mapped on the node, by whomever, and their devices.
    mapped: tuple[tuple[str, str], ...]
    #: The node's own, each with the length of its network's prefix.
    addresses: tuple[str, ...]
    #: Of each OSD on the node that answers.
    watches: tuple[OsdWatches, ...] = ()


@dataclasses.dataclass(frozen=True)
class TrashedImage:
    """An image in Ceph's trash; moments are seconds of the epoch."""

    place: Place
    #: What Ceph knows it by; its name may be another image's by now.
    id: str
    name: str
    #: Bytes; None for one of which the removal was begun.
    size: int | None
    #: ``INSTANCE:DISK``, or "" where the image does not tell.
    owner: str
    #: The Ganeti cluster that it was of; "" where it does not tell.
    cluster: str
    removed: int
    #: When its time of grace is over.
    until: int


@dataclasses.dataclass(frozen=True)
class PoolUse:
    """How full a pool is, in bytes of users' data."""

    name: str
    stored: int
    #: What Ceph has room for, copies and the fullest OSD counted.
    free: int


@dataclasses.dataclass(frozen=True)
class OsdUse:
    """How full an OSD is, in bytes."""

    id: int
    size: int
    used: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What the storage cluster is doing."""

    cluster: ClusterFacts
    #: Bytes of all OSDs together, copies and all.
    size: int
    used: int
    pools: tuple[PoolUse, ...]
    osds: tuple[OsdUse, ...]
    #: Placement groups by state.
    states: tuple[tuple[str, int], ...]
    #: Copies of objects: all of them, those that are missing, those at a wrong place.
    copies: int
    degraded: int
    misplaced: int
    #: Copies of objects, and bytes, that are made good in a second.
    recovered: int
    recovered_bytes: int
    #: Bytes that clients read and write in a second.
    read: int
    written: int
