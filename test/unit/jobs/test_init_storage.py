"""Making a storage cluster as a job: whom it asks, what it refuses, what it keeps."""

import fakes
import pytest
from fakes import FSID, make_node, with_facts
from ganeti import constants, locking
from ganeti import errors as ganeti_errors

from ganeti_ceph.jobs.init import NOTHING_TO_DO

READY = "ceph:storage:ready"
MARKED = "ceph:storage:marked"


def refusal(ganeti, **options):
    """Run the job, which must refuse; return error and text."""
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        ganeti.init(**options)
    assert "ceph_do" not in ganeti.calls()
    assert ganeti.config.updates == []
    text, code = caught.value.args
    return text, code


def failure(ganeti):
    """Run the job, which must fail; return the text."""
    with pytest.raises(ganeti_errors.OpExecError) as caught:
        ganeti.init()
    return str(caught.value)


def change(ganeti, name, **facts):
    """Change the facts of a node."""
    uuid = ganeti.config.find(name).uuid
    ganeti.nodes.nodes[uuid] = with_facts(ganeti.nodes.nodes[uuid], **facts)


def fsid(ganeti):
    """Return the storage cluster that the group's one tag names."""
    (tag,) = ganeti.config.tags("default")
    return tag.rpartition(":")[2]


# Success


def test_bare_nodes_become_a_storage_cluster(ganeti):
    ganeti.init()
    cluster = ganeti.nodes.cluster
    assert (len(cluster.quorum), len(cluster.osds), len(cluster.pools)) == (3, 3, 1)
    assert ganeti.config.tags("default") == {f"{READY}:{cluster.fsid}"}
    for name in ("node1", "node2", "node3"):
        assert ganeti.config.tags(name) == {READY}


def test_the_result_tells_what_to_do_now(ganeti):
    line = ganeti.init()
    assert fsid(ganeti) in line
    assert "gnt-instance add -t rbd" in line


def test_instances_may_have_rbd_disks_in_the_pool(ganeti):
    ganeti.set("ceph:pool:vms", "ceph:access:kernelspace")
    ganeti.init()
    cluster = ganeti.config.find("cluster")
    assert cluster.diskparams == {
        "drbd": {"resync-rate": 1},
        "rbd": {"pool": "vms", "access": "kernelspace", "user-id": "ganeti"},
    }
    assert cluster.enabled_disk_templates == ["drbd", "rbd"]
    assert cluster.ipolicy[constants.IPOLICY_DTS] == ["drbd", "rbd"]
    told = "* template rbd: pool=vms, access=kernelspace, user-id=ganeti"
    assert told in ganeti.feedback


def test_other_settings_of_the_template_are_kept(ganeti):
    ganeti.config.find("cluster").diskparams["rbd"] = {"access": "kernelspace", "x": 1}
    ganeti.init()
    rbd = ganeti.config.find("cluster").diskparams["rbd"]
    assert rbd == {
        "pool": "rbd",
        "access": "userspace",
        "user-id": "ganeti",
        "x": 1,
    }


def test_a_ceph_user_that_the_administrator_chose_is_kept(ganeti):
    ganeti.config.find("cluster").diskparams["rbd"] = {"user-id": "libvirt"}
    ganeti.init()
    assert ganeti.config.find("cluster").diskparams["rbd"]["user-id"] == "libvirt"


def test_each_new_storage_cluster_has_a_name_and_keys_of_its_own(ganeti):
    ganeti.init()
    first = (fsid(ganeti), ganeti.nodes.keys)
    other = type(ganeti)(fakes.make_nodes(3))
    other.init()
    assert fsid(other) != first[0]
    assert other.nodes.keys != first[1]


def test_the_keys_are_never_told(ganeti):
    ganeti.nodes.failing["node1", "health"] = "HEALTH_WARN"
    told = failure(ganeti)
    ganeti.nodes.failing.clear()
    told += ganeti.init(dry_run=True) + ganeti.init() + repr(ganeti.feedback)
    tags = {tag for name in ("default", "node1") for tag in ganeti.config.tags(name)}
    for key in (ganeti.nodes.keys.mon, ganeti.nodes.keys.admin):
        assert key.reveal() not in told + repr(tags)


