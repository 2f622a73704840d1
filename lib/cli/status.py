"""What ``gnt-storage status`` prints: one screen."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ganeti_ceph.diagnose import Member
from ganeti_ceph.facts import Osd, OsdUse, Report
from ganeti_ceph.jobs.status import Status
from ganeti_ceph.words import duration, size

_BAR = 30
#: How many OSDs of a node are named; of more, those that are not well.
_NAMED = 4
#: How many nodes have a line each; of more, those that are not well.
_NODES = 24


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
    osds: dict[str | None, list[Osd]] = {}
    for osd in sorted(report.cluster.osds, key=lambda osd: osd.id):
        osds.setdefault(osd.host, []).append(osd)
    shown, hidden = known, []
    if len(known) > _NODES:
        ill = [one for one in known if not _is_well(one, osds.get(one.host, []))]
        shown, hidden = ill[:_NODES], ill[_NODES:]
    width = max((len(one.name) for one in shown), default=0)
    for one in shown:
        state = "offline" if one.offline else "drained" if one.drained else "online"
        yield f"{one.name:{width}}  {state:7}  {_osds(osds.get(one.host, []), use)}"
    if hidden:
        yield f"{len(hidden)} more are not well: 'gnt-cluster verify' names all"
    well = [one for one in known if one not in shown and one not in hidden]
    if well:
        count = sum(len(osds.get(one.host, [])) for one in well)
        yield f"{len(well)} nodes are online with {count} OSDs, all up and in"


def _is_well(member: Member, osds: Iterable[Osd]) -> bool:
    good = all(_state(osd) == "up" for osd in osds)
    return good and not (member.offline or member.drained)


def _state(osd: Osd) -> str:
    return ("up" if osd.up else "DOWN") + ("" if osd.inside else " out")


def _osds(osds: Sequence[Osd], use: Mapping[int, OsdUse]) -> str:
    """Say how a node's OSDs are: where they are many only those that are not well."""
    if len(osds) <= _NAMED:
        return ", ".join(_osd(one, use) for one in osds) or "no OSD"
    counts = Counter(map(_state, osds))
    well = counts.pop("up", 0)
    parts = [f"{well} up{_span(osds, use)}"] if well else []
    if counts.total() <= _NAMED:
        parts += [_osd(one, use) for one in osds if _state(one) != "up"]
    else:
        parts += [f"{count} {state}" for state, count in sorted(counts.items())]
    return ", ".join(parts)


def _osd(osd: Osd, use: Mapping[int, OsdUse]) -> str:
    percent = _percent(osd, use)
    full = "" if percent is None else f" {percent} %"
    return f"osd.{osd.id} {_state(osd)}{full}"


def _span(osds: Iterable[Osd], use: Mapping[int, OsdUse]) -> str:
    """Say how full those are that are well, from the emptiest to the fullest."""
    found = [_percent(one, use) for one in osds if _state(one) == "up"]
    known = [one for one in found if one is not None]
    return f" {'-'.join(map(str, sorted({min(known), max(known)})))} %" if known else ""


def _percent(osd: Osd, use: Mapping[int, OsdUse]) -> int | None:
    found = use.get(osd.id)
    return 100 * found.used // found.size if found and found.size else None


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
