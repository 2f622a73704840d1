"""Failure domains: moves that leave copies without a place are refused."""

import dataclasses

import pytest
from fakes import make_cluster

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