def test_the_places_of_nodes_reach_them(ganeti):
    ganeti.config.find("node2").AddTag("ceph:rack:r1")
    ganeti.init()
    uuid = ganeti.config.find("node2").uuid
    assert "rack=r1" in ganeti.nodes.nodes[uuid].facts.conf


# Who is asked


def test_the_groups_and_the_groups_nodes_are_locked(ganeti):
    ganeti.config.add_group("other", [make_node("node9")])
    unit = ganeti.unit("init-distributed-storage", node_group="default")
    unit.ExpandNames()
    unit.DeclareLocks(locking.LEVEL_NODE)
    assert unit.needed_locks == {
        locking.LEVEL_NODEGROUP: locking.ALL_SET,
        locking.LEVEL_NODE: [node.uuid for node in fakes.make_nodes(3)],
    }


def test_nodes_of_other_groups_are_left_alone(ganeti):
    ganeti.config.add_group("other", [make_node("node9")])
    ganeti.init()
    assert ganeti.sent_to("ceph_look") == {"node1", "node2", "node3"}
    assert ganeti.config.tags("node9") == set()


def test_an_offline_node_is_left_out_and_named(ganeti):
    ganeti.set("ceph:pool-size:2")
    ganeti.set_offline("node3")
    ganeti.init()
    assert ganeti.feedback[0] == "* node3 is offline and left out"
    assert ganeti.sent_to("ceph_look") == {"node1", "node2"}
    assert ganeti.sent_to("ceph_do") == {"node1", "node2"}
    assert ganeti.config.tags("node3") == set()


def test_a_dry_run_names_the_offline_nodes_too(ganeti):
    ganeti.set("ceph:pool-size:2")
    ganeti.set_offline("node3")
    assert "node3 is offline and left out" in ganeti.init(dry_run=True)


def test_a_group_of_offline_nodes_is_refused(ganeti):
    ganeti.set_offline("node1", "node2", "node3")
    text, code = refusal(ganeti)
    assert text == "all nodes of group default are offline"
    assert code == ganeti_errors.ECODE_STATE


def test_each_node_that_cannot_be_reached_is_named(ganeti):
    def answer(uuid, sent):
        if ganeti.rpc.names[uuid] != "node2":
            raise RuntimeError("Connection refused")
        return ganeti.nodes._look(uuid, sent)

    ganeti.rpc.answers("ceph_look", answer)
    text, code = refusal(ganeti)
    assert text == "node1: Connection refused\nnode3: Connection refused"
    assert code == ganeti_errors.ECODE_STATE


# Refusals


def test_an_unknown_storage_type_is_refused(ganeti):
    text, code = refusal(ganeti, storage_type="gluster")
    assert "'gluster'" in text and "ceph" in text
    assert code == ganeti_errors.ECODE_INVAL


def test_an_unknown_group_is_refused_as_ganeti_does(ganeti):
    text, code = refusal(ganeti, group="nowhere")
    assert "nowhere" in text
    assert code == ganeti_errors.ECODE_NOENT


def test_a_command_without_a_group_is_refused(ganeti):
    with pytest.raises(ganeti_errors.OpPrereqError):
        ganeti.run("init-distributed-storage", storage_type="ceph")


@pytest.mark.parametrize("tag", [MARKED, f"{READY}:{FSID}"])
def test_there_is_but_one_group_for_storage(ganeti, tag):
    ganeti.config.add_group("other")
    ganeti.config.find("other").AddTag(tag)
    text, code = refusal(ganeti)
    assert text.startswith("node group other is the one for the storage cluster")
    assert code == ganeti_errors.ECODE_STATE


def test_without_a_disk_the_command_that_sets_one_is_told(ganeti):
    ganeti.config.find("cluster").GetTags().clear()
    text, code = refusal(ganeti)
    assert "gnt-cluster modify -S ceph:disk=" in text
    assert code == ganeti_errors.ECODE_STATE


