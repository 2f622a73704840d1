"""Ceph's answers, as JSON made them, to facts: one function for each command.

What a newer Ceph adds is not looked at, and states, health checks and device classes
are passed on as they are.  What an answer lacks that cannot be done without raises
:class:`UnreadableError`; no other exception leaves this module.
"""

import functools
import math
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from ganeti_ceph.collector.facts import (
    Capacity,
    Check,
    Device,
    Groups,
    Health,
    ImageIo,
    Mgr,
    Mon,
    Osd,
    OsdCounts,
    Pool,
    Progress,
    Rates,
    Recovery,
)
from ganeti_ceph.errors import Error

Facts = TypeVar("Facts")


class UnreadableError(Error):
    """An answer of Ceph's that has not the form that is known."""


def _reader(command: str) -> Callable[[Callable[..., Facts]], Callable[..., Facts]]:
    """Make a function that takes an answer apart one that fails in one way only."""

    def decorate(function: Callable[..., Facts]) -> Callable[..., Facts]:
        @functools.wraps(function)
        def read(*answers: Any) -> Facts:
            try:
                return function(*answers)
            except (
                *(KeyError, IndexError, TypeError, ValueError, AttributeError),
                OverflowError,
            ) as err:
                raise UnreadableError(
                    f"the answer to 'ceph {command}' is not of a known form"
                    f" ({type(err).__name__}: {err})"
                ) from err

        return read

    return decorate


def _number(values: dict[str, Any], name: str) -> int:
    # What is 0 is often left out.
    return int(values.get(name, 0))


def _rate(values: dict[str, Any], name: str) -> float:
    rate = float(values.get(name, 0))
    return rate if math.isfinite(rate) else 0.0


@_reader("status")
def fsid(status: Any) -> str:
    """Return the storage cluster's fsid."""
    return str(status["fsid"])


@_reader("status")
def counts(status: Any) -> OsdCounts:
    """Return how many OSDs there are, run and are in."""
    found = status["osdmap"]
    return OsdCounts(
        int(found["num_osds"]), int(found["num_up_osds"]), int(found["num_in_osds"])
    )


@_reader("status")
def quorum(status: Any) -> tuple[str, ...]:
    """Return the names of the mons that are in quorum, the one that leads them first.

    Mons are ranked by their addresses, and the lowest that is there leads.
    """
    return tuple(str(name) for name in status["quorum_names"])


@_reader("status")
def has_mgr(status: Any) -> bool:
    """Tell whether a manager is active."""
    return bool(status["mgrmap"]["available"])


@_reader("status")
def groups(status: Any) -> Groups:
    """Return the state of the placement groups; wrong while no manager is active."""
    found = status["pgmap"]
    states = tuple(
        (str(one["state_name"]), int(one["count"]))
        for one in found.get("pgs_by_state", ())
    )
    recovery = Recovery(
        max(_number(found, "degraded_total"), _number(found, "misplaced_total"))
        or None,
        _number(found, "degraded_objects"),
        _number(found, "misplaced_objects"),
        _number(found, "unfound_objects"),
        _rate(found, "recovering_objects_per_sec"),
        _rate(found, "recovering_bytes_per_sec"),
    )
    clients = Rates(
        _rate(found, "read_bytes_sec"),
        _rate(found, "write_bytes_sec"),
        _rate(found, "read_op_per_sec"),
        _rate(found, "write_op_per_sec"),
    )
    progress = tuple(
        Progress(str(one.get("message", name)), min(1.0, _rate(one, "progress")))
        for name, one in sorted(status.get("progress_events", {}).items())
    )
    total = int(found["num_pgs"])
    return Groups(total, states, _inactive(total, states), recovery, clients, progress)


def _inactive(total: int, states: Iterable[tuple[str, int]]) -> int:
    return total - sum(count for state, count in states if serves(state))


def serves(state: str) -> bool:
    """Tell whether a placement group in a state serves its data now."""
    words = state.split("+")
    # A stale one's state is what the last OSD that had it said before it went.  Where
    # objects are unfound, the rest is served, and they may be on an OSD that is down.
    missing = {"stale", "recovery_unfound", "backfill_unfound"}
    return "active" in words and missing.isdisjoint(words)


@_reader("health detail")
def health(answer: Any) -> Health:
    """Return how Ceph finds its cluster, and its checks by name."""
    checks = tuple(
        Check(
            name,
            str(check["severity"]),
            str(check["summary"]["message"]),
            tuple(str(line["message"]) for line in check.get("detail", ())),
            bool(check.get("muted", False)),
        )
        for name, check in sorted(answer["checks"].items())
    )
    return Health(str(answer["status"]), checks)


