"""What is wrong is said once, with the node that it is of and what mends it."""

import dataclasses

import pytest
from fakes import FSID, make_device, make_node, make_nodes, osd_dir, with_facts
from outcome import changed, finished

from ganeti_ceph import diagnose, plan
from ganeti_ceph.diagnose import Finding, Member
from ganeti_ceph.facts import Database, Osd
from ganeti_ceph.params import FailureDomain, StorageParameters

PARAMS = StorageParameters(disks=("/dev/sdb",))


@pytest.fixture(scope="module")
def made():
    """Three nodes of a finished storage cluster, and it: mon, mgr and OSD on each."""
    return finished(make_nodes(3), dataclasses.replace(PARAMS, mgr_count=3))


def member(name, **changes):
    values = {"offline": False, "drained": False, "ready": True, **changes}
    return Member(name, name.partition(".")[0], **values)


def members(**changes):
    """Return node1 to node3 as Ganeti has them; what differs is given by name."""
    names = ("node1", "node2", "node3")
    return [member(name, **changes.get(name, {})) for name in names]


def found(made, known=None, silent=(), params=PARAMS, **changes):
    """Return the findings; ``changes`` are of what the storage cluster says."""
    nodes, cluster = made
    known = members() if known is None else known
    away = {one.name for one in known if one.offline} | set(silent)
    return diagnose.findings(
        known,
        [node for node in nodes if node.name not in away],
        silent,
        params,
        FSID,
        dataclasses.replace(cluster, **changes),
    )


def down(made, *hosts, **changes):
    """Return a storage cluster of which all daemons of some hosts are down."""
    nodes, cluster = made
    for host in hosts:
        cluster = changed(cluster, host, up=False, **changes)
    quorum = tuple(name for name in cluster.quorum if name not in hosts)
    return nodes, dataclasses.replace(cluster, quorum=quorum)


def test_a_healthy_cluster_has_no_findings(made):
    assert found(made) == []


def test_mons_of_one_rack_that_another_lacks_are_said_with_the_command():
    params = dataclasses.replace(PARAMS, pool_size=1)
    nodes, cluster = finished(make_nodes(4), params)
    racks = ("R1", "R2", "R2", "R3")
    nodes = [
        dataclasses.replace(node, places=(("rack", rack),))
        for node, rack in zip(nodes, racks, strict=True)
    ]
    params = dataclasses.replace(params, failure_domain=FailureDomain.RACK)
    texts = [
        one.text
        for one in found((nodes, cluster), [*members(), member("node4")], params=params)
    ]
    for words in (
        "node4: to do: make and start mon.node4 at 192.0.2.4 ('gnt-storage repair')",
        "node1: to do: remove mon.node3 from the quorum ('gnt-storage repair')",
        "node3: to do: stop mon.node3 ('gnt-storage repair')",
    ):
        assert words in texts


# Nodes


def test_that_a_node_does_not_answer_says_who_asked_it(made):
    assert found(made, silent=["node2"]) == []


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"ready": False}, ["'gnt-storage repair node2' makes it one"]),
        ({"ready": False, "drained": True}, ["'gnt-storage repair node2'"]),
        # Nobody expects it of an offline one.
        ({"ready": False, "offline": True}, []),
        ({}, []),
    ],
)
def test_a_node_that_is_not_part_of_it_yet_is_said_with_the_command(made, node, words):
    nodes, cluster = made
    # It has not got anything yet.
    cluster = dataclasses.replace(
        cluster,
        mons=tuple(mon for mon in cluster.mons if mon.id != "node2"),
        quorum=("node1", "node3"),
        mgrs=("node1", "node3"),
        osds=tuple(osd for osd in cluster.osds if osd.host != "node2"),
    )
    if node.get("ready", True):
        nodes, cluster = made
    else:
        nodes = [nodes[0], make_node("node2"), nodes[2]]
    texts = found((nodes, cluster), members(node2=node))
    # What the configuration of the others should be is another matter.
    texts = [one for one in texts if one.node]
    assert [one.node for one in texts] == ["node2"] * len(words)
    assert all(word in one.text for word, one in zip(words, texts, strict=True))
    assert all(one.error for one in texts)


def test_nothing_is_to_do_on_a_node_that_is_not_part_of_it_yet(made):
    nodes, cluster = made
    four = [*nodes, make_node("node4")]
    left = Osd(9, "the-uuid-of-another", False, False, True, "node4")
    cluster = dataclasses.replace(cluster, osds=(*cluster.osds, left))
    texts = found((four, cluster), [*members(), member("node4", ready=False)])
    assert [one.node for one in texts] == ["node4"]


