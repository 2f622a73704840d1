"""From facts to steps: everything that is decided before a storage cluster is made.

Nothing here asks or changes anything: :func:`refusals` says why it must not be
done, :func:`plan` what is still to do.  On a finished cluster there is nothing.
"""

import dataclasses
import ipaddress
import re
import uuid
from collections import Counter
from collections.abc import (
    Callable,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)

from ganeti_ceph import cephconf, domains
from ganeti_ceph.cephconf import ClusterConf, Mon
from ganeti_ceph.disk.uri import DISK_USER
from ganeti_ceph.errors import PrereqError
from ganeti_ceph.facts import (
    ClusterFacts,
    Device,
    Label,
    NodeFacts,
    Osd,
    damaged_groups,
)
from ganeti_ceph.params import FailureDomain, OsdLayout, StorageParameters
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import (
    ArchiveCrashes,
    AwaitDaemons,
    AwaitHealth,
    Configure,
    Keys,
    MakeClient,
    MakeCollector,
    MakeLvmOsds,
    MakeMgr,
    MakeMon,
    MakeOsd,
    MakePool,
    MarkOsds,
    PlaceHost,
    RemoveMon,
    RepairGroups,
    SecureKeys,
    Settle,
    StartOsd,
    Step,
    StopDaemons,
    names_of,
)

#: Packages that every node of a storage cluster needs, by Debian's names.
PACKAGES = ("ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd")
#: A device smaller than this is not worth an OSD, and BlueStore may not fit.
SMALLEST_DEVICE = 5 * 2**30
#: What a database of an OSD has at the least on a device where there is no other.
_SMALLEST_DATABASE = 2**30
#: What LVM needs of a device for itself, rounding included.
_LVM_OWN = 8 * 2**20
#: Ceph's mon_clock_drift_allowed, in seconds.
CLOCK_DRIFT_ALLOWED = 0.05
#: What Ceph's documentation aims at for one OSD (mon_target_pg_per_osd).
PGS_PER_OSD = 100
HEALTH_TIMEOUT = 120

#: Health checks that are no more once what crashed is marked as seen.
CRASHES = frozenset({"RECENT_CRASH", "RECENT_MGR_MODULE_CRASH"})
#: How many OSDs that were begun in one slot may live at the same time.
_TURNS = 4
#: Deprecated by Ceph and gone from newer releases; on Debian 13 it cannot load, and
#: the health would tell of that for ever.
MODULES_OFF = ("restful",)


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of the group: what Ganeti's configuration and the node itself say."""

    uuid: str
    name: str
    primary_ip: str
    secondary_ip: str
    places: tuple[tuple[str, str], ...]
    facts: NodeFacts
    #: The master's clock just before and just after the node answered.
    asked: tuple[float, float]
    #: Ganeti wants nothing new on it.
    drained: bool = False

    @property
    def host(self) -> str:
        """The name that Ceph knows it by."""
        return self.facts.hostname


