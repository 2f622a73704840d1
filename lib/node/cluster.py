"""What one node does for the whole storage cluster: status, settings, pool, health."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import rados

from ganeti_ceph import ceph
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.collector.read import host, serves, version
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import ClusterFacts, Osd, OsdUse, Pool, PoolUse, Report
from ganeti_ceph.node import crush
from ganeti_ceph.steps import AwaitHealth, MakePool, Settle

#: Seconds between two looks at something that is waited for.
_PAUSE = 0.2
#: One that joins a cluster with data may take a minute and a half.
_QUORUM_TIMEOUT = 150
_OSD_TIMEOUT = 120
#: The type of such pools in the map.
_ERASURE_CODED = 3
#: Seconds for a mon to join by itself.
_JOIN_PATIENCE = 4


def status() -> ClusterFacts:
    """Return what the storage cluster says of itself; it has 10 s to answer."""
    with ceph.connect(timeout=10) as cluster:
        return _facts(cluster, ceph.command(cluster, "status"))


def report() -> Report:
    """Return what the storage cluster is doing; it has 10 s to answer."""
    with ceph.connect(timeout=10) as cluster:
        status = ceph.command(cluster, "status")
        facts = _facts(cluster, status)
        pools = ceph.command(cluster, "df")["pools"]
        # Only a mgr knows.
        osds = ceph.command(cluster, "osd df")["nodes"] if facts.mgrs else []
    groups = status["pgmap"]

    def number(name: str) -> int:
        # What is 0 is left out.
        found: int = groups.get(name, 0)
        return found

    return Report(
        facts,
        number("bytes_total"),
        number("bytes_used"),
        tuple(
            PoolUse(one["name"], one["stats"]["stored"], one["stats"]["max_avail"])
            for one in pools
        ),
        tuple(
            OsdUse(one["id"], one["kb"] * 1024, one["kb_used"] * 1024) for one in osds
        ),
        tuple((one["state_name"], one["count"]) for one in groups["pgs_by_state"]),
        max(number("degraded_total"), number("misplaced_total")),
        number("degraded_objects"),
        number("misplaced_objects"),
        number("recovering_objects_per_sec"),
        number("recovering_bytes_per_sec"),
        number("read_bytes_sec"),
        number("write_bytes_sec"),
    )


def _facts(cluster: rados.Rados, status: dict[str, Any]) -> ClusterFacts:
    monmap = ceph.command(cluster, "mon dump")
    quorum = ceph.command(cluster, "quorum_status")
    managers = ceph.command(cluster, "mgr dump")
    osds = ceph.command(cluster, "osd dump")
    tree = ceph.command(cluster, "osd tree")
    buckets = crush.buckets(tree)
    rules = crush.rules(ceph.command(cluster, "osd crush rule dump"))
    classes = {node["id"]: node.get("device_class") for node in tree["nodes"]}
    hosts = {**buckets, **hosts_of_osds(cluster)}
    health, checks = _health(status["health"])
    active = [managers["active_name"]] if managers.get("active_name") else []
    return ClusterFacts(
        fsid=monmap["fsid"],
        mons=tuple(Mon(mon["name"], _host(mon)) for mon in monmap["mons"]),
        quorum=tuple(quorum["quorum_names"]),
        mgrs=tuple(active + [standby["name"] for standby in managers["standbys"]]),
        osds=tuple(
            Osd(
                osd["osd"],
                osd["uuid"],
                bool(osd["up"]),
                "new" in osd["state"],
                bool(osd["in"]),
                hosts.get(osd["osd"]),
                buckets.get(osd["osd"]),
                classes.get(osd["osd"]),
            )
            for osd in osds["osds"]
        ),
        pools=tuple(
            Pool(
                pool["pool_name"],
                pool["size"],
                pool["min_size"],
                pool["pg_num"],
                tuple(sorted(pool["application_metadata"])),
                rules.get(pool["crush_rule"]),
                pool["type"] == _ERASURE_CODED,
            )
            for pool in osds["pools"]
        ),
        health=health,
        checks=checks,
        places=tuple(sorted(crush.places(tree).items())),
        backfillfull=osds["backfillfull_ratio"],
        inactive=count_inactive(status) if active else None,
        versions=_versions(cluster, hosts, quorum, managers, osds),
        details=details(cluster) if checks else (),
    )


def _versions(
    cluster: rados.Rados,
    hosts: Mapping[int, str],
    quorum: Mapping[str, Any],
    managers: Mapping[str, Any],
    osds: Mapping[str, Any],
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return which versions of Ceph run on each host.

    ``hosts`` are those of the OSDs; the rest are answers of Ceph's.
    """
    up = {one["osd"] for one in osds["osds"] if one["up"]}
    mons = set(quorum["quorum_names"])
    mgrs = {managers.get("active_name"), *(one["name"] for one in managers["standbys"])}
    counted = ceph.command(cluster, "versions")["overall"]
    if len(counted) < 2:
        # Nobody has to be asked for what each OSD tells of itself, which is much.
        everywhere = tuple(filter(None, map(version, counted)))
        there = mons | mgrs | {hosts[one] for one in up if one in hosts}
        return tuple((one, everywhere) for one in sorted(filter(None, there)))
    found: dict[str, set[str]] = {}
    for kind, key, running in (
        ("mon", "name", mons),
        ("mgr", "name", mgrs),
        ("osd", "id", up),
    ):
        for one in ceph.command(cluster, f"{kind} metadata"):
            where, what = host(one.get("hostname")), version(one.get("ceph_version"))
            if one[key] in running and where and what:
                found.setdefault(where, set()).add(what)
    return tuple((one, tuple(sorted(what))) for one, what in sorted(found.items()))