def test_nodes_that_are_all_not_part_of_it_yet_are_each_said(made):
    known = [dataclasses.replace(one, ready=False) for one in members()]
    assert [one.node for one in found(made, known)] == ["node1", "node2", "node3"]


# A storage cluster that does not answer


def told_alone(nodes, known=None):
    known = members() if known is None else known
    return diagnose.findings_of_nodes(known, nodes, PARAMS, FSID)


def test_nodes_that_are_well_tell_of_nothing_while_ceph_is_silent(made):
    assert told_alone(made[0]) == []


def test_an_osd_that_does_not_run_is_told_by_its_node_alone(made):
    nodes = [with_facts(one, stopped=("osd.1", "mon.node1")) for one in made[0]]
    (one,) = told_alone(nodes)
    assert one.node == "node2"
    assert one.text == "osd.1 does not run: 'gnt-storage repair' starts it"
    # What is left of one whose disk is elsewhere is no OSD.
    bare = [with_facts(one, disks=(make_device(),)) for one in nodes]
    assert not [one for one in told_alone(bare) if "does not run" in one.text]


def test_what_a_node_lacks_by_itself_is_told_while_ceph_is_silent(made):
    first, second, third = made[0]
    assert first.facts.conf is not None
    nodes = [
        with_facts(first, loose_keys=("/etc/ceph/x",)),
        with_facts(second, conf=first.facts.conf + "# mine\n", has_client=False),
        with_facts(third, has_collector=False),
    ]
    texts = [one.text for one in told_alone(nodes)]
    assert len(texts) == 4
    assert any("node2: to do: write /etc/ceph/ceph.conf" in text for text in texts)
    assert sum("to do: " in text for text in texts) == 3
    assert any(text.startswith("/etc/ceph/x has another owner") for text in texts)


def test_a_newcomer_is_told_while_ceph_is_silent(made):
    nodes = [*made[0], make_node("node4")]
    (one,) = told_alone(nodes, [*members(), member("node4", ready=False)])
    assert one.node == "node4"
    assert "'gnt-storage repair node4' makes it one" in one.text


# Versions


def test_daemons_of_another_version_than_is_installed_are_said_with_the_command(made):
    versions = (
        ("node1", ("18.2.7",)),
        # It was upgraded, and only some of its daemons were started since.
        ("node2", ("18.2.6", "18.2.7")),
        ("elsewhere", ("18.2.6",)),
    )
    (one,) = found(made, versions=versions)
    assert one.node == "node2"
    assert not one.error
    assert "Ceph 18.2.6 run there, and 18.2.7 is installed" in one.text
    assert "'gnt-node modify --offline=yes node2'" in one.text
    assert "'gnt-node add --readd node2'" in one.text


def test_what_debian_adds_to_a_version_makes_no_other_one(made):
    nodes, cluster = made
    packages = tuple((name, "1:18.2.7+ds-1+deb13u1") for name in plan.PACKAGES)
    nodes = [with_facts(node, packages=packages) for node in nodes]
    versions = tuple((node.host, ("18.2.7",)) for node in nodes)
    assert found((nodes, cluster), versions=versions) == []


# What Ganeti and Ceph think of a node


OFFLINE = {"node2": {"offline": True}}


def of_node(findings, name="node2"):
    return [one for one in findings if one.node == name]


def without_mon(made):
    nodes, cluster = made
    return nodes, dataclasses.replace(
        cluster,
        mons=tuple(mon for mon in cluster.mons if mon.id != "node2"),
        quorum=("node1", "node3"),
    )


def test_an_offline_node_with_a_running_osd_is_a_contradiction(made):
    (one,) = of_node(found(without_mon(made), members(**OFFLINE)))
    assert "it is offline, and osd.1 of it runs" in one.text
    assert "'gnt-node add --readd node2'" in one.text
    assert one.error


def test_an_offline_node_with_a_mon_in_quorum_is_a_contradiction(made):
    (one,) = of_node(found(made, members(**OFFLINE)))
    assert "it is offline, and osd.1, mon.node2 of it runs" in one.text
    cluster = changed(made[1], "node2", up=False)
    (one,) = of_node(found((made[0], cluster), members(**OFFLINE)))
    assert "it is offline, and mon.node2 of it runs" in one.text
    assert "'gnt-node modify --offline=yes node2' stops it" in one.text
    assert one.error


