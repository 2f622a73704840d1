"""Repairing: what is missing is done, and only on the nodes that it is about."""

import dataclasses

import fakes
import pytest
from fakes import make_node, with_facts
from ganeti import constants, objects
from ganeti import errors as ganeti_errors

READY = "ceph:storage:ready"


@pytest.fixture
def made(ganeti):
    """A finished storage cluster, and what it was asked until then forgotten."""
    ganeti.init()
    ganeti.rpc.sent.clear()
    ganeti.nodes.asked.clear()
    ganeti.config.updates.clear()
    return ganeti


def repair(ganeti, *nodes, **options):
    return "\n".join(ganeti.run("repair", nodes=",".join(nodes), **options))


def refusal(ganeti, *nodes):
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        repair(ganeti, *nodes)
    assert "ceph_do" not in ganeti.calls()
    text, code = caught.value.args
    return text, code


def grow(ganeti, name="node4", **facts):
    """Let Ganeti have one more node in the group."""
    node = make_node(name, **facts)
    group = ganeti.config.find("default")
    members = group.members
    ganeti.config.add_group("default", [node])
    ganeti.config.find("default").members = [*members, node.uuid]
    for tag in group.GetTags():
        ganeti.config.find("default").AddTag(tag)
    ganeti.nodes.nodes[node.uuid] = node
    ganeti.rpc.names[node.uuid] = name
    return node


def change(ganeti, name, **facts):
    uuid = ganeti.config.find(name).uuid
    ganeti.nodes.nodes[uuid] = with_facts(ganeti.nodes.nodes[uuid], **facts)


def test_a_complete_cluster_needs_nothing(made):
    assert "there is nothing to do" in repair(made)
    assert made.nodes.asked == []
    assert repair(made, dry_run=True) == "there is nothing to do"


@pytest.mark.parametrize("drained", [True, False])
def test_what_was_noted_of_a_drain_is_forgotten_with_it(made, drained):
    node = made.config.find("node2")
    node.drained = drained
    noted = {"ceph:storage:drained", "ceph:storage:drained:1"}
    for tag in noted:
        node.AddTag(tag)
    repair(made)
    left = set(made.config.find("node2").GetTags())
    assert left == ({READY, *noted} if drained else {READY})


@pytest.mark.parametrize("tag", [None, "ceph:storage:marked"])
def test_without_a_storage_cluster_there_is_nothing_to_repair(ganeti, tag):
    if tag:
        ganeti.config.find("default").AddTag(tag)
    text, code = refusal(ganeti)
    assert "there is no storage cluster" in text
    assert code == ganeti_errors.ECODE_STATE


def test_a_stopped_osd_is_started(made):
    uuid = made.config.find("node2").uuid
    (osd,) = [one for one in made.nodes.cluster.osds if one.host == "node2"]
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster,
        osds=tuple(
            dataclasses.replace(one, up=one.id != osd.id)
            for one in made.nodes.cluster.osds
        ),
    )
    repair(made)
    assert ("node2", "osd-start") in made.nodes.asked
    assert {name for name, _ in made.nodes.asked} == {"node1", "node2"}
    assert made.nodes.nodes[uuid].facts.disks


def test_keys_get_their_owners_again_where_it_is_about_their_node(made):
    for name in ("node1", "node2"):
        change(made, name, loose_keys=("/etc/ceph/a",))
    repair(made, "node2")
    changed = [node for node, step in made.nodes.asked if step == "key-owners"]
    assert changed == ["node2"]
    repair(made)
    assert ("node1", "key-owners") in made.nodes.asked
    assert "there is nothing to do" in repair(made)


def test_a_finished_cluster_need_not_be_healthy_in_the_end(made):
    made.nodes.cluster = dataclasses.replace(made.nodes.cluster, health="HEALTH_WARN")
    change(made, "node2", has_client=False)
    repair(made)
    steps = [step for _, step in made.nodes.asked]
    assert steps == ["client", "daemons"]


def test_one_node_is_made_part_of_it_and_others_are_let_be(made):
    grow(made)
    change(made, "node2", has_client=False)
    said = repair(made, "node4")
    assert "is ready" in said
    assert ("node4", "osd") in made.nodes.asked
    assert ("node2", "client") not in made.nodes.asked
    assert made.config.tags("node4") == {READY}


