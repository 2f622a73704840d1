"""A node that leaves the storage cluster for a while or for good: what is decided.

Nothing here asks or changes anything.  Ganeti's names for it are offline, drained and
remove.
"""

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from ganeti_ceph import domains
from ganeti_ceph.facts import ClusterFacts, CrushPlace, Osd, Report, Rule
from ganeti_ceph.plan import Stage
from ganeti_ceph.steps import (
    AskStop,
    ForgetHost,
    HandOver,
    MakeMgr,
    MarkOsds,
    RemoveMon,
    Step,
    StopDaemons,
    names_of,
)

GIBIBYTE = 2**30


def osds_of(cluster: ClusterFacts, host: str) -> list[Osd]:
    """Return the OSDs of a host."""
    return [osd for osd in cluster.osds if osd.host == host]


def without(cluster: ClusterFacts, host: str, mons: Sequence[str]) -> ClusterFacts:
    """Return what a cluster is when a host's daemons stopped and mons are removed."""
    return dataclasses.replace(
        cluster,
        mons=tuple(mon for mon in cluster.mons if mon.id not in mons),
        quorum=tuple(name for name in cluster.quorum if name != host),
        mgrs=tuple(name for name in cluster.mgrs if name != host),
    )


def offline_refusals(
    cluster: ClusterFacts,
    host: str,
    objection: str | None,
    others: int,
    silent: Sequence[str] = (),
    silence: str | None = None,
    offline: Sequence[str] = (),
) -> list[str]:
    """Return, a sentence each, what would be lost if a host's daemons stopped.

    ``objection`` is what Ceph has against stopping its OSDs, ``others`` how many nodes
    there are where another mgr could be made.  ``silent`` are other nodes that do not
    answer, ``offline`` other hosts that are offline; ``silence`` is why the host itself
    does not answer, None if it does.
    """
    found = []
    for other in offline:
        if any(osd.up for osd in osds_of(cluster, other)):
            found.append(
                f"OSDs of {other}, which is offline, run as far as Ceph knows: it may"
                " not have missed them yet, then wait half a minute"
            )
    serves = host in cluster.quorum or any(osd.up for osd in osds_of(cluster, host))
    if silence is not None and serves:
        found.append(
            "its daemons run, and would be taken for dead, as it does not answer"
            f" ({silence}): mend that; if it has just died, Ceph knows in half a minute"
        )
    for name in silent:
        # For some 20 s Ceph does not notice that a node is dead.
        if any(osd.up for osd in osds_of(cluster, name.partition(".")[0])):
            found.append(
                f"{name} does not answer, and Ceph may not know yet that it is dead; if"
                " it is, mark that one offline first"
            )
    if objection:
        found.append(f"data would be out of reach: {objection}")
    if cluster.mgrs and set(cluster.mgrs) == {host} and not others:
        found.append("the only mgr is there: nothing would count, balance or report")
    return found


def mons_to_remove(
    cluster: ClusterFacts,
    host: str,
    answers: bool,
    moved: bool,
    offline: Container[str],
) -> tuple[str, ...]:
    """Return the mons to take out of the map for a host that goes offline.

    Its own stays where that costs nothing: of an odd number the others need as many as
    they would of one less, and should one of them fail, it can come back.  That is so
    for a host that ``answers``, unless its mon has ``moved`` to another or mons are
    missing already: then those of hosts that are ``offline`` go, too.
    """
    names = {mon.id for mon in cluster.mons}
    missing = names.difference(cluster.quorum)
    if host not in names:
        return ()
    if moved:
        return (host,)
    if answers and len(names) % 2 and not missing - {host}:
        return ()
    return (*sorted(one for one in missing if one in offline and one != host), host)


