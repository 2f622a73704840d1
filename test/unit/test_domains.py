"""Failure domains: no move leaves copies without a place, and mons are spread."""

import dataclasses
from collections import Counter

import pytest
from fakes import make_cluster
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph import domains
from ganeti_ceph.facts import Osd, Pool, Rule
from ganeti_ceph.steps import PlaceHost

RACKS = {"node1": "R1", "node2": "R2", "node3": "R2", "node4": "R3"}


def rule(domain):
    return Rule("default", domain, None)


RULE = rule("rack")


def cluster_of(size=3, rule=RULE, coded=False, **changes):
    """Return a cluster with an OSD on each host, in racks of room A."""
    osds = tuple(
        Osd(number, f"uuid-of-{number}", True, False, True, host, host)
        for number, host in enumerate(RACKS)
    )
    places = tuple(
        (host, (("root", "default"), ("room", "A"), ("rack", rack)))
        for host, rack in RACKS.items()
    )
    pools = (Pool("rbd", size, 2, 128, ("rbd",), rule, coded),)
    return make_cluster(**{"osds": osds, "places": places, "pools": pools, **changes})


def refused(cluster, coming=(), **racks):
    moves = [PlaceHost(host, (("rack", rack),)) for host, rack in racks.items()]
    return list(domains.move_refusals(cluster, moves, coming))


def test_a_move_that_takes_a_domain_away_which_copies_need_is_refused():
    (text,) = refused(cluster_of(), node4="R2")
    assert text.startswith(
        "pool rbd keeps 3 copies, and with node4 in rack R2 there would be only 2"
        " failure domains (rack) for them"
    )
    assert "'gnt-node remove-tags'" in text


@pytest.mark.parametrize(
    ("cluster", "moves"),
    [
        (cluster_of(2), {"node4": "R2"}),
        (cluster_of(), {"node4": "R4"}),
        (cluster_of(), {"node3": "R3"}),
        # The places change hands.
        (cluster_of(), {"node4": "R2", "node3": "R3"}),
        # They lack a place anyway.
        (cluster_of(4), {"node3": "R3"}),
        (cluster_of(rule=rule("host")), {"node4": "R2"}),
        (cluster_of(rule=rule("osd")), {"node4": "R2"}),
        # Nobody knows what such a rule does.
        (cluster_of(rule=None), {"node4": "R2"}),
        (cluster_of(pools=()), {"node4": "R2"}),
    ],
)
def test_others_are_not(cluster, moves):
    assert refused(cluster, **moves) == []


def test_parts_of_an_erasure_code_need_a_domain_each():
    (text,) = refused(cluster_of(coded=True), node4="R2")
    assert text.startswith("pool rbd keeps its data in 3 parts, and")


def test_only_osds_that_take_data_or_shall_are_counted():
    cluster = cluster_of()
    away = dataclasses.replace(cluster.osds[3], inside=False)
    cluster = dataclasses.replace(cluster, osds=(*cluster.osds[:3], away))
    assert refused(cluster, node4="R2") == []
    assert len(refused(cluster, coming=[3], node4="R2")) == 1


def test_a_new_place_is_below_what_the_administrator_made_above_it():
    """The tags name racks alone, and the copies are spread over rooms."""
    places = dict(cluster_of().places)
    places["node4"] = (("root", "default"), ("room", "B"), ("rack", "R3"))
    cluster = cluster_of(2, rule=rule("room"), places=tuple(places.items()))
    (text,) = refused(cluster, node4="R2")
    assert "only 1 failure domains (room)" in text
    assert refused(cluster, node3="R3") == []


# Mons


def swaps(racks, mons, free=None, drained=(), wanted=3):
    """Return the swaps in words; racks and mons name hosts by numbers."""
    spots = {f"node{number}": rack for number, rack in enumerate(racks, 1)}
    names = {f"node{number}" for number in mons}
    rest = spots.keys() - names if free is None else {f"node{one}" for one in free}
    away = {f"node{number}" for number in drained}
    found = domains.mon_swaps(spots, names, rest, away, wanted)
    return [(made and made[4:], gone[4:]) for made, gone in found]


