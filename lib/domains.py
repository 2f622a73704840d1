"""Failure domains: how many have a place for a pool's copies, and which have mons."""

from collections import Counter
from collections.abc import (
    Collection,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)

from ganeti_ceph.facts import ClusterFacts, CrushPlace, Osd, Rule
from ganeti_ceph.steps import PlaceHost


def takes(rule: Rule, osd: Osd, places: Mapping[str, CrushPlace]) -> bool:
    """Tell whether a rule puts copies on an OSD.

    ``places`` are those of hosts in the CRUSH map, by their names.
    """
    if osd.bucket is None or rule.device_class not in (None, osd.device_class):
        return False
    above = {name for _, name in places.get(osd.bucket, ())}
    return rule.below in above | {osd.bucket}


def count(rule: Rule, osds: Iterable[Osd], places: Mapping[str, CrushPlace]) -> int:
    """Return how many failure domains of a rule some OSDs are in."""
    taken = (osd for osd in osds if takes(rule, osd, places))
    return len({_domain(rule.domain, osd, places) for osd in taken} - {None})


def _domain(kind: str, osd: Osd, places: Mapping[str, CrushPlace]) -> str | None:
    """Return the failure domain of a kind that an OSD is in."""
    if kind == "osd":
        return str(osd.id)
    if kind == "host":
        return osd.bucket
    return dict(places.get(str(osd.bucket), ())).get(kind)


def move_refusals(
    cluster: ClusterFacts, moves: Sequence[PlaceHost], coming: Collection[int]
) -> Iterator[str]:
    """Return, a sentence each, of which pools copies would have no place after moves.

    ``coming`` are OSDs that are out, and about to be marked in.  Nothing is said where
    there are too few domains as it is, and moves take none away.
    """
    osds = [osd for osd in cluster.osds if osd.inside or osd.id in coming]
    before = dict(cluster.places)
    after = {**before, **{move.host: _new_place(move, before) for move in moves}}
    there = ", ".join(
        f"{move.host} in {kind} {spot}"
        for move in moves
        for kind, spot in move.place[-1:]
    )
    for pool in cluster.pools:
        if pool.rule is None:
            continue
        left = count(pool.rule, osds, after)
        if left < min(pool.size, count(pool.rule, osds, before)):
            what = "its data in {} parts" if pool.coded else "{} copies"
            yield (
                f"pool {pool.name} keeps {what.format(pool.size)}, and with {there}"
                f" there would be only {left} failure domains ({pool.rule.domain}) for"
                " them: set the tags back to where the nodes were ('gnt-node"
                " remove-tags', 'gnt-node add-tags'), or add a node first"
            )


def _new_place(move: PlaceHost, places: Mapping[str, CrushPlace]) -> CrushPlace:
    """Return where a host is when it was moved."""
    spot = move.place[-1]
    for place in places.values():
        if spot in place:
            # What is above that is there already.
            return place[: place.index(spot) + 1]
    return (*places.get(move.host, ())[:1], *move.place)


def mon_swaps(
    spots: Mapping[str, str],
    mons: Collection[str],
    free: Collection[str],
    drained: Container[str],
    wanted: int,
) -> list[tuple[str | None, str]]:
    """Return, by host, the mons that are made and those that go then, pair by pair.

    Afterwards no failure domain that could have a mon has two less than another.
    ``spots`` are the domains of hosts, ``free`` are those that may get a mon; of those
    that are ``drained`` one goes first.  Of an even number of mons, more than are
    ``wanted``, one is left over from a swap, or a node's leaving, that was not
    finished: without it as many may fail as with it.  Of two none is: the other would
    be all that knows of the storage cluster.
    """
    if not mons or not spots.keys() >= {*mons}:
        # Where the others are is not known.
        return []
    there = {*mons}
    rest = {*free}
    used = Counter(dict.fromkeys(spots.values(), 0))
    used.update(spots[host] for host in there)
    found: list[tuple[str | None, str]] = []

    def crowded() -> str:
        return max(there, key=lambda host: (used[spots[host]], host in drained, host))

    def swap(made: str | None, gone: str) -> None:
        if made is not None:
            rest.remove(made)
            there.add(made)
            used[spots[made]] += 1
        there.remove(gone)
        used[spots[gone]] -= 1
        found.append((made, gone))

    if len(there) > max(wanted, 2) and len(there) % 2 == 0:
        swap(None, crowded())
    while rest:
        made = min(rest, key=lambda host: (used[spots[host]], host))
        gone = crowded()
        if used[spots[gone]] - used[spots[made]] < 2:
            break
        swap(made, gone)
    return found
