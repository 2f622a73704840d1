"""A sample as metrics for Prometheus.

What concerns the whole storage cluster, its OSDs and images comes from the collector
that leads, everything else from the node that it is about: each number once.  A part
that is not known has no numbers.

An instance's name is in the label ``instance_name``: ``instance`` is Prometheus' own
name for what it scraped.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.samples import Sample as Line

from ganeti_ceph import __version__
from ganeti_ceph.collector import facts, report
from ganeti_ceph.collector.facts import Sample

#: What a scraper is told of the text.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "ganeti_ceph_"

#: Ceph's words for its health, as numbers to compare.
_HEALTH = {"HEALTH_OK": 0, "HEALTH_WARN": 1, "HEALTH_ERR": 2}

Labels = dict[str, str]
#: Labels of something, and what it is.
Rows = list[tuple[Labels, Any]]


def text(sample: Sample) -> bytes:
    """Return a sample's metrics in Prometheus' text format.

    It says what ``prometheus_client.generate_latest`` makes of them, which takes ten
    times as long; with ten thousand OSDs that counts.
    """
    written: list[str] = []
    # Many metrics have the same labels.
    known: dict[int, str] = {}
    for family in families(sample):
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        kind = "gauge" if family.type == "info" else family.type
        written.append(f"# HELP {family.name}{suffix} {_plain(family.documentation)}\n")
        written.append(f"# TYPE {family.name}{suffix} {kind}\n")
        for line in family.samples:
            key = id(line.labels)
            if key not in known:
                known[key] = _write_labels(
                    tuple(line.labels), tuple(line.labels.values())
                )
            # Go's library, and thus Prometheus, reads Python's numbers, "inf" and all.
            written.append(f"{line.name}{known[key]} {float(line.value)!r}\n")
    # Ceph's answers may have half a character in them.
    return "".join(written).encode(errors="replace")


def _plain(words: str) -> str:
    return words.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(words: str) -> str:
    return _plain(words).replace('"', r"\"")


# Those of nearly all OSDs and images are the same in one sample and the next.
@functools.lru_cache(maxsize=2**16)
def _write_labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    labels = sorted(zip(names, values, strict=True))
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels) + "}"


def families(sample: Sample) -> list[Metric]:
    """Return a sample's metrics; those without a number are left out."""
    found = [*_own(sample), *_daemons(sample), *_devices(sample)]
    if sample.leads:
        found += [
            *_health(sample),
            *_members(sample),
            *_data(sample),
            *_pools(sample),
            *_osds(sample),
            *_images(sample),
        ]
    return [family for family in found if family.samples]


def _gauge(name: str, help_text: str, rows: Iterable[tuple[Labels, Any]]) -> Metric:
    """Return a metric that goes up and down; rows with None are left out."""
    return _fill(GaugeMetricFamily(_PREFIX + name, help_text), "", rows)


def _counter(name: str, help_text: str, rows: Iterable[tuple[Labels, Any]]) -> Metric:
    return _fill(CounterMetricFamily(_PREFIX + name, help_text), "_total", rows)


def _info(name: str, help_text: str, labels: Iterable[Labels]) -> Metric:
    family = InfoMetricFamily(_PREFIX + name, help_text)
    return _fill(family, "_info", ((one, 1) for one in labels))


def _fill(family: Any, suffix: str, rows: Iterable[tuple[Labels, Any]]) -> Metric:
    # Rather than by add_metric(), which copies the labels each time.
    family.samples = [
        Line(family.name + suffix, labels, value)
        for labels, value in rows
        if value is not None
    ]
    filled: Metric = family
    return filled


def _one(value: Any) -> list[tuple[Labels, Any]]:
    return [({}, value)]


def _each(rows: Rows, what: Callable[[Any], Any]) -> Iterator[tuple[Labels, Any]]:
    return ((labels, what(one)) for labels, one in rows)


# The collector itself


def _own(sample: Sample) -> Iterator[Metric]:
    node = {"node": sample.node}
    yield _info(
        "collector", "The collector's version.", [{**node, "version": __version__}]
    )
    yield _gauge(
        "up",
        "Whether the storage cluster answered the collector.",
        [(node, sample.answered)],
    )
    yield _gauge(
        "leader",
        "Whether this collector tells of the cluster, all OSDs and the images.",
        [(node, sample.leads)],
    )
    yield _gauge(
        "sample_timestamp_seconds",
        "When these numbers were read.",
        [(node, sample.taken)],
    )
    yield _gauge(
        "sample_duration_seconds",
        "How long it took to read these numbers.",
        [(node, sample.seconds)],
    )
    missing = {gap.part for gap in sample.gaps}
    parts = {*facts.NODE_PARTS, *missing}
    if sample.leads:
        parts.update(facts.CLUSTER_PARTS, facts.DISK_PARTS)
    yield _gauge(
        "part_known",
        "Whether a part of the numbers is known.",
        [({**node, "part": one}, one not in missing) for one in sorted(parts)],
    )


