"""What ``gnt-storage status`` prints: one screen."""

from collections.abc import Iterable, Iterator

from ganeti_ceph.diagnose import Member
from ganeti_ceph.facts import Report
from ganeti_ceph.jobs.status import Status
from ganeti_ceph.words import duration, size

_BAR = 30


def lines(status: Status) -> Iterator[str]:
    """Return the screen, a line each."""
    report = status.report
    health = report.cluster.health if report else "does not answer"
    yield (
        f"Storage cluster {status.storage.fsid} of node group {status.storage.name}:"
        f" {health}"
    )
    if report is None:
        yield f"  {status.silence}"
    else:
        yield ""
        yield from _overview(report)
        yield ""
        yield from _nodes(status.members, report)
    if status.findings:
        yield ""
        yield "To do:"
        for one in status.findings:
            where = f"{one.node}: " if one.node else ""
            yield f"  - {where}{one.text}"


def _overview(report: Report) -> Iterator[str]:
    cluster = report.cluster
    yield f"Capacity   {bar(report.used, report.size)}"
    for pool in report.pools:
        # Ceph's own begin with a dot, or keep what its modules need.
        if pool.name.startswith(".") or pool.name == "device_health_metrics":
            continue
        yield (
            f"Pool       {pool.name}: {size(pool.stored)} stored, room for"
            f" {size(pool.free)}"
        )
    missing = [mon.id for mon in cluster.mons if mon.id not in cluster.quorum]
    absent = f"; not in quorum: {', '.join(missing)}" if missing else ""
    yield f"Mons       {', '.join(sorted(cluster.quorum))}{absent}"
    active, *standby = cluster.mgrs or ("none",)
    more = f", standby: {', '.join(standby)}" if standby else ""
    yield f"Mgrs       active: {active}{more}"
    up = sum(osd.up for osd in cluster.osds)
    inside = sum(osd.inside for osd in cluster.osds)
    yield f"OSDs       {len(cluster.osds)}, {up} up, {inside} in"
    states = ", ".join(f"{count} {state}" for state, count in report.states)
    yield f"Placement  {states or 'no groups'}"
    yield f"Clients    {size(report.read)}/s read, {size(report.written)}/s written"
    to_go = report.degraded + report.misplaced
    if to_go:
        yield f"Recovery   {recovery(report)}"


def recovery(report: Report) -> str:
    """Say how far recovery is, and when it will be over."""
    parts = []
    if report.degraded:
        parts.append(f"{report.degraded} of {report.copies} copies missing")
    if report.misplaced:
        parts.append(f"{report.misplaced} of {report.copies} copies to move")
    if report.recovered:
        seconds = (report.degraded + report.misplaced) // report.recovered
        parts.append(f"{size(report.recovered_bytes)}/s")
        parts.append(f"about {duration(seconds)} left")
    else:
        parts.append("nothing moves at the moment")
    return ", ".join(parts)


def _nodes(members: Iterable[Member], report: Report) -> Iterator[str]:
    known = list(members)
    use = {one.id: one for one in report.osds}
    width = max((len(one.name) for one in known), default=0)
    for one in known:
        state = "offline" if one.offline else "drained" if one.drained else "online"
        osds = []
        for osd in sorted(report.cluster.osds, key=lambda osd: osd.id):
            if osd.host != one.host:
                continue
            words = [f"osd.{osd.id}", "up" if osd.up else "DOWN"]
            words += [] if osd.inside else ["out"]
            if osd.id in use and use[osd.id].size:
                words.append(f"{100 * use[osd.id].used // use[osd.id].size} %")
            osds.append(" ".join(words))
        yield f"{one.name:{width}}  {state:7}  {', '.join(osds) or 'no OSD'}"


def bar(used: int, total: int) -> str:
    """Return a bar that shows how much of something is used.

    >>> bar(3 * 2**30, 30 * 2**30)
    '[###---------------------------]  3.0 GiB of 30.0 GiB used (10 %)'
    """
    part = used / total if total else 0
    full = round(part * _BAR)
    return (
        f"[{'#' * full}{'-' * (_BAR - full)}]  {size(used)} of {size(total)} used"
        f" ({part:.0%})".replace("%", " %")
    )
