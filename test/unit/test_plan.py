"""Planning: refusals, who gets what, and that what is finished is left alone."""

import dataclasses
import ipaddress
import uuid
from collections import Counter

import fakes
import outcome
import pytest
from fakes import (
    FSID,
    GIB,
    OTHER_FSID,
    make_cluster,
    make_device,
    make_label,
    make_node,
)
from fakes import make_nodes as nodes_of
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph import cephconf, plan
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import PrereqError
from ganeti_ceph.facts import Database, Osd, Pool
from ganeti_ceph.params import FailureDomain, OsdLayout, StorageParameters
from ganeti_ceph.plan import PACKAGES, Plan, pg_count, refusals
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import (
    AwaitDaemons,
    AwaitHealth,
    Configure,
    Keys,
    MakeClient,
    MakeLvmOsds,
    MakeMgr,
    MakeMon,
    MakeOsd,
    MakePool,
    MarkOsds,
    PlaceHost,
    RemoveMon,
    RepairGroups,
    Settle,
    StartOsd,
    StopDaemons,
)

PARAMS = StorageParameters(disks=("/dev/sdb",))
KEYS = Keys(Secret("the-mon-key"), Secret("the-admin-key"))


def with_params(**changes):
    return dataclasses.replace(PARAMS, **changes)


def refused(nodes, params=PARAMS, fsid=None):
    return refusals(nodes, params, fsid)


def planned(nodes, params=PARAMS, cluster=None, new_keys=False):
    return plan.plan(nodes, params, FSID, KEYS, new_keys, cluster)


def steps_of(made: Plan, kind, node=None):
    return [
        step
        for stage in made.stages
        for uuid, steps in stage.steps
        if node is None or uuid == node.uuid
        for step in steps
        if isinstance(step, kind)
    ]


def three_with(**changes):
    """Three nodes; the facts of the first differ."""
    return [fakes.with_facts(make_node("node1"), **changes), *nodes_of(3)[1:]]


def conf_text(fsid=FSID, mons=("node1",)):
    conf = cephconf.ClusterConf(
        fsid,
        tuple(Mon(name, f"192.0.2.{name[4:]}") for name in mons),
        "192.0.2.0/24",
        None,
        (),
    )
    return cephconf.render(conf, (), "node1")


# What is refused


def test_three_bare_nodes_are_taken():
    assert refused(nodes_of(3)) == []


def test_a_ceph_conf_of_another_cluster_is_refused():
    (message,) = refused(three_with(conf=conf_text(OTHER_FSID)))
    assert "node1" in message
    assert OTHER_FSID in message


def test_any_ceph_conf_is_refused_for_a_new_cluster():
    (message,) = refused(three_with(conf=conf_text(FSID)))
    assert FSID in message


def test_a_ceph_conf_without_fsid_is_refused():
    (message,) = refused(three_with(conf="[global]\nmon_host = a\n"), fsid=FSID)
    assert "it names none" in message


def test_the_ceph_conf_of_the_cluster_that_was_begun_is_welcome():
    assert refused(three_with(conf=conf_text(FSID), mons=("node1",)), fsid=FSID) == []


@pytest.mark.parametrize(
    ("facts", "daemon"),
    [
        ({"mons": ("a",)}, "mon.a"),
        ({"mgrs": ("x",)}, "mgr.x"),
        ({"osds": (fakes.osd_dir(7, OTHER_FSID),)}, "osd.7"),
    ],
)
def test_daemons_without_our_ceph_conf_are_refused(facts, daemon):
    for fsid in (None, FSID):
        (message,) = refused(three_with(**facts), fsid=fsid)
        assert daemon in message


def test_an_osd_of_another_cluster_is_refused_beside_our_conf():
    facts = {"conf": conf_text(), "osds": (fakes.osd_dir(7, OTHER_FSID),)}
    (message,) = refused(three_with(**facts), fsid=FSID)
    assert "osd.7" in message


def test_our_own_osd_is_welcome():
    facts = {"conf": conf_text(), "osds": (fakes.osd_dir(7),), "mgrs": ("node1",)}
    assert refused(three_with(**facts), fsid=FSID) == []


@pytest.mark.parametrize("missing", PACKAGES)
def test_a_missing_package_is_named(missing):
    have = tuple((name, "18.2.7") for name in PACKAGES if name != missing)
    (message,) = refused(three_with(packages=have))
    assert message.startswith("node1: ")
    assert message.endswith(f"apt install {missing}")


def test_packages_of_different_versions_are_refused():
    have = tuple((name, "18.2.8") for name in PACKAGES)
    (message,) = refused(three_with(packages=have))
    assert "18.2.7 on node2, node3" in message
    assert "18.2.8 on node1" in message


def with_version(name, version):
    return make_node(name, packages=tuple((one, version) for one in PACKAGES))


@pytest.mark.parametrize(
    ("version", "complaint"),
    [
        ("18.2.7", None),
        # Nodes are upgraded one by one.
        ("18.2.8", None),
        ("19.2.0", "node4: it has release 19 of Ceph, the others 18; install the same"),
        ("16.2.15", "node4: it has release 16 of Ceph, the others 18"),
    ],
)
def test_who_joins_has_the_release_of_the_others(version, complaint):
    nodes = [*nodes_of(3), with_version("node4", version)]
    joining = {nodes[3].uuid}
    found = list(refusals(nodes, PARAMS, FSID, ready=True, joining=joining))
    assert [complaint in one for one in found] == [True] * bool(complaint)


def test_nodes_that_are_being_upgraded_are_repaired_all_the_same():
    nodes = [*nodes_of(2), with_version("node3", "18.2.8")]
    assert len(refused(nodes)) == 1
    assert list(refusals(nodes, PARAMS, FSID, ready=True)) == []
    (sentence,) = plan.differing_versions(nodes)
    assert "18.2.7 on node1, node2; 18.2.8 on node3" in sentence


def test_the_version_of_a_package_that_is_not_needed_everywhere_does_not_matter():
    have = (*((name, "18.2.7") for name in PACKAGES), ("ceph-volume", "18.2.6"))
    assert refused(three_with(packages=have)) == []


def test_two_nodes_of_the_same_hostname_are_refused():
    nodes = [make_node("a.x", 1), make_node("a.y", 2), make_node("b", 3)]
    (message,) = refused(nodes)
    assert "a.x, a.y" in message
    assert message.endswith("as a")


def test_an_address_that_no_interface_has_is_refused():
    (message,) = refused(three_with(addresses=("192.0.2.99/24",)))[:1]
    assert "192.0.2.1" in message


@pytest.mark.parametrize("which", ["public_network", "cluster_network"])
@pytest.mark.parametrize(
    ("network", "good"), [("192.0.2.0/24", True), ("198.51.100.0/24", False)]
)
def test_every_node_needs_an_address_in_the_networks(which, network, good):
    params = with_params(**{which: ipaddress.ip_network(network)})
    messages = refused(nodes_of(3), params)
    assert len(messages) == (0 if good else 3)
    assert all(network in message for message in messages)


def test_a_network_of_the_other_family_is_no_error_but_a_refusal():
    params = with_params(public_network=ipaddress.ip_network("2001:db8::/64"))
    assert len(refused(nodes_of(3), params)) == 3


def test_a_missing_device_is_refused():
    device = make_device(real_path="", stable_path="", size=0)
    assert refused(three_with(disks=(device,))) == ["node1: /dev/sdb is missing"]


@pytest.mark.parametrize("other", ["disks", "db_devices"])
def test_the_same_device_by_two_names_is_refused(other):
    first = make_device("/dev/sdb")
    second = make_device("/dev/disk/by-id/x", real_path="/dev/sdb")
    devices = (
        {"disks": (first, second)}
        if other == "disks"
        else {"disks": (first,), "db_devices": (second,)}
    )
    (message,) = refused(three_with(**devices))
    assert "/dev/sdb and /dev/disk/by-id/x are the same device" in message


@pytest.mark.parametrize("wipe", [False, True])
def test_a_device_in_use_is_refused_whatever_wipe_says(wipe):
    device = make_device(busy="mounted on /srv", content="ext4")
    (message,) = refused(three_with(disks=(device,)), with_params(wipe=wipe))
    assert "in use: mounted on /srv" in message


@pytest.mark.parametrize("role", ["disks", "db_devices"])
@pytest.mark.parametrize("wipe", [False, True])
def test_content_is_destroyed_only_where_wipe_allows_it(role, wipe):
    full = make_device("/dev/sdx", content="ext4 (filesystem)")
    messages = refused(three_with(**{role: (full,)}), with_params(wipe=wipe))
    assert bool(messages) != wipe
    if messages:
        assert "/dev/sdx carries ext4" in messages[0]
        assert "wipe=yes" in messages[0]


def test_an_osd_of_another_cluster_is_content_like_any_other():
    theirs = make_device(content="an OSD of another", label=make_label(OTHER_FSID))
    for fsid in (None, FSID):
        assert len(refused(three_with(disks=(theirs,)), fsid=fsid)) == 1
        assert not refused(three_with(disks=(theirs,)), with_params(wipe=True), fsid)


def test_our_own_running_osd_is_neither_in_use_nor_content():
    ours = make_device(busy="something holds it", content="an OSD", label=make_label())
    assert refused(three_with(conf=conf_text(), disks=(ours,)), fsid=FSID) == []
    assert len(refused(three_with(conf=None, disks=(ours,)), fsid=None)) == 1


def test_the_metadata_of_our_own_osd_is_welcome():
    ours = make_device("/dev/sdb", busy="held", content="an OSD", label=make_label())
    # BlueStore's label of a device for metadata names no cluster.
    metadata = make_label("", osd_uuid=ours.label.osd_uuid, osd_id=None, complete=False)
    db_device = make_device("/dev/sdc", busy="held", content="an OSD", label=metadata)
    facts = {"conf": conf_text(), "disks": (ours,), "db_devices": (db_device,)}
    assert refused(three_with(**facts), fsid=FSID) == []


