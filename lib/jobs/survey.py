"""What a job knows of the nodes and the storage cluster before it plans."""

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganeti_ceph import params, rpc, state, wire
from ganeti_ceph.errors import PrereqError
from ganeti_ceph.facts import ClusterFacts
from ganeti_ceph.params import StorageParameters
from ganeti_ceph.plan import Node
from ganeti_ceph.rpc import Look
from ganeti_ceph.steps import Keys

#: How many nodes are asked before a silent storage cluster is believed.
_TRIES = 3


class ByName:
    """A node as Ganeti's are, but called by its name, not through the configuration."""

    def __init__(
        self,
        name: str,
        primary_ip: str,
        secondary_ip: str,
        tags: Iterable[str],
        *,
        offline: bool = False,
        drained: bool = False,
    ) -> None:
        self.uuid = self.name = name
        self.primary_ip = primary_ip
        self.secondary_ip = secondary_ip
        self.offline = offline
        self.drained = drained
        self._tags = frozenset(tags)

    def GetTags(self) -> frozenset[str]:
        """Return its tags."""
        return self._tags


@dataclasses.dataclass(frozen=True)
class Storage:
    """The storage cluster that Ganeti has; ``group`` is a UUID."""

    group: str
    name: str
    fsid: str
    params: StorageParameters


def find_storage(
    groups: Mapping[str, tuple[str, Iterable[str]]],
    cluster: Iterable[str],
    phase: state.Phase = state.Phase.READY,
) -> Storage | None:
    """Return the storage cluster that is so far, None if there is none.

    ``groups`` has, by UUID, the name and tags of each node group; ``cluster`` are the
    tags of the Ganeti cluster.
    """
    for group, (name, tags) in groups.items():
        found = state.group_state(tags)
        if found is not None and found.phase is phase:
            return Storage(group, name, str(found.fsid), params.from_tags(cluster))
    return None


def half_made(group: str) -> str:
    """Say that the storage cluster of a node group is half made, and what finishes it.

    ``group`` is its name.
    """
    return (
        f"the storage cluster of group {group} is half made: 'gnt-storage"
        f" init-distributed-storage -s ceph {group}' goes on with it"
    )


@dataclasses.dataclass(frozen=True)
class Silent:
    """A node that did not answer, and why."""

    uuid: str
    name: str
    error: str


def look_at(
    runner: Any, members: Sequence[Any], wanted: StorageParameters
) -> tuple[list[Node], list[Silent]]:
    """Ask Ganeti's nodes for their facts, all at once; also return who was silent."""
    asked = wire.encode(Look(wanted.disks, wanted.db_devices))
    before = time.time()
    replies = rpc.call(runner, rpc.LOOK, {node.uuid: asked for node in members})
    after = time.time()
    nodes = []
    silent = []
    for one in sorted(members, key=lambda node: node.name):
        reply = replies[one.uuid]
        if reply.answer is None:
            silent.append(Silent(one.uuid, one.name, str(reply.error)))
            continue
        nodes.append(
            Node(
                one.uuid,
                one.name,
                one.primary_ip,
                one.secondary_ip,
                _places(one),
                reply.answer,
                (before, after),
                one.drained,
            )
        )
    return nodes, silent


def _places(node: Any) -> tuple[tuple[str, str], ...]:
    try:
        return state.node_places(node.GetTags())
    except PrereqError as err:
        raise PrereqError(
            f"{node.name}: {err}; take the wrong one off ('gnt-node remove-tags"
            f" {node.name} ceph:TYPE:NAME')"
        ) from None


def refuse_silence(silent: Iterable[Silent]) -> None:
    """Raise :class:`PrereqError` that names each node without an answer, if any is."""
    lines = [f"{one.name}: {one.error}" for one in silent]
    if lines:
        raise PrereqError("\n".join(lines))


def ask_cluster(runner: Any, nodes: Iterable[Node]) -> tuple[ClusterFacts | None, str]:
    """Return what the storage cluster says of itself; without a quorum, why it is mute.

    Only nodes that have its configuration and the administrator's key can ask.
    """
    able = [node for node in nodes if node.facts.conf and node.facts.has_keys]
    # Those that hold a mon know most; others serve as well.
    able = [node for node in able if node.facts.mons] or able
    silence = "no node that is online has its configuration and key"
    # At once: a cluster that is silent takes each of them as long.
    names = {node.uuid: node.name for node in able[:_TRIES]}
    for uuid, reply in rpc.call(runner, rpc.STATUS, dict.fromkeys(names)).items():
        if reply.answer is not None:
            return reply.answer, ""
        silence = f"{names[uuid]}: {reply.error}"
    return None, silence


def find_keys(
    runner: Any,
    nodes: Iterable[Node],
    cluster: ClusterFacts | None,
    away: Sequence[str],
) -> Keys | None:
    """Return the keys of a storage cluster that was begun, None where no node has them.

    ``away`` are the names of nodes that may have them and cannot be asked.
    """
    holders = {node.uuid: node.name for node in nodes if node.facts.mons}
    replies = rpc.call(runner, rpc.KEYS, dict.fromkeys(holders))
    found = [reply.answer for reply in replies.values() if reply.answer]
    if holders and not found:
        raise PrereqError(
            "no node has the keys of the storage cluster that was begun: "
            + "; ".join(
                f"{name}: {replies[uuid].error}" for uuid, name in holders.items()
            )
        )
    if any(keys != found[0] for keys in found):
        raise PrereqError(
            "nodes have mons with different keys: "
            + ", ".join(sorted(holders.values()))
            + "; those that never were in quorum are to be removed (rm -r"
            " /var/lib/ceph/mon/ceph-HOST)"
        )
    if found:
        return found[0]
    if cluster is not None or away:
        raise PrereqError(
            "no node that is online has a mon of the storage cluster that was"
            " begun, and so its keys; bring back, or remove from the group: "
            + (", ".join(sorted(away)) or "the nodes with its mons")
        )
    return None