def quorum_refusals(
    cluster: ClusterFacts, host: str, offline: Container[str] = ()
) -> list[str]:
    """Return why the quorum cannot do without a host's mon, not even by force.

    Mons of other hosts that are ``offline`` are taken out of the map with it.
    """
    away = [name for name in cluster.quorum if name != host]
    mons = [
        mon.id
        for mon in cluster.mons
        if mon.id != host and (mon.id in away or mon.id not in offline)
    ]
    if host not in {mon.id for mon in cluster.mons}:
        return []
    quorum = [name for name in cluster.quorum if name != host]
    if not mons:
        return [
            "its mon is the only one: set more ('gnt-cluster modify -S"
            " ceph:mon-count=3'), and make them with 'gnt-storage repair'"
        ]
    if 2 * len(quorum) <= len(mons):
        missing = ", ".join(sorted(set(mons) - set(quorum)))
        return [
            f"without its mon there is no quorum: mons {missing} do not answer; bring"
            " them back first"
        ]
    return []


def offline_stages(
    cluster: ClusterFacts,
    host: str,
    node: str | None,
    acting: str,
    daemons: StopDaemons | None,
    before: Sequence[Stage],
    mons: Sequence[str],
    asked: tuple[int, ...] = (),
) -> tuple[Stage, ...]:
    """Return what is to do for a host that goes offline.

    ``node`` is its UUID, None if it does not answer; ``acting`` that of another node
    with a mon; ``daemons`` stops what it has; ``before`` makes on the other nodes what
    the host leaves to them; ``mons`` leave the map.  ``asked`` are the OSDs about which
    Ceph is asked again before they stop, as much may have happened meanwhile.
    """
    removal = Stage("mon", ((acting, tuple(RemoveMon(one) for one in mons)),))
    # One more mon than now, and a dead one: the new one must not be able to take the
    # quorum with it.
    stages = [removal, *before] if mons and node is None else list(before)
    made = [
        step.id
        for stage in before
        for _, steps in stage.steps
        for step in steps
        if isinstance(step, MakeMgr)
    ]
    if node and cluster.mgrs[:1] == (host,) and (made or len(cluster.mgrs) > 1):
        stages.append(Stage("mgr", ((acting, (HandOver(host),)),)))
    if mons and node is not None:
        stages.append(removal)
    if node is None:
        there = [osd.id for osd in osds_of(cluster, host) if osd.inside]
        if there:
            out: Step = MarkOsds(tuple(there), False)
            stages.append(Stage("OSDs out", ((acting, (out,)),)))
    elif daemons:
        stops = stop_stages(node, acting, daemons, asked)
        # Ceph is asked before anything of it is gone.
        stages[len(before) : len(before)] = stops[:-1]
        stages += stops[-1:]
    return tuple(stages)


def stop_stages(
    node: str, acting: str, daemons: StopDaemons, asked: tuple[int, ...]
) -> tuple[Stage, ...]:
    """Return what stops a node's daemons, if it has any, and asks about OSDs before.

    ``node`` and ``acting`` are what the nodes are called by.
    """
    if not (daemons.mons or daemons.mgrs or daemons.osds or daemons.collector):
        return ()
    stop = Stage("its daemons stop", ((node, (daemons,)),))
    if not asked:
        return (stop,)
    return Stage("nothing needs it", ((acting, (AskStop(asked),)),)), stop


def drain_refusals(cluster: ClusterFacts, host: str, report: Report) -> list[str]:
    """Return why a host's data cannot move away.

    Nothing is said of pools whose rule is not of the plain kind, nor of room while
    nobody counts it.
    """
    places = dict(cluster.places)
    mine = [osd for osd in osds_of(cluster, host) if osd.inside]
    here = {osd.id for osd in osds_of(cluster, host)}
    rest = [osd for osd in cluster.osds if osd.id not in here and osd.inside and osd.up]
    found = []
    for pool in cluster.pools:
        rule = pool.rule
        if rule is None or not any(domains.takes(rule, osd, places) for osd in mine):
            continue
        count = domains.count(rule, rest, places)
        if pool.size > count:
            what = "its data in {} parts" if pool.coded else "{} copies"
            found.append(
                f"pool {pool.name} keeps {what.format(pool.size)}, and without it there"
                f" are only {count} failure domains ({rule.domain}) for them; add a"
                " node first"
            )
    rules = {pool.rule for pool in cluster.pools if pool.rule}
    found += _too_full(mine, rest, rules, places, report, cluster.backfillfull)
    return found