def test_all_that_stands_against_it_is_said_at_once(ganeti):
    change(ganeti, "node1", packages=())
    change(ganeti, "node3", disks=(fakes.make_device(busy="swap"),))
    text, _ = refusal(ganeti)
    assert "node1: Ceph's packages are missing" in text
    assert "node3: /dev/sdb is in use: swap" in text


def test_a_parameter_that_cannot_be_read_is_refused(ganeti):
    ganeti.set("ceph:colour:blue")
    text, _ = refusal(ganeti)
    assert "ceph:colour:blue" in text


def test_tags_that_contradict_each_other_are_refused(ganeti):
    ganeti.config.find("default").GetTags().update({MARKED, f"{READY}:{FSID}"})
    text, _ = refusal(ganeti)
    assert "contradict" in text


# Groups without nodes


@pytest.fixture
def empty(ganeti):
    ganeti.config.add_group("empty")
    return ganeti


def test_a_group_without_nodes_is_marked(empty):
    assert "marked for storage" in empty.init(group="empty")
    assert empty.config.tags("empty") == {MARKED}
    assert empty.config.updates == ["empty"]


def test_a_group_without_nodes_needs_no_disk_yet(empty):
    empty.config.find("cluster").GetTags().clear()
    empty.init(group="empty")
    assert empty.config.tags("empty") == {MARKED}


def test_marking_needs_nobody_and_enables_nothing(empty):
    empty.init(group="empty")
    assert empty.calls() == []
    assert "rbd" not in empty.config.find("cluster").enabled_disk_templates


def test_a_dry_run_says_that_a_group_would_be_marked(empty):
    assert "marked for storage" in empty.init(dry_run=True, group="empty")
    assert empty.config.updates == []


def test_a_group_that_lost_its_nodes_remembers_its_storage_cluster(empty):
    tag = f"{READY}:{FSID}"
    empty.config.find("empty").AddTag(tag)
    assert NOTHING_TO_DO in empty.init(group="empty")
    assert empty.config.tags("empty") == {tag}


def test_a_marked_group_that_got_nodes_is_made(ganeti):
    ganeti.config.find("default").AddTag(MARKED)
    ganeti.init()
    assert ganeti.config.tags("default") == {f"{READY}:{ganeti.nodes.cluster.fsid}"}


# Dry run


def test_a_dry_run_changes_nothing(ganeti):
    ganeti.init(dry_run=True)
    assert ganeti.config.updates == []
    assert set(ganeti.calls()) == {"ceph_look"}


def test_a_dry_run_lists_the_steps_of_each_node_in_order(ganeti):
    lines = ganeti.init(dry_run=True).splitlines()
    assert lines[0] == "* configuration"
    assert "  - node2: make and start mon.node2 at 192.0.2.2" in lines
    assert [line for line in lines if line.startswith("*")] == [
        "* configuration",
        "* mons",
        "* quorum",
        "* mgrs and OSDs",
        "* pool",
        "* keys for disks",
        "* collectors",
        "* health",
    ]


def test_a_dry_run_is_refused_as_the_run_would_be(ganeti):
    change(ganeti, "node1", packages=())
    text, _ = refusal(ganeti, dry_run=True)
    assert "node1" in text


# A second run


def test_on_a_finished_cluster_there_is_nothing_to_do(ganeti):
    ganeti.init()
    ganeti.rpc.sent.clear()
    ganeti.config.updates.clear()
    ganeti.feedback.clear()
    assert NOTHING_TO_DO in ganeti.init()
    assert "ceph_do" not in ganeti.calls()
    assert (ganeti.config.updates, ganeti.feedback) == ([], [])


def test_a_dry_run_on_a_finished_cluster_says_so(ganeti):
    ganeti.init()
    assert ganeti.init(dry_run=True) == NOTHING_TO_DO