@pytest.mark.parametrize(
    ("disks", "words"),
    [
        # Its disk is gone, and nothing is made: what else is to do is not kept away.
        (1, None),
        (2, "node1: /dev/sdc carries a part of an OSD"),
    ],
)
def test_the_metadata_of_another_osd_is_not_for_a_new_one(disks, words):
    ours = make_device("/dev/sdb", content="an OSD", label=make_label())
    metadata = make_label("", osd_uuid=OTHER_FSID, osd_id=None, complete=False)
    db_device = make_device("/dev/sdc", content="a part of an OSD", label=metadata)
    facts = {
        "conf": conf_text(),
        "disks": (ours, make_device("/dev/sde"))[:disks],
        "db_devices": (db_device, make_device("/dev/sdd")),
    }
    messages = refused(three_with(**facts), fsid=FSID)
    assert len(messages) == (0 if words is None else 1)
    assert words is None or messages[0].startswith(words)


def test_a_partition_beside_its_whole_disk_is_refused():
    part = make_device("/dev/sdb1", whole="/dev/sdb")
    alone = refused(three_with(disks=(part,)))
    both = refused(three_with(disks=(make_device("/dev/sdb"), part)))
    assert alone == []
    assert len(both) == 1
    assert "/dev/sdb1 is a partition of /dev/sdb" in both[0]


def test_a_finished_cluster_may_have_fewer_nodes_than_copies():
    assert refusals(nodes_of(2), PARAMS, None)
    assert refusals(nodes_of(2), PARAMS, FSID, ready=True) == []


@pytest.mark.parametrize(("size", "good"), [(5 * GIB, True), (5 * GIB - 1, False)])
def test_a_device_needs_5_gib(size, good):
    messages = refused(three_with(disks=(make_device(size=size),)))
    assert bool(messages) != good


@pytest.mark.parametrize(
    ("domain", "nodes", "good"),
    [
        (FailureDomain.HOST, nodes_of(3), True),
        (FailureDomain.HOST, nodes_of(2), False),
        (FailureDomain.OSD, nodes_of(2), False),
        (
            FailureDomain.OSD,
            [make_node(disks=tuple(make_device(f"/dev/sd{x}") for x in "bcd"))],
            True,
        ),
        (
            FailureDomain.RACK,
            [make_node(f"node{i}", places=(("rack", f"r{i}"),)) for i in (1, 2, 3)],
            True,
        ),
        (
            FailureDomain.RACK,
            [make_node(f"node{i}", places=(("rack", "r1"),)) for i in (1, 2, 3)],
            False,
        ),
    ],
)
def test_each_copy_needs_a_failure_domain_of_its_own(domain, nodes, good):
    messages = refused(nodes, with_params(failure_domain=domain))
    assert bool(messages) != good
    if messages:
        assert f"({domain.value})" in messages[-1]


def test_a_node_without_a_disk_is_no_failure_domain():
    nodes = [*nodes_of(2), make_node("node3", disks=())]
    assert len(refused(nodes)) == 1
    assert not refused([*nodes_of(3), make_node("node4", disks=())])


def test_a_rack_without_a_disk_is_no_failure_domain():
    nodes = [
        make_node(
            f"node{i}",
            places=(("rack", f"r{i}"),),
            disks=() if i == 3 else (make_device(),),
        )
        for i in (1, 2, 3)
    ]
    (message,) = refused(nodes, with_params(failure_domain=FailureDomain.RACK))
    assert "there are 2" in message


def test_a_node_has_one_name_for_ganeti_and_ceph():
    params = with_params(pool_size=1)
    (message,) = refused([make_node("node1.example.com", hostname="host7")], params)
    assert "its host name is host7" in message
    assert "hostnamectl set-hostname node1" in message
    assert refused([make_node("node1.example.com")], params) == []


@pytest.mark.parametrize("domain", [FailureDomain.OSD, FailureDomain.HOST])
def test_other_domains_need_no_place(domain):
    assert plan.unplaced(nodes_of(3), with_params(failure_domain=domain)) == []


def in_racks(*racks):
    return [
        make_node(f"node{number}", places=(("rack", rack),))
        for number, rack in enumerate(racks, 1)
    ]


def test_mons_are_spread_over_the_failure_domains():
    nodes = in_racks("r1", "r1", "r1", "r2", "r3")
    params = with_params(failure_domain=FailureDomain.RACK, mon_count=3)
    mons = plan.choose_mons(nodes, params, None)
    assert [mon.id for mon in mons] == ["node1", "node4", "node5"]
    five = plan.choose_mons(nodes, dataclasses.replace(params, mon_count=5), None)
    assert len(five) == 5
    # With what is there already counted.
    begun = make_cluster(mons=(Mon("node2", "192.0.2.2"), Mon("node4", "192.0.2.4")))
    mons = plan.choose_mons(nodes, params, begun)
    assert [mon.id for mon in mons] == ["node2", "node4", "node5"]


def test_a_host_moves_to_the_place_that_its_tags_name():
    params = with_params(failure_domain=FailureDomain.RACK)
    nodes, cluster = finish(in_racks("r1", "r2", "r3"), params)
    placed = {node.host: node.places for node in nodes}

    def moves(**changes):
        places = tuple({**placed, **changes}.items())
        changed = dataclasses.replace(cluster, places=places)
        return steps_of(planned(nodes, params, changed), PlaceHost)

    assert moves() == []
    assert moves(node2=()) == [PlaceHost("node2", (("rack", "r2"),))]
    assert moves(node2=(("rack", "r9"),)) == [PlaceHost("node2", (("rack", "r2"),))]
    # What is above it is the administrator's own.
    assert moves(node2=(("room", "b"), ("rack", "r2"))) == []


@pytest.mark.parametrize("joining", [None, "node4"])
def test_no_host_moves_away_from_a_rack_that_copies_need(joining):
    params = with_params(failure_domain=FailureDomain.RACK)
    nodes, cluster = finish(in_racks("r1", "r2", "r2", "r3"), params)
    nodes[3] = dataclasses.replace(nodes[3], places=(("rack", "r2"),))
    named = joining and {node.uuid for node in nodes if node.name == joining}
    with pytest.raises(PrereqError, match="with node4 in rack r2 there would be only"):
        plan.plan(nodes, params, FSID, KEYS, False, cluster, named, ready=True)
    # It is no matter of others.
    others = {nodes[0].uuid}
    plan.plan(nodes, params, FSID, KEYS, False, cluster, others, ready=True)


def test_a_node_whose_rack_is_unknown_is_named_with_the_remedy():
    nodes = [
        make_node(f"node{i}", places=(("rack", f"r{i}"),) if i < 4 else ())
        for i in (1, 2, 3, 4)
    ]
    params = with_params(failure_domain=FailureDomain.RACK)
    assert refused(nodes, params) == []
    (message,) = plan.unplaced(nodes, params)
    assert "gnt-node add-tags node4 ceph:rack:NAME" in message


def test_no_disk_on_any_node_is_refused_once():
    (message,) = refused(nodes_of(3, disks=()))
    assert "no node has a disk" in message


@pytest.mark.parametrize(
    ("apart", "good"), [(0.04, True), (0.06, False), (-0.06, False)]
)
def test_clocks_more_than_ceph_tolerates_apart_are_refused(apart, good):
    nodes = three_with(clock=(1000.0 + apart, 1000.0 + apart))
    messages = refused(nodes)
    assert bool(messages) != good
    if messages:
        assert "0.06 s or more" in messages[0]


def test_what_may_be_the_time_that_the_answer_took_is_no_difference():
    # Asked at 1000.0, answered by 1000.5: the node's clock may be right.
    slow = make_node("node1", clock=(1000.4, 1000.4), asked=(1000.0, 1000.5))
    assert refused([slow, *nodes_of(3)[1:]]) == []
    # It began to answer 0.06 s before it was asked: it is behind.
    behind = make_node("node1", clock=(999.94, 1000.4), asked=(1000.0, 1000.5))
    (message,) = refused([behind, *nodes_of(3)[1:]])
    assert "node1" in message
    # It ended 0.06 s after its answer had come: it is ahead.
    ahead = make_node("node1", clock=(1000.4, 1000.56), asked=(1000.0, 1000.5))
    (message,) = refused([ahead, *nodes_of(3)[1:]])
    assert "node1" in message


VOLUME = (*((name, "18.2.7") for name in PACKAGES), ("ceph-volume", "18.2.7"))


@pytest.mark.parametrize(
    ("params", "facts", "words"),
    [
        ({"osd_layout": OsdLayout.LVM}, {"packages": VOLUME}, "device-mapper"),
        ({"encrypt": True}, {}, "encrypt=yes needs osd-layout=lvm"),
        (
            {"encrypt": True, "osd_layout": OsdLayout.RAW},
            {"device_mapper": True},
            "encrypt",
        ),
        (
            {},
            {"db_devices": tuple(make_device(f"/dev/sd{x}") for x in "cd")},
            "there are 1 and 2",
        ),
    ],
)
def test_layouts_that_a_node_cannot_have_are_refused(params, facts, words):
    messages = refused(three_with(**facts), with_params(**params))
    assert [words in message for message in messages if "node1" in message] == [True]


@pytest.mark.parametrize(
    ("params", "facts"),
    [
        ({"osd_layout": OsdLayout.LVM}, {"device_mapper": True, "packages": VOLUME}),
        ({"encrypt": True}, {"device_mapper": True, "packages": VOLUME}),
        ({"osd_layout": OsdLayout.RAW}, {"device_mapper": True}),
        ({}, {"db_devices": (make_device("/dev/sdc"),)}),
        (
            {},
            {
                "device_mapper": True,
                "packages": VOLUME,
                "db_devices": tuple(make_device(f"/dev/sd{x}") for x in "cd"),
            },
        ),
    ],
)
def test_layouts_that_a_node_can_have_are_taken(params, facts):
    assert refused(nodes_of(3, **facts), with_params(**params)) == []


def test_everything_that_is_wrong_is_said_at_once():
    nodes = three_with(packages=(), addresses=(), disks=(make_device(real_path=""),))
    assert len(refused(nodes)) >= 3


# Placement groups


@pytest.mark.parametrize(
    ("osds", "size", "count"),
    [
        (3, 3, 128),
        (1, 1, 128),
        (1, 3, 32),
        (6, 3, 256),
        (9, 3, 256),
        (12, 3, 512),
        (24, 2, 1024),
        (3000, 3, 32768),
        (1, 10, 8),
    ],
)
def test_pg_count(osds, size, count):
    assert pg_count(osds, size) == count