def test_an_offline_node_whose_mon_others_may_need_is_said(made):
    (one,) = of_node(found(down(made, "node2"), members(**OFFLINE)))
    assert "mon.node2 still counts for the quorum" in one.text
    assert "'gnt-node modify --offline=yes node2'" in one.text
    assert not one.error


def test_an_offline_node_that_ceph_can_do_without_is_none(made):
    nodes, cluster = without_mon(made)
    for inside in (True, False):
        gone = changed(cluster, "node2", up=False, inside=inside)
        assert of_node(found((nodes, gone), members(**OFFLINE))) == []


@pytest.mark.parametrize(("inside", "count"), [(True, 1), (False, 0)])
def test_a_drained_node_whose_osds_take_data_is_said(made, inside, count):
    nodes, cluster = made
    cluster = changed(cluster, "node2", inside=inside)
    texts = found((nodes, cluster), members(node2={"drained": True}))
    assert len(texts) == count
    for one in texts:
        assert "it is drained, and osd.1 still takes data" in one.text
        assert "'gnt-node modify --drained=yes node2'" in one.text
        assert (one.node, one.error) == ("node2", False)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({}, True),
        ({"drained": True}, False),
        ({"offline": True}, False),
        ({"ready": False}, False),
    ],
)
def test_osds_that_are_out_are_said_where_ganeti_has_no_reason_for_it(made, node, said):
    nodes, cluster = made
    cluster = changed(cluster, "node2", inside=False)
    texts = of_node(found((nodes, cluster), members(node2=node)))
    texts = [one for one in texts if "marked out" in one.text]
    assert len(texts) == said
    for one in texts:
        assert "osd.1 is marked out and takes no data" in one.text
        assert "'gnt-storage repair node2' marks it in" in one.text
        assert not one.error


def test_an_osd_that_ceph_marked_out_since_it_is_down_is_to_be_started(made):
    nodes, cluster = made
    cluster = changed(cluster, "node2", inside=False, up=False)
    (one,) = found((nodes, cluster))
    assert "start osd.1" in one.text
    (one,) = found((nodes, cluster), silent=["node2"])
    assert "osd.1 is down; if the node stays away" in one.text


def test_osds_of_other_nodes_are_not_said_of_a_node(made):
    nodes, cluster = made
    cluster = changed(cluster, "node1", inside=False)
    assert not of_node(found((nodes, cluster)))
    assert of_node(found((nodes, cluster)), "node1")


# Daemons that are down


def test_the_daemons_of_a_silent_node_are_said_to_be_down(made):
    (one,) = found(down(made, "node2"), silent=["node2"])
    assert "mon.node2, osd.1 is down" in one.text
    assert "'gnt-node modify --offline=yes node2'" in one.text
    assert one.node == "node2"


def test_what_runs_on_a_silent_node_is_not_said_to_be_down(made):
    nodes, cluster = down(made, "node2")
    (one,) = found((nodes, cluster), silent=["node2"], quorum=made[1].quorum)
    assert one.text.startswith("osd.1 is down")
    (one,) = found((nodes, cluster), silent=["node2"], osds=made[1].osds)
    assert one.text.startswith("mon.node2 is down")


def test_what_is_down_on_a_node_that_answers_is_to_be_started(made):
    texts = found(down(made, "node2"), checks=("OSD_DOWN: 1 osds down",))
    assert [one.text for one in texts if "start osd.1" in one.text]
    assert [one.text for one in texts if "start mon.node2" in one.text]
    for one in texts:
        assert "'gnt-storage repair'" in one.text
        assert one.text.startswith("node2: to do: ")


def test_an_osd_that_is_down_and_on_no_device_any_more_is_said(made):
    nodes, cluster = made
    nodes = [nodes[0], with_facts(nodes[1], disks=()), nodes[2]]
    cluster = changed(cluster, "node2", up=False)
    (one,) = found((nodes, cluster), checks=("OSD_DOWN: 1 osds down",))
    assert one.node == "node2"
    assert "osd.1 is down, and no device that ceph:disk names carries it" in one.text
    assert "'gnt-storage repair node2'" in one.text