@dataclasses.dataclass(frozen=True)
class Stage:
    """Steps that are done at the same time; a stage begins when the last one ended."""

    title: str
    #: By the UUID of the node.
    steps: tuple[tuple[str, tuple[Step, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to do, in order."""

    conf: ClusterConf
    pool: str
    stages: tuple[Stage, ...]


def refusals(
    nodes: Sequence[Node],
    params: StorageParameters,
    fsid: str | None,
    ready: bool = False,
    joining: Container[str] | None = None,
) -> list[str]:
    """Return, a sentence each, why the nodes cannot make a storage cluster.

    ``fsid`` is that of the storage cluster begun before, None for a new one;
    ``ready`` tells that it was finished once.  ``joining`` are the UUIDs of the nodes
    that it is about, None for all; what others lack does not keep these away.
    """
    newcomers = [node for node in nodes if joining is None or node.uuid in joining]
    found: list[str] = []
    found += _alien(newcomers, fsid)
    found += _packages(newcomers)
    found += _releases(nodes, newcomers) if ready else differing_versions(nodes)
    found += _hostnames(nodes, newcomers)
    found += _networks(nodes, params)
    for node in newcomers:
        found += [f"{node.name}: {reason}" for reason in _devices(node, params, fsid)]
    if not ready:
        found += _too_few(nodes, params)
    found += _clocks(nodes, newcomers)
    return found


def removed_osds(
    node: Node, params: StorageParameters, fsid: str, cluster: ClusterFacts
) -> list[str]:
    """Return, a sentence each, which disks of a node carry OSDs that were removed.

    Somebody took them out of the storage cluster, and may want their data.
    """
    known = {osd.uuid for osd in cluster.osds}
    return [
        _removed(node, device, device.label)
        for device in _disks(node, fsid)
        if device.label is not None
        and not params.wipe
        and _own(node, device, fsid)
        and _is_whole(device.label)
        and device.label.osd_uuid not in known
    ]


def _removed(node: Node, device: Device, label: Label) -> str:
    return (
        f"{node.name}: {device.path} carries osd.{label.osd_id}, which was removed from"
        " the storage cluster; it is taken only with wipe=yes, which destroys that"
    )


def _alien(nodes: Sequence[Node], fsid: str | None) -> Iterable[str]:
    for node in nodes:
        facts = node.facts
        if facts.conf is not None:
            theirs = cephconf.read_fsid(facts.conf)
            if fsid is None or theirs != fsid:
                yield (
                    f"{node.name}: /etc/ceph/ceph.conf is there already, of the storage"
                    f" cluster {theirs or '(it names none)'}; take Ceph off the node"
                    " first if it is not in use"
                )
                continue
        ours = facts.conf is not None
        alien = [f"osd.{osd.id}" for osd in facts.osds if osd.fsid != fsid]
        if not ours:
            alien += [f"mon.{name}" for name in facts.mons]
            alien += [f"mgr.{name}" for name in facts.mgrs]
        if alien:
            yield (
                f"{node.name}: /var/lib/ceph has daemons of another storage cluster:"
                f" {', '.join(alien)}"
            )


def _packages(nodes: Iterable[Node]) -> Iterable[str]:
    for node in nodes:
        have = dict(node.facts.packages)
        missing = [name for name in PACKAGES if name not in have]
        if missing:
            yield (
                f"{node.name}: Ceph's packages are missing: apt install"
                f" {' '.join(missing)}"
            )


def _versions(node: Node) -> set[str]:
    have = dict(node.facts.packages)
    return {have[name] for name in PACKAGES if name in have}


def installed(node: Node) -> set[str]:
    """Return the versions of Ceph, as its daemons tell them, that a node would start.

    The daemons know nothing of what Debian adds: 18.2.7+ds-1 is 18.2.7 to them.
    """
    found = (re.match(r"(?:\d+:)?([0-9.]+)", one) for one in _versions(node))
    return {one[1] for one in found if one}


def differing_versions(nodes: Iterable[Node]) -> list[str]:
    """Return a sentence if Ceph's packages are of different versions, else nothing."""
    versions: dict[str, list[str]] = {}
    for node in nodes:
        for version in _versions(node):
            versions.setdefault(version, []).append(node.name)
    if len(versions) < 2:
        return []
    return [
        "Ceph's packages are of different versions: "
        + "; ".join(
            f"{version} on {', '.join(sorted(names))}"
            for version, names in sorted(versions.items())
        )
    ]


def _releases(nodes: Sequence[Node], newcomers: Sequence[Node]) -> Iterable[str]:
    """Refuse nodes with another release of Ceph than all others have.

    Within a release they may differ for a while: nodes are upgraded one by one.
    """

    def releases(node: Node) -> set[str]:
        return {version.partition(".")[0] for version in _versions(node)}

    others = set().union(*(releases(one) for one in nodes if one not in newcomers))
    for node in newcomers:
        if others and not releases(node) <= others:
            yield (
                f"{node.name}: it has release {', '.join(sorted(releases(node)))} of"
                f" Ceph, the others {', '.join(sorted(others))}; install the same"
            )


def _hostnames(nodes: Sequence[Node], newcomers: Sequence[Node]) -> Iterable[str]:
    for node in newcomers:
        # Of one that does not answer nothing but Ganeti's name is known.
        if node.host != node.name.partition(".")[0]:
            yield (
                f"{node.name}: its host name is {node.host}, by which Ceph would know"
                " it; give it the name that Ganeti has ('hostnamectl set-hostname"
                f" {node.name.partition('.')[0]}')"
            )
    for host, count in Counter(node.host for node in nodes).items():
        if count > 1:
            names = ", ".join(node.name for node in nodes if node.host == host)
            yield f"{names}: Ceph would know all of them as {host}"


def _networks(nodes: Sequence[Node], params: StorageParameters) -> Iterable[str]:
    for node in nodes:
        for network, own in (
            (params.public_network, node.primary_ip),
            (params.cluster_network, node.secondary_ip),
        ):
            try:
                address_in(node, network, own)
            except PrereqError as err:
                yield str(err)


def address_in(
    node: Node,
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None,
    own: str,
) -> tuple[str, str]:
    """Return a node's address in a network, and the network.

    Without a network it is that of ``own``, the address in Ganeti's configuration,
    which is preferred also where a node has several.
    """
    interfaces = [ipaddress.ip_interface(text) for text in node.facts.addresses]
    if network is None:
        for interface in interfaces:
            if str(interface.ip) == own:
                return own, str(interface.network)
        raise PrereqError(
            f"{node.name}: no network interface has its address {own} of Ganeti's"
            " configuration"
        )
    inside = [str(one.ip) for one in interfaces if one.ip in network]
    if not inside:
        raise PrereqError(f"{node.name}: no network interface is in {network}")
    return (own if own in inside else sorted(inside)[0]), str(network)


def _devices(node: Node, params: StorageParameters, fsid: str | None) -> Iterable[str]:
    facts = node.facts
    seen: dict[str, str] = {}
    # The label of a device for metadata names its OSD, and no cluster.
    own = {d.label.osd_uuid for d in facts.disks if d.label and _own(node, d, fsid)}
    real_paths = {d.real_path for d in facts.disks + facts.db_devices}
    begun = _begun(node, fsid)
    # Nothing is made with the database of an OSD whose disk is gone, unless there is a
    # new disk to make one of.
    complete = begun and all(_own(node, one, fsid) for one in _disks(node, fsid))
    idle = {one.path for one in facts.db_devices if one.label} if complete else set()
    for device in facts.disks + facts.db_devices:
        if begun and _unusable(node, device, fsid):
            # A disk that died does not keep its node's other disks away.
            continue
        if not device.real_path:
            yield f"{device.path} is missing"
            continue
        if device.real_path in seen:
            yield (
                f"{seen[device.real_path]} and {device.path} are the same device,"
                f" {device.real_path}"
            )
            continue
        seen[device.real_path] = device.path
        if device.whole and device.whole in real_paths:
            yield f"{device.path} is a partition of {device.whole}, which is named, too"
            continue
        if _own(node, device, fsid) or (device.label and device.label.osd_uuid in own):
            continue
        if device.path in idle:
            continue
        if device.failing:
            yield f"{device.path} has failed: {device.failing}"
        elif device.busy:
            yield f"{device.path} is in use: {device.busy}"
        elif device.content and not params.wipe:
            yield (
                f"{device.path} carries {device.content}; it is taken only with"
                " wipe=yes, which destroys that"
            )
        elif device.size < SMALLEST_DEVICE:
            yield f"{device.path} has {device.size} bytes, an OSD needs 5 GiB"
    yield from _layout_refusals(node, params, begun)


def _unusable(node: Node, device: Device, fsid: str | None) -> str:
    """Return why a device is as good as none, "" if it is not."""
    if not device.real_path:
        return "is missing"
    if device.failing and not _own(node, device, fsid):
        return f"has failed: {device.failing}"
    return ""


def _begun(node: Node, fsid: str | None) -> bool:
    """Tell whether a node has OSDs of the storage cluster."""
    return any(osd.fsid == fsid for osd in node.facts.osds if osd.fsid) or any(
        _own(node, device, fsid) for device in node.facts.disks
    )


def unusable(nodes: Iterable[Node], fsid: str | None) -> list[str]:
    """Return, a sentence each, which devices of nodes with OSDs are as good as none.

    Those of other nodes are refused.
    """
    return [
        f"{node.name}: {device.path} {why}; if it does not come back, put another in"
        " its place"
        for node in nodes
        if _begun(node, fsid)
        for device in node.facts.disks + node.facts.db_devices
        if (why := _unusable(node, device, fsid))
    ]


def _disks(node: Node, fsid: str | None) -> list[Device]:
    """Return the disks that there are OSDs on, or may be."""
    return [one for one in node.facts.disks if not _unusable(node, one, fsid)]


def _own(node: Node, device: Device, fsid: str | None) -> bool:
    """Tell whether a device carries an OSD of ours, be it one that was only begun."""
    if device.label is None or fsid is None:
        return False
    # BlueStore writes the OSD's UUID first, and the cluster's much later.
    return device.label.fsid == fsid or _begun_here(node, device, fsid)


def _begun_here(node: Node, device: Device, fsid: str) -> bool:
    """Tell whether a device's label is of an OSD that was begun at this very place."""
    label = device.label
    return label is not None and label.osd_uuid in _osd_uuids(node, device, fsid)


def uses_lvm(node: Node, params: StorageParameters) -> bool:
    """Tell whether a node's OSDs lie on logical volumes."""
    if params.osd_layout is OsdLayout.AUTO:
        return node.facts.device_mapper
    return params.osd_layout is OsdLayout.LVM


def _layout_refusals(
    node: Node, params: StorageParameters, begun: bool
) -> Iterable[str]:
    facts = node.facts
    if uses_lvm(node, params):
        if not facts.device_mapper:
            yield "osd-layout=lvm needs device-mapper in the kernel, and lvm2"
        if not {"ceph-volume", "ceph-osd"} & {name for name, _ in facts.packages}:
            yield "osd-layout=lvm needs the package ceph-volume"
        return
    if params.encrypt:
        yield "encrypt=yes needs osd-layout=lvm, which this node cannot have or is not"
    # Where OSDs are, disks may be gone; a new one is to find a free db-device.
    counts = len(facts.disks), len(facts.db_devices)
    if facts.db_devices and counts[0] != counts[1] and not begun:
        yield (
            "with osd-layout=raw each disk needs a db-device of its own, there are"
            f" {counts[0]} and {counts[1]}"
        )


def _too_few(nodes: Sequence[Node], params: StorageParameters) -> Iterable[str]:
    domain = params.failure_domain
    if not any(node.facts.disks for node in nodes):
        yield (
            "no node has a disk for the storage: set -S ceph:disk=... (gnt-cluster"
            " modify)"
        )
        return
    if domain is FailureDomain.OSD:
        count = sum(len(node.facts.disks) for node in nodes)
    elif domain is FailureDomain.HOST:
        count = sum(1 for node in nodes if node.facts.disks)
    else:
        holders = [node for node in nodes if node.facts.disks]
        names = {dict(node.places).get(domain.value) for node in holders}
        count = len(names - {None})
    if count < params.pool_size:
        yield (
            f"{params.pool_size} copies need as many failure domains ({domain.value}),"
            f" and there are {count}: add nodes, or set a smaller pool-size"
        )


def unplaced(nodes: Iterable[Node], params: StorageParameters) -> list[str]:
    """Return, a sentence each, which nodes have no place among the failure domains."""
    domain = params.failure_domain
    if domain in (FailureDomain.OSD, FailureDomain.HOST):
        return []
    return [
        f"{node.name}: its {domain.value} is not known: gnt-node add-tags {node.name}"
        f" ceph:{domain.value}:NAME"
        for node in nodes
        if node.facts.disks and domain.value not in dict(node.places)
    ]


def _clocks(nodes: Sequence[Node], newcomers: Sequence[Node]) -> Iterable[str]:
    # A node's offset from the master's clock is known to lie between two bounds:
    # it answered after it was asked and before the answer came.
    bounds = {
        node.name: (
            node.facts.clock[1] - node.asked[1],
            node.facts.clock[0] - node.asked[0],
        )
        for node in nodes
    }
    if not newcomers:
        return
    ahead = max(bounds, key=lambda name: bounds[name][0])
    behind = min(bounds, key=lambda name: bounds[name][1])
    if len(newcomers) < len(nodes):
        # Two others that differ do not keep one away that agrees with them.
        new = [node.name for node in newcomers]
        first = max(new, key=lambda name: bounds[name][0])
        last = min(new, key=lambda name: bounds[name][1])
        if bounds[first][0] - bounds[behind][1] > bounds[ahead][0] - bounds[last][1]:
            ahead = first
        else:
            behind = last
    apart = bounds[ahead][0] - bounds[behind][1]
    if apart > CLOCK_DRIFT_ALLOWED:
        yield (
            f"the clocks of {ahead} and {behind} are {apart:.2f} s or more apart, Ceph"
            f" tolerates {CLOCK_DRIFT_ALLOWED}: synchronise them (chrony)"
        )


def pg_count(osds: int, size: int) -> int:
    """Return how many placement groups the one pool of some OSDs gets.

    The power of two that is nearest to :data:`PGS_PER_OSD` copies for each OSD.
    """
    wanted = max(1, osds * PGS_PER_OSD // size)
    lower = 1 << (wanted.bit_length() - 1)
    return min(lower if wanted - lower <= 2 * lower - wanted else 2 * lower, 32768)


def choose_mons(
    nodes: Sequence[Node], params: StorageParameters, cluster: ClusterFacts | None
) -> tuple[Mon, ...]:
    """Return the cluster's mons: those it has or was begun with, then further nodes.

    There are as many as ``mon-count`` says, or the greatest odd number of nodes.
    """
    if cluster is not None:
        chosen = list(cluster.mons)
    else:
        begun = [cephconf.read_mons(node.facts.conf or "") for node in nodes]
        longest = max(begun, key=len, default=())
        chosen = list(longest)
        if chosen and any(node.facts.mons for node in nodes):
            # Mons that know each other's names wait for exactly those.
            return tuple(chosen)
    wanted = _wanted_mons(nodes, params)
    spots = _spots(nodes, params)
    taken = {mon.id for mon in chosen}
    free = [node for node in nodes if node.host not in taken and not node.drained]
    # What takes one failure domain away shall not take the quorum with it.
    used = Counter(spots.get(name) for name in taken)
    while free and len(chosen) < wanted:
        node = min(free, key=lambda node: (used[spots[node.host]], node.name))
        free.remove(node)
        used[spots[node.host]] += 1
        chosen.append(_new_mon(node, params))
    return _in_order(chosen)


def _wanted_mons(nodes: Sequence[Node], params: StorageParameters) -> int:
    return min(params.mon_count, len(nodes) - 1 + len(nodes) % 2)


def _spots(nodes: Iterable[Node], params: StorageParameters) -> dict[str, str]:
    """Return the failure domain of each node, by its host."""
    kind = params.failure_domain.value
    return {node.host: dict(node.places).get(kind, node.host) for node in nodes}


def _new_mon(node: Node, params: StorageParameters) -> Mon:
    address, _ = address_in(node, params.public_network, node.primary_ip)
    return Mon(node.host, address)


def _in_order(mons: Iterable[Mon]) -> tuple[Mon, ...]:
    # Ceph ranks mons in the order in which they came; ceph.conf is not to differ so.
    return tuple(sorted(mons, key=lambda mon: mon.id))


def make_conf(
    nodes: Sequence[Node],
    params: StorageParameters,
    fsid: str,
    mons: tuple[Mon, ...],
) -> ClusterConf:
    """Return what all nodes have in common in their ceph.conf."""
    public = {
        address_in(node, params.public_network, node.primary_ip)[1] for node in nodes
    }
    cluster: set[str] = set()
    if params.cluster_network or any(
        node.secondary_ip != node.primary_ip for node in nodes
    ):
        cluster = {
            address_in(node, params.cluster_network, node.secondary_ip)[1]
            for node in nodes
        }
    return ClusterConf(
        fsid=fsid,
        mons=mons,
        public_network=", ".join(sorted(public)),
        cluster_network=(
            ", ".join(sorted(cluster)) if cluster and cluster != public else None
        ),
        # What it starts with; on an idle node it is told of more.
        options=(*params.conf, ("osd_memory_target", str(params.sure_osd_memory))),
    )


def osd_uuid(fsid: str, host: str, stable_path: str, turn: int = 0) -> str:
    """Return the UUID of the OSD on a device, the same whenever it is asked for.

    So a device whose OSD was begun and not finished is known again.  A ``turn`` is for
    one that is made where the first one lives on elsewhere: a device may be called by
    its slot, and the disk in that have moved.
    """
    name = f"{host}:{stable_path}" + (f":{turn}" if turn else "")
    return str(uuid.uuid5(uuid.UUID(fsid), name))


def _osd_uuids(node: Node, device: Device, fsid: str) -> Iterator[str]:
    """Return all the UUIDs that OSDs on a device may be begun with."""
    return (osd_uuid(fsid, node.host, device.stable_path, x) for x in range(_TURNS))


def strays(nodes: Iterable[Node], cluster: ClusterFacts) -> list[int]:
    """Return OSDs that are registered, never ran, and are begun on none of the nodes.

    One that is begun is registered anew when it is made.
    """
    found = {osd.uuid: osd.id for osd in cluster.osds if osd.new and osd.host is None}
    if not found:
        return []
    for node in nodes:
        for device in node.facts.disks + node.facts.db_devices:
            begun = [*device.registered, *(one.osd_uuid for one in device.databases)]
            if device.label:
                begun.append(device.label.osd_uuid)
            for one in (*begun, *_osd_uuids(node, device, cluster.fsid)):
                found.pop(one, None)
    return sorted(found.values())


def plan(
    nodes: Sequence[Node],
    params: StorageParameters,
    fsid: str,
    keys: Keys,
    new_keys: bool,
    cluster: ClusterFacts | None,
    joining: Container[str] | None = None,
    ready: bool = False,
    archive: bool = False,
) -> Plan:
    """Return what is to do until the nodes are a healthy storage cluster.

    ``new_keys`` tells that no node has the keys yet; ``cluster`` is what it says of
    itself, None while there is no quorum.  ``joining`` are the UUIDs of the nodes whose
    OSDs it is about, which all shall hold data again; None for those of all nodes,
    as they are.  One that is ``ready`` already need not be healthy in the end: its data
    may be on its way for hours.  With ``archive``, what crashed is marked as seen.
    """
    newcomers = [node for node in nodes if joining is None or node.uuid in joining]
    mons = choose_mons(nodes, params, cluster)
    known = {mon.id for mon in cluster.mons} if cluster else set()
    # Those whose mons it is about, too: newcomers, and where one was never before.
    concerned = {node.host for node in newcomers}
    concerned |= {node.host for node in nodes if node.host not in known}
    swaps = []
    former: Sequence[Node] = ()
    if ready and newcomers and cluster is not None:
        former = nodes
        if known <= {*cluster.quorum}:
            swaps = _mon_swaps(nodes, newcomers, params, mons)
    coming = [made for made, _ in swaps if made]
    going = {gone.host for _, gone in swaps}
    spread = (*mons, *(_new_mon(node, params) for node in coming))
    conf = make_conf(
        nodes, params, fsid, _in_order(mon for mon in spread if mon.id not in going)
    )
    stages = [
        _stage(
            "configuration",
            nodes,
            lambda node: (
                *_configure(node, conf, keys, new_keys),
                *(_secure_keys(node) if node in newcomers else ()),
            ),
        ),
        _stage(
            "mons",
            nodes,
            lambda node: (
                _mon(node, conf, keys, cluster)
                if node.host in concerned and node not in coming
                else ()
            ),
        ),
    ]
    acting = next(
        (node for node in nodes if node.host in {mon.id for mon in conf.mons}),
        nodes[0],
    )
    settle = _settle(concerned, params, mons, cluster)
    if settle:
        stages.append(Stage("quorum", ((acting.uuid, (settle,)),)))
    managers = _choose_mgrs(nodes, params, cluster)
    seen = _seen(nodes, cluster, fsid)
    stages.append(
        _stage(
            "mgrs and OSDs",
            nodes,
            lambda node: (
                *((MakeMgr(node.host, keys.admin),) if node.host in managers else ()),
                *(
                    _osds(node, params, fsid, keys.admin, cluster, seen)
                    if node in newcomers
                    else ()
                ),
            ),
        )
    )
    outside = [] if joining is None else _outside(newcomers, cluster)
    if outside:
        mark = MarkOsds(tuple(outside), True)
        stages.append(Stage("OSDs in", ((acting.uuid, (mark,)),)))
    moves = _moves(newcomers, cluster)
    if moves and cluster is not None:
        crowded = list(domains.move_refusals(cluster, moves, outside))
        if crowded:
            raise PrereqError("\n".join(crowded))
        stages.append(Stage("places", ((acting.uuid, moves),)))
    pool = _pool(nodes, params, cluster)
    if pool:
        stages.append(Stage("pool", ((acting.uuid, (pool,)),)))
    stages.append(
        _stage(
            "keys for disks",
            newcomers,
            lambda node: (
                ()
                if node.facts.has_client
                else (MakeClient(DISK_USER, params.pool, keys.admin),)
            ),
        )
    )
    stages.append(
        _stage(
            "collectors",
            newcomers,
            lambda node: (
                () if node.facts.has_collector else (MakeCollector(keys.admin),)
            ),
        )
    )
    for made, gone in swaps:
        stages += _swap(made, gone, acting, conf, keys, cluster)
    stages.append(_stage("mons stop", former, lambda node: _former_mon(node, conf)))
    stages = [stage for stage in stages if stage.steps]
    if ready:
        hosts = tuple((one.host, len(_disks(one, fsid))) for one in newcomers)
        ids = tuple(mon.id for mon in conf.mons if mon.id in concerned)
        if stages and (hosts or ids):
            wait = AwaitDaemons(ids, hosts, HEALTH_TIMEOUT)
            stages.append(Stage("daemons", ((acting.uuid, (wait,)),)))
    elif stages or cluster is None or cluster.health != "HEALTH_OK":
        stages.append(Stage("health", ((acting.uuid, (AwaitHealth(HEALTH_TIMEOUT),)),)))
    if cluster is not None and ready:
        stages += _told_to_ceph(cluster, acting, joining is None, archive)
    return Plan(conf, params.pool, tuple(stages))


def _told_to_ceph(
    cluster: ClusterFacts, acting: Node, everywhere: bool, archive: bool
) -> Iterator[Stage]:
    """Return what Ceph does by itself once it is told to."""
    if archive and any(one.partition(":")[0] in CRASHES for one in cluster.checks):
        yield Stage("crashes", ((acting.uuid, (ArchiveCrashes(),)),))
    damaged = tuple(damaged_groups(cluster.details)) if everywhere else ()
    if damaged:
        yield Stage("damage", ((acting.uuid, (RepairGroups(damaged),)),))


def _stage(
    title: str, nodes: Sequence[Node], steps_of: Callable[[Node], Iterable[Step]]
) -> Stage:
    pairs = ((node.uuid, tuple(steps_of(node))) for node in nodes)
    return Stage(title, tuple((uuid, steps) for uuid, steps in pairs if steps))


def _configure(
    node: Node, conf: ClusterConf, keys: Keys, new_keys: bool
) -> tuple[Step, ...]:
    text = cephconf.render(conf, node.places, node.host)
    has_mon = node.host in {mon.id for mon in conf.mons}
    if (
        node.facts.conf == text
        and (node.facts.has_keys or not has_mon)
        and not new_keys
    ):
        return ()
    admin = keys.admin if has_mon else None
    return (Configure(conf, node.places, node.host, admin),)


def _secure_keys(node: Node) -> tuple[Step, ...]:
    loose = node.facts.loose_keys
    return (SecureKeys(loose),) if loose else ()


def _mon(
    node: Node, conf: ClusterConf, keys: Keys, cluster: ClusterFacts | None
) -> tuple[Step, ...]:
    mon = next((mon for mon in conf.mons if mon.id == node.host), None)
    if mon is None or (cluster is not None and mon.id in cluster.quorum):
        return ()
    members, peers = (conf.mons, ()) if cluster is None else ((), cluster.mons)
    return (MakeMon(conf.fsid, mon.id, mon.address, members, keys, peers),)


def _mon_swaps(
    nodes: Sequence[Node],
    newcomers: Sequence[Node],
    params: StorageParameters,
    mons: Iterable[Mon],
) -> list[tuple[Node | None, Node]]:
    """Return on which node a mon is made, if any, and on which one goes for it."""
    names = {mon.id for mon in mons}
    hosts = {node.host: node for node in nodes}
    free = [
        node.host
        for node in nodes
        if node.host not in names
        and not node.drained
        # One that could not join yet lacks what a mon needs, too.
        and (node.facts.conf is not None or node in newcomers)
    ]
    drained = {node.host for node in nodes if node.drained}
    wanted = _wanted_mons(nodes, params)
    found = domains.mon_swaps(_spots(nodes, params), names, free, drained, wanted)
    return [(hosts[made] if made else None, hosts[gone]) for made, gone in found]


def _swap(
    made: Node | None,
    gone: Node,
    acting: Node,
    conf: ClusterConf,
    keys: Keys,
    cluster: ClusterFacts | None,
) -> Iterator[Stage]:
    """Return what makes a mon on a node, and then removes another's."""
    if made:
        (mon,) = (mon for mon in conf.mons if mon.id == made.host)
        yield Stage("mons", ((made.uuid, _mon(made, conf, keys, cluster)),))
        yield Stage("quorum", ((acting.uuid, (Settle((mon,), (), ()),)),))
    yield Stage("mon", ((acting.uuid, (RemoveMon(gone.host),)),))


def _former_mon(node: Node, conf: ClusterConf) -> tuple[Step, ...]:
    """Return what stops a node's mon if it is one no more, and may still run."""
    if node.host in {mon.id for mon in conf.mons} or not node.facts.mons:
        return ()
    # The key is deleted when the mon stopped.
    return (StopDaemons((node.host,), (), ()),) if node.facts.has_keys else ()


def _settle(
    hosts: Container[str],
    params: StorageParameters,
    mons: tuple[Mon, ...],
    cluster: ClusterFacts | None,
) -> Settle | None:
    # A mon on a node that is left out may not come.
    wanted = tuple(mon for mon in mons if mon.id in hosts)
    names = {mon.id for mon in wanted}
    if cluster is not None and cluster.pools and names <= set(cluster.quorum):
        # The pool is made after the settings, so they are there.
        return None
    settings = [("auth_allow_insecure_global_id_reclaim", "false")]
    if params.pool != "rbd":
        # There the nodes find whose room they are to show.
        settings.append(("rbd_default_pool", params.pool))
    if params.pool_size == 1:
        # The administrator asked for a single copy; Ceph asks twice.
        settings += [
            ("mon_allow_pool_size_one", "true"),
            ("mon_warn_on_pool_no_redundancy", "false"),
        ]
    return Settle(wanted, tuple(settings), MODULES_OFF)


def _choose_mgrs(
    nodes: Sequence[Node], params: StorageParameters, cluster: ClusterFacts | None
) -> set[str]:
    """Return the hosts that get a mgr: those that have one first."""
    running = set(cluster.mgrs) if cluster else set()
    begun = [
        node.host for node in nodes if node.facts.mgrs and node.host not in running
    ]
    others = sorted(
        node.host
        for node in nodes
        if not node.facts.mgrs and node.host not in running and not node.drained
    )
    missing = max(0, params.mgr_count - len(running))
    return set((begun + others)[:missing])


def _moves(
    nodes: Iterable[Node], cluster: ClusterFacts | None
) -> tuple[PlaceHost, ...]:
    """Return what moves hosts in the CRUSH map to where Ganeti's tags say."""
    if cluster is None:
        return ()
    # What is between them and above is the administrator's.
    places = {host: set(place) for host, place in cluster.places}
    return tuple(
        PlaceHost(node.host, node.places)
        for node in nodes
        if not places.get(node.host, set(node.places)).issuperset(node.places)
    )


def _outside(nodes: Iterable[Node], cluster: ClusterFacts | None) -> list[int]:
    """Return the OSDs that these nodes carry and that hold no data, but shall."""
    carried = {
        device.label.osd_uuid
        for node in nodes
        if not node.drained
        for device in node.facts.disks
        if device.label
    }
    osds = cluster.osds if cluster else ()
    return [osd.id for osd in osds if osd.uuid in carried and not osd.inside]


def _seen(
    nodes: Iterable[Node], cluster: ClusterFacts | None, fsid: str
) -> Mapping[str, Node]:
    """Return where the disks of OSDs are, by the UUID; what was only begun is none."""
    known = {osd.uuid for osd in cluster.osds} if cluster else set()
    return {
        device.label.osd_uuid: node
        for node in nodes
        for device in node.facts.disks
        if device.label
        and device.label.osd_uuid in known
        and (_is_whole(device.label) or not _begun_here(node, device, fsid))
    }


def _is_whole(label: Label) -> bool:
    return label.complete and label.osd_id is not None


def _new_uuid(node: Node, device: Device, fsid: str, seen: Container[str]) -> str:
    """Return the UUID of a device's new OSD: of one begun there, or a free one."""
    label = device.label
    if label and label.osd_uuid not in seen and _begun_here(node, device, fsid):
        return label.osd_uuid
    *uuids, last = _osd_uuids(node, device, fsid)
    return next((one for one in uuids if one not in seen), last)


def _lost(node: Node, cluster: ClusterFacts | None, seen: Container[str]) -> list[int]:
    """Return the OSDs of a node whose disks are nowhere any more.

    New OSDs on blank devices take their ids over, which needs no data to move but
    theirs.  One is lost only if it never comes up again, so while data is missing
    nothing is lost: the device may be found.  ``seen`` are the UUIDs of those whose
    disks are anywhere, be it on another node.
    """
    if cluster is None:
        return []
    # Its device is there, and only not among those of the parameters.
    named = {device.real_path for device in node.facts.disks}
    kept = {one.id for one in node.facts.osds if one.block and one.block not in named}
    lost = [
        osd
        for osd in cluster.osds
        if osd.host == node.host
        and not osd.up
        and osd.id not in kept
        and osd.uuid not in seen
        and not osd.new
    ]
    if lost and cluster.inactive != 0:
        count = "some" if cluster.inactive is None else str(cluster.inactive)
        raise PrereqError(
            f"{node.name}: {names_of(osd.id for osd in lost)} cannot be made anew while"
            f" {count} placement groups are not active: their data may be on the"
            " devices that are not here; bring those back, or other nodes"
        )
    return [osd.id for osd in lost]


def _osds(
    node: Node,
    params: StorageParameters,
    fsid: str,
    admin: Secret,
    cluster: ClusterFacts | None,
    seen: Mapping[str, Node],
) -> tuple[Step, ...]:
    """Return the steps for a node's OSDs: started where they are whole, else made.

    ``seen`` tells where the disks of all OSDs are, by the UUID.
    """
    known = {osd.uuid: osd for osd in cluster.osds} if cluster else {}
    databases = {d.label.osd_uuid: d for d in node.facts.db_devices if d.label}
    starts: list[Step] = []
    kept: set[str] = set()
    blank: list[Device] = []
    removed: set[str] = set()
    for device in _disks(node, fsid):
        label = device.label
        if label is None or not _own(node, device, fsid):
            blank.append(device)
            continue
        osd = known.get(label.osd_uuid)
        # One that died with all that could have told is up for Ceph, for a long time.
        if osd is not None and osd.up and device.busy:
            kept.add(label.osd_uuid)
        elif not _is_whole(label) or label.osd_id is None:
            blank.append(device)
        elif osd is not None or cluster is None:
            kept.add(label.osd_uuid)
            database = databases.get(label.osd_uuid)
            starts.append(
                StartOsd(
                    fsid,
                    label.osd_id,
                    label.osd_uuid,
                    device.stable_path,
                    database.stable_path if database else None,
                    admin,
                )
            )
        elif params.wipe:
            blank.append(device)
            removed.add(device.path)
        else:
            raise PrereqError(_removed(node, device, label))
    if not blank:
        return tuple(starts)
    moved = [
        one.id
        for one in node.facts.osds
        if one.osd_uuid and seen.get(one.osd_uuid, node) is not node
    ]
    if moved:
        # They are tried at each boot, with a disk that is another OSD's from now on.
        starts.append(StopDaemons((), (), tuple(moved)))
    lost = _lost(node, cluster, seen)
    if uses_lvm(node, params):
        return (
            *starts,
            _lvm_osds(
                *(node, params, fsid, blank, removed, admin, known),
                lost[: len(blank)],
                seen,
            ),
        )
    free = [
        device
        for device in node.facts.db_devices
        if (device.label is None or device.label.osd_uuid not in kept)
        and not _unusable(node, device, fsid)
    ]
    # What a lost OSD left behind comes last.
    free.sort(key=lambda device: device.label is not None)
    uuids = {one.path: _new_uuid(node, one, fsid, seen) for one in blank}
    for device in blank:
        begun = uuids[device.path]
        database = databases.get(begun)
        if database is None and free:
            # Not one that another of these OSDs was begun with.
            others = set(uuids.values())
            database = next(
                (
                    one
                    for one in free
                    if not one.label or one.label.osd_uuid not in others
                ),
                None,
            )
        if database is not None:
            free.remove(database)
            _refuse_known(node, database, known, begun)
        elif node.facts.db_devices:
            raise PrereqError(
                f"{node.name}: with osd-layout=raw {device.path} needs a db-device of"
                " its own, and none is free"
            )
        starts.append(
            MakeOsd(
                fsid,
                begun,
                device.stable_path,
                device.size,
                database.stable_path if database else None,
                params.device_class,
                tuple(
                    one.stable_path
                    for one in (device, database)
                    if one is not None and _may_wipe(node, params, fsid, one, removed)
                ),
                admin,
                lost.pop(0) if lost else None,
            )
        )
    return tuple(starts)


def made_again(made: Plan) -> set[int]:
    """Return the OSDs whose ids new ones take over."""
    found: set[int] = set()
    for stage in made.stages:
        for _, steps in stage.steps:
            for step in steps:
                if isinstance(step, MakeOsd) and step.replaces is not None:
                    found.add(step.replaces)
                elif isinstance(step, MakeLvmOsds):
                    found.update(step.replaces)
    return found


def _may_wipe(
    node: Node,
    params: StorageParameters,
    fsid: str,
    device: Device,
    removed: Container[str],
) -> bool:
    """Tell whether what a device carries may be destroyed for a new OSD."""
    if not device.content or not params.wipe:
        return False
    return device.path in removed or not _own(node, device, fsid)


def _refuse_known(
    node: Node, device: Device, known: Mapping[str, Osd], begun: str
) -> None:
    """Refuse a device with the database of an OSD that the cluster still has."""
    osd = known.get(device.label.osd_uuid) if device.label else None
    if osd is not None and osd.uuid != begun and not osd.new:
        raise PrereqError(
            f"{node.name}: {device.path} carries the database of osd.{osd.id}, whose"
            " disk is not here; if its data is lost for good, remove it first with"
            f" 'ceph osd purge {osd.id}'"
        )


def _lvm_osds(
    node: Node,
    params: StorageParameters,
    fsid: str,
    blank: Sequence[Device],
    removed: Container[str],
    admin: Secret,
    known: Mapping[str, Osd],
    lost: Sequence[int],
    seen: Container[str],
) -> MakeLvmOsds:
    """Return the step that makes OSDs on blank disks, in the place of the lost ones."""
    begun = [
        device.label.osd_uuid
        for device in blank
        if device.label is not None
        and device.label.fsid == fsid
        and not device.label.complete
    ]
    begun += [one for device in blank for one in device.registered]
    db_devices = [
        one for one in node.facts.db_devices if not _unusable(node, one, fsid)
    ]
    held = {
        one.osd_uuid
        for device in db_devices
        for one in device.databases
        if one.fsid == fsid
    }
    # ceph-volume notes an OSD first on its database, and then on its disk.
    begun += sorted(
        one
        for one in held - {*begun}
        if one in known and known[one].new and one not in seen
    )
    gone = held & {*begun, *(osd.uuid for osd in known.values() if osd.id in lost)}
    left = held - known.keys() - gone
    if params.wipe:
        gone |= left
    databases: list[tuple[Device, int]] = []
    fresh = [one for one in db_devices if not _is_shared(one, fsid)]
    if len(fresh) < len(db_devices):
        databases = _databases(node, fsid, len(blank), db_devices, gone, bool(left))
        fresh = [one for one in fresh if one in dict(databases)]
    elif node.facts.db_devices and not db_devices:
        raise PrereqError(
            f"{node.name}: no db-device that could be used is there for new OSDs"
        )
    return MakeLvmOsds(
        fsid,
        tuple(device.stable_path for device in blank),
        tuple(device.stable_path for device in fresh),
        params.encrypt,
        params.device_class,
        tuple(
            device.stable_path
            for device in (*blank, *fresh)
            if _may_wipe(node, params, fsid, device, removed)
        ),
        admin,
        tuple(lost),
        tuple(begun),
        tuple((device.stable_path, size) for device, size in databases),
        tuple(
            (device.stable_path, one.osd_uuid)
            for device in db_devices
            for one in device.databases
            if one.fsid == fsid and one.osd_uuid in gone
        ),
    )


def _is_shared(device: Device, fsid: str) -> bool:
    """Tell whether a db-device holds databases of ours, which others may join."""
    if device.label is not None and device.label.fsid == fsid:
        return True
    return any(one.fsid == fsid for one in device.databases)


def _databases(
    node: Node,
    fsid: str,
    count: int,
    devices: Sequence[Device],
    gone: Container[str],
    left: bool,
) -> list[tuple[Device, int]]:
    """Return for each of some new OSDs the device of its database, and the size.

    A new one gets its share of what is free once those of the ``gone`` went, and no
    more than the largest beside it has.  ``left`` tells that there are some of OSDs
    that were removed.  Raises :class:`PrereqError` where they would be smaller than
    what is there.
    """
    rooms = {
        device: device.free
        + sum(one.size for one in device.databases if one.osd_uuid in gone)
        if _is_shared(device, fsid)
        else device.size - _LVM_OWN
        for device in devices
    }
    chosen: list[Device] = []
    for _ in range(count):
        chosen.append(
            max(devices, key=lambda one: rooms[one] / (1 + chosen.count(one)))
        )
    for device in devices:
        leaves = any(one.osd_uuid in gone for one in device.databases)
        # ceph-volume of Ceph 16 takes a partition as it is, with all that is on it.
        part = f"it is a partition of {device.whole}" if device.whole else ""
        if (fixed := device.fixed or part) and (leaves or device in chosen):
            raise PrereqError(
                f"{node.name}: {device.path} cannot get or lose the databases of single"
                f" OSDs: {fixed}; make the new OSDs by hand (ceph-volume lvm create),"
                " or give another db-device"
            )
    sizes = {}
    for device in dict.fromkeys(chosen):
        wanted = chosen.count(device)
        there = [one.size for one in device.databases if one.fsid == fsid]
        size = min([rooms[device] // wanted, *([max(there)] if there else [])])
        if size < min(there, default=_SMALLEST_DATABASE):
            way = ", or wipe=yes, which removes those of removed OSDs" if left else ""
            raise PrereqError(
                f"{node.name}: {device.path} holds databases of OSDs and has no room"
                f" for {wanted} more; give another db-device{way}"
            )
        sizes[device] = size
    return [(device, sizes[device]) for device in chosen]


def _pool(
    nodes: Sequence[Node], params: StorageParameters, cluster: ClusterFacts | None
) -> MakePool | None:
    if cluster is not None:
        for pool in cluster.pools:
            if pool.name == params.pool and "rbd" in pool.applications:
                return None
    osds = sum(len(node.facts.disks) for node in nodes)
    return MakePool(
        params.pool,
        params.pool_size,
        params.effective_min_size,
        params.pool_pgs or pg_count(osds, params.pool_size),
        params.failure_domain.value,
        params.device_class,
        # All: the number of placement groups is made for them.
        osds,
    )