@given(osds=st.integers(1, 3000), size=st.integers(1, 10))
def test_pg_count_is_the_nearest_power_of_two(osds, size):
    count = pg_count(osds, size)
    wanted = max(1, osds * 100 // size)
    assert count & (count - 1) == 0
    assert 1 <= count <= 32768
    if count < 32768:
        assert abs(count - wanted) <= min(
            abs(count // 2 - wanted), abs(2 * count - wanted)
        )


@given(osds=st.integers(0, 3000), size=st.integers(1, 10))
def test_more_osds_never_have_fewer_placement_groups(osds, size):
    assert pg_count(osds, size) <= pg_count(osds + 1, size)


# Mons


def mon_names(nodes, cluster=None, **params):
    return [mon.id for mon in plan.choose_mons(nodes, with_params(**params), cluster)]


@pytest.mark.parametrize(
    ("nodes", "wanted", "count"),
    [
        (1, 3, 1),
        (2, 3, 1),
        (3, 3, 3),
        (4, 5, 3),
        (4, 3, 3),
        (5, 5, 5),
        (6, 7, 5),
        (9, 1, 1),
    ],
)
def test_there_is_an_odd_number_of_mons(nodes, wanted, count):
    assert len(mon_names(nodes_of(nodes), mon_count=wanted)) == count


def test_mons_are_chosen_by_name_whatever_the_order_of_the_nodes():
    nodes = nodes_of(5)
    assert mon_names(nodes) == mon_names(nodes[::-1]) == ["node1", "node2", "node3"]


def test_a_mon_that_was_begun_keeps_the_others_that_it_waits_for():
    begun = conf_text(mons=("node3", "node4", "node5"))
    nodes = nodes_of(5)
    nodes[3] = fakes.with_facts(nodes[3], conf=begun, mons=("node4",))
    assert mon_names(nodes) == ["node3", "node4", "node5"]


def test_without_a_mon_more_are_added_to_those_that_were_begun():
    nodes = [*nodes_of(4), make_node("node5", conf=conf_text(mons=("node5",)))]
    assert mon_names(nodes) == ["node1", "node2", "node5"]


def test_the_order_of_the_mons_in_the_cluster_does_not_matter():
    mons = (Mon("node3", "192.0.2.3"), Mon("node1", "192.0.2.1"))
    orders = [make_cluster(mons=mons), make_cluster(mons=mons[::-1])]
    assert len({plan.choose_mons(nodes_of(3), PARAMS, one) for one in orders}) == 1


def test_the_mons_of_the_cluster_win_over_every_ceph_conf():
    cluster = make_cluster(mons=(Mon("node5", "192.0.2.5"),))
    nodes = [*nodes_of(4), make_node("node5", conf=conf_text(), mons=("node1",))]
    assert mon_names(nodes, cluster) == ["node1", "node2", "node5"]


def test_the_cluster_keeps_more_mons_than_are_wanted():
    mons = tuple(Mon(f"node{i}", f"192.0.2.{i}") for i in range(1, 6))
    assert len(mon_names(nodes_of(5), make_cluster(mons=mons), mon_count=3)) == 5


def test_a_mon_listens_in_the_public_network():
    nodes = nodes_of(1, addresses=("192.0.2.1/24", "198.51.100.1/24"))
    params = with_params(public_network=ipaddress.ip_network("198.51.100.0/24"))
    assert plan.choose_mons(nodes, params, None) == (Mon("node1", "198.51.100.1"),)


# ceph.conf


def conf_of(nodes, **params):
    mons = (Mon("node1", nodes[0].primary_ip),)
    return plan.make_conf(nodes, with_params(**params), FSID, mons)


def test_networks_are_those_of_the_primary_addresses():
    conf = conf_of(nodes_of(3))
    assert (conf.public_network, conf.cluster_network) == ("192.0.2.0/24", None)


def test_secondary_addresses_make_a_cluster_network():
    nodes = [
        make_node(
            f"node{i}",
            secondary_ip=f"198.51.100.{i}",
            addresses=(f"192.0.2.{i}/24", f"198.51.100.{i}/25"),
        )
        for i in (1, 2, 3)
    ]
    conf = conf_of(nodes)
    assert (conf.public_network, conf.cluster_network) == (
        "192.0.2.0/24",
        "198.51.100.0/25",
    )


def test_networks_that_are_given_win():
    addresses = ("192.0.2.1/24", "198.51.100.1/24", "203.0.113.1/24")
    conf = conf_of(
        [make_node(addresses=addresses)],
        public_network=ipaddress.ip_network("198.51.100.0/24"),
        cluster_network=ipaddress.ip_network("203.0.113.0/24"),
    )
    assert conf.public_network == "198.51.100.0/24"
    assert conf.cluster_network == "203.0.113.0/24"


def test_a_cluster_network_that_is_the_public_one_is_left_out():
    conf = conf_of(nodes_of(3), cluster_network=ipaddress.ip_network("192.0.2.0/24"))
    assert conf.cluster_network is None


def test_nodes_in_several_networks_name_them_all():
    nodes = [make_node("node1"), make_node("node2", addresses=("198.51.100.2/24",))]
    nodes[1] = dataclasses.replace(
        nodes[1], primary_ip="198.51.100.2", secondary_ip="198.51.100.2"
    )
    assert conf_of(nodes).public_network == "192.0.2.0/24, 198.51.100.0/24"


def test_ipv6():
    node = make_node(
        primary_ip="2001:db8::1",
        secondary_ip="2001:db8::1",
        addresses=("192.0.2.1/24", "2001:db8::1/64"),
    )
    conf = conf_of([node])
    assert conf.public_network == "2001:db8::/64"
    text = cephconf.render(conf, (), "node1")
    assert "mon_host = [v2:[2001:db8::1]:3300,v1:[2001:db8::1]:6789]\n" in text
    assert "ms_bind_ipv6 = true\n" in text


def test_the_own_address_is_preferred_in_a_network():
    node = make_node(addresses=("192.0.2.100/32", "192.0.2.0/24", "192.0.2.1/24"))
    network = ipaddress.ip_network("192.0.2.0/24")
    assert plan.address_in(node, network, "192.0.2.1")[0] == "192.0.2.1"
    assert plan.address_in(node, None, "192.0.2.1") == ("192.0.2.1", "192.0.2.0/24")
    with pytest.raises(PrereqError):
        plan.address_in(node, ipaddress.ip_network("198.51.100.0/24"), "192.0.2.1")


# The plan


def titles(made):
    return [stage.title for stage in made.stages]


def test_bare_nodes_get_everything_in_order():
    nodes = nodes_of(3)
    made = planned(nodes, new_keys=True)
    assert titles(made) == [
        "configuration",
        "mons",
        "quorum",
        "mgrs and OSDs",
        "pool",
        "keys for disks",
        "collectors",
        "health",
    ]
    for node in nodes:
        assert steps_of(made, MakeClient, node) == [
            MakeClient("ganeti", "rbd", KEYS.admin)
        ]
        assert len(steps_of(made, Configure, node)) == 1
        assert len(steps_of(made, MakeMon, node)) == 1
        assert [step.device for step in steps_of(made, MakeOsd, node)] == [
            "/dev/disk/by-id/sdb"
        ]
    assert [step.id for step in steps_of(made, MakeMgr)] == ["node1", "node2"]
    (settle,) = steps_of(made, Settle)
    assert [mon.id for mon in settle.mons] == ["node1", "node2", "node3"]
    (pool,) = steps_of(made, MakePool)
    assert pool == MakePool("rbd", 3, 2, 128, "host", None, 3)


def test_what_concerns_the_whole_cluster_is_done_on_a_node_with_a_mon():
    # node0 is not the first by name of the mons that the cluster was begun with.
    nodes = [make_node("node9", 9), *nodes_of(3)]
    made = planned(nodes, cluster=make_cluster())
    for stage in made.stages:
        if stage.title in ("quorum", "pool", "health"):
            assert [uuid for uuid, _ in stage.steps] == [nodes[1].uuid]


def test_the_first_mons_know_each_other_and_a_later_one_asks_the_cluster():
    assert {len(step.members) for step in steps_of(planned(nodes_of(3)), MakeMon)} == {
        3
    }
    made = planned(nodes_of(3), cluster=make_cluster())
    assert [(step.id, step.members) for step in steps_of(made, MakeMon)] == [
        ("node2", ()),
        ("node3", ()),
    ]


def test_a_single_copy_is_allowed_before_the_pool_is_made():
    made = planned(nodes_of(1), with_params(pool_size=1))
    (settle,) = steps_of(made, Settle)
    assert ("mon_allow_pool_size_one", "true") in settle.settings
    (settle,) = steps_of(planned(nodes_of(3)), Settle)
    assert all(name != "mon_allow_pool_size_one" for name, _ in settle.settings)


def test_ceph_learns_the_pool_that_is_not_called_rbd():
    (settle,) = steps_of(planned(nodes_of(3), with_params(pool="vms")), Settle)
    assert ("rbd_default_pool", "vms") in settle.settings
    (settle,) = steps_of(planned(nodes_of(3)), Settle)
    assert all(name != "rbd_default_pool" for name, _ in settle.settings)


def test_parameters_reach_the_steps():
    params = with_params(
        pool="disks", pool_size=2, pool_min_size=1, pool_pgs=64, device_class="ssd"
    )
    made = planned(nodes_of(3), params)
    (pool,) = steps_of(made, MakePool)
    assert pool == MakePool("disks", 2, 1, 64, "host", "ssd", 3)
    assert {step.device_class for step in steps_of(made, MakeOsd)} == {"ssd"}
    assert made.pool == "disks"


def test_a_place_reaches_the_configuration():
    nodes = [make_node("node1", places=(("rack", "r1"),))]
    (configure,) = steps_of(planned(nodes), Configure)
    assert configure.place == (("rack", "r1"),)


@pytest.mark.parametrize(
    ("layout", "device_mapper", "lvm"),
    [
        (OsdLayout.AUTO, True, True),
        (OsdLayout.AUTO, False, False),
        (OsdLayout.LVM, True, True),
        (OsdLayout.RAW, True, False),
    ],
)
def test_the_layout_decides_who_makes_the_osds(layout, device_mapper, lvm):
    disks = tuple(make_device(f"/dev/sd{x}") for x in "bc")
    nodes = [make_node(disks=disks, device_mapper=device_mapper)]
    made = planned(nodes, with_params(osd_layout=layout, encrypt=lvm))
    assert len(steps_of(made, MakeLvmOsds)) == (1 if lvm else 0)
    assert len(steps_of(made, MakeOsd)) == (0 if lvm else 2)
    if lvm:
        (step,) = steps_of(made, MakeLvmOsds)
        assert step.encrypt
        assert step.devices == ("/dev/disk/by-id/sdb", "/dev/disk/by-id/sdc")


def test_each_disk_has_its_own_metadata_device():
    node = make_node(
        disks=tuple(make_device(f"/dev/sd{x}") for x in "bc"),
        db_devices=tuple(make_device(f"/dev/nvme{x}") for x in "01"),
    )
    pairs = {
        (step.device, step.db_device) for step in steps_of(planned([node]), MakeOsd)
    }
    assert pairs == {
        ("/dev/disk/by-id/sdb", "/dev/disk/by-id/nvme0"),
        ("/dev/disk/by-id/sdc", "/dev/disk/by-id/nvme1"),
    }


@pytest.mark.parametrize(
    ("disk", "db_device", "wipes"),
    [
        ("", "", ()),
        ("ext4", "", ("/dev/disk/by-id/sdb",)),
        ("", "ext4", ("/dev/disk/by-id/sdc",)),
        ("ext4", "ext4", ("/dev/disk/by-id/sdb", "/dev/disk/by-id/sdc")),
    ],
)
def test_only_what_carries_something_is_to_be_wiped(disk, db_device, wipes):
    node = make_node(
        disks=(make_device("/dev/sdb", content=disk),),
        db_devices=(make_device("/dev/sdc", content=db_device),),
    )
    (step,) = steps_of(planned([node], with_params(wipe=True)), MakeOsd)
    assert step.wipe == wipes
    if not wipes:
        assert "wipe" not in step.sentence()


def database(path, uuid):
    """Return a device with the database of an OSD; its label names no cluster."""
    label = make_label("", osd_uuid=uuid, osd_id=None, complete=False)
    return make_device(path, content="the metadata of an OSD", label=label)


WHOLE = make_label(osd_uuid="33333333-2222-4333-8444-555555555555", osd_id=3)


@pytest.mark.parametrize(
    "cluster", [None, make_cluster(osds=(Osd(3, WHOLE.osd_uuid, False, False),))]
)
def test_the_database_of_another_osd_is_never_given_away(cluster):
    """A disk that sorts before is added, and by position the databases would move."""
    old = make_device("/dev/sdc", content="an OSD", label=WHOLE)
    node = make_node(
        disks=(make_device("/dev/sdb"), old),
        db_devices=(database("/dev/nvme1", WHOLE.osd_uuid), make_device("/dev/nvme2")),
    )
    made = planned([node], with_params(wipe=True), cluster=cluster)
    (make,) = steps_of(made, MakeOsd)
    (start,) = steps_of(made, StartOsd)
    assert (make.db_device, make.wipe) == ("/dev/disk/by-id/nvme2", ())
    assert start.db_device == "/dev/disk/by-id/nvme1"


def test_a_database_whose_osd_the_cluster_still_has_is_not_wiped():
    node = make_node(
        disks=(make_device("/dev/sdb"),),
        db_devices=(database("/dev/nvme1", WHOLE.osd_uuid),),
    )
    lost = Osd(3, WHOLE.osd_uuid, False, False)
    with pytest.raises(PrereqError, match=r"/dev/nvme1 .* osd\.3.*'ceph osd purge 3'"):
        planned([node], with_params(wipe=True), cluster=make_cluster(osds=(lost,)))
    made = planned([node], with_params(wipe=True), cluster=make_cluster(osds=()))
    (make,) = steps_of(made, MakeOsd)
    assert make.wipe == ("/dev/disk/by-id/nvme1",)


def test_a_new_disk_gets_a_blank_database_before_a_lost_one_s():
    node = make_node(
        disks=(make_device("/dev/sdb"),),
        db_devices=(database("/dev/nvme1", WHOLE.osd_uuid), make_device("/dev/nvme2")),
    )
    lost = Osd(3, WHOLE.osd_uuid, False, False)
    cluster = make_cluster(osds=(lost,))
    (make,) = steps_of(planned([node], cluster=cluster), MakeOsd)
    assert make.db_device == "/dev/disk/by-id/nvme2"


def test_a_new_disk_waits_for_a_database_where_others_have_one():
    old = make_device("/dev/sdc", content="an OSD", label=WHOLE)
    node = make_node(
        disks=(make_device("/dev/sdb"), old),
        db_devices=(database("/dev/nvme1", WHOLE.osd_uuid),),
    )
    assert refusals([node], PARAMS, FSID, ready=True) == []
    with pytest.raises(PrereqError, match=r"/dev/sdb needs a db-device .*none is free"):
        planned([node])


@pytest.mark.parametrize("lvm", [False, True])
def test_the_osds_that_are_made_again_are_told(lvm):
    old = make_device("/dev/sdc", content="an OSD", label=make_label())
    node = make_node(disks=(make_device("/dev/sdb"), old), device_mapper=lvm)
    here = Osd(0, old.label.osd_uuid, False, False, host=node.host)
    lost = Osd(3, WHOLE.osd_uuid, False, False, host=node.host)
    made = planned([node], cluster=make_cluster(osds=(here, lost)))
    assert plan.made_again(made) == {3}
    assert plan.made_again(planned([node])) == set()


# Databases that share a device, on logical volumes

SHARERS = [str(uuid.UUID(int=index)) for index in range(1, 6)]


def shared(*sizes, free=0, fsid=FSID, path="/dev/nvme1", **changes):
    """Return a device with databases of the first SHARERS, sizes in GiB."""
    databases = tuple(
        Database(fsid, SHARERS[index], index, size * 2**30)
        for index, size in enumerate(sizes)
    )
    label = make_label(fsid, osd_uuid=SHARERS[0], osd_id=0) if sizes else None
    return make_device(
        path,
        busy="held",
        content="an OSD",
        label=label,
        databases=databases,
        free=free * 2**30,
        **changes,
    )


def made_on_volumes(blank, *db_devices, disks=(), lost=(), known=(0, 1, 2), **params):
    """Return the step for blank disks; osd.N that is lost has neither disk nor life."""
    disks = tuple(
        make_device(
            f"/dev/osd{index}",
            busy="held",
            content="an OSD",
            label=make_label(osd_uuid=SHARERS[index], osd_id=index),
        )
        for index in disks
    )
    node = make_node(
        disks=(*disks, *(make_device(f"/dev/sd{x}") for x in "bcd"[:blank])),
        db_devices=db_devices,
        device_mapper=True,
        packages=VOLUME,
    )
    osds = tuple(
        Osd(index, SHARERS[index], index not in lost, False, host=node.host)
        for index in known
    )
    made = planned([node], with_params(**params), cluster=make_cluster(osds=osds))
    (step,) = steps_of(made, MakeLvmOsds)
    return step


NVME1 = "/dev/disk/by-id/nvme1"
NVME2 = "/dev/disk/by-id/nvme2"


@pytest.mark.parametrize("wipe", [False, True])
def test_a_replaced_disk_gets_the_room_of_the_lost_one_s_database(wipe):
    step = made_on_volumes(1, shared(9, 9, 9), disks=(0, 2), lost=(1,), wipe=wipe)
    assert step.databases == ((NVME1, 9 * 2**30),)
    assert step.gone == ((NVME1, SHARERS[1]),)
    assert step.replaces == (1,)
    assert (step.db_devices, step.wipe) == ((), ())
    assert "where 1 of OSDs that are no more go" in step.sentence()


def test_two_replaced_disks_share_what_two_leave():
    step = made_on_volumes(2, shared(9, 8, 9), disks=(2,), lost=(0, 1))
    assert step.databases == ((NVME1, 17 * 2**30 // 2),) * 2
    assert step.gone == ((NVME1, SHARERS[0]), (NVME1, SHARERS[1]))


@pytest.mark.parametrize("wipe", [False, True])
def test_of_two_lost_ones_only_one_makes_room_for_one(wipe):
    step = made_on_volumes(1, shared(9, 9, 9), disks=(2,), lost=(0, 1), wipe=wipe)
    assert (step.replaces, step.gone) == ((0,), ((NVME1, SHARERS[0]),))


@pytest.mark.parametrize(("free", "size"), [(9, 9), (10, 10), (30, 10)])
def test_one_more_disk_takes_what_is_free_as_far_as_others_do(free, size):
    step = made_on_volumes(1, shared(9, 10, free=free), disks=(0, 1), known=(0, 1))
    assert step.databases == ((NVME1, size * 2**30),)
    assert (step.gone, step.replaces) == ((), ())


@pytest.mark.parametrize(("blank", "free"), [(1, 8), (1, 0), (2, 17)])
def test_a_database_is_not_made_smaller_than_the_others(blank, free):
    with pytest.raises(
        PrereqError,
        match=rf"/dev/nvme1 .*no room for {blank} more; give another db-device$",
    ):
        made_on_volumes(blank, shared(9, 9, free=free), disks=(0, 1), known=(0, 1))


def test_what_removed_osds_left_goes_only_with_wipe():
    args = (1, shared(9, 9, 9))
    with pytest.raises(PrereqError, match="or wipe=yes, which removes those of"):
        made_on_volumes(*args, disks=(0, 2), known=(0, 2))
    step = made_on_volumes(*args, disks=(0, 2), known=(0, 2), wipe=True)
    assert step.gone == ((NVME1, SHARERS[1]),)
    assert (step.databases, step.wipe) == (((NVME1, 9 * 2**30),), ())


def test_databases_of_another_storage_cluster_make_no_room():
    others = shared(9, 9, fsid=str(uuid.UUID(int=99)))
    mixed = dataclasses.replace(
        shared(9), databases=(*shared(9).databases, others.databases[1])
    )
    with pytest.raises(PrereqError, match="no room"):
        made_on_volumes(1, mixed, disks=(0,), known=(0,), wipe=True)


def test_new_disks_go_where_the_room_is():
    blank = make_device("/dev/nvme2", size=20 * 2**30)
    step = made_on_volumes(3, shared(9, free=9), blank, disks=(0,), known=(0,))
    rest = (20 * 2**30 - 8 * 2**20) // 2
    assert sorted(step.databases) == [(NVME1, 9 * 2**30), *[(NVME2, rest)] * 2]
    assert step.db_devices == (NVME2,)


def test_a_lost_one_s_database_goes_also_where_the_new_one_is_elsewhere():
    blank = make_device("/dev/nvme2", size=20 * 2**30)
    step = made_on_volumes(1, shared(9, 9), blank, disks=(0,), lost=(1,), known=(0, 1))
    ((path, _),) = step.databases
    assert path == NVME2
    assert step.gone == ((NVME1, SHARERS[1]),)


def test_a_db_device_that_holds_nothing_yet_is_ceph_volume_s_to_divide():
    step = made_on_volumes(2, make_device("/dev/nvme1"), make_device("/dev/nvme2"))
    assert step.db_devices == (NVME1, NVME2)
    assert (step.databases, step.gone) == ((), ())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fixed": "its volume group dbs is not ceph-volume's"}, "group dbs is not"),
        ({"whole": "/dev/nvme1"}, "it is a partition of /dev/nvme1"),
    ],
)
@pytest.mark.parametrize("lost", [(), (1,)])
def test_what_ceph_volume_did_not_lay_out_is_refused(changes, why, lost):
    device = shared(9, 9, free=20, **changes)
    with pytest.raises(PrereqError, match=why):
        made_on_volumes(1, device, lost=lost)


def test_a_db_device_that_is_away_gets_no_database():
    away = make_device("/dev/nvme2", real_path="", stable_path="")
    step = made_on_volumes(1, shared(9, free=9), away, disks=(0,), known=(0,))
    assert step.databases == ((NVME1, 9 * 2**30),)
    with pytest.raises(PrereqError, match="no db-device that could be used"):
        made_on_volumes(1, away, disks=(0,), known=(0,))


def test_the_database_of_one_that_was_only_begun_goes():
    label = make_label(osd_uuid=SHARERS[1], osd_id=1, complete=False)
    node = make_node(
        disks=(make_device("/dev/sdb", content="an OSD", label=label),),
        db_devices=(shared(9, 9),),
        device_mapper=True,
        packages=VOLUME,
    )
    begun = Osd(1, SHARERS[1], False, True)
    made = planned([node], cluster=make_cluster(osds=(begun,)))
    (step,) = steps_of(made, MakeLvmOsds)
    assert step.begun == (SHARERS[1],)
    assert step.gone == ((NVME1, SHARERS[1]),)
    assert step.databases == ((NVME1, 9 * 2**30),)


def test_wipe_is_never_decided_without_the_parameter():
    node = make_node(disks=(make_device(content="ext4"),))
    (step,) = steps_of(planned([node]), MakeOsd)
    assert not step.wipe


# Going on with a cluster that was begun


def test_an_osd_that_is_up_is_left_alone():
    label = make_label()
    node = make_node(disks=(make_device(label=label, busy="held"),))
    cluster = make_cluster(osds=(Osd(0, label.osd_uuid, True, False),))
    assert not steps_of(planned([node], cluster=cluster), (MakeOsd, StartOsd))


def test_an_osd_that_is_up_for_ceph_alone_is_started():
    """After a power cut of all nobody is left to tell that it is down."""
    label = make_label()
    node = make_node(disks=(make_device(label=label, busy=""),))
    cluster = make_cluster(osds=(Osd(0, label.osd_uuid, True, False),))
    (step,) = steps_of(planned([node], cluster=cluster), (MakeOsd, StartOsd))
    assert isinstance(step, StartOsd)


@pytest.mark.parametrize(
    "cluster",
    [None, make_cluster(osds=(Osd(0, make_label().osd_uuid, False, False),))],
    ids=["no quorum", "down"],
)
def test_a_whole_osd_that_is_not_up_is_started(cluster):
    node = make_node(disks=(make_device(label=make_label()),))
    made = planned([node], cluster=cluster)
    assert [step.osd_id for step in steps_of(made, StartOsd)] == [0]
    assert not steps_of(made, MakeOsd)


def test_an_osd_that_was_removed_from_the_cluster_is_not_wiped_unasked():
    device = make_device(content="an OSD", label=make_label())
    node = make_node(disks=(device,))
    with pytest.raises(PrereqError, match=r"node1: /dev/sdb carries osd\.0, which was"):
        planned([node], cluster=make_cluster(osds=()))
    made = planned([node], with_params(wipe=True), cluster=make_cluster(osds=()))
    (step,) = steps_of(made, MakeOsd)
    assert step.wipe
    assert not steps_of(made, StartOsd)


def test_an_osd_that_was_not_finished_is_made_again_without_wiping():
    label = make_label(complete=False, osd_id=None)
    node = make_node(disks=(make_device(content="an OSD", label=label),))
    (step,) = steps_of(planned([node], with_params(wipe=True)), MakeOsd)
    assert not step.wipe


def just_begun(node, device):
    """Return the label that an OSD leaves whose making was cut short early."""
    begun = plan.osd_uuid(FSID, node, device.stable_path)
    return make_label("", osd_uuid=begun, osd_id=None, complete=False)


def test_an_osd_that_was_only_just_begun_is_made_again_without_wiping():
    device = make_device(content="the metadata of an OSD")
    device = dataclasses.replace(device, label=just_begun("node1", device))
    node = make_node(conf=conf_text(), disks=(device,))
    others = [make_node(name, conf=conf_text()) for name in ("node2", "node3")]
    assert refused([node, *others], fsid=FSID) == []
    (step,) = steps_of(planned([node], with_params(wipe=True)), MakeOsd)
    assert step.osd_uuid == device.label.osd_uuid
    assert not step.wipe


def test_what_another_node_began_is_not_ours_to_make_again():
    device = make_device(content="the metadata of an OSD")
    device = dataclasses.replace(device, label=just_begun("node2", device))
    node = make_node(conf=conf_text(), disks=(device,))
    others = [make_node(name, conf=conf_text()) for name in ("node2", "node3")]
    (message,) = refused([node, *others], fsid=FSID)
    assert "wipe=yes" in message


def test_an_osd_has_the_same_uuid_whenever_it_is_planned():
    first, second = (
        [step.osd_uuid for step in steps_of(planned(nodes_of(3)), MakeOsd)]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == 3


def test_a_configuration_that_is_as_it_should_be_is_not_written_again():
    (configure,) = steps_of(planned(nodes_of(1)), Configure)
    text = cephconf.render(configure.conf, (), "node1")
    node = make_node(conf=text, has_keys=True)
    assert not steps_of(planned([node]), Configure)
    for changes, new_keys in (
        ({"has_keys": False}, False),
        ({"conf": text + "x = y\n"}, False),
        ({}, True),
    ):
        changed = fakes.with_facts(node, **changes)
        assert steps_of(planned([changed], new_keys=new_keys), Configure)


def test_only_nodes_with_a_mon_keep_the_administrators_key():
    made = planned(nodes_of(3), with_params(mon_count=1))
    assert [step.admin for step in steps_of(made, Configure)] == [
        KEYS.admin,
        None,
        None,
    ]
    for step in steps_of(made, MakeOsd):
        assert step.admin == KEYS.admin
    # One that has none is complete without it.
    nodes, cluster = finish(nodes_of(3), with_params(mon_count=1))
    assert [node.facts.has_keys for node in nodes] == [True, False, False]
    assert planned(nodes, with_params(mon_count=1), cluster).stages == ()


def test_a_new_option_is_written_to_all_nodes_and_nothing_else_is_done():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    made = planned(nodes, with_params(conf=(("osd_max_backfills", "1"),)), cluster)
    assert titles(made) == ["configuration", "health"]
    assert len(steps_of(made, Configure)) == 3


@pytest.mark.parametrize(
    ("running", "begun", "chosen"),
    [
        ((), (), {"node1", "node2"}),
        (("node3",), (), {"node1"}),
        ((), ("node3",), {"node1", "node3"}),
        (("node1", "node2"), ("node3",), set()),
        (("node1", "node2", "node3"), (), set()),
    ],
)
def test_managers_are_made_where_they_were_begun_first(running, begun, chosen):
    nodes = [
        make_node(name, mgrs=(name,) if name in running + begun else ())
        for name in ("node1", "node2", "node3")
    ]
    made = planned(nodes, cluster=make_cluster(mgrs=running))
    assert {step.id for step in steps_of(made, MakeMgr)} == chosen


@pytest.mark.parametrize(
    ("pools", "makes"),
    [
        ((), True),
        ((Pool("rbd", 3, 2, 128, ("rbd",)),), False),
        ((Pool("rbd", 3, 2, 128, ()),), True),
        ((Pool("other", 3, 2, 128, ("rbd",)),), True),
    ],
)
def test_a_pool_that_is_not_finished_is_made_again(pools, makes):
    made = planned(nodes_of(3), cluster=make_cluster(pools=pools))
    assert bool(steps_of(made, MakePool)) == makes


def test_an_unhealthy_cluster_is_only_waited_for():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    ill = dataclasses.replace(cluster, health="HEALTH_WARN")
    assert titles(planned(nodes, cluster=ill)) == ["health"]
    assert steps_of(planned(nodes, cluster=ill), AwaitHealth)


def test_a_mon_on_a_node_that_is_left_out_is_not_waited_for():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    without = dataclasses.replace(cluster, quorum=("node1", "node2"))
    made = planned([*nodes[:2], make_node("node4")], cluster=without)
    for settle in steps_of(made, Settle):
        assert "node3" not in {mon.id for mon in settle.mons}


def test_a_finished_cluster_needs_nothing():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    assert planned(nodes, cluster=cluster).stages == ()
    assert refused(nodes, fsid=FSID) == []


def test_a_new_node_gets_its_osd_only():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    made = planned([*nodes, make_node("node4")], cluster=cluster)
    assert titles(made) == [
        "configuration",
        "mgrs and OSDs",
        "keys for disks",
        "collectors",
        "health",
    ]
    assert all(
        uuid == make_node("node4").uuid
        for stage in made.stages[:-1]
        for uuid, _ in stage.steps
    )


# Nodes that join a finished cluster, or come back to it


def joined(nodes, *names, cluster, params=PARAMS, ready=True):
    """Return the plan for some nodes, as adding and repairing them make it."""
    uuids = {node.uuid for node in nodes if node.name in names}
    assert len(uuids) == len(names)
    return plan.plan(nodes, params, FSID, KEYS, False, cluster, uuids, ready)


def refused_to_join(nodes, *names, params=PARAMS):
    uuids = {node.uuid for node in nodes if node.name in names}
    return refusals(nodes, params, FSID, True, uuids)


@pytest.mark.parametrize(
    "facts",
    [
        {"packages": tuple((name, "18.2.7") for name in PACKAGES[1:])},
        {"conf": conf_text(OTHER_FSID)},
        {"mons": ("a",)},
        {"disks": (make_device(busy="mounted on /srv"),)},
        {"disks": (make_device(content="ext4"),)},
        {"disks": (make_device(real_path=""),)},
        {"db_devices": tuple(make_device(f"/dev/sd{x}") for x in "cd")},
    ],
    ids=["package", "conf", "daemon", "busy", "content", "missing", "layout"],
)
def test_what_another_node_lacks_does_not_keep_one_from_joining(facts):
    nodes = three_with(**facts)
    assert refused_to_join(nodes, "node2") == []
    (message,) = refused_to_join(nodes, "node1", "node2")
    assert message.startswith("node1: ")
    assert refusals(nodes, PARAMS, FSID, ready=True) == [message]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (
            three_with(packages=tuple((name, "16.2.15") for name in PACKAGES)),
            "it has release 16 of Ceph, the others 18",
        ),
        ([make_node("a.x", 1), make_node("a.y", 2)], "a.x, a.y"),
        (three_with(clock=(1001.0, 1001.0)), "clocks of node1"),
    ],
    ids=["versions", "hostnames", "clocks"],
)
def test_a_node_that_joins_must_fit_the_others(nodes, words):
    (message,) = refused_to_join(nodes, nodes[0].name)
    assert words in message


def test_only_a_node_that_joins_gets_osds_and_the_disks_key():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    nodes += [make_node("node4"), make_node("node5")]
    made = joined(nodes, "node5", cluster=cluster)
    osds = (MakeOsd, StartOsd, MakeLvmOsds, MakeClient)
    assert [type(step) for step in steps_of(made, osds, nodes[4])] == [
        MakeOsd,
        MakeClient,
    ]
    for node in nodes[:4]:
        assert not steps_of(made, osds, node)


def test_for_no_node_at_all_mons_and_mgrs_alone_are_made():
    nodes, cluster = finish(nodes_of(4), PARAMS)
    nodes[3] = fakes.with_facts(nodes[3], disks=(make_device(),), has_client=False)
    assert steps_of(joined(nodes, "node4", cluster=cluster), (MakeOsd, MakeClient))
    cluster = dataclasses.replace(
        cluster,
        mons=tuple(mon for mon in cluster.mons if mon.id != "node1"),
        quorum=tuple(name for name in cluster.quorum if name != "node1"),
        mgrs=tuple(name for name in cluster.mgrs if name != "node1"),
        osds=tuple(dataclasses.replace(osd, inside=False) for osd in cluster.osds),
    )
    made = joined(nodes[1:], cluster=cluster)
    assert titles(made) == [
        "configuration",
        "mons",
        "quorum",
        "mgrs and OSDs",
        "daemons",
    ]
    assert [step.id for step in steps_of(made, MakeMon)] == ["node4"]
    assert [step.id for step in steps_of(made, MakeMgr)] == ["node3"]
    (wait,) = steps_of(made, AwaitDaemons)
    # The others' are theirs to mend.
    assert (wait.mons, wait.osds) == (("node4",), ())


def test_a_cluster_that_was_finished_once_need_not_be_healthy():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    ill = dataclasses.replace(cluster, health="HEALTH_WARN")
    assert joined(nodes, "node1", cluster=ill).stages == ()
    assert titles(joined(nodes, "node1", cluster=ill, ready=False)) == ["health"]


def ill_with(check, *details):
    """Return a finished cluster's nodes, and what it says while a check complains."""
    nodes, cluster = finish(nodes_of(3), PARAMS)
    return nodes, dataclasses.replace(
        cluster,
        health="HEALTH_ERR",
        checks=(f"{check}: something",),
        details=((check, details),),
    )


def mended(nodes, cluster, joining=None, archive=False, ready=True):
    keys = (PARAMS, FSID, KEYS, False, cluster)
    return titles(plan.plan(nodes, *keys, joining, ready, archive))


INCONSISTENT = "pg 2.1f is active+clean+inconsistent, acting [1,0,2]"


def test_damaged_groups_are_repaired():
    nodes, cluster = ill_with(
        "PG_DAMAGED", INCONSISTENT, "pg 2.3 is active+clean+snaptrim_error, acting [0]"
    )
    made = plan.plan(nodes, PARAMS, FSID, KEYS, False, cluster, ready=True)
    assert steps_of(made, RepairGroups) == [RepairGroups(("2.1f",))]
    assert titles(made) == ["damage"]


def test_damaged_groups_are_no_matter_of_single_nodes():
    nodes, cluster = ill_with("PG_DAMAGED", INCONSISTENT)
    assert mended(nodes, cluster, joining={nodes[0].uuid}) == []


def test_a_cluster_that_never_was_finished_is_only_waited_for():
    nodes, cluster = ill_with("PG_DAMAGED", INCONSISTENT)
    assert mended(nodes, cluster, ready=False) == ["health"]


@pytest.mark.parametrize(
    ("check", "archive", "title"),
    [
        ("RECENT_CRASH", True, ["crashes"]),
        ("RECENT_MGR_MODULE_CRASH", True, ["crashes"]),
        ("RECENT_CRASH", False, []),
        ("OSD_NEARFULL", True, []),
    ],
)
def test_crashes_are_marked_as_seen_only_if_that_is_wanted(check, archive, title):
    nodes, cluster = ill_with(check, "osd.0 crashed on host node1")
    assert mended(nodes, cluster, archive=archive) == title
    assert mended(nodes, cluster, joining={nodes[0].uuid}, archive=archive) == title


def test_the_daemons_of_a_node_that_joins_are_waited_for():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    more = make_node("node4", disks=tuple(make_device(f"/dev/sd{x}") for x in "bc"))
    made = joined([*nodes, more], "node4", cluster=cluster)
    assert titles(made)[-1] == "daemons"
    (wait,) = steps_of(made, AwaitDaemons)
    assert wait.mons == ()
    assert wait.osds == (("node4", 2),)
    assert not steps_of(made, AwaitHealth)


def test_others_mons_are_neither_started_nor_waited_for():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    ill = dataclasses.replace(cluster, quorum=("node1", "node3"))
    made = joined([*nodes, make_node("node4")], "node4", cluster=ill)
    assert not steps_of(made, (MakeMon, Settle))
    assert steps_of(made, MakeOsd)
    (step,) = steps_of(joined(nodes, "node2", cluster=ill), MakeMon)
    assert step.id == "node2"


def test_all_nodes_of_a_finished_cluster_are_waited_for_when_it_is_about_all():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    made = plan.plan(
        [*nodes, make_node("node4")], PARAMS, FSID, KEYS, False, cluster, ready=True
    )
    (wait,) = steps_of(made, AwaitDaemons)
    assert wait.osds == tuple((f"node{number}", 1) for number in (1, 2, 3, 4))


@given(st.integers(1, 5), st.sets(st.integers(1, 5), min_size=1))
def test_nodes_that_joined_leave_nothing_to_do(old, numbers):
    nodes, cluster = finish(nodes_of(old), with_params(pool_size=1))
    names = {f"node{number}" for number in numbers}
    known = {node.name for node in nodes}
    nodes += [make_node(name) for name in sorted(names - known)]
    params = with_params(pool_size=1)
    made = joined(nodes, *names, cluster=cluster, params=params)
    nodes, cluster = carry_out(made, nodes, cluster)
    assert joined(nodes, *names, cluster=cluster, params=params).stages == ()
    assert planned(nodes, params, cluster).stages == ()


# OSDs that are out


def marked_out(*hosts):
    """Return three nodes of a finished cluster, and it with OSDs of hosts out."""
    nodes, cluster = finish(nodes_of(3), PARAMS)
    osds = tuple(
        dataclasses.replace(osd, inside=osd.host not in hosts) for osd in cluster.osds
    )
    return nodes, dataclasses.replace(cluster, osds=osds)


@pytest.mark.parametrize(
    ("named", "marked"),
    [
        (("node1",), [(0,)]),
        (("node2", "node1"), [(0, 1)]),
        (("node3",), []),
        ((), []),
    ],
)
def test_osds_that_are_out_are_marked_in_on_nodes_that_are_named(named, marked):
    nodes, cluster = marked_out("node1", "node2")
    made = joined(nodes, *named, cluster=cluster)
    assert [step.osds for step in steps_of(made, MarkOsds)] == marked
    assert all(step.inside for step in steps_of(made, MarkOsds))


def test_osds_that_are_out_stay_out_when_it_is_about_all_nodes():
    nodes, cluster = marked_out("node1")
    for ready in (True, False):
        made = plan.plan(nodes, PARAMS, FSID, KEYS, False, cluster, ready=ready)
        assert made.stages == ()


@pytest.mark.parametrize(("drained", "marked"), [(True, []), (False, [(0,)])])
def test_osds_of_a_drained_node_stay_out(drained, marked):
    nodes, cluster = marked_out("node1")
    nodes[0] = dataclasses.replace(nodes[0], drained=drained)
    made = joined(nodes, "node1", cluster=cluster)
    assert [step.osds for step in steps_of(made, MarkOsds)] == marked


def test_an_osd_that_no_device_carries_any_more_stays_out():
    nodes, cluster = marked_out("node1")
    nodes[0] = fakes.with_facts(nodes[0], disks=())
    assert not steps_of(joined(nodes, "node1", cluster=cluster), MarkOsds)


def test_osds_are_started_before_they_are_marked_in_by_a_node_with_a_mon():
    nodes, cluster = marked_out("node4")
    four = [*nodes, make_node("node4")]
    four, cluster = carry_out(joined(four, "node4", cluster=cluster), four, cluster)
    osds = tuple(
        dataclasses.replace(osd, inside=False, up=False) if osd.host == "node4" else osd
        for osd in cluster.osds
    )
    cluster = dataclasses.replace(cluster, osds=osds)
    made = joined(four[::-1], "node4", cluster=cluster)
    assert titles(made) == ["mgrs and OSDs", "OSDs in", "daemons"]
    assert [step.osd_id for step in steps_of(made, StartOsd)] == [3]
    (step,) = steps_of(made, MarkOsds, four[2])
    assert step == MarkOsds((3,), True)


# OSDs whose device is gone


GONE = Osd(3, "the-uuid-of-the-lost-one", False, False, False, "node1")


def replaced(*osds, inactive=0, params=PARAMS, **facts):
    """Return which ids the new OSDs of node1 take over."""
    cluster = make_cluster(osds=osds, inactive=inactive)
    return [
        step.replaces
        for step in steps_of(planned([make_node(**facts)], params, cluster), MakeOsd)
    ]


def osd_here(block=None):
    return dataclasses.replace(fakes.osd_dir(3), block=block)


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, True),
        ({"inside": True}, True),
        ({"up": True}, False),
        ({"new": True}, False),
        ({"host": "node2"}, False),
        ({"host": None}, False),
        # One that was destroyed already.
        ({"uuid": "00000000-0000-0000-0000-000000000000"}, True),
        # What was on the same device, which is blank now.
        ({"uuid": plan.osd_uuid(FSID, "node1", "/dev/disk/by-id/sdb")}, True),
    ],
)
def test_a_new_osd_takes_the_id_of_one_of_its_node_that_is_lost(changes, taken):
    assert replaced(dataclasses.replace(GONE, **changes)) == [3 if taken else None]


