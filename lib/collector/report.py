"""A sample as reports in the format of Ganeti's monitoring agent."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ganeti_ceph import __version__, diagnose
from ganeti_ceph.collector.facts import (
    CLUSTER_PARTS,
    DISK_PARTS,
    NODE_PARTS,
    Daemon,
    Device,
    Gap,
    Image,
    Mgr,
    Mon,
    Osd,
    Pool,
    Rates,
    Sample,
)

#: Ganeti's numbers: all is well; it is being mended; nobody can tell; it is bad.
OK, MENDING, UNKNOWN, BAD = 0, 1, 2, 4

CATEGORY = "storage"
#: A report that judges, not one that only measures.
KIND_STATUS = 1
#: Raised when the meaning of something in ``data`` changes.
FORMAT_VERSION = 1

#: Checks that go away by themselves as long as data is on its way.
_MENDED = frozenset({"OBJECT_MISPLACED", "PG_DEGRADED"})

#: What a report says, and how good it is.
Judged = tuple[int, str]


def all_reports(sample: Sample) -> list[dict[str, Any]]:
    """Return all reports, in the order in which they are listed."""
    return [report(sample, name) for name in COLLECTORS]


def report(sample: Sample, name: str) -> dict[str, Any]:
    """Return one report; raises :class:`KeyError` if there is no such collector."""
    judge, describe, parts = COLLECTORS[name]
    code, message = _worst([judge(sample), _judge_gaps(sample, parts)])
    return {
        "name": name,
        "version": __version__,
        "format_version": FORMAT_VERSION,
        "timestamp": _ns(sample.taken),
        "category": CATEGORY,
        "kind": KIND_STATUS,
        "data": {
            "status": {"code": code, "message": message},
            "node": sample.node,
            **describe(sample),
            "unknown": [_gap(one) for one in sample.gaps if one.part in parts],
        },
    }


def _ns(moment: float) -> int:
    return int(moment * 1e6) * 1000


def _worst(found: Iterable[Judged]) -> Judged:
    """Return the worst code with all that was said, the worst first."""
    ordered = sorted(found, key=lambda one: -one[0])
    words = "; ".join(message for _, message in ordered if message)
    return (ordered[0][0] if ordered else OK), words


def _judge_gaps(sample: Sample, parts: Iterable[str]) -> Judged:
    # One cause, such as a storage cluster that is silent, is said once.
    reasons: dict[str, list[str]] = {}
    for gap in sample.gaps:
        if gap.part in parts:
            reasons.setdefault(gap.reason, []).append(gap.part)
    words = [f"{', '.join(names)} not known: {why}" for why, names in reasons.items()]
    return (UNKNOWN, "; ".join(words)) if words else (OK, "")


def _gap(gap: Gap) -> dict[str, Any]:
    since = None if gap.since is None else _ns(gap.since)
    return {"part": gap.part, "reason": gap.reason, "last_known": since}


# The cluster


def _judge_cluster(sample: Sample) -> Judged:
    if sample.health is None or sample.health.status == "HEALTH_OK":
        return OK, ""
    found = []
    for check in sample.health.checks:
        if check.muted:
            continue
        mended = check.name in _MENDED and _moves(sample)
        words = f"{check.message} ({check.name}); {diagnose.remedy(check.name)}"
        found.append((MENDING if mended else BAD, words))
    return _worst(found or [(BAD, sample.health.status)])


def _moves(sample: Sample) -> bool:
    """Tell whether data is being copied, or waits for its turn."""
    states = sample.groups.states if sample.groups else ()
    moving = {"recovering", "backfilling", "recovery_wait", "backfill_wait", "peering"}
    return any(not moving.isdisjoint(state.split("+")) for state, _ in states)


def _cluster(sample: Sample) -> dict[str, Any]:
    health, groups, capacity = sample.health, sample.groups, sample.capacity
    return {
        "fsid": sample.fsid,
        "health": health
        and {
            "status": health.status,
            "checks": [
                {
                    "name": check.name,
                    "severity": check.severity,
                    "message": check.message,
                    "details": list(check.details),
                    "muted": check.muted,
                    "remedy": diagnose.remedy(check.name),
                }
                for check in health.checks
            ],
        },
        "mons": _each(sample.mons, lambda mon: _mon(sample, mon)),
        "mgrs": _each(sample.mgrs, lambda mgr: _mgr(sample, mgr)),
        "osds": sample.counts
        and {
            "total": sample.counts.total,
            "up": sample.counts.up,
            "in": sample.counts.inside,
        },
        "placement_groups": groups
        and {
            "total": groups.total,
            "inactive": groups.inactive,
            "states": dict(groups.states),
        },
        "capacity": capacity
        and {
            "raw": {
                "total": capacity.total,
                "used": capacity.used,
                "free": capacity.free,
            },
            "usable": usable(sample.pools),
        },
        "pools": _each(sample.pools, _pool),
        "recovery": groups
        and {
            "copies": groups.recovery.copies,
            "degraded": groups.recovery.degraded,
            "misplaced": groups.recovery.misplaced,
            "unfound": groups.recovery.unfound,
            "objects_per_second": groups.recovery.objects_rate,
            "bytes_per_second": groups.recovery.bytes_rate,
            "seconds_left": groups.left,
            "progress": [
                {"message": one.message, "done": one.done} for one in groups.progress
            ],
        },
        "clients": groups and _rates(groups.clients),
    }


def usable(pools: Iterable[Pool] | None) -> dict[str, int] | None:
    """Return what the pools hold and have room for, in bytes of users' data.

    They share the OSDs, so the room is that of the pool with the most of it.
    """
    if pools is None:
        return None
    known = list(pools)
    images = [one for one in known if "rbd" in one.applications] or known
    stored = sum(one.stored for one in known)
    free = max((one.free for one in images), default=0)
    return {"total": stored + free, "used": stored, "free": free}


def _each(
    found: Iterable[Any] | None, describe: Callable[[Any], dict[str, Any]]
) -> list[dict[str, Any]] | None:
    return None if found is None else [describe(one) for one in found]


def _mon(sample: Sample, mon: Mon) -> dict[str, Any]:
    return {
        "name": mon.name,
        "node": sample.names.node_of(mon.host or mon.name),
        "address": mon.address,
        "in_quorum": mon.in_quorum,
        "version": mon.version,
    }


def _mgr(sample: Sample, mgr: Mgr) -> dict[str, Any]:
    return {
        "name": mgr.name,
        "node": sample.names.node_of(mgr.host or mgr.name),
        "active": mgr.active,
        "version": mgr.version,
    }


def _pool(pool: Pool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "applications": list(pool.applications),
        "size": pool.size,
        "min_size": pool.min_size,
        "placement_groups": pool.groups,
        "objects": pool.objects,
        "stored": pool.stored,
        "free": pool.free,
        "usable": pool.usable,
        "raw_used": pool.used,
        "quota_bytes": pool.quota_bytes,
        "quota_objects": pool.quota_objects,
        "read_ops": pool.read_ops,
        "read_bytes": pool.read_bytes,
        "write_ops": pool.write_ops,
        "write_bytes": pool.write_bytes,
    }


def _rates(rates: Rates) -> dict[str, float]:
    return {
        "read_bytes_per_second": rates.read_bytes,
        "write_bytes_per_second": rates.write_bytes,
        "read_ops_per_second": rates.read_ops,
        "write_ops_per_second": rates.write_ops,
    }


# The node


def _judge_node(sample: Sample) -> Judged:
    found = [_judge_daemon(one) for one in sample.daemons or ()]
    told = {one.name for one in sample.daemons or () if one.kind == "osd"}
    for osd in own_osds(sample) or ():
        if not osd.up:
            found.append((BAD, f"osd.{osd.id} is down"))
        elif str(osd.id) not in told and sample.daemons is not None:
            found.append((BAD, f"osd.{osd.id} has no service here"))
    for mon in sample.mons or ():
        if (mon.host or mon.name) == sample.host and not mon.in_quorum:
            found.append((BAD, f"mon.{mon.name} is not in quorum"))
    return _worst(found)


def _judge_daemon(daemon: Daemon) -> Judged:
    if daemon.state == "active":
        return OK, ""
    words = f"{daemon.kind}.{daemon.name} is {daemon.state} ({daemon.substate})"
    return (MENDING if daemon.state == "activating" else BAD), words


def own_osds(sample: Sample) -> list[Osd] | None:
    """Return the OSDs of the sample's node, None if they are not known."""
    if sample.osds is None:
        return None
    return [osd for osd in sample.osds if osd.host == sample.host]


