"""What Ganeti keeps of the storage: tags, and their typed meaning.

On the cluster: the parameters (:mod:`ganeti_ceph.params`).  On a node group:
``ceph:storage:marked``, or ``ceph:storage:initialising:FSID`` while its storage
cluster is being made, or ``ceph:storage:ready:FSID``.  On a node:
``ceph:storage:joining`` while it is made a part of the storage cluster,
``ceph:storage:ready`` once it is; ``ceph:storage:drained`` while it is drained, with
``ceph:storage:drained:ID`` for each OSD that was marked out for that; and, set by
administrators, its place in the CRUSH map, such as ``ceph:rack:R1``.
"""

import dataclasses
import enum
import uuid
from collections.abc import Iterable

from ganeti_ceph.errors import PrereqError

_PREFIX = "ceph:storage:"
NODE_READY = _PREFIX + "ready"
NODE_JOINING = _PREFIX + "joining"
NODE_DRAINED = _PREFIX + "drained"

#: CRUSH types above the host, from the nearest to the root.
PLACES = (
    "chassis",
    "rack",
    "row",
    "pdu",
    "pod",
    "room",
    "datacenter",
    "zone",
    "region",
)


class Phase(enum.Enum):
    """How far the storage cluster of a node group is."""

    MARKED = "marked"
    INITIALISING = "initialising"
    READY = "ready"


@dataclasses.dataclass(frozen=True)
class GroupState:
    """The storage cluster of a node group; ``fsid`` is None while only marked."""

    phase: Phase
    fsid: str | None

    def tag(self) -> str:
        """Return the group's tag for this state."""
        parts = [self.phase.value] + ([self.fsid] if self.fsid else [])
        return _PREFIX + ":".join(parts)


def group_state(tags: Iterable[str]) -> GroupState | None:
    """Return the state that a group's tags tell, None for a group without storage.

    Raises :class:`PrereqError` for tags that say nothing or contradict each other.
    """
    found = sorted(tag for tag in tags if tag.startswith(_PREFIX))
    if not found:
        return None
    if len(found) > 1:
        raise PrereqError(
            f"the node group has the tags {' and '.join(found)}, which contradict"
            " each other; remove the wrong one with 'gnt-group remove-tags'"
        )
    phase, _, fsid = found[0].removeprefix(_PREFIX).partition(":")
    try:
        state = GroupState(Phase(phase), str(uuid.UUID(fsid)) if fsid else None)
    except ValueError:
        state = None
    if state is None or (state.fsid is None) != (state.phase is Phase.MARKED):
        raise PrereqError(
            f"the node group's tag {found[0]} has no meaning; remove it with"
            " 'gnt-group remove-tags'"
        )
    return state


def storage_tags(tags: Iterable[str]) -> frozenset[str]:
    """Return those of an object's tags that tell of the storage cluster's state."""
    return frozenset(tag for tag in tags if tag.startswith(_PREFIX))


def drained_tags(osds: Iterable[int]) -> frozenset[str]:
    """Return the tags of a drained node, of which these OSDs were marked out for it."""
    return frozenset({NODE_DRAINED, *(f"{NODE_DRAINED}:{osd}" for osd in osds)})


def drained_osds(tags: Iterable[str]) -> frozenset[int] | None:
    """Return which OSDs were marked out to drain a node, None where nobody knows."""
    tags = frozenset(tags)
    if NODE_DRAINED not in tags:
        return None
    ids = (tag.removeprefix(f"{NODE_DRAINED}:") for tag in tags)
    return frozenset(int(one) for one in ids if one.isdigit())


def node_places(tags: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return a node's place as (CRUSH type, name) pairs, the outermost first."""
    places: dict[str, str] = {}
    for tag in sorted(tags):
        for kind in PLACES:
            name = tag.removeprefix(f"ceph:{kind}:")
            if name == tag:
                continue
            if kind in places:
                raise PrereqError(
                    f"two tags name the {kind} of one node: {places[kind]} and {name}"
                )
            places[kind] = name
    return tuple((kind, places[kind]) for kind in reversed(PLACES) if kind in places)
