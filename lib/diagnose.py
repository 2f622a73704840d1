"""What is wrong with the storage cluster, and what mends it: decided from facts.

``gnt-cluster verify`` and ``gnt-storage status`` say it.  What ``gnt-storage repair``
would do is not looked for a second time: its plan tells.
"""

import dataclasses
from collections.abc import Container, Iterable, Sequence

from ganeti_ceph import plan
from ganeti_ceph.errors import PrereqError
from ganeti_ceph.facts import ClusterFacts
from ganeti_ceph.params import StorageParameters
from ganeti_ceph.plan import Node
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import (
    AwaitDaemons,
    AwaitHealth,
    Configure,
    Keys,
    MakeClient,
    MakeCollector,
    RepairGroups,
    SecureKeys,
    Settle,
    names_of,
)

#: What to do about health checks of Ceph's; of others Ceph itself has to tell.
REMEDIES = {
    "DAEMON_OLD_VERSION": "upgrade the nodes that have the older one, or start their"
    " daemons anew ('gnt-node modify --offline=yes', then 'gnt-node add --readd')",
    "MON_CLOCK_SKEW": "synchronise the nodes' clocks (chrony)",
    "MON_DISK_BIG": "compact its store ('ceph tell mon.ID compact')",
    "MON_DISK_CRIT": "make room on the file system of /var/lib/ceph/mon",
    "MON_DISK_LOW": "make room on the file system of /var/lib/ceph/mon",
    "OSD_BACKFILLFULL": "add disks or nodes, or remove data",
    "OSD_FULL": "add disks or nodes, or remove data: writes have stopped",
    "OSD_NEARFULL": "add disks or nodes, or remove data",
    "OSD_SCRUBERRORS": "'gnt-storage repair' has damaged copies made anew from good"
    " ones; a disk may be failing",
    "PG_DAMAGED": "'gnt-storage repair' has damaged copies made anew from good ones; a"
    " disk may be failing",
    "OBJECT_MISPLACED": "data is on its way",
    "OBJECT_UNFOUND": "start the OSDs that are down, one of them may have the last copy"
    " ('gnt-storage repair')",
    "OSDMAP_FLAGS": "'ceph osd unset FLAG' takes each off again",
    "PG_AVAILABILITY": "start the OSDs that are down ('gnt-storage repair')",
    "PG_DEGRADED": "copies are missing, and made again as soon as they have a place",
    "POOL_FULL": "raise its quota ('ceph osd pool set-quota'), or remove data",
    "POOL_NEARFULL": "add disks or nodes, or remove data",
    "SLOW_OPS": "look at the daemons' disks and their network",
    **dict.fromkeys(
        plan.CRASHES,
        "'ceph crash info' tells why; 'gnt-storage repair --archive-crashes' marks all"
        " as seen",
    ),
}

#: Those that are of so many placement groups that no single one says anything.
_COUNTED = frozenset({"OBJECT_MISPLACED", "PG_DEGRADED"})
#: How many sentences there are for one check.
_SHOWN = 3

#: Those that mean that something does not work, or may be lost.
ERRORS = frozenset(
    {
        "MON_DISK_CRIT",
        "OSD_FULL",
        "OSD_SCRUBERRORS",
        "PG_AVAILABILITY",
        "PG_DAMAGED",
        "POOL_FULL",
    }
)

#: Those of which it is said otherwise which daemon or node they are of,
#: and what mends it where only the check is known.
_TOLD = {
    "MGR_DOWN": "'gnt-storage repair' starts one",
    "MON_DOWN": "'gnt-storage repair' starts it; 'gnt-node modify --offline=yes' takes"
    " out that of a node that stays away",
    "OSD_DOWN": "'gnt-storage repair' starts it, or says what its disk lacks",
    "OSD_HOST_DOWN": "start the node; 'gnt-node modify --offline=yes' lets the others"
    " take over from one that stays away",
}


#: Steps of which something else is said already, or which only wait.
_SAID_OTHERWISE = AwaitHealth | AwaitDaemons | RepairGroups | SecureKeys | Settle

#: Steps of which the node alone tells whether they are needed.
_OF_ITS_NODE = Configure | MakeClient | MakeCollector


def remedy(check: str) -> str:
    """Return what to do about a health check of Ceph's."""
    known = REMEDIES.get(check) or _TOLD.get(check)
    return known or "'ceph health detail' tells more of it"


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; ``node`` is None for the whole cluster."""

    node: str | None
    text: str
    error: bool = True


@dataclasses.dataclass(frozen=True)
class Member:
    """What Ganeti has of a node of the storage cluster's group."""

    name: str
    host: str
    offline: bool
    drained: bool
    #: Whether it was made part of the storage cluster.
    ready: bool


