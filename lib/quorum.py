"""The mons of a storage cluster that does not answer: what is decided about them.

Nothing here asks or changes anything.  While nobody can tell what the storage cluster
holds nothing is made: mons that have a store are started, and that is all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ganeti_ceph import cephconf
from ganeti_ceph.plan import Node, Stage
from ganeti_ceph.steps import StartMon

#: What is left to do where all mons that can be started run.
BY_HAND = (
    "bring the other nodes back; what a mon lacks 'journalctl -u ceph-mon@HOST' says on"
    " its node"
)


def _named(nodes: Iterable[Node], fsid: str) -> set[str]:
    """Return the mons that the nodes' ceph.conf name."""
    return {
        mon.id
        for node in nodes
        if node.facts.conf and cephconf.read_fsid(node.facts.conf) == fsid
        for mon in cephconf.read_mons(node.facts.conf)
    }


def _holders(nodes: Sequence[Node], fsid: str) -> list[Node]:
    """Return the nodes that have such a mon."""
    named = _named(nodes, fsid)
    return [one for one in nodes if one.host in named and one.host in one.facts.mons]


def start_stages(nodes: Sequence[Node], fsid: str) -> tuple[Stage, ...]:
    """Return what starts the mons that there are; () if none is."""
    steps = tuple((node.uuid, (StartMon(node.host),)) for node in _holders(nodes, fsid))
    return (Stage("mons", steps),) if steps else ()


def told(
    nodes: Sequence[Node], silent: Mapping[str, str], offline: Iterable[str], fsid: str
) -> str:
    """Say which mons run where, and of which nobody knows.

    ``nodes`` are those that answered, ``silent`` the names of others and why they did
    not, ``offline`` the names of those that were not asked.
    """
    return "; ".join(_states(nodes, silent, offline, fsid)) or "no node has a mon of it"


def _states(
    nodes: Sequence[Node], silent: Mapping[str, str], offline: Iterable[str], fsid: str
) -> Iterator[str]:
    named = _named(nodes, fsid)
    hosts = {node.host: node for node in nodes}
    away = {name.partition(".")[0]: name for name in offline}
    quiet = {name.partition(".")[0] for name in silent}
    for mon in sorted(named):
        node = hosts.get(mon)
        if node is not None:
            if mon not in node.facts.mons:
                yield f"mon.{mon} has no store"
            elif _is_stopped(node):
                yield f"mon.{mon} does not run"
            else:
                yield f"mon.{mon} runs"
        elif mon in away:
            yield (
                f"mon.{mon} is on {away[mon]}, which is offline ('gnt-node add"
                f" --readd {away[mon]}' brings it back)"
            )
        elif mon not in quiet:
            yield f"mon.{mon} is on no node of the group"
    for name, why in silent.items():
        # Where no node answers, nobody knows which had a mon.
        host = name.partition(".")[0]
        what = f" with mon.{host}" if host in named else ""
        yield f"{name}{what} does not answer ({why})"


def remedy(nodes: Sequence[Node], fsid: str) -> str:
    """Return what to do about it, as far as the nodes that answer can."""
    stopped = [f"mon.{one.host}" for one in _holders(nodes, fsid) if _is_stopped(one)]
    if stopped:
        return f"'gnt-storage repair' starts {', '.join(stopped)}"
    return BY_HAND


def _is_stopped(node: Node) -> bool:
    return f"mon.{node.host}" in node.facts.stopped