def test_what_is_only_not_written_down_is_written_down(ganeti):
    ganeti.init()
    ganeti.config.find("node2").GetTags().clear()
    ganeti.rpc.sent.clear()
    assert NOTHING_TO_DO not in ganeti.init()
    assert ganeti.config.tags("node2") == {READY}
    assert "ceph_do" not in ganeti.calls()


def test_a_failure_leaves_the_group_begun_and_no_node_ready(ganeti):
    ganeti.nodes.failing["node2", "mgr"] = "no luck"
    failure(ganeti)
    (tag,) = ganeti.config.tags("default")
    assert tag == f"ceph:storage:initialising:{ganeti.nodes.cluster.fsid}"
    for name in ("node1", "node2", "node3"):
        assert ganeti.config.tags(name) == {"ceph:storage:joining"}
    assert "rbd" not in ganeti.config.find("cluster").enabled_disk_templates


def test_a_failure_names_the_command_that_goes_on(ganeti):
    ganeti.nodes.failing["node2", "mgr"] = "no luck"
    command = "gnt-storage init-distributed-storage -s ceph default"
    assert f"'{command}'" in failure(ganeti)


@pytest.mark.parametrize(
    "step", ["configure", "mon", "quorum", "mgr", "osd", "pool", "health"]
)
def test_the_next_run_finishes_with_the_same_cluster_and_keys(ganeti, step):
    for name in ("node1", "node2"):
        ganeti.nodes.failing[name, step] = "no luck"
    failure(ganeti)
    before = fsid(ganeti), step != "configure" and ganeti.nodes.keys
    ganeti.nodes.failing.clear()
    ganeti.init()
    assert (fsid(ganeti), step != "configure" and ganeti.nodes.keys) == before
    assert ganeti.config.tags("default") == {f"{READY}:{before[0]}"}
    assert ganeti.nodes.cluster.fsid == before[0]


def test_a_new_node_is_made_part_of_it_while_the_group_stays_ready(ganeti):
    ganeti.init()
    ganeti.rpc.sent.clear()
    new = make_node("node4")
    whole = ganeti.config.tags("default")
    ganeti.config.add_group("joining", [new])
    ganeti.config.find("default").members.append(new.uuid)
    ganeti.rpc.names[new.uuid] = new.name
    ganeti.nodes.nodes[new.uuid] = new
    ganeti.nodes.failing["node4", "osd"] = "no luck"
    failure(ganeti)
    assert ganeti.config.tags("default") == whole
    ganeti.nodes.failing.clear()
    ganeti.init()
    assert ganeti.config.tags("node4") == {READY}
    assert len(ganeti.nodes.cluster.osds) == 4


# What was begun is asked


def test_the_cluster_is_asked_where_another_node_does_not_answer(ganeti):
    ganeti.init()
    status = ganeti.nodes._status

    def answer(uuid, sent):
        if ganeti.rpc.names[uuid] == "node1":
            raise RuntimeError("Operation timed out")
        return status(uuid, sent)

    ganeti.rpc.answers("ceph_status", answer)
    assert NOTHING_TO_DO in ganeti.init()


@pytest.mark.parametrize("has", ["nothing", "keys", "everything but a mon"])
def test_the_cluster_is_asked_where_a_mon_is(ganeti, has):
    ganeti.init()
    new = make_node("node0", 9, has_keys=has == "keys")
    ganeti.config.add_group("joining", [new])
    ganeti.config.find("default").members.append(new.uuid)
    ganeti.rpc.names[new.uuid] = new.name
    ganeti.nodes.nodes[new.uuid] = new
    if has == "everything but a mon":
        ganeti.init()
    ganeti.rpc.sent.clear()
    ganeti.init(dry_run=True)
    # All at once: a silent one takes each as long.
    assert ganeti.sent_to("ceph_status") == {"node1", "node2", "node3"}
    assert ganeti.calls().count("ceph_status") == 1


def unreachable(uuid, sent):
    raise RuntimeError("Operation timed out")


