"""Every storage parameter, declared once.

The fields of :class:`StorageParameters` are the declarations: the parser of ``-S``,
the tags, ``gnt-cluster info``, the manual page and the tests all read them from there.
A new parameter is a new field.
"""

# _declare makes a field and nothing mutable, as dataclasses.field does.
# ruff: noqa: RUF009

import dataclasses
import re
from types import MappingProxyType
from typing import Any

from ganeti_ceph.params.values import (
    Access,
    Auto,
    Choice,
    Cidr,
    DevicePath,
    FailureDomain,
    Kind,
    Memory,
    Name,
    Network,
    Number,
    OddNumber,
    OsdLayout,
    PowerOfTwo,
    RefusedError,
    Text,
    Value,
    YesNo,
)


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What there is to know of one parameter.

    ``changeable`` tells whether it may change while a storage cluster is
    initialised, ``why`` what a change then affects, or what forbids it.  ``unset``
    says in words what a default of nothing means.
    """

    name: str
    field: str
    kind: Kind
    default: Value | tuple[()]
    description: str
    changeable: bool
    why: str
    repeatable: bool = False
    unset: str = ""

    @property
    def default_text(self) -> str:
        """The default as ``gnt-cluster info`` and the manual show it."""
        if self.unset or isinstance(self.default, tuple):
            return self.unset
        return self.kind.format(self.default)


#: The declared name that stands for all of ``conf.osd_max_backfills`` and the like.
CONF = "conf.NAME"
CONF_PREFIX = "conf."

_NEW_OSDS = "for the OSDs that are created later"
_NEXT_INIT = "at the next run of gnt-storage init-distributed-storage"
_POOL_HAS_IT = "the pool has it by then; use 'ceph osd pool set POOL "
_BOUND = "the running daemons are bound to addresses in it"


def _declare(
    name: str, kind: Kind, default: object, description: str, **rest: Any
) -> Any:
    """Make the dataclass field of a parameter; ``changes`` or ``fixed`` is its why."""
    changeable = "changes" in rest
    rest["why"] = rest.pop("changes" if changeable else "fixed")
    declared = {
        "name": name,
        "kind": kind,
        "default": default,
        "description": description,
        "changeable": changeable,
        **rest,
    }
    return dataclasses.field(default=default, metadata=declared)


@dataclasses.dataclass(frozen=True)
class StorageParameters:
    """The storage parameters of a cluster.

    Repeated values and Ceph options are sorted, for Ganeti's tags have no order.
    """

    disks: tuple[str, ...] = _declare(
        "disk",
        DevicePath(),
        (),
        "The disk that becomes an OSD on each node that has it.",
        repeatable=True,
        unset="none",
        changes=_NEW_OSDS,
    )
    db_devices: tuple[str, ...] = _declare(
        "db-device",
        DevicePath(),
        (),
        "A faster device that the OSDs of a node share for their databases.",
        repeatable=True,
        unset="none",
        changes=_NEW_OSDS,
    )
    encrypt: bool = _declare(
        "encrypt",
        YesNo(),
        False,
        "Whether OSDs are encrypted on their disks; this needs device-mapper.",
        changes=_NEW_OSDS,
    )
    osd_layout: OsdLayout = _declare(
        "osd-layout",
        Choice(OsdLayout),
        OsdLayout.AUTO,
        "How an OSD lies on its disk: on a logical volume, directly on the device, "
        "or, with auto, on a logical volume where the node has device-mapper.",
        changes=_NEW_OSDS,
    )
    osd_memory: int | None = _declare(
        "osd-memory",
        Auto(Memory(2**30, 2**40)),
        None,
        "How much memory an OSD aims to use; with auto half of what the host, its "
        "daemons and its instances leave, divided among its OSDs, and at the least "
        "2 GiB.",
        changes="on each node within minutes, when Ganeti's watcher runs there",
    )
    device_class: str | None = _declare(
        "device-class",
        Auto(Name(further="_-", not_first="-")),
        None,
        "The Ceph device class that OSDs get, for example ssd; with auto Ceph "
        "detects it.",
        changes=_NEW_OSDS,
    )
    public_network: Network | None = _declare(
        "public-network",
        Cidr(),
        None,
        "The network on which the storage cluster serves its clients; found by the "
        "nodes' primary addresses where it is not given.",
        unset="by primary addresses",
        fixed=_BOUND,
    )
    cluster_network: Network | None = _declare(
        "cluster-network",
        Cidr(),
        None,
        "The network on which OSDs copy data to each other; found by the nodes' "
        "secondary addresses where it is not given.",
        unset="by secondary addresses",
        fixed=_BOUND,
    )
    mon_count: int = _declare(
        "mon-count",
        OddNumber(1),
        3,
        "How many nodes run a Ceph monitor, as far as there are nodes.",
        changes=_NEXT_INIT + ", which adds missing monitors and removes none",
    )
    mgr_count: int = _declare(
        "mgr-count",
        Number(1),
        2,
        "How many nodes run a Ceph manager, as far as there are nodes.",
        changes=_NEXT_INIT + ", which adds missing managers and removes none",
    )
    pool: str = _declare(
        "pool",
        Name(further="._-", not_first=".-"),
        "rbd",
        "The Ceph pool that holds the instances' disks.",
        fixed="the disks of the instances stay in the pool they were made in",
    )
    pool_size: int = _declare(
        "pool-size",
        Number(1, 10),
        3,
        "How many copies the pool keeps of all data; with 1 a lost disk is lost data.",
        fixed=_POOL_HAS_IT + "size'",
    )
    pool_min_size: int | None = _declare(
        "pool-min-size",
        Auto(Number(1, 10), also=("0",)),
        None,
        "How many copies have to be within reach for the pool to serve reads and "
        "writes; auto is pool-size less half of it, rounded down.",
        fixed=_POOL_HAS_IT + "min_size'",
    )
    pool_pgs: int | None = _declare(
        "pool-pgs",
        Auto(PowerOfTwo(1, 32768)),
        None,
        "How many placement groups the pool has; with auto as many as suit its OSDs.",
        fixed=_POOL_HAS_IT + "pg_num'",
    )
    failure_domain: FailureDomain = _declare(
        "failure-domain",
        Choice(FailureDomain),
        FailureDomain.HOST,
        "The CRUSH type of which no two copies share one.",
        fixed="most data would move, which 'ceph osd pool set POOL crush_rule' does "
        "when it is wanted",
    )
    access: Access = _declare(
        "access",
        Choice(Access),
        Access.USERSPACE,
        "How instances reach their disks: through QEMU's librbd, or through a block "
        "device that the kernel maps.",
        changes=_NEXT_INIT + ", for instances that are started after it",
    )
    wipe: bool = _declare(
        "wipe",
        YesNo(),
        False,
        "Whether a disk that holds data of another use is wiped to become an OSD.",
        changes=_NEW_OSDS,
    )
    conf: tuple[tuple[str, str], ...] = _declare(
        CONF,
        Text(),
        (),
        "The value of the Ceph option NAME, which is written with underscores.",
        unset="none",
        changes=_NEXT_INIT + ", which puts it into ceph.conf on all nodes, for daemons "
        "that are started after it",
    )

    @property
    def sure_osd_memory(self) -> int:
        """What each OSD is sure of, in bytes, however many instances there are."""
        return 2 * 2**30 if self.osd_memory is None else self.osd_memory

    @property
    def effective_min_size(self) -> int:
        """The pool's min_size, worked out as Ceph does where none was given."""
        if self.pool_min_size is not None:
            return self.pool_min_size
        return self.pool_size - self.pool_size // 2