@pytest.mark.parametrize(
    ("block", "taken"),
    [
        (None, True),
        # Its name is another device's now, which is blank.
        ("/dev/sdb", True),
        # It is there, and merely not among those of the parameters.
        ("/dev/sdx", False),
    ],
)
def test_an_osd_whose_device_is_there_is_not_lost(block, taken):
    found = replaced(GONE, osds=(osd_here(block),))
    assert found == [3 if taken else None]


def test_an_osd_whose_device_was_begun_anew_is_lost():
    device = make_device(content="the metadata of an OSD")
    device = dataclasses.replace(device, label=just_begun("node1", device))
    osd = dataclasses.replace(GONE, uuid=device.label.osd_uuid)
    assert replaced(osd, disks=(device,)) == [3]
    # Its first registration is merely taken back.
    assert replaced(dataclasses.replace(osd, new=True), disks=(device,)) == [None]


def test_the_devices_of_other_osds_tell_nothing_of_a_lost_one():
    other = dataclasses.replace(fakes.osd_dir(7), block="/dev/sdx")
    assert replaced(GONE, osds=(other,)) == [3]


def test_an_osd_that_another_device_carries_is_started_and_keeps_its_id():
    osd = dataclasses.replace(GONE, uuid=WHOLE.osd_uuid)
    disks = (make_device("/dev/sdb"), make_device("/dev/sdc", label=WHOLE))
    node = make_node(disks=disks)
    made = planned([node], cluster=make_cluster(osds=(osd,)))
    assert [step.replaces for step in steps_of(made, MakeOsd)] == [None]
    assert [step.osd_id for step in steps_of(made, StartOsd)] == [3]