@pytest.mark.parametrize("trouble", ["silent", "busy disk"])
def test_what_is_wrong_elsewhere_keeps_no_node_away(made, trouble):
    grow(made)
    uuid = made.config.find("node3").uuid
    if trouble == "silent":
        made.rpc.answers("ceph_look", silent(made, uuid))
    else:
        change(made, "node3", disks=(fakes.make_device(busy="mounted on /mnt"),))
    repair(made, "node4")
    assert ("node4", "osd") in made.nodes.asked
    made.nodes.asked.clear()
    text, _ = refusal_after(made)
    assert "node3" in text


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        ({"real_path": ""}, "node3: /dev/sdb is missing"),
        ({"failing": "it cannot be read"}, "node3: /dev/sdb has failed: it cannot be"),
    ],
)
def test_a_disk_that_died_is_said_and_the_others_are_used(made, lacks, words):
    facts = made.nodes.nodes[made.config.find("node3").uuid].facts
    dead = fakes.make_device(**lacks)
    change(made, "node3", disks=(dead, *facts.disks[1:]), has_client=False)
    repair(made, "node3")
    assert ("node3", "client") in made.nodes.asked
    assert ("node3", "osd") not in made.nodes.asked
    assert any(words in line for line in made.feedback)


def lose(ganeti, name, *disks):
    """Have an OSD's disk go, which a pattern names, and others come instead."""
    cluster = ganeti.nodes.cluster
    change(ganeti, name, disks=disks)
    ganeti.nodes.cluster = dataclasses.replace(
        cluster,
        osds=tuple(
            dataclasses.replace(one, up=one.up and one.host != name)
            for one in cluster.osds
        ),
    )
    return next(osd.id for osd in cluster.osds if osd.host == name)


def test_an_osd_whose_device_is_gone_is_said(made):
    osd = lose(made, "node2")
    words = f"node2: osd.{osd} is down, and no device that ceph:disk names carries it"
    assert words in repair(made, dry_run=True)
    assert "there is nothing to do" in repair(made)
    assert any(words in line for line in made.feedback)


def test_an_osd_that_is_made_anew_is_not_said_to_be_gone(made):
    osd = lose(made, "node2", fakes.make_device("/dev/sdz"))
    said = repair(made, dry_run=True)
    assert f"make and start osd.{osd} anew" in said
    assert "no device" not in said


def silent(ganeti, uuid):
    def look(node, sent):
        if node == uuid:
            raise OSError("no route")
        return ganeti.nodes._look(node, sent)

    return look


def refusal_after(ganeti):
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        repair(ganeti)
    assert ganeti.nodes.asked == []
    return caught.value.args


def test_who_was_left_out_is_told(made):
    grow(made)
    made.rpc.answers("ceph_look", silent(made, made.config.find("node3").uuid))
    repair(made, "node4")
    assert any("node3 is left out: " in line for line in made.feedback)


def test_a_silent_node_is_not_repaired(made):
    made.rpc.answers("ceph_look", silent(made, made.config.find("node3").uuid))
    text, _ = refusal(made, "node3")
    assert "node3: " in text
    assert "no route" in text


# The mons have lost their quorum


def test_mons_that_were_stopped_are_started_and_the_rest_is_repaired(made):
    change(made, "node2", has_client=False)
    made.nodes.stop_mons("node2", "node3")
    assert "is ready" in repair(made)
    mons = [(f"node{number}", "mon-start") for number in (1, 2, 3)]
    assert sorted(made.nodes.asked[:3]) == mons
    assert ("node2", "client") in made.nodes.asked[3:]
    told = "mon.node1 runs; mon.node2 does not run; mon.node3 does not run"
    assert len([line for line in made.feedback if told in line]) == 1


def test_one_mon_of_three_that_does_not_run_needs_no_waking(made):
    made.nodes.stop_mons("node2")
    repair(made)
    assert ("node2", "mon") in made.nodes.asked
    assert "mon-start" not in [step for _, step in made.nodes.asked]


def test_a_dry_run_tells_that_the_mons_would_be_started(made):
    made.nodes.stop_mons("node2", "node3")
    said = repair(made, dry_run=True)
    assert "does not answer (node3: there is no quorum): mon.node1 runs; mon" in said
    assert "  - node2: start mon.node2 and wait for a quorum" in said
    assert "only known when the storage cluster answers" in said
    assert made.nodes.asked == []


def test_mons_are_started_before_anything_else_is_found_wrong(made):
    change(made, "node1", packages=())
    made.nodes.stop_mons("node1", "node3")
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        repair(made)
    assert "node1: Ceph's packages are missing" in caught.value.args[0]
    assert made.nodes.cluster is not None


def test_the_mons_of_the_others_do_where_one_does_not_start(made):
    made.nodes.stop_mons("node1", "node2", "node3")
    made.nodes.failing["node3", "mon-start"] = "its disk is full"
    assert "is ready" in repair(made)
    # As ever it is made, which says what it lacks.
    assert ("node3", "mon") in made.nodes.asked


def test_a_quorum_that_does_not_come_is_said_with_all_mons(made):
    made.set_offline("node2")
    made.rpc.answers("ceph_look", silent(made, made.config.find("node3").uuid))
    made.nodes.stop_mons("node1", "node2", "node3")
    with pytest.raises(ganeti_errors.OpExecError) as caught:
        repair(made)
    (text,) = str(caught.value).splitlines()
    assert "mon.node1 runs; mon.node2 is on node2, which is offline" in text
    assert "'gnt-node add --readd node2' brings it back" in text
    assert "node3 with mon.node3 does not answer (no route)" in text
    assert made.nodes.asked == [("node1", "mon-start")]


