"""What the collector has read: one sample, of which each part may be unknown.

A part that could not be read is None, and a :class:`Gap` tells why and since when.
Unless it is said otherwise, sizes are bytes, times are seconds and moments are seconds
of the epoch.
"""

import dataclasses
import functools

#: What may be unknown: fields of :class:`Sample`, and what comes into some of them by a
#: question of its own: how full OSDs are, their latencies, the versions of this node's
#: daemons, what is read from and written to images.
CLUSTER_PARTS = ("health", "mons", "mgrs", "counts", "groups", "capacity", "pools")
NODE_PARTS = ("daemons", "osds", "use", "latencies", "devices", "versions")
DISK_PARTS = ("images", "io")


@dataclasses.dataclass(frozen=True)
class Gap:
    """A part of a sample that is not known."""

    #: One of those above.
    part: str
    reason: str
    #: When it was read last, None for never.
    since: float | None


@dataclasses.dataclass(frozen=True)
class Check:
    """A health check of Ceph's that has something to say."""

    name: str
    #: As Ceph has it: ``HEALTH_WARN``, ``HEALTH_ERR``.
    severity: str
    message: str
    details: tuple[str, ...]
    muted: bool


@dataclasses.dataclass(frozen=True)
class Health:
    """How Ceph finds its cluster."""

    #: ``HEALTH_OK``, ``HEALTH_WARN`` or ``HEALTH_ERR``.
    status: str
    #: By name.
    checks: tuple[Check, ...]


@dataclasses.dataclass(frozen=True)
class Mon:
    """A monitor; its host and version are None while nothing is known of them."""

    name: str
    address: str
    in_quorum: bool
    host: str | None = None
    version: str | None = None


@dataclasses.dataclass(frozen=True)
class Mgr:
    """A manager."""

    name: str
    active: bool
    host: str | None = None
    version: str | None = None


@dataclasses.dataclass(frozen=True)
class OsdCounts:
    """How many OSDs there are, run, and are meant to hold data."""

    total: int
    up: int
    inside: int


@dataclasses.dataclass(frozen=True)
class Recovery:
    """Data that has not all its copies, or has them at a wrong place."""

    #: All copies of objects; None if none is missing or to move, as Ceph tells it only
    #: then.
    copies: int | None
    #: Copies that are missing, and those to move.
    degraded: int
    misplaced: int
    #: Objects of which no copy is found.
    unfound: int
    #: What is made good in a second.
    objects_rate: float
    bytes_rate: float

    @property
    def left(self) -> float | None:
        """How long it will take at this pace; None if nothing moves."""
        pending = self.degraded + self.misplaced
        if not pending:
            return 0.0
        return pending / self.objects_rate if self.objects_rate else None


@dataclasses.dataclass(frozen=True)
class Progress:
    """Something that a manager's module says is going on; ``done`` is 0 to 1."""

    message: str
    done: float


@dataclasses.dataclass(frozen=True)
class Rates:
    """What clients do in a second."""

    read_bytes: float
    write_bytes: float
    read_ops: float
    write_ops: float


@dataclasses.dataclass(frozen=True)
class Groups:
    """The placement groups, and what moves and flows in them."""

    total: int
    #: How many are in each state, for example ``active+clean``.
    states: tuple[tuple[str, int], ...]
    #: How many serve nobody.
    inactive: int
    recovery: Recovery
    clients: Rates
    progress: tuple[Progress, ...]

    @property
    def left(self) -> float | None:
        """How long recovery will take; None if nothing moves, or nobody can tell.

        Groups that no OSD tells of count as if they lacked nothing.
        """
        left = self.recovery.left
        return None if self.inactive and not left else left


@dataclasses.dataclass(frozen=True)
class Capacity:
    """The room on all OSDs together, copies and all."""

    total: int
    used: int
    free: int


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool; sizes are of what its users see, each byte once."""

    name: str
    id: int
    stored: int
    objects: int
    #: Bytes on the OSDs, copies and all.
    used: int
    #: What there is room for, copies and the fullest OSD counted.
    free: int
    #: None where there is none.
    quota_bytes: int | None
    quota_objects: int | None
    #: Since the pool was made.
    read_ops: int
    read_bytes: int
    write_ops: int
    write_bytes: int
    #: Copies, placement groups and what it is for; None and () if that is not known.
    size: int | None = None
    min_size: int | None = None
    groups: int | None = None
    applications: tuple[str, ...] = ()

    @property
    def usable(self) -> int:
        """All that the pool holds when it is full, or what its quota allows."""
        room = self.stored + self.free
        return room if self.quota_bytes is None else min(room, self.quota_bytes)


@dataclasses.dataclass(frozen=True)
class Osd:
    """An OSD as the cluster sees it; None is what only a manager would know."""

    id: int
    host: str | None
    up: bool
    #: Whether data is meant to be on it.
    inside: bool
    device_class: str
    size: int | None = None
    used: int | None = None
    groups: int | None = None
    commit_latency: float | None = None
    apply_latency: float | None = None


@dataclasses.dataclass(frozen=True)
class Device:
    """A disk that daemons use, as Ceph's device health knows it."""

    #: Vendor, model and serial number.
    id: str
    host: str
    #: What the kernel calls it there, for example ``sdb``.
    name: str
    daemons: tuple[str, ...]
    #: When it is expected to fail, the earliest and the latest; None if nobody tells.
    fails_after: float | None = None
    fails_before: float | None = None
    #: How much of a flash disk's life is used, 0 to 1.
    wear: float | None = None


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A daemon of Ceph's on this node, as systemd and the kernel see it."""

    kind: str
    name: str
    #: systemd's words: ``active``, ``failed`` and so on, and the finer ``running``.
    state: str
    substate: str
    #: How often systemd had to start it again.
    restarts: int
    pid: int | None = None
    #: When its process began.
    started: float | None = None
    #: Resident memory.
    memory: int | None = None
    #: Processor time since it began.
    cpu: float | None = None
    version: str | None = None
    #: The devices that it says it uses.
    devices: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.pid is not None