def moved_disk(blank):
    """Return a finished cluster with osd.0's disk in node2, ``blank`` in its place."""
    nodes, cluster = finish(nodes_of(3), PARAMS)
    (disk,) = nodes[0].facts.disks
    disk = dataclasses.replace(
        disk, path="/dev/sdc", real_path="/dev/sdc", stable_path="/dev/disk/by-id/sdc"
    )
    here = dataclasses.replace(
        fakes.osd_dir(0), osd_uuid=disk.label.osd_uuid, block="/dev/sdb"
    )
    nodes[0] = fakes.with_facts(nodes[0], disks=(blank,), osds=(here,))
    nodes[1] = fakes.with_facts(nodes[1], disks=(*nodes[1].facts.disks, disk))
    osds = tuple(
        dataclasses.replace(osd, up=osd.host != "node1") for osd in cluster.osds
    )
    return nodes, dataclasses.replace(cluster, osds=osds)


@pytest.mark.parametrize("slot", ["/dev/disk/by-id/another", "/dev/disk/by-id/sdb"])
def test_an_osd_whose_disk_moved_to_another_node_is_started_there(slot):
    nodes, cluster = moved_disk(make_device(stable_path=slot))
    made = joined(nodes, "node1", "node2", cluster=cluster)
    (start,) = steps_of(made, StartOsd)
    assert steps_of(made, StartOsd, nodes[1]) == [start]
    assert start.osd_id == 0
    (new,) = steps_of(made, MakeOsd)
    assert steps_of(made, MakeOsd, nodes[0]) == [new]
    assert (new.replaces, new.osd_uuid == start.osd_uuid) == (None, False)
    # The new disk is not also tried for the OSD that was on the old one.
    assert steps_of(made, StopDaemons, nodes[0]) == [StopDaemons((), (), (0,))]
    nodes, cluster = carry_out(made, nodes, cluster)
    assert {osd.id for osd in cluster.osds} == {0, 1, 2, 3}
    assert not joined(nodes, "node1", "node2", cluster=cluster).stages