def findings(
    members: Sequence[Member],
    nodes: Sequence[Node],
    silent: Container[str],
    params: StorageParameters,
    fsid: str,
    cluster: ClusterFacts,
) -> list[Finding]:
    """Return what is wrong, nodes first.

    ``nodes`` are those that answered; ``silent`` names the others that should have, of
    which who asked them tells.
    """
    newcomers = _newcomers(members)
    found = _told_of(newcomers)
    found += _differences(members, cluster)
    found += _silent_daemons(members, silent, cluster)
    old = [node for node in nodes if node.name not in newcomers]
    found += gone(old, cluster)
    found += _strangers(members, cluster)
    found += [
        Finding(
            None,
            f"osd.{one} is registered and never ran, and no node that answers has"
            f" begun it: 'ceph osd purge-new {one} --yes-i-really-mean-it' forgets it,"
            " and its key",
            error=False,
        )
        for one in plan.strays(nodes, cluster)
    ]
    found += [Finding(None, text) for text in plan.unusable(old, fsid)]
    planned, texts = _drift(old, params, fsid, cluster)
    found += [Finding(None, text) for text in texts]
    found += _of_nodes_alone(nodes)
    found += _outdated(old, cluster)
    details = dict(cluster.details)
    for check in cluster.checks:
        name, _, message = check.partition(": ")
        if name in _TOLD and planned:
            continue
        told = () if name in _COUNTED else details.get(name, ())
        words = f"{message}{_listed(told)} ({name}); {remedy(name)}"
        found.append(Finding(None, words, name in ERRORS | {*_TOLD}))
    return found


def _listed(texts: Sequence[str]) -> str:
    """Return what Ceph tells of a check, for behind its message."""
    if not texts:
        return ""
    more = len(texts) - _SHOWN
    left = [f"{more} more"] if more > 0 else []
    return ": " + "; ".join([*texts[:_SHOWN], *left])


def silent_node(name: str, why: str) -> Finding:
    """Say that a node does not answer."""
    return Finding(
        name,
        f"it does not answer: {why}; start it, or its node daemon ('systemctl restart"
        f" ganeti' there); if it stays away, 'gnt-node modify --offline=yes {name}'"
        " lets the others take over",
    )


def findings_of_nodes(
    members: Sequence[Member],
    nodes: Sequence[Node],
    params: StorageParameters,
    fsid: str,
) -> list[Finding]:
    """Return what the nodes by themselves tell while the storage cluster is silent."""
    newcomers = _newcomers(members)
    found = _told_of(newcomers)
    old = [node for node in nodes if node.name not in newcomers]
    for node in old:
        carried = {one.label.osd_id for one in node.facts.disks if one.label}
        names = [f"osd.{one.id}" for one in node.facts.osds if one.id in carried]
        stopped = [name for name in names if name in node.facts.stopped]
        if stopped:
            text = f"{', '.join(stopped)} does not run: 'gnt-storage repair' starts it"
            found.append(Finding(node.name, text))
    found += [Finding(None, text) for text in plan.unusable(old, fsid)]
    found += [Finding(None, text) for text in _drift(old, params, fsid, None)[1]]
    return found + _of_nodes_alone(nodes)


def _newcomers(members: Iterable[Member]) -> set[str]:
    return {one.name for one in members if not one.ready and not one.offline}


def _told_of(newcomers: Iterable[str]) -> list[Finding]:
    return [
        Finding(
            name,
            "it is not part of the storage cluster yet: 'gnt-storage repair"
            f" {name}' makes it one",
        )
        for name in sorted(newcomers)
    ]


def _of_nodes_alone(nodes: Sequence[Node]) -> list[Finding]:
    """Say where packages differ, and which keys are not as they should be."""
    found = [
        Finding(
            None,
            f"{text}; upgrade the others, too ('apt upgrade' on each while 'gnt-node"
            " modify --offline=yes' has it offline)",
            False,
        )
        for text in plan.differing_versions(nodes)
    ]
    found += [
        Finding(
            node.name,
            f"{path} has another owner or mode than a key should: 'gnt-storage repair'"
            " mends that",
        )
        for node in nodes
        for path in node.facts.loose_keys
    ]
    return found


def _strangers(members: Iterable[Member], cluster: ClusterFacts) -> Iterable[Finding]:
    """Say what is down on hosts that are no nodes, and thus nobody's to mend."""
    hosts = {one.host for one in members}
    for mon in cluster.mons:
        if mon.id not in hosts and mon.id not in cluster.quorum:
            yield Finding(
                None,
                f"mon.{mon.id} is down, and {mon.id} is no node of the storage"
                f" cluster's group: 'ceph mon remove {mon.id}' takes it out of the map",
            )
    down: dict[str, list[int]] = {}
    for osd in cluster.osds:
        if osd.host is not None and osd.host not in hosts and not (osd.up or osd.new):
            down.setdefault(osd.host, []).append(osd.id)
    for host, ids in sorted(down.items()):
        yield Finding(
            None,
            f"{names_of(ids)} is down, and {host} is no node of the storage cluster's"
            " group: 'ceph osd purge ID' forgets one once 'ceph osd safe-to-destroy"
            " ID' allows it",
        )