def test_an_osd_whose_disk_moved_is_to_be_started_where_that_is(made):
    nodes, cluster = made
    disks = (*nodes[0].facts.disks, *nodes[1].facts.disks)
    disks = tuple(
        dataclasses.replace(one, path=path, real_path=path)
        for one, path in zip(disks, ("/dev/sdb", "/dev/sdc"), strict=True)
    )
    nodes = [with_facts(nodes[0], disks=disks), with_facts(nodes[1], disks=())]
    (one,) = found((nodes, changed(cluster, "node2", up=False)))
    assert "start osd.1, which it carries" in one.text


def test_an_osd_that_is_about_to_be_made_anew_is_not_gone(made):
    nodes, cluster = made
    nodes = [nodes[0], with_facts(nodes[1], disks=()), nodes[2]]
    cluster = changed(cluster, "node2", up=False)
    assert len(list(diagnose.gone(nodes, cluster))) == 1
    assert list(diagnose.gone(nodes, cluster, {1})) == []


def test_an_osd_that_is_down_with_its_silent_node_is_not_said_to_lack_a_device(made):
    nodes, cluster = down(made, "node2")
    nodes = [nodes[0], with_facts(nodes[1], disks=()), nodes[2]]
    texts = found((nodes, cluster), silent=["node2"])
    assert not [one for one in texts if "no device" in one.text]


def registered(osd_uuid):
    """Return an OSD that never ran, as after a ceph-osd --mkfs that failed."""
    return Osd(9, osd_uuid, False, True)


def test_an_osd_that_never_ran_and_is_nowhere_begun_is_said(made):
    osds = (*made[1].osds, registered("of-a-node-that-was-removed"))
    (one,) = found(made, osds=osds)
    assert (one.node, one.error) == (None, False)
    assert one.text.startswith("osd.9 is registered and never ran")
    assert "'ceph osd purge-new 9 --yes-i-really-mean-it'" in one.text


@pytest.mark.parametrize("ready", [True, False])
def test_an_osd_that_a_node_has_begun_is_not(made, ready):
    nodes, cluster = made
    # Of one of the disks nothing tells but its name.
    blank = make_device("/dev/sdc")
    known = members(node2={"ready": ready})
    disks = (*nodes[1].facts.disks, blank)
    nodes = [nodes[0], with_facts(nodes[1], disks=disks), nodes[2]]
    for turn in (0, 1):
        osd = registered(plan.osd_uuid(FSID, "node2", blank.stable_path, turn))
        texts = found((nodes, cluster), known, osds=(*cluster.osds, osd))
        assert not [one for one in texts if "never ran" in one.text]
    label = dataclasses.replace(
        nodes[0].facts.disks[0].label, osd_uuid="by-ceph-volume"
    )
    blank = dataclasses.replace(blank, label=label)
    nodes[1] = with_facts(nodes[1], disks=(*made[0][1].facts.disks, blank))
    osds = (*cluster.osds, registered("by-ceph-volume"))
    texts = found((nodes, cluster), known, osds=osds)
    assert not [one for one in texts if "never ran" in one.text]
    shared = make_device(
        "/dev/nvme0", databases=(Database(FSID, "by-ceph-volume", 9, 2**30),)
    )
    unfinished = make_device("/dev/sdd", registered=("by-ceph-volume",))
    for device in (shared, unfinished):
        nodes[1] = with_facts(nodes[1], disks=(), db_devices=(device,))
        texts = found((nodes, cluster), known, osds=osds)
        assert not [one for one in texts if "never ran" in one.text]


def test_an_osd_that_was_never_finished_or_runs_needs_no_device_of_ours(made):
    nodes, cluster = made
    nodes = [nodes[0], with_facts(nodes[1], disks=()), nodes[2]]
    assert found((nodes, cluster)) == []
    assert found((nodes, changed(cluster, "node2", up=False, new=True))) == []


def test_a_mgr_that_is_missing_is_to_be_made(made):
    (one,) = found(made, mgrs=("node1",), checks=("MGR_DOWN: no active mgr",))
    assert "start mgr.node2" in one.text


# What the configuration says


def test_a_ceph_conf_that_differs_is_said_with_the_command(made):
    nodes, cluster = made
    nodes = [*nodes[:2], with_facts(nodes[2], conf=nodes[2].facts.conf + "x = y\n")]
    (one,) = found((nodes, cluster))
    assert "node3: to do: write /etc/ceph/ceph.conf" in one.text
    assert "'gnt-storage repair'" in one.text
    assert (one.node, one.error) == (None, True)