@pytest.mark.parametrize(
    ("racks", "mons", "found"),
    [
        # As well spread as can be.
        (["R1", "R2", "R3"], [1, 2, 3], []),
        (["R1", "R2", "R2", "R3"], [1, 3, 4], []),
        (["R1", "R1", "R2", "R2", "R3"], [1, 2, 3, 4, 5], []),
        # No other rack has a node that is free.
        (["R1", "R1", "R2"], [1, 2, 3], []),
        (["R1"], [1], []),
        # A node came back, or nodes were tagged anew.
        (["R1", "R2", "R2", "R3"], [1, 2, 3], [("4", "3")]),
        (["R1", "R1", "R1", "R2", "R3"], [1, 2, 3], [("4", "3"), ("5", "2")]),
        (["R1"] * 5 + ["R2"] * 2, [1, 2, 3, 4, 5], [("6", "5"), ("7", "4")]),
        # With more than are wanted, as the administrator's number was greater once.
        (["R1"] * 5 + ["R2"], [1, 2, 3, 4, 5], [("6", "5")]),
    ],
)
def test_mons_go_from_a_domain_with_many_to_one_with_few(racks, mons, found):
    assert swaps(racks, mons) == found


@pytest.mark.parametrize(
    ("racks", "mons", "found"),
    [
        (["R1", "R2", "R2", "R3"], [1, 2, 3, 4], [(None, "3")]),
        (["R1", "R1", "R2", "R2"], [1, 2, 3, 4], [(None, "4")]),
        (["R1", "R2", "R3", "R4"], [1, 2, 3, 4], [(None, "4")]),
        (["R1"] * 4, [1, 2, 3, 4], [(None, "4")]),
    ],
)
def test_what_is_left_of_a_swap_is_finished(racks, mons, found):
    assert swaps(racks, mons) == found
    assert swaps(racks, mons, wanted=5) == []


@pytest.mark.parametrize("racks", [["R1", "R1"], ["R1", "R2"]])
def test_one_of_two_mons_is_no_mon_too_many(racks):
    assert swaps(racks, [1, 2], wanted=1) == []


def test_drained_nodes_give_their_mon_first():
    racks = ["R1", "R1", "R1", "R2"]
    assert swaps(racks, [1, 2, 3]) == [("4", "3")]
    assert swaps(racks, [1, 2, 3], drained=[1]) == [("4", "1")]
    assert swaps(racks, [1, 2, 3], free=()) == []


def test_nothing_moves_while_a_mon_s_place_is_not_known():
    assert swaps(["R1", "R1", "R2"], [1, 2, 9]) == []
    assert swaps(["R1", "R2"], []) == []


@given(
    st.lists(st.sampled_from(["R1", "R2", "R3", "R4"]), min_size=1, max_size=9),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 3, 5, 7]),
)
def test_after_all_swaps_there_are_none_and_domains_are_even(racks, random, wanted):
    hosts = range(1, len(racks) + 1)
    mons = set(random.sample(hosts, random.randint(1, len(racks))))
    free = {host for host in hosts if host not in mons and random.random() < 0.8}
    before = len(mons)
    for made, gone in swaps(racks, mons, free, wanted=wanted):
        if made is not None:
            free.remove(int(made))
            mons.add(int(made))
        assert int(gone) in mons
        mons.remove(int(gone))
        assert len(mons) >= before - (before % 2 == 0)
    assert swaps(racks, mons, free, wanted=wanted) == []
    used = Counter(racks[host - 1] for host in mons)
    open_to = {racks[host - 1] for host in free}
    assert all(used[spot] >= max(used.values()) - 1 for spot in open_to)