def _differences(members: Iterable[Member], cluster: ClusterFacts) -> Iterable[Finding]:
    """Say where Ganeti and Ceph think differently of a node."""
    for one in members:
        osds = [osd for osd in cluster.osds if osd.host == one.host]
        up = names_of(osd.id for osd in osds if osd.up)
        if one.host in cluster.quorum:
            up = ", ".join(filter(None, (up, f"mon.{one.host}")))
        inside = ", ".join(f"osd.{osd.id}" for osd in osds if osd.inside)
        # Ceph itself marks those out that are down, and then that is not the matter.
        outside = names_of(osd.id for osd in osds if osd.up and not osd.inside)
        if one.offline and up:
            yield Finding(
                one.name,
                f"it is offline, and {up} of it runs: 'gnt-node add --readd {one.name}'"
                f" brings it back, 'gnt-node modify --offline=yes {one.name}' stops it",
            )
        waits = {mon.id for mon in cluster.mons}.difference(cluster.quorum)
        if one.offline and one.host in waits:
            yield Finding(
                one.name,
                f"it is offline, and mon.{one.host} still counts for the quorum; if it"
                " does not come back soon, 'gnt-node modify --offline=yes"
                f" {one.name}' takes it out",
                error=False,
            )
        if one.drained and inside:
            yield Finding(
                one.name,
                f"it is drained, and {inside} still takes data: 'gnt-node modify"
                f" --drained=yes {one.name}' moves it away",
                error=False,
            )
        if outside and one.ready and not one.offline and not one.drained:
            yield Finding(
                one.name,
                f"{outside} is marked out and takes no data: 'gnt-storage repair"
                f" {one.name}' marks it in",
                error=False,
            )


def _outdated(nodes: Iterable[Node], cluster: ClusterFacts) -> Iterable[Finding]:
    """Say where daemons run on from before an upgrade of their packages."""
    running = dict(cluster.versions)
    for node in nodes:
        there = plan.installed(node)
        others = [one for one in running.get(node.host, ()) if one not in there]
        if others:
            yield Finding(
                node.name,
                f"daemons of Ceph {', '.join(others)} run there, and"
                f" {', '.join(sorted(there))} is installed: 'gnt-node modify"
                f" --offline=yes {node.name}', then 'gnt-node add --readd {node.name}'"
                " has them start anew",
                error=False,
            )


def _silent_daemons(
    members: Iterable[Member], silent: Container[str], cluster: ClusterFacts
) -> Iterable[Finding]:
    for one in members:
        if one.name not in silent:
            continue
        down = [f"mon.{m.id}" for m in cluster.mons if m.id == one.host]
        down = [name for name in down if name[4:] not in cluster.quorum]
        down += [
            f"osd.{osd.id}"
            for osd in cluster.osds
            if osd.host == one.host and not osd.up
        ]
        if down:
            yield Finding(
                one.name,
                f"{', '.join(down)} is down; if the node stays away, 'gnt-node modify"
                f" --offline=yes {one.name}' lets the others take over",
            )


def gone(
    nodes: Iterable[Node], cluster: ClusterFacts, again: Container[int] = ()
) -> Iterable[Finding]:
    """Say which OSDs no repair can start: their devices are not there.

    Those that are about to be made ``again`` are not said.
    """
    nodes = list(nodes)
    # A disk may have moved to another node.
    carried = {
        one.label.osd_uuid for node in nodes for one in node.facts.disks if one.label
    }
    for node in nodes:
        lost = [
            osd.id
            for osd in cluster.osds
            if osd.host == node.host
            and not (osd.up or osd.new)
            and osd.uuid not in carried
            and osd.id not in again
        ]
        if lost:
            yield Finding(
                node.name,
                f"{names_of(lost)} is down, and no device that ceph:disk names carries"
                " it: bring its device back, or put a new one in its place, then"
                f" 'gnt-storage repair {node.name}'",
            )


def _drift(
    nodes: Sequence[Node],
    params: StorageParameters,
    fsid: str,
    cluster: ClusterFacts | None,
) -> tuple[bool, list[str]]:
    """Say whether 'gnt-storage repair' can be planned, and what it refuses or does.

    While the storage cluster is silent only what nodes lack that others do not tell of.
    """
    if not nodes:
        return False, []
    refused = plan.refusals(nodes, params, fsid, ready=True)
    refused += plan.unplaced(nodes, params)
    if refused:
        return False, refused
    # They are not looked at.
    none = Secret("")
    keys = Keys(none, none)
    try:
        made = plan.plan(nodes, params, fsid, keys, False, cluster, ready=True)
    except (PrereqError, ValueError) as err:
        # A step refuses what a tag or parameter names.
        return False, [str(err)]
    names = {node.uuid: node.name for node in nodes}
    return True, [
        f"{names[uuid]}: to do: {step.sentence()} ('gnt-storage repair')"
        for stage in made.stages
        for uuid, steps in stage.steps
        for step in steps
        if not isinstance(step, _SAID_OTHERWISE)
        and (cluster is not None or isinstance(step, _OF_ITS_NODE))
    ]