def _daemons(sample: Sample) -> Iterator[Metric]:
    rows: Rows = [
        ({"node": sample.node, "daemon": f"{one.kind}.{one.name}"}, one)
        for one in sample.daemons or ()
    ]
    yield _info(
        "daemon",
        "A daemon of Ceph's on this node.",
        (
            {
                **labels,
                "type": one.kind,
                "version": one.version or "",
                "devices": ",".join(one.devices),
            }
            for labels, one in rows
        ),
    )
    yield _gauge(
        "daemon_running",
        "Whether systemd has the daemon running.",
        _each(rows, lambda one: one.state == "active" and one.running),
    )
    yield _counter(
        "daemon_restarts",
        "How often systemd had to start the daemon again.",
        _each(rows, lambda one: one.restarts),
    )
    yield _gauge(
        "daemon_start_time_seconds",
        "When the daemon's process began.",
        _each(rows, lambda one: one.started),
    )
    yield _gauge(
        "daemon_memory_bytes",
        "The resident memory of the daemon.",
        _each(rows, lambda one: one.memory),
    )
    yield _counter(
        "daemon_cpu_seconds",
        "The processor time of the daemon.",
        _each(rows, lambda one: one.cpu),
    )


def _devices(sample: Sample) -> Iterator[Metric]:
    rows: Rows = [
        (
            {"node": sample.node, "device": one.name, "device_id": one.id},
            one,
        )
        for one in sample.own_devices or ()
    ]
    yield _info(
        "device",
        "A disk of this node, and the daemons that use it.",
        ({**labels, "daemons": ",".join(one.daemons)} for labels, one in rows),
    )
    yield _gauge(
        "device_failure_earliest_timestamp_seconds",
        "When Ceph expects the disk to fail, at the earliest.",
        _each(rows, lambda one: one.fails_after),
    )
    yield _gauge(
        "device_failure_latest_timestamp_seconds",
        "When Ceph expects the disk to fail, at the latest.",
        _each(rows, lambda one: one.fails_before),
    )
    yield _gauge(
        "device_wear_ratio",
        "How much of a flash disk's life is used.",
        _each(rows, lambda one: one.wear),
    )


# The cluster


def _health(sample: Sample) -> Iterator[Metric]:
    if sample.health is None:
        return
    yield _gauge(
        "health_status",
        "Ceph's health: 0 is HEALTH_OK, 1 HEALTH_WARN, 2 HEALTH_ERR.",
        # What is none of them is not well.
        _one(_HEALTH.get(sample.health.status, 2)),
    )
    yield _gauge(
        "health_check",
        "A health check of Ceph's that is not well; 0 for one that is muted.",
        [
            ({"check": one.name, "severity": one.severity}, not one.muted)
            for one in sample.health.checks
        ],
    )


def _members(sample: Sample) -> Iterator[Metric]:
    node_of = sample.names.node_of
    yield _gauge(
        "mon_in_quorum",
        "Whether a monitor is in quorum.",
        [
            ({"node": node_of(one.host or one.name), "mon": one.name}, one.in_quorum)
            for one in sample.mons or ()
        ],
    )
    yield _gauge(
        "mgr_active",
        "Whether a manager is the active one.",
        [
            ({"node": node_of(one.host or one.name), "mgr": one.name}, one.active)
            for one in sample.mgrs or ()
        ],
    )
    counts = sample.counts
    if counts is not None:
        yield _gauge("osds", "OSDs that there are.", _one(counts.total))
        yield _gauge("osds_up", "OSDs that run.", _one(counts.up))
        yield _gauge("osds_in", "OSDs meant to hold data.", _one(counts.inside))


def _data(sample: Sample) -> Iterator[Metric]:
    groups, capacity = sample.groups, sample.capacity
    if capacity is not None:
        yield _gauge("raw_size_bytes", "The room on all OSDs.", _one(capacity.total))
        yield _gauge(
            "raw_used_bytes", "What is used of it, copies and all.", _one(capacity.used)
        )
    usable = report.usable(sample.pools)
    if usable is not None:
        yield _gauge(
            "usable_size_bytes",
            "What the pools can hold for their users.",
            _one(usable["total"]),
        )
        yield _gauge(
            "usable_used_bytes",
            "What the pools hold for their users.",
            _one(usable["used"]),
        )
    if groups is None:
        return
    yield _gauge(
        "placement_groups",
        "Placement groups by state.",
        [({"state": state}, count) for state, count in groups.states],
    )
    yield _gauge(
        "placement_groups_inactive",
        "Placement groups that serve nobody.",
        _one(groups.inactive),
    )
    recovery, clients = groups.recovery, groups.clients
    for name, help_text, value in (
        (
            "copies",
            "Copies of objects that there are to be; absent while all are in place.",
            recovery.copies,
        ),
        ("copies_degraded", "Copies that are missing.", recovery.degraded),
        ("copies_misplaced", "Copies at a wrong place.", recovery.misplaced),
        ("objects_unfound", "Objects without any copy.", recovery.unfound),
        (
            "recovery_objects_per_second",
            "Copies that are made good.",
            recovery.objects_rate,
        ),
        (
            "recovery_bytes_per_second",
            "Bytes that are made good.",
            recovery.bytes_rate,
        ),
        (
            "recovery_left_seconds",
            "How long recovery will take; absent while nothing moves.",
            groups.left,
        ),
        ("client_read_bytes_per_second", "Read by clients.", clients.read_bytes),
        ("client_write_bytes_per_second", "Written by clients.", clients.write_bytes),
        ("client_read_ops_per_second", "Reads of clients.", clients.read_ops),
        ("client_write_ops_per_second", "Writes of clients.", clients.write_ops),
    ):
        yield _gauge(name, help_text, _one(value))