def test_why_a_mon_did_not_start_is_said_where_there_is_no_quorum(made):
    made.nodes.stop_mons("node2", "node3")
    for node in ("node2", "node3"):
        made.nodes.failing[node, "mon-start"] = "its disk is full"
    with pytest.raises(ganeti_errors.OpExecError) as caught:
        repair(made)
    assert "node2: mon-start: its disk is full" in str(caught.value)


def test_a_node_that_comes_back_brings_the_quorum_back(made):
    made.set_offline("node3")
    made.nodes.stop_mons("node2", "node3")
    change(made, "node2", mons=())
    made.config.find("node3").offline = False
    repair(made, "node3")
    assert made.nodes.cluster is not None


def test_marked_out_osds_of_a_named_node_come_in_again(made):
    made.nodes.cluster = dataclasses.replace(
        made.nodes.cluster,
        osds=tuple(
            dataclasses.replace(one, inside=one.host != "node2")
            for one in made.nodes.cluster.osds
        ),
    )
    assert "there is nothing to do" in repair(made)
    repair(made, "node2")
    assert all(osd.inside for osd in made.nodes.cluster.osds)


def test_a_node_that_there_is_not_is_named(made):
    text, _ = refusal(made, "node1", "nowhere")
    assert text == "there is no node nowhere"


def test_a_node_of_another_group_is_refused(made):
    made.config.add_group("other", [make_node("node7")])
    text, _ = refusal(made, "node7")
    assert "is not in node group default" in text


def test_an_offline_node_is_brought_back_by_ganeti(made):
    made.set_offline("node3")
    text, _ = refusal(made, "node3")
    assert "'gnt-node add --readd node3' brings it back" in text


def test_a_half_made_cluster_is_finished_first(made):
    group = made.config.find("default")
    (tag,) = group.GetTags()
    group.RemoveTag(tag)
    group.AddTag(tag.replace("ready", "initialising"))
    text, _ = refusal(made, "node2")
    assert "'gnt-storage init-distributed-storage -s ceph default'" in text
    assert "is ready" in repair(made)


def test_a_failure_says_how_to_go_on(made):
    grow(made)
    made.nodes.failing["node4", "osd"] = "no"
    with pytest.raises(ganeti_errors.OpExecError) as caught:
        repair(made, "node4")
    assert "go on from here with 'gnt-storage repair node4'" in str(caught.value)
    # Whoever takes it away now has to ask Ceph.
    assert made.config.tags("node4") == {"ceph:storage:joining"}


# What the disks' user may do


def add_disks(ganeti, *params):
    """Let an instance have disks with these parameters."""
    node = ganeti.nodes.nodes[ganeti.config.find("node1").uuid]
    disks = [objects.Disk(dev_type=constants.DT_RBD, params=one) for one in params]
    ganeti.config.add_guest("web", node, disks)


def test_all_pools_that_disks_are_in_are_granted_again(made):
    add_disks(
        made,
        {"pool": "hdd", "user-id": "ganeti", "data-pool": "coded"},
        {"pool": "far", "user-id": "ganeti", "ceph-conf": "/etc/far"},
        {"pool": "own", "user-id": "joe"},
    )
    repair(made)
    assert made.nodes.granted == ["coded", "hdd", "rbd"]
    assert made.nodes.left_with == ("coded", "hdd", "rbd")


def test_a_pool_that_cannot_be_granted_is_a_warning_and_others_are(made):
    add_disks(made, {"pool": "hdd", "user-id": "ganeti"})
    made.nodes.lost = {"hdd"}
    repair(made)
    assert made.nodes.granted == ["rbd"]
    (said,) = [line for line in made.feedback if "WARNING" in line]
    assert "in pool hdd: " in said
    assert "no pool hdd" in said


def test_what_cannot_be_taken_back_is_a_warning(made):
    made.nodes.kept_away = "no answer"
    repair(made)
    (said,) = [line for line in made.feedback if "WARNING" in line]
    assert "may still use pools that no disk is in: " in said
    assert "no answer" in said


def test_nothing_is_granted_in_a_dry_run(made):
    repair(made, dry_run=True)
    assert made.nodes.granted == []
    assert made.nodes.left_with == ()


def test_crashes_are_marked_as_seen_if_that_is_asked_for(made):
    checks = ("RECENT_CRASH: 1 daemons have recently crashed",)
    made.nodes.cluster = dataclasses.replace(made.nodes.cluster, checks=checks)
    step = "mark as seen what crashed"
    assert step not in repair(made, dry_run=True)
    assert step in repair(made, dry_run=True, archive_crashes="yes")