def test_one_that_was_begun_in_the_slot_of_a_moved_disk_is_finished():
    blank = make_device(content="the metadata of an OSD")
    nodes, cluster = moved_disk(blank)
    (first,) = steps_of(joined(nodes, "node1", cluster=cluster), MakeOsd)
    label = make_label("", osd_uuid=first.osd_uuid, osd_id=None, complete=False)
    begun = dataclasses.replace(blank, label=label)
    nodes[0] = fakes.with_facts(nodes[0], disks=(begun,))
    (again,) = steps_of(joined(nodes, "node1", cluster=cluster), MakeOsd)
    assert again.osd_uuid == first.osd_uuid
    # Also while the node with the moved disk does not answer.
    nodes[1] = fakes.with_facts(nodes[1], disks=nodes[1].facts.disks[:1])
    (again,) = steps_of(joined(nodes, "node1", cluster=cluster), MakeOsd)
    assert again.osd_uuid == first.osd_uuid


@pytest.mark.parametrize(
    ("inactive", "count"), [(0, None), (1, "1"), (128, "128"), (None, "some")]
)
def test_nothing_is_lost_while_data_is_missing(inactive, count):
    if count is None:
        assert replaced(GONE, inactive=inactive) == [3]
        return
    message = rf"node1: osd\.3 cannot be made anew while {count} placement groups"
    with pytest.raises(PrereqError, match=message):
        replaced(GONE, inactive=inactive)