def hosts_of_osds(cluster: rados.Rados) -> dict[int, str]:
    """Return the host that each OSD last ran on, without its domain."""
    return {
        osd: host.partition(".")[0]
        for host, osds in ceph.command(cluster, "node ls", type="osd").items()
        for osd in osds
    }


def count_inactive(status: dict[str, Any]) -> int:
    """Return how many placement groups lack data now, as ``ceph status`` tells it."""
    groups = status["pgmap"]
    active = sum(
        one["count"] for one in groups["pgs_by_state"] if serves(one["state_name"])
    )
    count: int = groups["num_pgs"] - active
    return count


def _host(mon: dict[str, Any]) -> str:
    address: str = mon["public_addrs"]["addrvec"][0]["addr"]
    return address.rpartition(":")[0].strip("[]")


def _health(answer: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    checks = tuple(
        f"{name}: {check['summary']['message']}"
        for name, check in sorted(answer["checks"].items())
        if not check.get("muted")
    )
    return answer["status"], checks


def details(cluster: rados.Rados) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what is told of each health check that is not good and not muted."""
    answer = ceph.command(cluster, "health", detail="detail")
    return tuple(
        (name, tuple(one["message"] for one in check["detail"]))
        for name, check in sorted(answer["checks"].items())
        if check.get("detail") and not check.get("muted")
    )


def _wait(seconds: float, reached: Callable[[], str]) -> None:
    """Wait until a function returns "", at most so long; it says what is missing."""
    end = time.monotonic() + seconds
    while missing := reached():
        if time.monotonic() > end:
            raise ExecError(f"after {seconds:.0f} s still {missing}")
        time.sleep(_PAUSE)


def settle(step: Settle) -> str:
    """Wait for the quorum of all mons, then set what holds for the whole cluster."""
    began = time.monotonic()
    with ceph.connect(timeout=_QUORUM_TIMEOUT, eager=True) as cluster:

        def absent() -> str:
            status = ceph.command(cluster, "quorum_status")
            missing = [mon for mon in step.mons if mon.id not in status["quorum_names"]]
            if time.monotonic() - began > _JOIN_PATIENCE:
                _call_in(cluster, status, missing)
            names = ", ".join(sorted(mon.id for mon in missing))
            return f"not in quorum: {names}" if missing else ""

        _wait(_QUORUM_TIMEOUT, absent)
        for name in step.modules_off:
            ceph.command(cluster, "mgr module disable", module=name)
        for name, value in step.settings:
            ceph.command(cluster, "config set", who="global", name=name, value=value)
    return f"mons {', '.join(mon.id for mon in step.mons)} are in quorum"


def _call_in(
    cluster: rados.Rados, status: dict[str, Any], missing: Iterable[Mon]
) -> None:
    """Add a new mon that could not do so itself, if the others are a quorum anyway.

    Mons that knew one at the same address before take its connections for late ones of
    that, until it has tried as often: that may take minutes.  Once it is in the map,
    they connect to it.
    """
    known = {mon["name"] for mon in status["monmap"]["mons"]}
    for mon in missing:
        if mon.id not in known and 2 * len(status["quorum_names"]) > len(known) + 1:
            ceph.command(cluster, "mon add", name=mon.id, addr=mon.address)
            # Until they are a quorum again nothing more is known.
            return


def make_pool(step: MakePool) -> str:
    """Make the pool of the instances' disks, or finish a half-made one."""
    with ceph.connect() as cluster:
        # An OSD takes its place in the CRUSH map some time before it is up, and more
        # a pool does not need to be made.
        def placed() -> int:
            tree = ceph.command(cluster, "osd tree")
            return sum(node["type"] == "osd" for node in tree["nodes"])

        def up() -> int:
            count: int = ceph.command(cluster, "osd stat")["num_up_osds"]
            return count

        def few(count: int, what: str) -> str:
            needed = step.osds
            return "" if count >= needed else f"{count} OSDs {what} of {needed} needed"

        pools = ceph.command(cluster, "osd dump")["pools"]
        if any(
            pool["pool_name"] == step.pool and "rbd" in pool["application_metadata"]
            for pool in pools
        ):
            # A finished one: what was changed about it since is not ours to undo.
            return f"pool {step.pool} is there"
        _wait(_OSD_TIMEOUT, lambda: few(placed(), "have begun"))
        rule = _rule(cluster, step)
        ceph.command(
            cluster,
            "osd pool create",
            pool=step.pool,
            pg_num=step.pg_num,
            pgp_num=step.pg_num,
            pool_type="replicated",
            rule=rule,
            autoscale_mode="off",
            # A single copy is only to be had afterwards.
            **({"size": step.size} if step.size > 1 else {}),
        )
        # Each change of a map waits up to a second for the mons, hence none in vain.
        # Smaller last: the minimum may not be above the size at any moment.
        made = _pool(cluster, step.pool)
        if made["size"] != step.size:
            _set(cluster, step.pool, "size", step.size)
            made = _pool(cluster, step.pool)
        if made["min_size"] != step.min_size:
            _set(cluster, step.pool, "min_size", step.min_size)
        if "rbd" not in made["application_metadata"]:
            ceph.command(
                cluster, "osd pool application enable", pool=step.pool, app="rbd"
            )
        _wait(_OSD_TIMEOUT, lambda: few(up(), "are up"))
    return f"pool {step.pool} is there"


def _pool(cluster: rados.Rados, name: str) -> dict[str, Any]:
    pools = ceph.command(cluster, "osd dump")["pools"]
    found: dict[str, Any] = next(pool for pool in pools if pool["pool_name"] == name)
    return found


def _set(cluster: rados.Rados, pool: str, name: str, value: int) -> None:
    sure = {"yes_i_really_mean_it": True} if name == "size" and value == 1 else {}
    ceph.command(cluster, "osd pool set", pool=pool, var=name, val=str(value), **sure)


def _rule(cluster: rados.Rados, step: MakePool) -> str:
    """Return the CRUSH rule that spreads the copies, made if need be."""
    if step.failure_domain == "host" and step.device_class is None:
        return "replicated_rule"
    name = "-".join(
        part for part in ("ganeti", step.failure_domain, step.device_class) if part
    )
    arguments = {"name": name, "root": "default", "type": step.failure_domain}
    if step.device_class:
        arguments["class"] = step.device_class
    ceph.command(cluster, "osd crush rule create-replicated", **arguments)
    return name


def await_health(step: AwaitHealth) -> str:
    """Wait until the cluster is healthy and every placement group is clean."""
    with ceph.connect() as cluster:
        pools = ceph.command(cluster, "osd dump")["pools"]
        expected = sum(pool["pg_num"] for pool in pools)

        def trouble() -> str:
            status = ceph.command(cluster, "status")
            answer, checks = _health(status["health"])
            if answer != "HEALTH_OK":
                return f"{answer}: {'; '.join(checks)}"
            if not status["mgrmap"]["available"]:
                # A cluster that never had one calls itself healthy all the same.
                return "no mgr is active"
            groups = status["pgmap"]
            good = sum(
                one["count"]
                for one in groups["pgs_by_state"]
                if _is_good(one["state_name"])
            )
            # The mgr counts only those that it has heard of.
            count = max(expected, groups["num_pgs"])
            bad = count - good
            return f"{bad} placement groups are not clean" if bad else ""

        _wait(step.timeout, trouble)
    return "the storage cluster is healthy"


def _is_good(state: str) -> bool:
    """Tell whether a placement group in a state has all its copies, and serves them.

    It may be scrubbed meanwhile, or its copies be on their way to new OSDs; where one
    is missing, the health says so.
    """
    return serves(state) and bool({"clean", "remapped"} & set(state.split("+")))