@_reader("mon dump")
def mons(dump: Any, in_quorum: tuple[str, ...]) -> tuple[Mon, ...]:
    """Return the mons by name."""
    found = (
        Mon(str(mon["name"]), _mon_address(mon), mon["name"] in in_quorum)
        for mon in dump["mons"]
    )
    return tuple(sorted(found, key=lambda mon: mon.name))


def _mon_address(mon: dict[str, Any]) -> str:
    addresses = mon["public_addrs"]["addrvec"]
    return address(addresses[0]["addr"]) if addresses else ""


def address(text: str) -> str:
    """Return the host's address out of one of Ceph's.

    >>> address("[2001:db8::1]:3300/4711"), address("10.77.0.1:0/4711")
    ('2001:db8::1', '10.77.0.1')
    """
    return text.partition("/")[0].rpartition(":")[0].strip("[]")


@_reader("mon metadata")
def mon_hosts(answer: Any) -> dict[str, tuple[str | None, str | None]]:
    """Return host and version of each mon that told them."""
    return _hosts(answer)


@_reader("mgr metadata")
def mgr_hosts(answer: Any) -> dict[str, tuple[str | None, str | None]]:
    """Return host and version of each manager that there is."""
    return _hosts(answer)


def _hosts(answer: Any) -> dict[str, tuple[str | None, str | None]]:
    return {
        str(one["name"]): (host(one.get("hostname")), version(one.get("ceph_version")))
        for one in answer
    }


def host(name: str | None) -> str | None:
    """Return the name that CRUSH has for a host, whose own may have a domain.

    >>> host("node1.example.com")
    'node1'
    """
    return name.partition(".")[0] if name else None


def version(text: str | None) -> str | None:
    """Return the number out of what Ceph calls a version.

    >>> version("ceph version 18.2.7 (6b0e988052ec84cf2d4a54ff9bbbc5e720b621ad) reef")
    '18.2.7'
    """
    words = text.split() if text else []
    return next((word for word in words if word[:1].isdigit()), None)


@_reader("mgr stat")
def active_mgr(answer: Any) -> str | None:
    """Return the name of the active manager, None if there is none."""
    return str(answer["active_name"]) or None if answer["available"] else None


def mgrs(
    active: str | None, hosts: dict[str, tuple[str | None, str | None]]
) -> tuple[Mgr, ...]:
    """Return the managers by name."""
    return tuple(Mgr(name, name == active, *hosts[name]) for name in sorted(hosts))


@_reader("df")
def capacity(df: Any) -> Capacity:
    """Return the room on all OSDs together."""
    found = df["stats"]
    return Capacity(
        int(found["total_bytes"]),
        int(found["total_used_raw_bytes"]),
        int(found["total_avail_bytes"]),
    )


@_reader("df")
def pools(df: Any) -> tuple[Pool, ...]:
    """Return the pools by name, with how full they are."""
    return tuple(
        _pool(str(one["name"]), int(one["id"]), one["stats"])
        for one in sorted(df["pools"], key=lambda one: str(one["name"]))
    )


def _pool(name: str, number: int, stats: dict[str, Any]) -> Pool:
    return Pool(
        name,
        number,
        stored=int(stats["stored"]),
        objects=int(stats["objects"]),
        used=int(stats["bytes_used"]),
        free=int(stats["max_avail"]),
        quota_bytes=_number(stats, "quota_bytes") or None,
        quota_objects=_number(stats, "quota_objects") or None,
        read_ops=_number(stats, "rd"),
        read_bytes=_number(stats, "rd_bytes"),
        write_ops=_number(stats, "wr"),
        write_bytes=_number(stats, "wr_bytes"),
    )


@_reader("osd pool ls detail")
def pool_settings(answer: Any) -> dict[int, dict[str, Any]]:
    """Return of each pool, by its id, what :class:`Pool` has of its settings."""
    return {
        int(one["pool_id"]): {
            "size": int(one["size"]),
            "min_size": int(one["min_size"]),
            "groups": int(one["pg_num"]),
            "applications": tuple(sorted(one["application_metadata"])),
        }
        for one in answer
    }


@_reader("osd pool ls detail")
def image_pools(answer: Any) -> tuple[str, ...]:
    """Return the names of the pools that are for images."""
    return tuple(
        sorted(
            str(one["pool_name"])
            for one in answer
            if "rbd" in one["application_metadata"]
        )
    )


#: No latencies.
_NONE: Mapping[int, tuple[float, float]] = types.MappingProxyType({})