def test_a_cluster_that_was_ready_and_does_not_answer_is_not_made_again(ganeti):
    ganeti.init()
    ganeti.config.updates.clear()
    ganeti.nodes.asked.clear()
    ganeti.rpc.answers("ceph_status", unreachable)
    text = failure(ganeti)
    assert "does not answer (node3: Operation timed out): mon.node1 runs; mon" in text
    assert "'journalctl -u ceph-mon@HOST' says on its node" in text
    # Nothing but the mons that there are, which are only started.
    assert {step for _, step in ganeti.nodes.asked} == {"mon-start"}
    assert ganeti.config.updates == []


def test_where_no_mon_can_be_started_a_silent_cluster_is_refused(ganeti):
    ganeti.init()
    ganeti.config.updates.clear()
    ganeti.rpc.sent.clear()
    for name in ("node1", "node2", "node3"):
        change(ganeti, name, mons=())
    ganeti.nodes.cluster = None
    text, code = refusal(ganeti)
    assert "mon.node1 has no store; mon.node2 has no store" in text
    assert code == ganeti_errors.ECODE_STATE


def test_without_its_mons_nodes_a_cluster_gets_no_new_keys(ganeti):
    ganeti.set("ceph:mon-count:1")
    ganeti.nodes.failing["node2", "osd"] = "no luck"
    failure(ganeti)
    ganeti.config.find("node1").offline = True
    ganeti.config.updates.clear()
    ganeti.rpc.sent.clear()
    ganeti.set("ceph:mon-count:1", "ceph:pool-size:2")
    text, _ = refusal(ganeti)
    assert "bring back, or remove from the group: node1" in text


def test_mons_with_different_keys_are_told_apart_by_the_administrator(ganeti):
    ganeti.nodes.failing["node2", "mgr"] = "no luck"
    failure(ganeti)
    ganeti.config.updates.clear()
    ganeti.rpc.sent.clear()
    keys = ganeti.nodes._keys

    def answer(uuid, sent):
        found = keys(uuid, sent)
        if ganeti.rpc.names[uuid] == "node3":
            found = {**found, "mon": "of-another-run"}
        return found

    ganeti.rpc.answers("ceph_keys", answer)
    text, _ = refusal(ganeti)
    assert "mons with different keys: node1, node2, node3" in text


def test_a_place_that_ceph_cannot_have_is_refused_in_words(ganeti):
    ganeti.set("ceph:failure-domain:rack")
    for name in ("node1", "node2", "node3"):
        ganeti.config.find(name).AddTag(f"ceph:rack:R+{name}")
    text, _ = refusal(ganeti)
    assert "R+node1" in text


def test_a_cluster_whose_keys_are_lost_is_not_begun_anew(ganeti):
    ganeti.nodes.failing["node2", "mgr"] = "no luck"
    failure(ganeti)
    ganeti.config.updates.clear()
    ganeti.rpc.sent.clear()
    ganeti.nodes.keys = None
    text, code = refusal(ganeti)
    assert text.startswith("no node has the keys of the storage cluster")
    assert "node1: " in text and "node3: " in text
    assert code == ganeti_errors.ECODE_STATE


def test_the_keys_of_one_mon_are_enough(ganeti):
    ganeti.nodes.failing["node2", "mgr"] = "no luck"
    failure(ganeti)
    keys = ganeti.nodes._keys

    def answer(uuid, sent):
        if ganeti.rpc.names[uuid] != "node3":
            raise RuntimeError("Operation timed out")
        return keys(uuid, sent)

    ganeti.rpc.answers("ceph_keys", answer)
    ganeti.nodes.failing.clear()
    before = ganeti.nodes.keys
    ganeti.init()
    assert ganeti.nodes.keys == before


def test_keys_are_asked_of_nodes_with_a_mon_only(ganeti):
    ganeti.set("ceph:mon-count:1")
    ganeti.nodes.failing["node2", "osd"] = "no luck"
    failure(ganeti)
    ganeti.nodes.failing.clear()
    ganeti.init()
    assert ganeti.sent_to("ceph_keys") == {"node1"}