@pytest.mark.parametrize("inactive", [1, None])
@pytest.mark.parametrize(
    ("osds", "facts"),
    [
        ((dataclasses.replace(GONE, up=True),), {}),
        ((GONE,), {"osds": (osd_here("/dev/sdx"),)}),
        ((GONE,), {"disks": ()}),
        ((), {}),
    ],
    ids=["up", "there", "no blank device", "none"],
)
def test_missing_data_does_not_matter_where_no_id_is_taken_over(osds, facts, inactive):
    assert set(replaced(*osds, inactive=inactive, **facts)) <= {None}


@pytest.mark.parametrize(
    ("lost", "blank", "ids"),
    [(1, 2, [3, None]), (2, 1, [3]), (2, 2, [3, 4]), (0, 2, [None, None])],
)
def test_each_id_is_taken_over_once(lost, blank, ids):
    osds = [
        dataclasses.replace(GONE, id=3 + index, uuid=f"lost{index}")
        for index in range(lost)
    ]
    disks = tuple(make_device(f"/dev/sd{x}") for x in "bcd"[:blank])
    assert replaced(*osds, disks=disks) == ids
    node = make_node(disks=disks, device_mapper=True, packages=VOLUME)
    made = planned([node], cluster=make_cluster(osds=tuple(osds)))
    (step,) = steps_of(made, MakeLvmOsds)
    assert step.replaces == tuple(one for one in ids if one is not None)


@pytest.mark.parametrize("complete", [False, True])
def test_an_osd_that_was_only_begun_on_a_volume_is_begun_anew(complete):
    label = make_label(osd_uuid=str(uuid.uuid4()), osd_id=0, complete=complete)
    disk = make_device("/dev/sdb", content="an OSD", label=label)
    node = make_node(disks=(disk,), device_mapper=True, packages=VOLUME)
    cluster = make_cluster(osds=(dataclasses.replace(GONE, id=0, uuid=label.osd_uuid),))
    made = planned([node], cluster=cluster)
    begun = [step.begun for step in steps_of(made, MakeLvmOsds)]
    assert begun == ([] if complete else [(label.osd_uuid,)])
    assert len(steps_of(made, StartOsd)) == complete


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_an_osd_that_only_its_database_tells_of_is_begun_anew(new, there):
    one = str(uuid.uuid4())
    old = make_label(osd_uuid=one, osd_id=7)
    disks = (make_device("/dev/sdb"),)
    if there:
        disks += (make_device("/dev/sdc", content="an OSD", label=old),)
    database = Database(FSID, one, 7, 4 * 2**30)
    shared = make_device("/dev/nvme0", databases=(database,), free=4 * 2**30)
    node = make_node(
        disks=disks, db_devices=(shared,), device_mapper=True, packages=VOLUME
    )
    osds = (dataclasses.replace(GONE, id=7, uuid=one, new=new, up=not new),)
    (step,) = steps_of(planned([node], cluster=make_cluster(osds=osds)), MakeLvmOsds)
    anew = new and not there
    assert step.begun == ((one,) if anew else ())
    assert step.gone == (((shared.stable_path, one),) if anew else ())


def test_what_ceph_volume_only_registered_is_begun_anew_where_its_disk_is():
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    begun = make_device("/dev/sdb", unfinished=True, registered=(one,))
    nodes = nodes_of(3, disks=(begun,))
    nodes[1:] = [
        fakes.with_facts(node, disks=(make_device("/dev/sdb"),)) for node in nodes[1:]
    ]
    nodes = [
        fakes.with_facts(node, device_mapper=True, packages=VOLUME) for node in nodes
    ]
    osds = tuple(
        dataclasses.replace(GONE, id=7, uuid=each, up=False, new=True, host=None)
        for each in (one, other)
    )
    made = planned(nodes, cluster=make_cluster(osds=osds))
    assert [step.begun for step in steps_of(made, MakeLvmOsds)] == [(one,), (), ()]