def _too_full(
    mine: Iterable[Osd],
    rest: Iterable[Osd],
    rules: Iterable[Rule],
    places: Mapping[str, CrushPlace],
    report: Report,
    limit: float,
) -> Iterator[str]:
    """Say where the other OSDs that a rule takes have no room for what is to move."""
    full = {one.id: one for one in report.osds}
    # Another host's data may be on its way to them, and is not counted there yet.
    share = (report.misplaced + report.degraded) / max(1, report.copies)
    coming = int(share * report.used)
    for rule in sorted(rules, key=lambda rule: (rule.below, rule.device_class or "")):
        moving = sum(
            full[osd.id].used
            for osd in mine
            if osd.id in full and domains.takes(rule, osd, places)
        )
        room = sum(
            max(0, int(limit * full[osd.id].size) - full[osd.id].used)
            for osd in rest
            if osd.id in full and domains.takes(rule, osd, places)
        )
        if moving and moving + coming > room:
            kind = f" of class {rule.device_class}" if rule.device_class else ""
            yield (
                f"{(moving + coming) / GIBIBYTE:.1f} GiB are to move, and the other"
                f" OSDs{kind}"
                f" below {rule.below} have room for {room / GIBIBYTE:.1f} GiB (up to"
                f" {limit:.0%}".replace("%", " %")
                + " of each); add disks or a node first"
            )
            return


def drain_stages(
    cluster: ClusterFacts,
    host: str,
    acting: str,
    drained: bool,
    marked: Container[int] | None = None,
) -> tuple[Stage, ...]:
    """Return what moves a host's data away, or lets it come back.

    ``marked`` are the OSDs that were marked out when it was drained, None where nobody
    knows; others that are out stay so, as they were before.
    """
    osds = tuple(
        osd.id
        for osd in osds_of(cluster, host)
        if osd.inside == drained
        and not osd.new
        and (drained or marked is None or osd.id in marked)
    )
    if not osds:
        return ()
    title = "OSDs out" if drained else "OSDs in"
    return (Stage(title, ((acting, (MarkOsds(osds, not drained),)),)),)


def remove_refusals(
    cluster: ClusterFacts, host: str, offline: bool, objection: str | None
) -> list[str]:
    """Return why a host cannot be forgotten.

    ``objection`` is what Ceph has against destroying its OSDs.
    """
    osds = osds_of(cluster, host)
    found = []
    if not offline:
        found.append(
            "it is part of the storage cluster: mark it offline first ('gnt-node modify"
            " --offline=yes')"
        )
    up = [osd.id for osd in osds if osd.up]
    if up:
        again = f": 'gnt-node modify --offline=yes {host}' once more stops them"
        found.append(f"{names_of(up)} still run{again if offline else ''}")
    elif objection:
        # Ceph marks nothing out by itself where all of a rack is down.
        first = (
            f"mark them out ('gnt-node modify --offline=yes {host}' once more), and "
            if offline and any(osd.inside for osd in osds)
            else ""
        )
        found.append(
            f"{names_of(osd.id for osd in osds)} may hold what is nowhere else:"
            f" {objection}; {first}wait until all data has moved to other nodes"
            " ('gnt-storage status'), or add a node if it has nowhere to go"
        )
    return found


def remove_stages(
    cluster: ClusterFacts, host: str, acting: str, instead: Sequence[Stage]
) -> tuple[Stage, ...]:
    """Return what makes the storage cluster forget a host.

    ``instead`` is what the other nodes lack without it: a mon, and its configuration.
    """
    stages = list(instead)
    if host in {mon.id for mon in cluster.mons}:
        removal = Stage("mon", ((acting, (RemoveMon(host),)),))
        # Of those that run there are never fewer than before; beside a dead one a new
        # one could take the quorum with it.
        stages.insert(len(stages) if host in cluster.quorum else 0, removal)
    forget = ForgetHost(host, tuple(osd.id for osd in osds_of(cluster, host)))
    stages.append(Stage("the storage cluster forgets it", ((acting, (forget,)),)))
    return tuple(stages)