def _node(sample: Sample) -> dict[str, Any]:
    osds = {str(osd.id): osd for osd in own_osds(sample) or ()}
    mons = {mon.name: mon for mon in sample.mons or ()}
    mgrs = {mgr.name: mgr for mgr in sample.mgrs or ()}
    seen = {("osd", name) for name in osds}
    units = {(one.kind, one.name): one for one in sample.daemons or ()}
    described = []
    for kind, name in sorted(seen | set(units)):
        more: dict[str, Any] = {}
        if kind == "osd" and name in osds:
            more = _osd(osds[name])
        elif kind == "mon" and name in mons:
            more = {"in_quorum": mons[name].in_quorum}
        elif kind == "mgr" and sample.mgrs is not None:
            more = {"active": name in mgrs and mgrs[name].active}
        unit = _daemon(units.get((kind, name)), sample.taken)
        described.append({"type": kind, "id": name, **unit, **more})
    return {
        "host": sample.host,
        "daemons": described if sample.daemons is not None or osds else None,
        "devices": _each(sample.own_devices, _device),
    }


def _daemon(daemon: Daemon | None, now: float) -> dict[str, Any]:
    if daemon is None:
        return {"state": None, "running": False}
    return {
        "state": daemon.state,
        "substate": daemon.substate,
        "running": daemon.running,
        "restarts": daemon.restarts,
        "uptime": None if daemon.started is None else max(0.0, now - daemon.started),
        "memory": daemon.memory,
        "cpu_seconds": daemon.cpu,
        "version": daemon.version,
        "devices": list(daemon.devices),
    }