def test_a_replaced_disk_gets_its_osd_in_the_place_of_the_lost_one():
    nodes, cluster = finish(nodes_of(3), PARAMS)
    blank = make_device("/dev/sdb", stable_path="/dev/disk/by-id/another")
    nodes[1] = fakes.with_facts(nodes[1], disks=(blank,))
    osds = tuple(
        dataclasses.replace(osd, up=osd.host != "node2") for osd in cluster.osds
    )
    cluster = dataclasses.replace(cluster, osds=osds)
    made = joined(nodes, "node2", cluster=cluster)
    assert titles(made) == ["mgrs and OSDs", "daemons"]
    nodes, cluster = carry_out(made, nodes, cluster)
    assert {(osd.id, osd.host, osd.up) for osd in cluster.osds} == {
        (index, f"node{index + 1}", True) for index in range(3)
    }
    assert joined(nodes, "node2", cluster=cluster).stages == ()


# The spread of mons over failure domains


RACKED = with_params(failure_domain=FailureDomain.RACK)


def with_mons(nodes, *mons, params=RACKED):
    """Return nodes of a finished storage cluster that has its mons on some of them."""
    kept = dataclasses.replace(
        params, failure_domain=FailureDomain.HOST, mon_count=len(mons), pool_size=1
    )
    first = [node for node in nodes if node.host in mons]
    made, cluster = finish(first, kept)
    every = [*made, *(node for node in nodes if node.host not in mons)]
    every, cluster = carry_out(repaired(every, cluster, kept), every, cluster)
    return sorted(every, key=lambda node: node.name), cluster


def repaired(nodes, cluster, params=RACKED, joining=None):
    return plan.plan(nodes, params, FSID, KEYS, False, cluster, joining, ready=True)


def mon_stages(made):
    """Return the stages in which mons come and go, each as its steps in words."""
    return [
        f"{step.name} {', '.join(mon.id for mon in step.mons)}"
        if isinstance(step, Settle)
        else step.sentence()
        for stage in made.stages
        for _, steps in stage.steps
        for step in steps
        if isinstance(step, MakeMon | Settle | RemoveMon | StopDaemons)
    ]


@pytest.mark.parametrize("joining", [None, "node4"])
def test_a_rack_that_came_back_gets_a_mon_of_one_that_has_two(joining):
    nodes, cluster = with_mons(
        in_racks("r1", "r2", "r2", "r3"), "node1", "node2", "node3"
    )
    named = joining and {nodes[3].uuid}
    made = repaired(nodes, cluster, joining=named)
    assert mon_stages(made) == [
        "make and start mon.node4 at 192.0.2.4",
        "quorum node4",
        "remove mon.node3 from the quorum",
        "stop mon.node3",
    ]
    assert [mon.id for mon in made.conf.mons] == ["node1", "node2", "node4"]
    # Who asks for the removal has a mon afterwards, too.
    ((uuid, _),) = next(one.steps for one in made.stages if one.title == "mon")
    assert uuid == nodes[0].uuid
    (wait,) = steps_of(made, AwaitDaemons)
    assert "node3" not in wait.mons
    nodes, cluster = carry_out(made, nodes, cluster)
    assert {*cluster.quorum} == {"node1", "node2", "node4"}
    assert not nodes[2].facts.has_keys
    assert repaired(nodes, cluster).stages == ()


@pytest.mark.parametrize(
    "change",
    [
        # One does not answer: nothing more is removed.
        lambda nodes, cluster: (
            nodes,
            dataclasses.replace(cluster, quorum=("node1", "node2")),
        ),
        # Nobody knows where the mon of a node that does not answer stands.
        lambda nodes, cluster: ([nodes[0], nodes[1], nodes[3]], cluster),
        lambda nodes, cluster: (
            [*nodes[:3], dataclasses.replace(nodes[3], drained=True)],
            cluster,
        ),
    ],
)
def test_mons_stay_where_they_are_while_it_is_not_safe(change):
    nodes, cluster = change(
        *with_mons(in_racks("r1", "r2", "r2", "r3"), "node1", "node2", "node3")
    )
    assert not steps_of(repaired(nodes, cluster), RemoveMon)


def test_mons_move_neither_for_others_nor_to_who_is_not_part_yet():
    nodes, cluster = with_mons(
        in_racks("r1", "r2", "r2", "r3"), "node1", "node2", "node3"
    )
    assert not steps_of(repaired(nodes, cluster, joining=frozenset()), RemoveMon)
    nodes[3] = in_racks("r1", "r2", "r2", "r3")[3]
    made = repaired(nodes, cluster, joining={nodes[0].uuid})
    assert not steps_of(made, (MakeMon, RemoveMon))


def test_a_mon_that_was_removed_and_not_stopped_is_stopped_with_its_key():
    nodes, cluster = with_mons(in_racks("r1", "r2", "r3"), "node1")
    nodes[2] = fakes.with_facts(nodes[2], has_keys=True, mons=("node3",))
    params = dataclasses.replace(RACKED, mon_count=1)
    made = repaired(nodes, cluster, params)
    assert mon_stages(made) == ["stop mon.node3"]
    nodes, cluster = carry_out(made, nodes, cluster)
    assert repaired(nodes, cluster, params).stages == ()


@given(
    st.lists(st.sampled_from(["r1", "r2", "r3"]), min_size=1, max_size=7),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 3, 5]),
    st.integers(0, 4),
)
def test_mons_are_spread_whatever_fails_and_never_fewer(
    racks, random, mon_count, attempts
):
    nodes = in_racks(*racks)
    count = random.randrange(1, len(nodes) + 1, 2)
    mons = [node.host for node in random.sample(nodes, count)]
    params = dataclasses.replace(RACKED, mon_count=mon_count)
    nodes, cluster = with_mons(nodes, *mons, params=params)
    assert {*cluster.quorum} == {*mons}
    nodes = [dataclasses.replace(node, drained=random.random() < 0.2) for node in nodes]

    def safe(cluster, step):
        assert len(cluster.mons) >= count
        if not isinstance(step, RemoveMon):
            # One that was removed stops by itself.
            assert 2 * len(cluster.quorum) > len(cluster.mons)
        assert len(cluster.quorum) >= count, step

    def unsure(step):
        return random.random() < 0.3

    for _ in range(attempts):
        stages = repaired(nodes, cluster, params).stages
        nodes, cluster = outcome.carry_out(stages, nodes, cluster, unsure, safe)
    stages = repaired(nodes, cluster, params).stages
    nodes, cluster = outcome.carry_out(stages, nodes, cluster, after=safe)
    assert repaired(nodes, cluster, params).stages == ()
    spots = {node.host: dict(node.places)["rack"] for node in nodes}
    used = Counter(spots[mon.id] for mon in cluster.mons)
    names = {mon.id for mon in cluster.mons}
    for node in nodes:
        if node.host not in names and not node.drained:
            assert used[spots[node.host]] >= max(used.values()) - 1
        assert node.facts.has_keys == (node.host in names)


# Any set of nodes: the effect of the steps, simulated


def finish(nodes, params, failing=lambda step: False):
    """Plan, let the steps that do not fail take effect; return what is then."""
    return carry_out(planned(nodes, params, new_keys=True), nodes, None, failing)


def carry_out(made, nodes, cluster, failing=lambda step: False):
    """Return nodes and cluster after a plan's steps, as the real ones would be."""
    return outcome.carry_out(made.stages, nodes, cluster, failing)


@st.composite
def groups(draw):
    """Draw nodes and parameters that are not refused."""
    count = draw(st.integers(1, 9))
    with_db = draw(st.booleans())
    nodes = []
    for index in range(1, count + 1):
        disks = draw(st.integers(1 if index == 1 else 0, 4))
        nodes.append(
            make_node(
                f"node{index}",
                disks=tuple(make_device(f"/dev/sd{x}") for x in "bcde"[:disks]),
                db_devices=tuple(make_device(f"/dev/nvme{x}") for x in range(disks))
                if with_db
                else (),
                device_mapper=draw(st.booleans()),
                packages=VOLUME,
            )
        )
    most = sum(1 for node in nodes if node.facts.disks)
    params = with_params(
        mon_count=draw(st.sampled_from([1, 3, 5, 7])),
        mgr_count=draw(st.integers(1, 4)),
        pool_size=draw(st.integers(1, min(most, 10))),
        wipe=draw(st.booleans()),
    )
    assert refused(nodes, params) == []
    return draw(st.permutations(nodes)), params


@given(groups())
def test_each_device_is_in_exactly_one_step(group):
    nodes, params = group
    made = planned(nodes, params)
    for node in nodes:
        taken = [
            path
            for step in steps_of(made, MakeOsd, node)
            for path in (step.device, step.db_device)
            if path
        ] + [
            path
            for step in steps_of(made, MakeLvmOsds, node)
            for path in step.devices + step.db_devices
        ]
        devices = node.facts.disks + node.facts.db_devices
        assert sorted(taken) == sorted(device.stable_path for device in devices)


@given(groups())
def test_mons_are_odd_in_number_and_each_on_a_node_of_its_own(group):
    nodes, params = group
    made = planned(nodes, params)
    mons = [step.id for step in steps_of(made, MakeMon)]
    assert len(mons) % 2 == 1
    assert len(set(mons)) == len(mons) <= min(params.mon_count, len(nodes))
    assert {mon.id for mon in made.conf.mons} == set(mons)


@given(groups())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(group):
    nodes, params = group
    nodes, cluster = finish(nodes, params)
    assert refused(nodes, params, FSID) == []
    assert planned(nodes, params, cluster).stages == ()


@given(groups(), st.randoms(use_true_random=False), st.integers(0, 4))
def test_whatever_failed_is_done_by_the_next_runs(group, random, attempts):
    nodes, params = group
    cluster = None
    for attempt in range(attempts + 1):
        made = planned(nodes, params, cluster, new_keys=attempt == 0)
        last = attempt == attempts
        nodes, cluster = carry_out(
            made,
            nodes,
            cluster,
            lambda step, last=last: not last and random.random() < 0.3,
        )
        assert refused(nodes, params, FSID) == []
    assert planned(nodes, params, cluster).stages == ()


@given(groups())
def test_the_secrets_of_a_plan_do_not_print_themselves(group):
    made = planned(*group)
    shown = repr(made) + str(made)
    shown += "".join(step.sentence() for step in steps_of(made, object))
    assert "the-mon-key" not in shown
    assert "the-admin-key" not in shown
