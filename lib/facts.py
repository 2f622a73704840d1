"""What is: the facts of a node and of the storage cluster, as they travel."""

import dataclasses

from ganeti_ceph.cephconf import Mon


@dataclasses.dataclass(frozen=True)
class Label:
    """What BlueStore wrote at the start of a device."""

    fsid: str
    osd_uuid: str
    osd_id: int | None
    complete: bool


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


@dataclasses.dataclass(frozen=True)
class OsdDir:
    """An OSD's directory below /var/lib/ceph/osd."""

    id: int
    fsid: str | None
    osd_uuid: str | None


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
    mons: tuple[str, ...]
    mgrs: tuple[str, ...]
    osds: tuple[OsdDir, ...]
    disks: tuple[Device, ...]
    db_devices: tuple[Device, ...]
    #: Addresses with prefix, for example ``192.0.2.1/24``.
    addresses: tuple[str, ...]
    device_mapper: bool
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


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool as the cluster knows it."""

    name: str
    size: int
    min_size: int
    pg_num: int
    applications: tuple[str, ...]


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
