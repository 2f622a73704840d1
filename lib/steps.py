"""The steps that make a storage cluster: what each is told and says it will do.

A step is one dataclass, made by the planner, sent to one node and done there by
the function that :mod:`ganeti_ceph.node.serve` has for it.  It is checked when it
is made, thus also when it arrives at the node.

A node without a mon does not keep the administrator's key, so ``admin`` has it for
steps that change the storage cluster, wherever they are done.

A step's ``limit`` is how many seconds the job waits for it before it gives the node
up: more than all that the node itself waits for in the step.
"""

import dataclasses
import re
import uuid
from collections.abc import Iterable
from typing import ClassVar

from ganeti_ceph.cephconf import ClusterConf, Mon, check_id
from ganeti_ceph.secret import Secret

_DEVICE = re.compile(r"/dev/[A-Za-z0-9_.+:@/-]+\Z")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")

#: Such as 2.1f: the number of a pool and that of the group in it.
_GROUP = re.compile(r"[0-9]+\.[0-9a-f]+\Z")


def _check_device(path: str) -> None:
    if not _DEVICE.match(path) or "/../" in path or "//" in path:
        raise ValueError(f"{path!r} is not the path of a device")


def _check_name(name: str, what: str) -> None:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} cannot be {what}")


@dataclasses.dataclass(frozen=True)
class Keys:
    """The first keys of a storage cluster."""

    mon: Secret
    admin: Secret


@dataclasses.dataclass(frozen=True)
class Configure:
    """Write ceph.conf and, beside a mon, the administrator's key."""

    name: ClassVar[str] = "configure"
    limit: ClassVar[int] = 60
    conf: ClusterConf
    #: CRUSH types above the host and their names, the outermost first.
    place: tuple[tuple[str, str], ...]
    hostname: str
    #: None for a node that is to do without.
    admin: Secret | None

    def __post_init__(self) -> None:
        check_id(self.hostname)
        for kind, spot in self.place:
            _check_name(kind, "a CRUSH type")
            _check_name(spot, "a CRUSH bucket")

    def sentence(self) -> str:
        """Say what the step will do."""
        spots = "".join(f", {kind} {spot}" for kind, spot in self.place)
        key = " and the administrator's key" if self.admin else ""
        return f"write /etc/ceph/ceph.conf{key}{spots}"


@dataclasses.dataclass(frozen=True)
class SecureKeys:
    """Give files with keys the owner and mode that they should have."""

    name: ClassVar[str] = "key-owners"
    limit: ClassVar[int] = 60
    paths: tuple[str, ...]

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"make {', '.join(self.paths)} readable by the owner alone"


@dataclasses.dataclass(frozen=True)
class MakeMon:
    """Make a monitor and start it; a half-made or stopped one is finished."""

    name: ClassVar[str] = "mon"
    limit: ClassVar[int] = 440
    fsid: str
    id: str
    address: str
    #: The first mons of the cluster; () to join a cluster that has a quorum.
    members: tuple[Mon, ...]
    keys: Keys
    #: The mons of the quorum to join.
    peers: tuple[Mon, ...] = ()

    def __post_init__(self) -> None:
        uuid.UUID(self.fsid)
        Mon(self.id, self.address)

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"make and start mon.{self.id} at {self.address}"


@dataclasses.dataclass(frozen=True)
class StartMon:
    """Start a mon that has a store, and wait for a quorum; nothing is made."""

    name: ClassVar[str] = "mon-start"
    limit: ClassVar[int] = 330
    mon: str

    def __post_init__(self) -> None:
        check_id(self.mon)

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"start mon.{self.mon} and wait for a quorum"


@dataclasses.dataclass(frozen=True)
class Settle:
    """Wait for the quorum and set what holds for the whole cluster."""

    name: ClassVar[str] = "quorum"
    limit: ClassVar[int] = 360
    mons: tuple[Mon, ...]
    #: Options for Ceph's own configuration database, in their order.
    settings: tuple[tuple[str, str], ...]
    #: Modules of the mgr that are on by default and not wanted.
    modules_off: tuple[str, ...]

    def sentence(self) -> str:
        """Say what the step will do."""
        settings = "".join(f", set {name}={value}" for name, value in self.settings)
        modules = "".join(f", mgr module {name} off" for name in self.modules_off)
        names = ", ".join(mon.id for mon in self.mons)
        return f"wait for the quorum of mons {names}{settings}{modules}"