def _pools(sample: Sample) -> Iterator[Metric]:
    rows: Rows = [({"pool": one.name}, one) for one in sample.pools or ()]
    for name, help_text, what in (
        ("stored_bytes", "What users stored in the pool.", lambda one: one.stored),
        ("free_bytes", "What the pool has room for.", lambda one: one.free),
        (
            "usable_bytes",
            "What the pool can hold for its users.",
            lambda one: one.usable,
        ),
        ("raw_used_bytes", "What it takes on the OSDs.", lambda one: one.used),
        ("quota_bytes", "The pool's quota, if any.", lambda one: one.quota_bytes),
        ("objects", "Objects in the pool.", lambda one: one.objects),
        ("size", "Copies that the pool keeps.", lambda one: one.size),
    ):
        yield _gauge(f"pool_{name}", help_text, _each(rows, what))
    for name, help_text, what in (
        ("read_ops", "Reads from the pool.", lambda one: one.read_ops),
        ("read_bytes", "Bytes read from the pool.", lambda one: one.read_bytes),
        ("write_ops", "Writes to the pool.", lambda one: one.write_ops),
        ("write_bytes", "Bytes written to the pool.", lambda one: one.write_bytes),
    ):
        yield _counter(f"pool_{name}", help_text, _each(rows, what))


def _osds(sample: Sample) -> Iterator[Metric]:
    rows: Rows = [
        (
            {
                "node": sample.names.node_of(one.host) if one.host else "",
                "daemon": f"osd.{one.id}",
                "device_class": one.device_class,
            },
            one,
        )
        for one in sample.osds or ()
    ]
    for name, help_text, what in (
        ("up", "Whether the OSD runs.", lambda one: one.up),
        ("in", "Whether the OSD is meant to hold data.", lambda one: one.inside),
        ("size_bytes", "The room on the OSD.", lambda one: one.size),
        ("used_bytes", "What is used of it.", lambda one: one.used),
        (
            "placement_groups",
            "Placement groups that the OSD has.",
            lambda one: one.groups,
        ),
        (
            "commit_latency_seconds",
            "How long the OSD takes to write durably.",
            lambda one: one.commit_latency,
        ),
        (
            "apply_latency_seconds",
            "How long the OSD takes until a write can be read.",
            lambda one: one.apply_latency,
        ),
    ):
        yield _gauge(f"osd_{name}", help_text, _each(rows, what))


def _images(sample: Sample) -> Iterator[Metric]:
    rows: Rows = [(_image_labels(one), one) for one in sample.images or ()]
    used: Rows = [(labels, one.use) for labels, one in rows if one.use]
    counted: Rows = [(labels, one.io) for labels, one in rows if one.io]
    for name, help_text, what in (
        ("provisioned_bytes", "The size of the image.", lambda one: one.size),
        (
            "used_bytes",
            "How much of the image was written.",
            lambda one: one.used,
        ),
        (
            "read_timestamp_seconds",
            "When the image was looked at.",
            lambda one: one.read_at,
        ),
    ):
        yield _gauge(f"image_{name}", help_text, _each(used, what))
    yield _gauge(
        "image_open",
        "A node, or another address, that has the image open to write.",
        [
            ({**labels, "node": node}, 1)
            for labels, use in used
            for node in _nodes(sample, use)
        ],
    )
    for name, help_text, what in (
        ("read_ops", "Reads from the image.", lambda one: one.read_ops),
        ("read_bytes", "Bytes read from the image.", lambda one: one.read_bytes),
        ("read_seconds", "What the reads took.", lambda one: one.read_seconds),
        ("write_ops", "Writes to the image.", lambda one: one.write_ops),
        ("write_bytes", "Bytes written to the image.", lambda one: one.write_bytes),
        ("write_seconds", "What the writes took.", lambda one: one.write_seconds),
    ):
        yield _counter(f"image_{name}", help_text, _each(counted, what))


def _nodes(sample: Sample, use: facts.ImageUse) -> list[str]:
    # A node has several addresses, and an image may be open at two of them.
    return sorted({sample.names.node_at(address) for address in use.watchers})


def _image_labels(image: facts.Image) -> Labels:
    return {
        "instance_name": image.use.instance if image.use else "",
        "disk": image.use.disk if image.use else "",
        "pool": image.pool,
        "namespace": image.namespace,
        "image": image.name,
    }