def _osd(osd: Osd) -> dict[str, Any]:
    full = osd.used / osd.size if osd.size and osd.used is not None else None
    return {
        "up": osd.up,
        "in": osd.inside,
        "device_class": osd.device_class,
        "size": osd.size,
        "used": osd.used,
        "utilisation": full,
        "placement_groups": osd.groups,
        "commit_latency": osd.commit_latency,
        "apply_latency": osd.apply_latency,
    }


def _device(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "device": device.name,
        "daemons": list(device.daemons),
        "fails_after": device.fails_after,
        "fails_before": device.fails_before,
        "wear": device.wear,
    }


# The instances' disks


def _judge_disks(sample: Sample) -> Judged:
    broken = [
        f"{one.place}/{one.name} cannot be opened: {one.error}"
        for one in sample.images or ()
        if one.error
    ]
    if len(broken) > 1:
        broken[1:] = [f"so {len(broken) - 1} more"]
    unread = sum(one.use is None and one.error is None for one in sample.images or ())
    if unread:
        broken.append(f"{unread} of {len(sample.images or ())} not looked at yet")
    return (UNKNOWN, ", ".join(broken)) if broken else (OK, "")


def _disks(sample: Sample) -> dict[str, Any]:
    leader = None if sample.leader is None else sample.names.node_of(sample.leader)
    if sample.images is None:
        return {"told_by": leader, "instances": None, "others": None}
    # Clusters of Ganeti's that share the storage may have instances of the same name.
    instances: dict[tuple[str, str], list[dict[str, Any]]] = {}
    others = []
    for image in sample.images:
        described = _image(sample, image)
        if image.use and image.use.instance:
            owner = image.use.instance, image.use.cluster
            instances.setdefault(owner, []).append(described)
        else:
            others.append(described)
    return {
        "told_by": leader,
        "instances": [
            {
                "name": name,
                "cluster": cluster,
                "disks": sorted(disks, key=lambda one: (one["disk"], one["image"])),
            }
            for (name, cluster), disks in sorted(instances.items())
        ],
        # Of nobody, or not looked at yet.
        "others": others,
    }


def _image(sample: Sample, image: Image) -> dict[str, Any]:
    use, names = image.use, sample.names
    described: dict[str, Any] = {
        "disk": use.disk if use else "",
        "cluster": use.cluster if use else "",
        "image": image.name,
        "pool": image.pool,
        "namespace": image.namespace,
        "provisioned": use and use.size,
        "used": use and use.used,
        "watchers": sorted({names.node_at(one) for one in use.watchers})
        if use
        else None,
        "lock_owner": names.node_at(use.lock_owner) if use and use.lock_owner else None,
        "timestamp": _ns(use.read_at) if use else None,
        "error": image.error,
        "io": image.io
        and {
            "read_ops": image.io.read_ops,
            "read_bytes": image.io.read_bytes,
            "read_seconds": image.io.read_seconds,
            "write_ops": image.io.write_ops,
            "write_bytes": image.io.write_bytes,
            "write_seconds": image.io.write_seconds,
        },
        "rates": image.rates and _rates(image.rates),
    }
    return described


COLLECTORS: Mapping[
    str,
    tuple[
        Callable[[Sample], Judged],
        Callable[[Sample], dict[str, Any]],
        tuple[str, ...],
    ],
] = {
    "ceph-cluster": (_judge_cluster, _cluster, CLUSTER_PARTS),
    "ceph-node": (_judge_node, _node, NODE_PARTS),
    "ceph-disks": (_judge_disks, _disks, DISK_PARTS),
}