@dataclasses.dataclass(frozen=True)
class MakeMgr:
    """Make a manager and start it; a half-made or stopped one is finished."""

    name: ClassVar[str] = "mgr"
    limit: ClassVar[int] = 240
    id: str
    admin: Secret

    def __post_init__(self) -> None:
        check_id(self.id)

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"make and start mgr.{self.id}"


@dataclasses.dataclass(frozen=True)
class MakeOsd:
    """Make a BlueStore OSD straight on a device and start it."""

    name: ClassVar[str] = "osd"
    limit: ClassVar[int] = 590
    fsid: str
    osd_uuid: str
    device: str
    size: int
    db_device: str | None
    device_class: str | None
    #: Those of the devices whose content may be destroyed, whatever it is.
    wipe: tuple[str, ...]
    admin: Secret
    #: The id of an OSD whose device is gone, which the new one takes over.
    replaces: int | None = None

    def __post_init__(self) -> None:
        uuid.UUID(self.fsid)
        uuid.UUID(self.osd_uuid)
        for path in (self.device, self.db_device):
            if path is not None:
                _check_device(path)
        if self.device_class is not None:
            _check_name(self.device_class, "a device class")

    def sentence(self) -> str:
        """Say what the step will do."""
        wiping = "wipe it and " if self.device in self.wipe else ""
        metadata = f", its metadata on {self.db_device}" if self.db_device else ""
        metadata += ", which is wiped" if self.db_device in self.wipe else ""
        size = f"{self.size / 2**30:.1f} GiB"
        osd = "an OSD" if self.replaces is None else f"osd.{self.replaces} anew"
        return f"{self.device} ({size}): {wiping}make and start {osd}{metadata}"


@dataclasses.dataclass(frozen=True)
class StartOsd:
    """Bring an OSD that its device already carries back into service."""

    name: ClassVar[str] = "osd-start"
    limit: ClassVar[int] = 300
    fsid: str
    osd_id: int
    osd_uuid: str
    device: str
    db_device: str | None
    admin: Secret

    def __post_init__(self) -> None:
        uuid.UUID(self.fsid)
        uuid.UUID(self.osd_uuid)
        for path in (self.device, self.db_device):
            if path is not None:
                _check_device(path)
        if self.osd_id < 0:
            raise ValueError(f"{self.osd_id} cannot be an OSD's id")

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"{self.device}: start osd.{self.osd_id}, which it carries"


@dataclasses.dataclass(frozen=True)
class MakeLvmOsds:
    """Make OSDs on logical volumes with ceph-volume, which also starts them."""

    name: ClassVar[str] = "osd-lvm"
    limit: ClassVar[int] = 710
    fsid: str
    devices: tuple[str, ...]
    db_devices: tuple[str, ...]
    encrypt: bool
    device_class: str | None
    #: Those of the devices whose content may be destroyed, whatever it is.
    wipe: tuple[str, ...]
    admin: Secret
    #: The ids of OSDs whose devices are gone, which the new ones take over.
    replaces: tuple[int, ...] = ()
    #: The UUIDs of OSDs that were begun on the devices and never finished.
    begun: tuple[str, ...] = ()
    #: Where db-devices hold databases already: that and the size in bytes of a new
    #: one for each of the devices, in their order.
    databases: tuple[tuple[str, int], ...] = ()
    #: The databases there that go for the new ones: the db-device, and the UUID of an
    #: OSD that is no more.
    gone: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for one in (self.fsid, *self.begun, *(osd for _, osd in self.gone)):
            uuid.UUID(one)
        shared = *dict(self.databases), *dict(self.gone)
        for path in self.devices + self.db_devices + shared:
            _check_device(path)
        if self.databases and len(self.databases) != len(self.devices):
            raise ValueError("some OSDs would have a database and others none")
        if self.device_class is not None:
            _check_name(self.device_class, "a device class")

    def sentence(self) -> str:
        """Say what the step will do."""
        wiping = f"wipe {', '.join(self.wipe)}, " if self.wipe else ""
        kind = "encrypted OSDs" if self.encrypt else "OSDs"
        paths = tuple(dict(self.databases)) or self.db_devices
        metadata = f", their metadata on {', '.join(paths)}" if paths else ""
        if self.gone:
            metadata += f", where {len(self.gone)} of OSDs that are no more go"
        ids = ", ".join(f"osd.{one}" for one in self.replaces)
        again = f", in the place of {ids}" if ids else ""
        return (
            f"{', '.join(self.devices)}: {wiping}make and start {kind} on logical"
            f" volumes{metadata}{again}"
        )