def test_waiting_is_nothing_that_somebody_must_do(made):
    nodes, cluster = made
    nodes = [with_facts(nodes[0], has_client=False), *nodes[1:]]
    texts = found((nodes, cluster), health="HEALTH_WARN")
    assert len(texts) == 1
    assert "get the key of client.ganeti" in texts[0].text


def test_what_a_repair_would_refuse_is_said_instead_of_what_it_would_do(made):
    nodes, cluster = made
    nodes = [with_facts(nodes[0], packages=(), has_client=False), *nodes[1:]]
    (one,) = found((nodes, cluster))
    assert "node1: Ceph's packages are missing" in one.text


def test_what_the_planner_finds_impossible_is_said(made):
    nodes, cluster = made
    osds = tuple(osd for osd in cluster.osds if osd.host != "node1")
    (one,) = found((nodes, cluster), osds=osds)
    assert "node1: /dev/sdb carries osd.0, which was removed" in one.text


def test_a_new_disk_is_said_to_wait(made):
    nodes, cluster = made
    disks = (*nodes[0].facts.disks, make_device("/dev/sdc"))
    nodes = [with_facts(nodes[0], disks=disks), *nodes[1:]]
    (one,) = found((nodes, cluster))
    assert "node1: to do: /dev/disk/by-id/sdc (20.0 GiB): make and start" in one.text


def test_an_osd_of_another_cluster_is_said(made):
    nodes, cluster = made
    stray = osd_dir(9, "0f0f0f0f-1111-4222-8333-444444444444")
    osds = (*nodes[0].facts.osds, stray)
    (one,) = found(([with_facts(nodes[0], osds=osds), *nodes[1:]], cluster))
    assert "osd.9" in one.text


def test_keys_that_others_may_read_are_said_by_node_and_file(made):
    nodes, cluster = made
    loose = ("/etc/ceph/a.keyring", "/var/lib/ceph/b.keyring")
    nodes = [nodes[0], with_facts(nodes[1], loose_keys=loose), nodes[2]]
    texts = found((nodes, cluster))
    # Once, although the plan has it, too.
    assert [one.node for one in texts] == ["node2", "node2"]
    for path, one in zip(loose, texts, strict=True):
        assert one.text == (
            f"{path} has another owner or mode than a key should: 'gnt-storage repair'"
            " mends that"
        )


# Ceph's health checks


@pytest.mark.parametrize(
    ("check", "text", "error"),
    [
        (
            "OSD_NEARFULL: 1 nearfull osd(s)",
            "1 nearfull osd(s) (OSD_NEARFULL); add disks or nodes, or remove data",
            False,
        ),
        (
            "OSD_FULL: 1 full osd(s)",
            "1 full osd(s) (OSD_FULL); add disks or nodes, or remove data: writes have"
            " stopped",
            True,
        ),
        (
            "PG_AVAILABILITY: Reduced data availability: 3 pgs inactive",
            "Reduced data availability: 3 pgs inactive (PG_AVAILABILITY); start the"
            " OSDs that are down ('gnt-storage repair')",
            True,
        ),
        (
            "POOL_APP_NOT_ENABLED: 1 pool(s) do not have an application enabled",
            "1 pool(s) do not have an application enabled (POOL_APP_NOT_ENABLED);"
            " 'ceph health detail' tells more of it",
            False,
        ),
    ],
)
def test_a_check_is_said_in_cephs_words_and_with_a_remedy(made, check, text, error):
    assert found(made, checks=(check,)) == [Finding(None, text, error)]


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, ": osd.0 crashed"),
        (3, ": osd.0 crashed; osd.1 crashed; osd.2 crashed"),
        (4, ": osd.0 crashed; osd.1 crashed; osd.2 crashed; 1 more"),
        (50, ": osd.0 crashed; osd.1 crashed; osd.2 crashed; 47 more"),
    ],
)
def test_what_a_check_is_about_is_said_in_few_words(made, count, told):
    details = (("RECENT_CRASH", tuple(f"osd.{one} crashed" for one in range(count))),)
    (one,) = found(made, checks=("RECENT_CRASH: some crashed",), details=details)
    assert one.text.startswith(f"some crashed{told} (RECENT_CRASH); ")
    assert "'gnt-storage repair --archive-crashes'" in one.text


@pytest.mark.parametrize("name", ["OBJECT_MISPLACED", "PG_DEGRADED"])
def test_of_many_placement_groups_none_is_named(made, name):
    details = ((name, ("pg 2.1 is degraded",)),)
    (one,) = found(made, checks=(f"{name}: something",), details=details)
    assert one.text.startswith(f"something ({name});")