@dataclasses.dataclass(frozen=True)
class ImageUse:
    """What is seen of an image when it is opened."""

    read_at: float
    size: int
    #: How much of it was written, in whole objects; None if only a look at every object
    #: would tell.
    used: int | None
    #: Addresses of those that have it open to write, and of who holds its lock.
    watchers: tuple[str, ...]
    lock_owner: str | None
    #: What was written down with it; "" for nothing.
    cluster: str
    instance: str
    disk: str


@dataclasses.dataclass(frozen=True)
class ImageIo:
    """What was read from and written to an image since a manager began to count."""

    #: By the manager's clock.
    counted_at: float
    read_ops: int
    read_bytes: int
    read_seconds: float
    write_ops: int
    write_bytes: int
    write_seconds: float


@dataclasses.dataclass(frozen=True)
class Image:
    """An image, and what is known of it so far."""

    pool: str
    namespace: str
    name: str
    #: None if it was not opened yet.
    use: ImageUse | None = None
    #: Why it could not be opened the last time.
    error: str | None = None
    #: Ceph tells of the busiest only.
    io: ImageIo | None = None
    rates: Rates | None = None

    @property
    def place(self) -> str:
        """Its pool, and namespace if it has one, as Ceph's programs take them."""
        return f"{self.pool}/{self.namespace}" if self.namespace else self.pool


@dataclasses.dataclass(frozen=True)
class Names:
    """How Ganeti calls the nodes: by their addresses and by their hosts' names."""

    cluster: str
    by_address: tuple[tuple[str, str], ...]
    by_host: tuple[tuple[str, str], ...]

    def node_at(self, address: str) -> str:
        """Return the node with an address, or the address if no node has it."""
        return self._addresses.get(address, address)

    def node_of(self, host: str) -> str:
        """Return the node of a host, or the host if Ganeti has no such node."""
        return self._hosts.get(host, host)

    @functools.cached_property
    def _addresses(self) -> dict[str, str]:
        return dict(self.by_address)

    @functools.cached_property
    def _hosts(self) -> dict[str, str]:
        return dict(self.by_host)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One reading of the storage cluster, as seen from one node."""

    #: This node's host name, as Ceph knows it.
    host: str
    names: Names
    taken: float
    #: How long the reading took.
    seconds: float
    #: The host whose collector tells of all OSDs and the images; None if nobody does.
    leader: str | None
    fsid: str | None = None
    health: Health | None = None
    mons: tuple[Mon, ...] | None = None
    mgrs: tuple[Mgr, ...] | None = None
    counts: OsdCounts | None = None
    groups: Groups | None = None
    capacity: Capacity | None = None
    pools: tuple[Pool, ...] | None = None
    #: Of the leader all, of others those of this node.
    osds: tuple[Osd, ...] | None = None
    devices: tuple[Device, ...] | None = None
    #: Of this node.
    daemons: tuple[Daemon, ...] | None = None
    #: Of the leader only; of others they are None without being a gap.
    images: tuple[Image, ...] | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def node(self) -> str:
        """The node that read it, as Ganeti calls it."""
        return self.names.node_of(self.host)

    @property
    def leads(self) -> bool:
        """Whether this sample has all OSDs and the images."""
        return self.leader == self.host

    @property
    def own_devices(self) -> tuple[Device, ...] | None:
        """The disks of this node: a disk may have been another node's before."""
        if self.devices is None:
            return None
        return tuple(one for one in self.devices if one.host == self.host)

    @property
    def answered(self) -> bool:
        """Whether the storage cluster answered anything."""
        told = (self.health, self.mons, self.mgrs, self.counts)
        return any(part is not None for part in told)

    def gap(self, part: str) -> Gap | None:
        """Return why a part is not known, None if it is."""
        return next((one for one in self.gaps if one.part == part), None)
