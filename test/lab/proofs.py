"""What changes for each real cause: metrics, and fields of reports.

``test_metrics.py`` makes the causes in a lab and looks; a unit test sees to it that
nothing that a collector tells is missing here.  No rule may hold before its cause.
"""

import dataclasses
import math
import string
import time
from collections.abc import Callable, Mapping
from typing import Any

MIB = 2**20
GIB = 2**30


#: What a cause knows, by name.
Facts = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a value is to be, and in words."""

    words: str
    #: Given what it was, what it is now, and what the cause knows.
    holds: Callable[[Any, Any, Facts], bool]


def filled(value: Any, facts: Facts) -> Any:
    """Return a value with what the cause knows in the place of each ``$name``."""
    if isinstance(value, list):
        return [filled(one, facts) for one in value]
    if not isinstance(value, str):
        return value
    if value[:1] == "$" and value[1:] in facts:
        return facts[value[1:]]
    return string.Template(value).substitute(facts)


@dataclasses.dataclass(frozen=True)
class Row:
    """A metric with some of its labels, or a field of a node's report, and its rule.

    Labels and selectors may have ``$name``, for what only the cause knows.
    """

    name: str
    rule: Rule
    #: Of a metric; None for a field.
    labels: Mapping[str, str] | None = None
    #: Whose report has the field.
    node: str = ""


def metric(name: str, rule: Rule, **labels: str) -> Row:
    """Return a row for a metric, named without what all begin with."""
    return Row(name, rule, labels)


def field(path: str, rule: Rule, node: str = "node1") -> Row:
    """Return a row for a field: ``REPORT a.b[key=value].c``."""
    return Row(path, rule, node=node)


def becomes(value: Any) -> Rule:
    return Rule(
        f"becomes {value!r}",
        lambda before, now, facts: before != now == filled(value, facts),
    )


def nears(value: float) -> Rule:
    """A manager keeps some numbers with few digits."""
    return Rule(
        f"becomes about {value}",
        lambda before, now, _: (
            before != now and now is not None and math.isclose(now, value, rel_tol=1e-6)
        ),
    )


def appears(above: float | None = None) -> Rule:
    """What was not there is, and is more than something."""
    return Rule(
        "appears",
        lambda before, now, _: (
            before is None and now is not None and (above is None or now > above)
        ),
    )


def ends() -> Rule:
    return Rule("ends", lambda before, now, _: before is not None and now is None)


def rises(by: float = 0) -> Rule:
    return Rule(
        f"rises by more than {by}",
        lambda before, now, _: now is not None and now > (before or 0) + by,
    )


def falls(by: float = 0) -> Rule:
    return Rule(
        f"falls by more than {by}",
        lambda before, now, _: None not in (before, now) and now < before - by,
    )


def says(words: str) -> Rule:
    def holds(before: Any, now: Any, facts: Facts) -> bool:
        sought = filled(words, facts)
        return sought in str(now) and sought not in str(before)

    return Rule(f"says {words!r}", holds)


def grows_old(seconds: float, unit: float = 1) -> Rule:
    """What is a moment stays behind the time, in units of which a second has some."""
    return Rule(
        f"is of {seconds} seconds ago",
        lambda before, now, _: now is not None and time.time() - now / unit > seconds,
    )


_OSD_DOWN = "ceph-cluster health.checks[name=OSD_DOWN]"
_POOL = "ceph-cluster pools[name=told]"
_OSD = "ceph-node daemons[type=osd]"
_NEW = "ceph-node daemons[id=$new]"
_DEVICE = "ceph-node devices[id=Flash_1]"
_DISK = "ceph-disks instances[name=$guest].disks[0]"
_IMAGE = "ceph-disks others[image=$image]"
_RECOVERY = "ceph-cluster recovery"

#: By cause: a function of that name in test_metrics.py.
CHANGES: Mapping[str, tuple[Row, ...]] = {
    "osd_stops": (
        metric("osd_up", becomes(0), daemon="osd.$osd"),
        metric("osds_up", becomes(2)),
        metric("daemon_running", becomes(0), daemon="osd.$osd"),
        metric("daemon_memory_bytes", ends(), daemon="osd.$osd"),
        metric("health_status", becomes(1)),
        metric("health_check", becomes(1), check="OSD_DOWN", severity="HEALTH_WARN"),
        metric("placement_groups", appears(), state="active+undersized"),
        metric("copies_degraded", rises()),
        # Ceph tells it only while some are missing or misplaced.
        metric("copies", appears(2)),
        field("ceph-cluster status.code", becomes(4)),
        field("ceph-cluster status.message", says("OSD_DOWN")),
        field("ceph-cluster health.status", becomes("HEALTH_WARN")),
        field(f"{_OSD_DOWN}.name", becomes("OSD_DOWN")),
        field(f"{_OSD_DOWN}.severity", becomes("HEALTH_WARN")),
        field(f"{_OSD_DOWN}.message", says("1 osds down")),
        field(f"{_OSD_DOWN}.details", says("osd.$osd")),
        field(f"{_OSD_DOWN}.remedy", says("gnt-storage")),
        field("ceph-cluster osds.up", becomes(2)),
        field("ceph-cluster placement_groups.states", says("undersized")),
        field(f"{_RECOVERY}.degraded", rises()),
        field(f"{_RECOVERY}.copies", appears(2)),
        field("ceph-node status.code", becomes(4), "node3"),
        field("ceph-node status.message", says("osd.$osd is inactive"), "node3"),
        field(f"{_OSD}.state", becomes("inactive"), "node3"),
        field(f"{_OSD}.substate", becomes("dead"), "node3"),
        field(f"{_OSD}.running", becomes(False), "node3"),
        field(f"{_OSD}.up", becomes(False), "node3"),
        field(f"{_OSD}.memory", ends(), "node3"),
    ),
    "check_is_muted": (
        metric("health_check", becomes(0), check="OSDMAP_FLAGS"),
        field("ceph-cluster health.checks[name=OSDMAP_FLAGS].muted", becomes(True)),
        field("ceph-cluster status.code", becomes(0)),
    ),
    "osd_is_killed": (
        metric("daemon_restarts_total", becomes("$restarts"), daemon="osd.$osd"),
        metric("daemon_start_time_seconds", rises(1), daemon="osd.$osd"),
        # Begins anew.
        metric("daemon_cpu_seconds_total", falls(), daemon="osd.$osd"),
        field(f"{_OSD}.restarts", becomes("$restarts"), "node3"),
        field(f"{_OSD}.uptime", falls(5), "node3"),
        field(f"{_OSD}.cpu_seconds", falls(), "node3"),
    ),
    "osd_is_out": (
        metric("osd_in", becomes(0), daemon="osd.$osd"),
        metric("osds_in", becomes(2)),
        metric("osd_placement_groups", falls(), daemon="osd.$osd"),
        metric("copies_misplaced", rises()),
        metric("recovery_objects_per_second", rises()),
        metric("recovery_bytes_per_second", rises()),
        metric("recovery_left_seconds", rises()),
        field("ceph-cluster osds.in", becomes(2)),
        field(f"{_OSD}.in", becomes(False), "node3"),
        field(f"{_RECOVERY}.misplaced", rises()),
        field(f"{_RECOVERY}.objects_per_second", rises()),
        field(f"{_RECOVERY}.bytes_per_second", rises()),
        field(f"{_RECOVERY}.seconds_left", rises()),
        field(f"{_RECOVERY}.progress[0].message", appears()),
        field(f"{_RECOVERY}.progress[0].done", appears(0)),
    ),
    "osd_comes_back": (field("ceph-cluster status.code", becomes(1)),),
    "osd_is_added": (
        metric("osds", becomes(4)),
        metric("osd_size_bytes", becomes(4 * GIB), daemon="osd.$new"),
        metric("raw_size_bytes", rises(4 * GIB - 1)),
        metric("daemon_info", appears(), daemon="osd.$new", version="$version"),
        field("ceph-cluster osds.total", becomes(4)),
        field("ceph-cluster capacity.raw.total", rises(4 * GIB - 1)),
        field("ceph-cluster capacity.raw.free", rises(3 * GIB)),
        field(f"{_NEW}.type", becomes("osd"), "node2"),
        field(f"{_NEW}.id", becomes("$new"), "node2"),
        field(f"{_NEW}.version", becomes("$version"), "node2"),
    ),
    "osd_is_grown": (
        metric("osd_size_bytes", becomes(6 * GIB), daemon="osd.$new"),
        metric("raw_size_bytes", rises(2 * GIB - 1)),
    ),
    "osd_gets_another_class": (
        metric("osd_up", appears(), daemon="osd.$osd", device_class="told"),
        field(f"{_OSD}.device_class", becomes("told"), "node3"),
    ),
    "first_mon_stops": (
        metric("leader", becomes(0), node="node1.lab.example"),
        metric("leader", becomes(1), node="node2.lab.example"),
        metric("mon_in_quorum", becomes(0), mon="node1", node="node1.lab.example"),
        field("ceph-cluster mons[name=node1].in_quorum", becomes(False), "node2"),
        field("ceph-node daemons[type=mon].in_quorum", becomes(False), "node1"),
        field("ceph-disks told_by", becomes("node2.lab.example"), "node3"),
    ),
    "mons_stop": (
        metric("up", becomes(0), node="node1.lab.example"),
        metric("up", becomes(0), node="node3.lab.example"),
        metric("part_known", becomes(0), part="health", node="node1.lab.example"),
        metric("part_known", becomes(0), part="images", node="node1.lab.example"),
        metric("health_status", ends()),
        field("ceph-cluster unknown[part=health].part", becomes("health")),
        field("ceph-cluster unknown[part=health].reason", appears()),
        field("ceph-cluster unknown[part=health].last_known", grows_old(3, 1e9)),
        field("ceph-cluster status.code", becomes(2)),
        field("ceph-cluster status.message", says("health")),
        field("ceph-node unknown[part=osds].part", becomes("osds")),
        field("ceph-node unknown[part=osds].reason", appears()),
        field("ceph-node unknown[part=osds].last_known", grows_old(3, 1e9)),
        field("ceph-disks unknown[part=images].part", becomes("images")),
        field("ceph-disks unknown[part=images].reason", appears()),
        field("ceph-disks unknown[part=images].last_known", grows_old(3, 1e9)),
        field("ceph-disks status.code", becomes(2)),
        field("ceph-disks status.message", says("images not known")),
    ),
    "active_mgr_stops": (
        metric("mgr_active", becomes(1), mgr="$standby"),
        metric("mgr_active", ends(), mgr="$active"),
        field("ceph-cluster mgrs[name=$standby].active", becomes(True)),
        field("ceph-node daemons[type=mgr].active", becomes(True), "$standby"),
        field("ceph-node daemons[type=mgr].running", becomes(False), "$active"),
    ),
    "pool_is_made": (
        metric("pool_size", becomes(2), pool="told"),
        metric("pool_quota_bytes", becomes(400_000_000), pool="told"),
        metric("pool_usable_bytes", becomes(400_000_000), pool="told"),
        metric("osd_placement_groups", rises(), daemon="osd.$osd"),
        metric("placement_groups", rises(7), state="active+clean"),
        metric("usable_size_bytes", rises(GIB)),
        field(f"{_POOL}.name", becomes("told")),
        field(f"{_POOL}.applications", becomes(["rbd"])),
        field(f"{_POOL}.size", becomes(2)),
        field(f"{_POOL}.min_size", becomes(1)),
        field(f"{_POOL}.placement_groups", becomes(8)),
        field(f"{_POOL}.quota_bytes", becomes(400_000_000)),
        field(f"{_POOL}.quota_objects", becomes(5000)),
        field(f"{_POOL}.usable", becomes(400_000_000)),
        field("ceph-cluster placement_groups.total", rises(7)),
        field("ceph-cluster capacity.usable.total", rises(GIB)),
        field("ceph-cluster capacity.usable.free", rises(GIB)),
        field(f"{_OSD}.placement_groups", rises(), "node3"),
    ),
    # Twenty objects of 4 MiB, of which the pool keeps two copies.  Meanwhile OSDs may
    # still be removing what was in another pool.
    "pool_is_written": (
        metric("pool_objects", becomes(20), pool="told"),
        metric("pool_stored_bytes", becomes(80 * MIB), pool="told"),
        metric("pool_raw_used_bytes", becomes(160 * MIB), pool="told"),
        metric("pool_free_bytes", falls(30 * MIB), pool="told"),
        metric("pool_write_ops_total", rises(19), pool="told"),
        metric("pool_write_bytes_total", becomes(80 * MIB), pool="told"),
        metric("raw_used_bytes", rises(100 * MIB)),
        metric("usable_used_bytes", rises(79 * MIB)),
        metric("osd_used_bytes", rises(20 * MIB), daemon="osd.$osd"),
        metric("client_write_bytes_per_second", rises(MIB)),
        metric("client_write_ops_per_second", rises()),
        field(f"{_POOL}.objects", becomes(20)),
        field(f"{_POOL}.stored", becomes(80 * MIB)),
        field(f"{_POOL}.raw_used", becomes(160 * MIB)),
        field(f"{_POOL}.free", falls(30 * MIB)),
        field(f"{_POOL}.write_ops", rises(19)),
        field(f"{_POOL}.write_bytes", becomes(80 * MIB)),
        field("ceph-cluster capacity.raw.used", rises(100 * MIB)),
        field("ceph-cluster capacity.raw.free", falls(100 * MIB)),
        field("ceph-cluster capacity.usable.used", rises(79 * MIB)),
        field("ceph-cluster clients.write_bytes_per_second", rises(MIB)),
        field("ceph-cluster clients.write_ops_per_second", rises()),
        field(f"{_OSD}.used", rises(20 * MIB), "node3"),
        field(f"{_OSD}.utilisation", rises(20 / 10240), "node3"),
    ),
    # All of them thrice; what was read last Ceph counts with what comes after it.
    "pool_is_read": (
        metric("pool_read_ops_total", rises(39), pool="told"),
        metric("pool_read_bytes_total", rises(160 * MIB - 1), pool="told"),
        metric("client_read_bytes_per_second", rises(MIB)),
        metric("client_read_ops_per_second", rises()),
        field(f"{_POOL}.read_ops", rises(39)),
        field(f"{_POOL}.read_bytes", rises(160 * MIB - 1)),
        field("ceph-cluster clients.read_bytes_per_second", rises(MIB)),
        field("ceph-cluster clients.read_ops_per_second", rises()),
    ),
    "instance_writes": (
        metric(
            *("image_provisioned_bytes", becomes(GIB)), instance_name="$guest", disk="0"
        ),
        metric("image_used_bytes", rises(), instance_name="$guest"),
        metric("image_read_timestamp_seconds", appears(), instance_name="$guest"),
        metric(
            "image_open", becomes(1), instance_name="$guest", node="node2.lab.example"
        ),
        metric("image_write_ops_total", rises(), instance_name="$guest"),
        metric("image_write_bytes_total", rises(), instance_name="$guest"),
        metric("image_write_seconds_total", rises(), instance_name="$guest"),
        field("ceph-disks instances[name=$guest].name", becomes("$guest")),
        field("ceph-disks instances[name=$guest].cluster", becomes("$cluster")),
        field(f"{_DISK}.disk", becomes("0")),
        field(f"{_DISK}.cluster", becomes("$cluster")),
        field(f"{_DISK}.image", becomes("$disk")),
        field(f"{_DISK}.pool", becomes("rbd")),
        field(f"{_DISK}.provisioned", becomes(GIB)),
        field(f"{_DISK}.used", rises()),
        field(f"{_DISK}.watchers", becomes(["node2.lab.example"])),
        field(f"{_DISK}.lock_owner", becomes("node2.lab.example")),
        field(f"{_DISK}.timestamp", appears()),
        field(f"{_DISK}.io.write_ops", rises()),
        field(f"{_DISK}.io.write_bytes", rises()),
        field(f"{_DISK}.io.write_seconds", rises()),
        field(f"{_DISK}.rates.write_bytes_per_second", rises()),
        field(f"{_DISK}.rates.write_ops_per_second", rises()),
    ),
    "disk_is_grown_and_read": (
        metric(
            "image_provisioned_bytes", becomes(GIB + 256 * MIB), instance_name="$guest"
        ),
        metric("image_read_ops_total", rises(2), instance_name="$guest"),
        metric("image_read_bytes_total", rises(100_000), instance_name="$guest"),
        metric("image_read_seconds_total", rises(), instance_name="$guest"),
        field(f"{_DISK}.provisioned", becomes(GIB + 256 * MIB)),
        field(f"{_DISK}.io.read_ops", rises(2)),
        field(f"{_DISK}.io.read_bytes", rises(100_000)),
        field(f"{_DISK}.io.read_seconds", rises()),
        field(f"{_DISK}.rates.read_bytes_per_second", rises()),
        field(f"{_DISK}.rates.read_ops_per_second", rises()),
    ),
    "instance_stops": (
        metric("image_open", ends(), instance_name="$guest"),
        field(f"{_DISK}.watchers", becomes([])),
        field(f"{_DISK}.lock_owner", ends()),
    ),
    "image_in_a_namespace_is_made": (
        metric("image_provisioned_bytes", becomes(16 * MIB), namespace="apart"),
        field("ceph-disks others[image=lone].namespace", becomes("apart")),
    ),
    # A pool that keeps one copy, and that is gone.
    "image_is_out_of_reach": (
        metric("placement_groups_inactive", rises()),
        metric("image_read_timestamp_seconds", grows_old(8), image="$image"),
        # To find that out takes its time.
        metric("sample_duration_seconds", rises(8), node="node1.lab.example"),
        metric("sample_timestamp_seconds", grows_old(8), node="node1.lab.example"),
        field("head timestamp", grows_old(8, 1e9)),
        field("ceph-cluster placement_groups.inactive", rises()),
        field(f"{_IMAGE}.error", says("timed out")),
        field(f"{_IMAGE}.timestamp", grows_old(8, 1e9)),
        field("ceph-disks status.code", becomes(2)),
        field("ceph-disks status.message", says("cannot be opened")),
    ),
    "object_is_out_of_reach": (
        metric("objects_unfound", becomes(1)),
        field(f"{_RECOVERY}.unfound", becomes(1)),
    ),
    "osd_is_slow": (
        metric("osd_commit_latency_seconds", rises(0.2), daemon="osd.$osd"),
        metric("osd_apply_latency_seconds", rises(0.2), daemon="osd.$osd"),
        field(f"{_OSD}.commit_latency", rises(0.2), "node2"),
        field(f"{_OSD}.apply_latency", rises(0.2), "node2"),
    ),
    "disk_wears_out": (
        metric("device_info", appears(), device_id="Flash_1", daemons="osd.$osd"),
        metric("device_wear_ratio", nears(0.97), device_id="Flash_1"),
        metric(
            *("device_failure_earliest_timestamp_seconds", becomes("$earliest")),
            device_id="Flash_1",
        ),
        metric(
            *("device_failure_latest_timestamp_seconds", becomes("$latest")),
            device_id="Flash_1",
        ),
        field(f"{_DEVICE}.id", becomes("Flash_1"), "node2"),
        field(f"{_DEVICE}.device", becomes("$device"), "node2"),
        field(f"{_DEVICE}.daemons", becomes(["osd.$osd"]), "node2"),
        field(f"{_DEVICE}.wear", nears(0.97), "node2"),
        field(f"{_DEVICE}.fails_after", becomes("$earliest"), "node2"),
        field(f"{_DEVICE}.fails_before", becomes("$latest"), "node2"),
    ),
    "other_version_is_installed": (
        metric("collector_info", appears(), node="node3.lab.example", version="9.9"),
        field("head version", becomes("9.9"), "node3"),
    ),
}

#: Fields that stay as they are, whatever happens to this storage cluster: what they say
#: is compared with what Ceph, Ganeti and the system say.
SAME = frozenset(
    {
        "head name",
        "head category",
        "head kind",
        "head format_version",
        "ceph-cluster node",
        "ceph-node node",
        "ceph-disks node",
        "ceph-node host",
        "ceph-node daemons[].devices",
        # One that is made of a file and grows is not under its host.
        "ceph-node daemons[].size",
        "ceph-cluster fsid",
        "ceph-cluster mons[].name",
        "ceph-cluster mons[].node",
        "ceph-cluster mons[].address",
        "ceph-cluster mons[].version",
        "ceph-cluster mgrs[].name",
        "ceph-cluster mgrs[].node",
        "ceph-cluster mgrs[].version",
    }
)