DECLARATIONS: tuple[Declaration, ...] = tuple(
    Declaration(field=field.name, **field.metadata)
    for field in dataclasses.fields(StorageParameters)
)

_BY_NAME = {declaration.name: declaration for declaration in DECLARATIONS}

#: The Ceph options that the extension sets, with the parameter that decides each.
MANAGED_OPTIONS: MappingProxyType[str, str | None] = MappingProxyType(
    {
        "auth_client_required": None,
        "auth_cluster_required": None,
        "auth_service_required": None,
        "auth_supported": None,
        "cluster_addr": "cluster-network",
        "cluster_network": "cluster-network",
        "crush_location": None,
        "fsid": None,
        "host": None,
        "key": None,
        "keyfile": None,
        "keyring": None,
        "mgr_data": None,
        "mon_data": None,
        "mon_dns_srv_name": None,
        "mon_host": None,
        "mon_host_override": None,
        "mon_initial_members": "mon-count",
        "ms_bind_ipv4": "public-network",
        "ms_bind_ipv6": "public-network",
        "osd_crush_chooseleaf_type": "failure-domain",
        "osd_data": None,
        "osd_memory_target": "osd-memory",
        "osd_objectstore": None,
        "osd_pool_default_min_size": "pool-min-size",
        "osd_pool_default_pg_autoscale_mode": "pool-pgs",
        "osd_pool_default_pg_num": "pool-pgs",
        "osd_pool_default_pgp_num": "pool-pgs",
        "osd_pool_default_size": "pool-size",
        "public_addr": "public-network",
        "public_bind_addr": "public-network",
        "public_network": "public-network",
        "rbd_default_pool": "pool",
    }
)

_SECRET_ENDINGS = ("password", "passwd", "secret", "encryption_key")


def check_option(option: str) -> None:
    """Refuse a name that is no Ceph option which ``conf.NAME`` may set."""
    if not option:
        raise RefusedError("the name of a Ceph option is missing after 'conf.'")
    plain = re.sub("[ -]", "_", option.strip().lower())
    if re.fullmatch("[a-z][a-z0-9_]*", plain) and plain != option:
        raise RefusedError(f"Ceph's option has to be written as {CONF_PREFIX}{plain}")
    wrong = re.search("^[^a-z]|[^a-z0-9_]", option)
    if wrong:
        raise RefusedError(
            f"the name of a Ceph option cannot have {wrong.group()!r} here, only "
            "lower case letters, digits and _",
            wrong.start(),
        )
    if option in MANAGED_OPTIONS:
        instead = MANAGED_OPTIONS[option]
        what_to_do = f"use {instead!r} in its place" if instead else "leave it out"
        raise RefusedError(f"{option!r} is set by ganeti-ceph itself: {what_to_do}")
    if option.endswith(_SECRET_ENDINGS):
        raise RefusedError(
            f"{option!r} is a secret, and Ganeti's tags are open to all: use "
            "'ceph config set'"
        )


def find(name: str) -> Declaration | None:
    """Give the declaration of a parameter as written; ``conf.`` and any name is one."""
    if name.startswith(CONF_PREFIX):
        return _BY_NAME[CONF]
    return _BY_NAME.get(name)


def describe(parameters: StorageParameters) -> list[tuple[str, str]]:
    """Give every parameter with its value, defaults marked as Ganeti marks them."""
    rows = []
    for declaration in DECLARATIONS:
        value = getattr(parameters, declaration.field)
        if value == declaration.default:
            rows.append((declaration.name, f"default ({declaration.default_text})"))
        elif declaration.name == CONF:
            rows += [(CONF_PREFIX + option, text) for option, text in value]
        elif declaration.repeatable:
            rows.append((declaration.name, ", ".join(value)))
        else:
            rows.append((declaration.name, declaration.kind.format(value)))
    return rows
