"""What the storage cluster is doing, and what is wrong with it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganeti_ceph import diagnose, quorum, rpc, state
from ganeti_ceph.diagnose import Finding, Member
from ganeti_ceph.errors import Error
from ganeti_ceph.facts import Report
from ganeti_ceph.jobs.survey import (
    Storage,
    ask_cluster,
    find_storage,
    half_made,
    look_at,
)
from ganeti_ceph.plan import Node
from ganeti_ceph.state import Phase


@dataclasses.dataclass(frozen=True)
class Status:
    """What ``gnt-storage status`` shows."""

    storage: Storage
    members: tuple[Member, ...]
    #: None if the storage cluster does not answer.
    report: Report | None
    #: Why it does not.
    silence: str
    findings: tuple[Finding, ...]


def look(runner: Any, members: Sequence[Any], storage: Storage) -> Status:
    """Ask nodes and storage cluster, and find out what is wrong.

    ``members`` are Ganeti's nodes of the group, or like them.
    """
    known, nodes, silent = _members(runner, members, storage)
    report, silence = None, "no node that is online has its configuration and key"
    for node in [one for one in nodes if one.facts.conf and one.facts.has_keys][:3]:
        reply = rpc.call(runner, rpc.REPORT, {node.uuid: None})[node.uuid]
        if reply.answer is not None:
            report = reply.answer
            break
        silence = f"{node.name}: {reply.error}"
    found = [diagnose.silent_node(name, why) for name, why in silent.items()]
    if report is not None:
        found += diagnose.findings(
            known, nodes, silent, storage.params, storage.fsid, report.cluster
        )
    else:
        mons = _mons(known, nodes, silent, storage)
        found.append(Finding(None, f"the storage cluster does not answer: {mons}"))
        found += diagnose.findings_of_nodes(known, nodes, storage.params, storage.fsid)
    return Status(
        storage, tuple(known), report, "" if report else silence, tuple(found)
    )


def verify(unit: Any, feedback: Callable[[str], None]) -> None:
    """Say in ``gnt-cluster verify`` what is wrong with the storage cluster."""
    from ganeti import constants

    try:
        _verify(unit, feedback)
    except Error as err:
        # Such as a tag that has no meaning.
        unit._ErrorMsg(constants.CV_ECLUSTERCFG, None, f"storage cluster: {err}")


def _verify(unit: Any, feedback: Callable[[str], None]) -> None:
    from ganeti import constants

    groups = {
        uuid: (group.name, group.GetTags())
        for uuid, group in unit.all_group_info.items()
    }
    tags = unit.cfg.GetClusterInfo().GetTags()
    begun = find_storage(groups, tags, Phase.INITIALISING)
    if begun is not None:
        unit._ErrorMsg(constants.CV_ECLUSTERCFG, None, half_made(begun.name))
    storage = find_storage(groups, tags)
    if storage is None:
        return
    feedback("* Verifying the storage cluster")
    members = [
        node for node in unit.all_node_info.values() if node.group == storage.group
    ]
    known, nodes, silent = _members(unit.rpc, members, storage)
    cluster, silence = ask_cluster(unit.rpc, nodes)
    if cluster is None:
        mons = _mons(known, nodes, silent, storage)
        text = f"the storage cluster does not answer: {silence}; {mons}"
        unit._ErrorMsg(constants.CV_ECLUSTERCFG, None, text)
        found = diagnose.findings_of_nodes(known, nodes, storage.params, storage.fsid)
    else:
        found = diagnose.findings(
            known, nodes, silent, storage.params, storage.fsid, cluster
        )
    for one in found:
        code = constants.CV_ENODESETUP if one.node else constants.CV_ECLUSTERCFG
        level = unit.ETYPE_ERROR if one.error else unit.ETYPE_WARNING
        text = one.text if one.node else f"storage cluster: {one.text}"
        unit._ErrorMsg(code, one.node, text, level)


def _mons(
    known: Sequence[Member],
    nodes: Sequence[Node],
    silent: Mapping[str, str],
    storage: Storage,
) -> str:
    """Say which mons of a silent storage cluster run, and what brings it back."""
    offline = [one.name for one in known if one.offline]
    told = quorum.told(nodes, silent, offline, storage.fsid)
    return f"{told}: {quorum.remedy(nodes, storage.fsid)}"


def _members(
    runner: Any, members: Sequence[Any], storage: Storage
) -> tuple[list[Member], list[Node], dict[str, str]]:
    """Return what Ganeti has of the nodes, those that answer, and the rest."""
    ordered = sorted(members, key=lambda one: one.name)
    online = [one for one in ordered if not one.offline]
    nodes, silent = look_at(runner, online, storage.params)
    hosts = {node.uuid: node.host for node in nodes}
    known = [
        Member(
            one.name,
            hosts.get(one.uuid, one.name.partition(".")[0]),
            one.offline,
            one.drained,
            state.NODE_READY in one.GetTags(),
        )
        for one in ordered
    ]
    return known, nodes, {one.name: one.error for one in silent}