@dataclasses.dataclass(frozen=True)
class MakePool:
    """Make the pool of the instances' disks, or finish a half-made one."""

    name: ClassVar[str] = "pool"
    limit: ClassVar[int] = 300
    pool: str
    size: int
    min_size: int
    pg_num: int
    failure_domain: str
    device_class: str | None
    #: How many OSDs must be up before the pool is made.
    osds: int

    def __post_init__(self) -> None:
        _check_name(self.pool, "a pool's name")
        _check_name(self.failure_domain, "a failure domain")

    def sentence(self) -> str:
        """Say what the step will do."""
        return (
            f"make pool {self.pool}: {self.size} copies ({self.min_size} at the least),"
            f" one per {self.failure_domain}, {self.pg_num} placement groups"
        )


@dataclasses.dataclass(frozen=True)
class MakeClient:
    """Let a node's instances open their disks, as a Ceph user that may do no more."""

    name: ClassVar[str] = "client"
    limit: ClassVar[int] = 120
    user: str
    pool: str
    admin: Secret

    def __post_init__(self) -> None:
        _check_name(self.user, "a Ceph user")
        _check_name(self.pool, "a pool's name")

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"get the key of client.{self.user}, for the images in pool {self.pool}"


@dataclasses.dataclass(frozen=True)
class MakeCollector:
    """Have a node's collector run, with a key that may only read."""

    name: ClassVar[str] = "collector"
    limit: ClassVar[int] = 120
    admin: Secret

    def sentence(self) -> str:
        """Say what the step will do."""
        return "get the collector's key and start the collector"


@dataclasses.dataclass(frozen=True)
class MarkOsds:
    """Let OSDs take part in holding data, or have their data move away."""

    name: ClassVar[str] = "mark"
    limit: ClassVar[int] = 60
    osds: tuple[int, ...]
    inside: bool

    def sentence(self) -> str:
        """Say what the step will do."""
        how = "in" if self.inside else "out, so that data moves away"
        return f"mark {names_of(self.osds)} {how}"


@dataclasses.dataclass(frozen=True)
class PlaceHost:
    """Move a host to its place in the CRUSH map; its data is spread anew."""

    name: ClassVar[str] = "place"
    limit: ClassVar[int] = 60
    host: str
    #: CRUSH types above the host and their names, the outermost first.
    place: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        check_id(self.host)
        for kind, spot in self.place:
            _check_name(kind, "a CRUSH type")
            _check_name(spot, "a CRUSH bucket")

    def sentence(self) -> str:
        """Say what the step will do."""
        spots = ", ".join(f"{kind} {spot}" for kind, spot in self.place)
        return f"move host {self.host} to {spots} in the CRUSH map"


@dataclasses.dataclass(frozen=True)
class AskStop:
    """Ask Ceph once more whether OSDs may stop."""

    name: ClassVar[str] = "ok-to-stop"
    limit: ClassVar[int] = 60
    osds: tuple[int, ...]

    def sentence(self) -> str:
        """Say what the step will do."""
        return (
            f"ask again whether all data can be reached without {names_of(self.osds)}"
        )


@dataclasses.dataclass(frozen=True)
class HandOver:
    """Have another mgr become the active one."""

    name: ClassVar[str] = "hand-over"
    limit: ClassVar[int] = 60
    mgr: str

    def __post_init__(self) -> None:
        check_id(self.mgr)

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"have another mgr take over from mgr.{self.mgr}"


@dataclasses.dataclass(frozen=True)
class RemoveMon:
    """Take a mon out of the map, so that the others make up the quorum alone."""

    name: ClassVar[str] = "mon-removal"
    limit: ClassVar[int] = 60
    mon: str

    def __post_init__(self) -> None:
        check_id(self.mon)

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"remove mon.{self.mon} from the quorum"


@dataclasses.dataclass(frozen=True)
class StopDaemons:
    """Stop daemons of this node, also for its next boot; their keys go with them."""

    name: ClassVar[str] = "stop"
    limit: ClassVar[int] = 160
    mons: tuple[str, ...]
    mgrs: tuple[str, ...]
    osds: tuple[int, ...]
    collector: bool = False

    def __post_init__(self) -> None:
        for one in self.mons + self.mgrs:
            check_id(one)

    def sentence(self) -> str:
        """Say what the step will do."""
        names = [f"mon.{one}" for one in self.mons]
        names += [f"mgr.{one}" for one in self.mgrs]
        names += [f"osd.{one}" for one in self.osds]
        names += ["the collector"] if self.collector else []
        return f"stop {', '.join(names)}"