def test_damaged_placement_groups_are_told_once(made):
    details = (("PG_DAMAGED", ("pg 2.1 is active+clean+inconsistent, acting [0]",)),)
    texts = found(made, checks=("PG_DAMAGED: 1 pg inconsistent",), details=details)
    assert [one.text for one in texts] == [
        "1 pg inconsistent: pg 2.1 is active+clean+inconsistent, acting [0]"
        " (PG_DAMAGED); 'gnt-storage repair' has damaged copies made anew from good"
        " ones; a disk may be failing"
    ]


@pytest.mark.parametrize("name", sorted(diagnose.ERRORS | set(diagnose.REMEDIES)))
def test_no_check_is_an_error_or_has_a_remedy_and_is_left_out(made, name):
    (one,) = found(made, checks=(f"{name}: something",))
    assert one.text.startswith(f"something ({name})")
    assert one.error == (name in diagnose.ERRORS)


@pytest.mark.parametrize("name", ["MGR_DOWN", "MON_DOWN", "OSD_DOWN", "OSD_HOST_DOWN"])
def test_checks_that_are_said_otherwise_are_not_repeated(made, name):
    texts = found(down(made, "node2"), silent=["node2"], checks=(f"{name}: 1 is down",))
    assert [one.node for one in texts] == ["node2"]


@pytest.mark.parametrize("name", ["MGR_DOWN", "MON_DOWN", "OSD_DOWN", "OSD_HOST_DOWN"])
def test_where_nothing_can_be_planned_they_are_said_nevertheless(made, name):
    nodes, cluster = down(made, "node2")
    nodes = [nodes[0], nodes[1], with_facts(nodes[2], packages=())]
    texts = found((nodes, cluster), checks=(f"{name}: 1 is down",))
    assert ["packages are missing" in one.text for one in texts] == [True, False]
    assert texts[1].text.startswith(f"1 is down ({name}); ")
    assert "'gnt-" in texts[1].text
    assert texts[1].error


def test_what_is_down_on_a_host_that_is_no_node_is_said_with_what_forgets_it(made):
    nodes, cluster = down(made, "node3")
    two = [one for one in members() if one.name != "node3"]
    texts = [one.text for one in found((nodes[:2], cluster), two)]
    assert texts == [
        "mon.node3 is down, and node3 is no node of the storage cluster's group: 'ceph"
        " mon remove node3' takes it out of the map",
        "osd.2 is down, and node3 is no node of the storage cluster's group: 'ceph osd"
        " purge ID' forgets one once 'ceph osd safe-to-destroy ID' allows it",
    ]


def test_what_runs_on_a_host_that_is_no_node_is_the_administrator_s(made):
    two = [one for one in members() if one.name != "node3"]
    assert found((made[0][:2], made[1]), two) == []


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        ({"real_path": ""}, "/dev/sdc is missing"),
        ({"failing": "it cannot be read (I/O)"}, "/dev/sdc has failed: it cannot be"),
    ],
)
def test_a_disk_that_died_is_said_and_the_rest_goes_on(made, lacks, words):
    nodes, cluster = made
    dead = make_device("/dev/sdc", **lacks)
    nodes = [
        nodes[0],
        with_facts(nodes[1], disks=(*nodes[1].facts.disks, dead), has_client=False),
        nodes[2],
    ]
    texts = [one.text for one in found((nodes, cluster))]
    assert f"node2: {words}" in texts[0]
    assert texts[1].startswith("node2: to do: ")
    assert len(texts) == 2


def test_nodes_come_first_and_checks_last(made):
    nodes, cluster = made
    nodes = [
        with_facts(nodes[0], conf="", loose_keys=("/etc/ceph/a.keyring",)),
        *nodes[1:],
    ]
    texts = found(
        (nodes, changed(cluster, "node1", inside=False)),
        members(),
        silent=["node3"],
        checks=("OSD_NEARFULL: 1 nearfull osd(s)",),
    )
    assert texts[0].node == "node1"
    assert texts[-2].text.startswith("/etc/ceph/a.keyring")
    assert "OSD_NEARFULL" in texts[-1].text


def test_a_place_that_ceph_cannot_name_is_told_of(made):
    nodes, cluster = made
    odd = dataclasses.replace(nodes[0], places=(("rack", "R+1"),))
    (one,) = found(([odd, *nodes[1:]], cluster))
    assert one.node is None
    assert "'R+1'" in one.text