@_reader("osd df tree")
def osds(
    df: Any, latencies: Mapping[int, tuple[float, float]] = _NONE
) -> tuple[Osd, ...]:
    """Return the OSDs by id, out of ``osd df tree`` or, with less, ``osd tree``.

    ``latencies`` are those that are known, to commit and to apply, by id.
    """
    hosts = {
        child: str(node["name"])
        for node in df["nodes"]
        if node["type"] == "host"
        for child in node.get("children", ())
    }
    # One that two parts of the CRUSH map hold is told of twice.
    found = {
        int(node["id"]): _osd(
            node, hosts.get(node["id"]), *latencies.get(node["id"], (None, None))
        )
        for node in (*df["nodes"], *df.get("stray", ()))
        if node.get("type", "osd") == "osd"
    }
    return tuple(found[one] for one in sorted(found))


def _osd(
    node: dict[str, Any], host: str | None, commit: float | None, apply: float | None
) -> Osd:
    use = "kb" in node
    return Osd(
        int(node["id"]),
        host,
        node["status"] == "up",
        float(node.get("reweight", 0)) > 0,
        str(node.get("device_class", "")),
        int(node["kb"]) * 1024 if use else None,
        int(node["kb_used"]) * 1024 if use else None,
        _number(node, "pgs") if use else None,
        commit,
        apply,
    )


@_reader("osd perf")
def latencies(answer: Any) -> dict[int, tuple[float, float]]:
    """Return for each OSD the seconds that it takes to commit and to apply."""
    return {
        int(one["id"]): (
            _seconds(one["perf_stats"], "commit_latency"),
            _seconds(one["perf_stats"], "apply_latency"),
        )
        for one in answer["osdstats"]["osd_perf_infos"]
    }


def _seconds(values: dict[str, Any], name: str) -> float:
    if f"{name}_ns" in values:
        return float(values[f"{name}_ns"]) / 1e9
    return float(values[f"{name}_ms"]) / 1e3


@_reader("device ls-by-host")
def devices(answer: Any) -> tuple[Device, ...]:
    """Return the disks, one for each host that has it."""
    return tuple(
        Device(
            str(one["devid"]),
            str(host(place["host"])),
            str(place["dev"]),
            tuple(str(daemon) for daemon in one.get("daemons", ())),
            _moment(one.get("life_expectancy_min")),
            _moment(one.get("life_expectancy_max")),
            _share(one.get("wear_level")),
        )
        for one in sorted(answer, key=lambda one: str(one["devid"]))
        for place in one["location"]
    )


def _moment(text: Any) -> float | None:
    # Ceph writes 0.000000 where nothing is expected.
    if not isinstance(text, str) or text.startswith("0."):
        return None
    return datetime.fromisoformat(text).timestamp()


def _share(value: Any) -> float | None:
    return None if value is None or float(value) < 0 else float(value)


@_reader("osd metadata")
def osd_metadata(answer: Any) -> tuple[str | None, tuple[str, ...]]:
    """Return the version of an OSD and the devices that it lies on."""
    names = str(answer.get("devices", "")).split(",")
    return version(answer.get("ceph_version")), tuple(filter(None, names))


@_reader("rbd perf image counters")
def image_io(answer: Any) -> dict[tuple[str, str, str], ImageIo]:
    """Return, by pool, namespace and image, what was read and written since."""
    names = answer["counter_descriptors"]
    found = {}
    for counter in answer["counters"]:
        for key, values in counter.items():
            index, _, image = key.partition("/")
            pool, _, namespace = answer["pool_descriptors"][index].partition("/")
            of = dict(zip(names, values, strict=True))
            found[pool, namespace, image] = ImageIo(
                float(answer["timestamp"]),
                int(of["read_ops"]),
                int(of["read_bytes"]),
                of["read_latency"] / 1e9,
                int(of["write_ops"]),
                int(of["write_bytes"]),
                of["write_latency"] / 1e9,
            )
    return found


def rates(before: ImageIo | None, now: ImageIo) -> Rates | None:
    """Return what clients did in a second between two readings of an image's counters.

    None if the counters began anew, as they do with another manager, or there was none.
    """
    if before is None or now.counted_at <= before.counted_at:
        return None
    seconds = now.counted_at - before.counted_at
    differences = (
        now.read_bytes - before.read_bytes,
        now.write_bytes - before.write_bytes,
        now.read_ops - before.read_ops,
        now.write_ops - before.write_ops,
    )
    if min(differences) < 0:
        return None
    return Rates(*(one / seconds for one in differences))