@dataclasses.dataclass(frozen=True)
class ForgetHost:
    """Have the storage cluster forget a host: its OSDs, place and daemons' keys."""

    name: ClassVar[str] = "forget"
    limit: ClassVar[int] = 120
    host: str
    osds: tuple[int, ...]

    def __post_init__(self) -> None:
        check_id(self.host)

    def sentence(self) -> str:
        """Say what the step will do."""
        osds = f"purge {names_of(self.osds)}, " if self.osds else ""
        return f"{osds}remove host {self.host} and the keys of its daemons"


@dataclasses.dataclass(frozen=True)
class DropKeys:
    """Leave no key on a node that is part of the storage cluster no more.

    The key that opens the disks of all instances goes, and so does what mons keep, in
    which all keys are.
    """

    name: ClassVar[str] = "keys"
    limit: ClassVar[int] = 160

    def sentence(self) -> str:
        """Say what the step will do."""
        return "delete the keys of the storage cluster, and its mon and mgr"


@dataclasses.dataclass(frozen=True)
class AwaitDaemons:
    """Wait until daemons serve; what is wrong elsewhere is not waited for."""

    name: ClassVar[str] = "daemons"
    limit: ClassVar[int] = 180
    mons: tuple[str, ...]
    #: Hosts, and how many OSDs each is to have up.
    osds: tuple[tuple[str, int], ...]
    #: Seconds.
    timeout: int

    def sentence(self) -> str:
        """Say what the step will do."""
        mons = [f"mon.{one}" for one in self.mons]
        osds = [f"{count} OSDs of {host}" for host, count in self.osds]
        what = ", ".join(mons + osds)
        return f"wait for {what} (for {self.timeout} s at the most)"


@dataclasses.dataclass(frozen=True)
class AwaitHealth:
    """Wait until Ceph finds its cluster healthy."""

    name: ClassVar[str] = "health"
    limit: ClassVar[int] = 180
    #: Seconds.
    timeout: int

    def sentence(self) -> str:
        """Say what the step will do."""
        return f"wait for HEALTH_OK (for {self.timeout} s at the most)"


@dataclasses.dataclass(frozen=True)
class RepairGroups:
    """Have OSDs make damaged copies anew from good ones, and wait a while for it."""

    name: ClassVar[str] = "pg-repair"
    limit: ClassVar[int] = 180
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        for one in self.groups:
            if not _GROUP.match(one):
                raise ValueError(f"{one!r} is not a placement group")

    def sentence(self) -> str:
        """Say what the step will do."""
        return (
            "make damaged copies anew from good ones in the placement groups"
            f" {', '.join(self.groups)}"
        )


@dataclasses.dataclass(frozen=True)
class ArchiveCrashes:
    """Mark all that crashed as seen; Ceph keeps what it knows of it."""

    name: ClassVar[str] = "crashes"
    limit: ClassVar[int] = 60

    def sentence(self) -> str:
        """Say what the step will do."""
        return "mark as seen what crashed ('ceph crash ls' still lists it)"


def names_of(osds: Iterable[int]) -> str:
    """Return OSDs by name, for a sentence."""
    return ", ".join(f"osd.{one}" for one in osds)


Step = (
    Configure
    | SecureKeys
    | MakeMon
    | StartMon
    | Settle
    | MakeMgr
    | MakeOsd
    | StartOsd
    | MakeLvmOsds
    | MakePool
    | MakeClient
    | MakeCollector
    | MarkOsds
    | AskStop
    | PlaceHost
    | HandOver
    | RemoveMon
    | StopDaemons
    | ForgetHost
    | DropKeys
    | AwaitDaemons
    | AwaitHealth
    | RepairGroups
    | ArchiveCrashes
)

#: Every kind of step by its name, which is how a step says on the wire what it is.
KINDS: dict[str, type[Step]] = {
    kind.name: kind
    for kind in (
        Configure,
        SecureKeys,
        MakeMon,
        StartMon,
        Settle,
        MakeMgr,
        MakeOsd,
        StartOsd,
        MakeLvmOsds,
        MakePool,
        MakeClient,
        MakeCollector,
        MarkOsds,
        AskStop,
        PlaceHost,
        HandOver,
        RemoveMon,
        StopDaemons,
        ForgetHost,
        DropKeys,
        AwaitDaemons,
        AwaitHealth,
        RepairGroups,
        ArchiveCrashes,
    )
}
