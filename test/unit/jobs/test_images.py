"""What gnt-cluster verify and verify-disks say of images."""

import dataclasses
import types

import pytest
from fakes import FSID, FakeConfig, FakeRpc, make_nodes
from ganeti import constants, locking, objects
from ganeti.cmdlib.cluster.verify import LUClusterVerifyGroup

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk.uri import Place
from ganeti_ceph.facts import ImagesFacts, OsdWatches, PlaceFacts, UnknownImage
from ganeti_ceph.jobs import images
from ganeti_ceph.rpc import LookAtImages, RenameCluster, Told, Watched
from ganeti_ceph.state import GroupState, Phase

NODES = make_nodes(4)
VMS = Place("vms", user="ganeti")
DEFAULT = Place("rbd", user="ganeti")
HEADING = "* Verifying images in the storage cluster"
READY = GroupState(Phase.READY, FSID).tag()


class Config(FakeConfig):
    """Ganeti's configuration: three nodes in one group, the fourth in another."""

    def __init__(self):
        super().__init__()
        self.add_group("default", NODES[:3])
        self.add_group("zweite", NODES[3:])
        for node in NODES:
            self.find(node.name).vm_capable = True
        cluster = self._stored["cluster"]
        cluster.enabled_disk_templates = [constants.DT_RBD]
        cluster.diskparams[constants.DT_RBD] = {"pool": "rbd", "user-id": "ganeti"}

    def GetGroupDiskParams(self, group):
        return self.GetClusterInfo().SimpleFillDP(group.diskparams)

    def GetClusterName(self):
        return "cluster"

    def add_rbd(self, name, node, *names, active=True, **params):
        """Add an instance with these images as its disks."""
        disks = [
            objects.Disk(
                dev_type=constants.DT_RBD,
                logical_id=("rbd", image),
                params={"pool": "vms", "user-id": "ganeti", **params},
            )
            for image in names
        ]
        self.add_guest(name, node, disks)
        self.find(name).disks_active = active


class Nodes:
    """Nodes that answer what a test says, and all is well otherwise."""

    def __init__(self, config):
        self.rpc = FakeRpc({node.uuid: node.name for node in NODES})
        self.rpc.answers("ceph_images", self._answer)
        self.mapped = {}
        self.seen = {}
        self.failing = {}
        self.failing_looks = {}
        #: Addresses where images are open.
        self.opened = {}
        #: OSDs of the first two nodes, and those of them that do not answer.
        self.osds = {"node1": f"{FSID}/0", "node2": f"{FSID}/1"}
        self.silent_osds = set()
        #: All that are up.
        self.up = set(self.osds.values())
        #: What each node was asked first, by its name, and whether it looked at last.
        self.asked = {}
        self.looked = {}

    def sees(self, name, place, **seen):
        """Say what a node sees in a place."""
        self.seen[name, place] = PlaceFacts(**{"error": None, **seen})

    def _answer(self, uuid, sent):
        name = self.rpc.names[uuid]
        asked = wire.decode(LookAtImages, sent)
        self.asked.setdefault(name, asked)
        if name in self.failing:
            raise RuntimeError(self.failing[name])
        self.looked[name] = asked.watched is Watched.BY_LOOK
        if self.looked[name] and name in self.failing_looks:
            raise RuntimeError(self.failing_looks[name])
        number = name[-1]
        return wire.encode(
            ImagesFacts(
                tuple(self._place(name, one, asked.watched) for one in asked.places),
                tuple(self.mapped.get(name, {}).items()),
                (f"198.51.100.{number}/24", "198.51.100.99/32"),
                self._watches(name) if asked.watched is Watched.BY_OSDS else (),
            )
        )

    def _place(self, name, asked, watched):
        seen = self.seen.get((name, asked.place), PlaceFacts(None))
        if seen.error is not None:
            return seen
        there = [disk for disk in asked.disks if disk not in seen.missing]
        if watched is Watched.BY_LOOK:
            opened = [one for one in self.opened.items() if one[0] in there]
            return dataclasses.replace(seen, watched=tuple(opened))
        # Nobody has looked into one.
        seen = dataclasses.replace(seen, broken=())
        if watched is Watched.BY_OSDS:
            ids = tuple((disk, f"id-of-{disk}") for disk in there)
            osds = tuple(sorted(self.up)) if asked.osds else ()
            seen = dataclasses.replace(seen, ids=ids, osds=osds)
        return seen

    def _watches(self, name):
        osd = self.osds.get(name)
        if osd is None or osd in self.silent_osds:
            return ()
        # Each image has its header at one OSD.
        mine = sorted(self.opened)[list(self.osds).index(name) :: len(self.osds)]
        found = tuple((f"id-of-{image}", self.opened[image]) for image in mine)
        return (OsdWatches(osd, found),)

    def places(self):
        """Return (place, disks, known) of all that each node was asked about."""
        return {
            name: [(one.place, one.disks, one.known) for one in asked.places]
            for name, asked in self.asked.items()
            if asked.places
        }


class Verification(LUClusterVerifyGroup):
    """Ganeti's own unit, made without a job; it keeps what it is told."""

    def __init__(self, config, nodes, group="default", alone=True):
        self.cfg, self.rpc = config, nodes.rpc
        self.group_uuid = f"uuid-of-{group}"
        self.all_node_info = config.GetAllNodesInfo()
        self.my_node_info = {
            uuid: node
            for uuid, node in self.all_node_info.items()
            if node.group == self.group_uuid
        }
        self.all_inst_info = config.GetAllInstancesInfo()
        self.all_disks_info = config.GetAllDisksInfo()
        self.op = types.SimpleNamespace(
            ignore_errors=[], error_codes=False, depends=None if alone else [(7, [])]
        )
        self.bad = False
        self.images = {uuid: self.NodeImage(uuid=uuid) for uuid in self.all_node_info}
        self.lines = []
        self._feedback_fn = self.feedback

    def feedback(self, *told):
        # Ganeti 3.0 tells each message, 3.1 a list after its kind.
        self.lines += told[-1] if isinstance(told[-1], list) else [told[-1]]

    def verify(self):
        """Return what is said below the heading."""
        called = []
        arguments = (None, {}, self.images, None)
        images.verify_images(lambda *args: called.append(args), self, arguments, {})
        assert called == [arguments]
        if self.lines:
            assert self.lines.pop(0) == HEADING
        return self.lines


@pytest.fixture
def config():
    return Config()


@pytest.fixture
def nodes(config):
    return Nodes(config)


@pytest.fixture
def web(config):
    """An instance on node2 with two disks in the pool vms."""
    config.add_rbd("web", NODES[1], "web0", "web1")


@pytest.fixture
def verify(config, nodes, web):
    def verify(**given):
        return Verification(config, nodes, **given).verify()

    return verify


@pytest.fixture(params=["told by OSDs", "seen by looks"])
def opened(request, nodes):
    """Say where an image is open, which each way has to find out."""
    if request.param == "seen by looks":
        nodes.silent_osds.add(nodes.osds["node2"])

    def opened(image, *addresses):
        nodes.opened[image] = addresses

    return opened


# Who is asked what


def test_where_all_is_well_nothing_is_said(verify):
    assert verify() == []


def test_each_node_is_asked_about_its_own_disks(config, nodes, verify):
    config.add_rbd("db", NODES[0], "db0")
    verify()
    assert nodes.places() == {
        "node1": [(VMS, ("db0",), ("db0", "web0", "web1"))],
        "node2": [(VMS, ("web0", "web1"), None)],
    }
    assert nodes.asked["node2"].watched is Watched.BY_OSDS


def test_other_nodes_are_asked_what_they_have_mapped(nodes, verify):
    verify()
    assert set(nodes.asked) == {"node1", "node2", "node3", "node4"}
    assert list(nodes.places()) == ["node2"]


def test_a_node_that_is_offline_is_not_asked(config, nodes, verify):
    config.find("node2").offline = True
    assert verify() == []
    assert nodes.places() == {
        "node1": [(VMS, ("web0", "web1"), ("web0", "web1"))],
    }
    assert set(nodes.asked) == {"node1", "node3", "node4"}


@pytest.mark.parametrize("attribute", ["rpc_fail", "vm_capable"])
def test_another_node_stands_in_for_one_that_cannot_answer(
    config, nodes, web, attribute
):
    unit = Verification(config, nodes)
    if attribute == "rpc_fail":
        unit.images[NODES[1].uuid].rpc_fail = True
    else:
        unit.all_node_info[NODES[1].uuid].vm_capable = False
    assert unit.verify() == []
    assert list(nodes.places()) == ["node1"]


def test_without_a_node_that_answers_nothing_is_asked(config, nodes, verify):
    for node in NODES[:3]:
        config.find(node.name).offline = True
    assert verify() == []
    assert nodes.asked == {}


def test_without_disks_and_storage_nothing_is_asked_or_said(config, nodes):
    unit = Verification(config, nodes)
    assert unit.verify() == []
    assert nodes.asked == {}


def test_the_default_pool_of_a_group_with_storage_is_listed(config, nodes, verify):
    config.find("default").AddTag(READY)
    verify()
    assert nodes.places() == {
        "node1": [(DEFAULT, (), ())],
        "node2": [(VMS, ("web0", "web1"), ("web0", "web1"))],
    }


@pytest.mark.parametrize("tag", ["ceph:storage:marked", "ceph:storage:nonsense"])
def test_storage_that_is_not_ready_has_no_default_pool(config, nodes, verify, tag):
    config.find("default").AddTag(tag)
    verify()
    assert list(nodes.places()) == ["node2"]


def test_without_the_template_there_is_no_default_pool(config, nodes, verify):
    config.find("default").AddTag(READY)
    config._stored["cluster"].enabled_disk_templates = [constants.DT_PLAIN]
    verify()
    assert list(nodes.places()) == ["node2"]


def test_a_disk_has_the_parameters_of_its_group_where_it_has_none(config, nodes):
    config.find("default").diskparams = {constants.DT_RBD: {"pool": "ssd"}}
    config.add_rbd("old", NODES[0], "old0")
    for disk in config._all(objects.Disk).values():
        config._stored[disk.uuid].params = {}
    Verification(config, nodes).verify()
    assert nodes.places() == {
        "node1": [(Place("ssd", user="ganeti"), ("old0",), ("old0",))]
    }


def test_images_of_other_groups_and_users_are_known(config, nodes, verify):
    config.add_rbd("far", NODES[3], "far0", **{"user-id": "joe"})
    config.add_rbd("blue", NODES[3], "blue0", namespace="blue")
    verify()
    ((_, _, known),) = nodes.places()["node2"]
    assert known == ("far0", "web0", "web1")


def test_disks_of_other_templates_are_left_alone(config, nodes, verify):
    config.add_guest("plain", NODES[0], [objects.Disk(dev_type=constants.DT_PLAIN)])
    assert verify() == []
    assert list(nodes.places()) == ["node2"]


def test_an_instance_that_is_only_planned_has_no_images_yet(config, nodes, verify):
    config.find("web").forthcoming = True
    assert verify() == []
    assert nodes.asked == {}


def test_unknown_images_are_looked_for_once_where_groups_share_a_pool(
    config, nodes, verify
):
    config.add_rbd("far", NODES[3], "far0")
    verify(alone=False)
    assert nodes.places()["node2"][0][2] is not None
    nodes.asked.clear()
    verify(group="zweite", alone=False)
    assert nodes.places() == {"node4": [(VMS, ("far0",), None)]}
    # Which OSDs are up is told where a group's images are.
    assert nodes.asked["node4"].places[0].osds
    nodes.asked.clear()
    verify(group="zweite")
    assert nodes.places() == {"node4": [(VMS, ("far0",), ("far0", "web0", "web1"))]}


def test_a_group_that_cannot_look_leaves_it_to_the_next(config, nodes, verify):
    config.add_rbd("far", NODES[3], "far0")
    for node in NODES[:3]:
        config.find(node.name).offline = True
    verify(group="zweite", alone=False)
    assert nodes.places()["node4"][0][2] is not None


# What is said


def test_a_missing_image_is_an_error_of_its_instance(config, nodes, web):
    nodes.sees("node2", VMS, missing=("web1",))
    unit = Verification(config, nodes)
    (line,) = unit.verify()
    assert "ERROR: instance web: disk/1: the image vms/web1 is missing" in line
    assert unit.bad


def test_an_error_that_is_ignored_is_but_a_warning(config, nodes, web):
    nodes.sees("node2", VMS, missing=("web1",))
    unit = Verification(config, nodes)
    unit.op.ignore_errors = ["EINSTANCEMISSINGDISK"]
    (line,) = unit.verify()
    assert "WARNING: instance web: " in line
    assert not unit.bad


def test_an_image_that_cannot_be_opened_is_an_error(nodes, verify):
    nodes.silent_osds.add(nodes.osds["node1"])
    nodes.sees("node2", VMS, broken=(("web0", "the image is odd"),))
    (line,) = verify()
    assert "ERROR: instance web: disk/0: the image is odd" in line


def test_parameters_that_make_no_sense_are_an_error(config, nodes, verify):
    config.add_rbd("odd", NODES[0], "odd0", mapper="none")
    (line,) = verify()
    assert "ERROR: instance odd: disk/0: the disk parameter mapper" in line


def test_no_image_is_looked_into_where_all_osds_tell(nodes, verify):
    nodes.opened["web0"] = ("192.0.2.2",)
    assert verify() == []
    assert not any(nodes.looked.values())


def test_images_are_looked_into_where_an_osd_is_on_no_node(nodes, verify):
    nodes.up.add(f"{FSID}/9")
    nodes.opened["web0"] = ("192.0.2.3",)
    (line,) = verify()
    assert "is open on node3, but" in line
    # Only by the node that has images there.
    assert [name for name, looked in nodes.looked.items() if looked] == ["node2"]


def test_an_osd_that_is_down_need_not_tell(nodes, verify):
    nodes.silent_osds.add(nodes.osds["node2"])
    nodes.up.remove(nodes.osds["node2"])
    assert verify() == []
    assert not any(nodes.looked.values())


def test_images_are_looked_into_where_a_node_does_not_answer(nodes, verify):
    nodes.failing["node1"] = "no route to host"
    nodes.opened["web0"] = ("192.0.2.3",)
    (line,) = verify()
    assert "is open on node3, but" in line


def test_osds_of_another_storage_cluster_tell_nothing_of_ours(nodes, verify):
    nodes.osds["node2"] = "0b1c6d3e-0000-4000-8000-000000000000/1"
    nodes.opened["web0"] = ("192.0.2.3",)
    verify()
    assert nodes.looked["node2"]


def test_a_node_that_fails_at_the_second_question_is_told(nodes, verify):
    nodes.silent_osds.add(nodes.osds["node1"])
    nodes.failing_looks["node2"] = "no route to host"
    (line,) = verify()
    assert "ERROR: node node2: ganeti-ceph: " in line
    assert "no route to host" in line


def test_open_on_the_primary_node_is_as_it_should_be(opened, verify):
    # By its address in Ganeti, and by one of another network.
    opened("web0", "192.0.2.2", "198.51.100.2")
    assert verify() == []


@pytest.mark.parametrize("address", ["192.0.2.3", "198.51.100.3"])
def test_open_on_another_node_is_an_error(opened, verify, address):
    opened("web0", "192.0.2.2", address)
    (line,) = verify()
    assert "ERROR: instance web: disk/0: the image vms/web0 is open on node3" in line
    assert "its primary node is node2" in line


def test_open_on_a_node_of_another_group_is_an_error(opened, verify):
    opened("web0", "198.51.100.4")
    (line,) = verify()
    assert "is open on node4, but" in line


def test_open_on_a_node_that_does_not_answer_is_an_error(config, opened, verify):
    config.find("node3").offline = True
    opened("web0", "192.0.2.3")
    (line,) = verify()
    assert "is open on node3, but" in line


def test_open_elsewhere_is_a_warning(opened, verify):
    opened("web0", "203.0.113.9")
    (line,) = verify()
    assert "WARNING: instance web: disk/0: the image vms/web0 is open at" in line
    assert "203.0.113.9, which is no node's address" in line


def test_open_while_the_disks_are_not_active_is_a_warning(config, opened, verify):
    config.find("web").disks_active = False
    opened("web0", "192.0.2.2")
    (line,) = verify()
    assert "WARNING: instance web: " in line
    assert "is open on node2, but the instance's disks are not active" in line


def test_mapped_on_another_node_is_an_error_said_once(config, nodes, verify, opened):
    nodes.mapped["node3"] = {"vms/web1": "/dev/rbd0"}
    opened("web1", "192.0.2.3")
    (line,) = verify()
    assert "ERROR: instance web: disk/1: the image vms/web1 is mapped to" in line
    assert "/dev/rbd0 on node3, but its primary node is node2" in line
    assert "behind, 'gnt-instance migrate --cleanup -n node3 web' takes it away" in line
    config.find("web").disks_active = False
    (line,) = verify()
    assert "behind, start the instance, then 'gnt-instance migrate" in line


def test_mapped_on_a_node_of_another_group_is_an_error(nodes, verify):
    nodes.mapped["node4"] = {"vms/web1": "/dev/rbd0"}
    assert "/dev/rbd0 on node4" in verify()[0]


def test_mapped_on_the_primary_node_is_as_it_should_be(config, nodes, verify):
    nodes.mapped["node2"] = {"vms/web1": "/dev/rbd0"}
    assert verify() == []
    config.find("web").disks_active = False
    (line,) = verify()
    assert "WARNING" in line
    assert "not active" in line


def test_mapped_images_of_others_are_left_alone(nodes, verify):
    nodes.mapped["node3"] = {"vms/web9": "/dev/rbd0", "hdd/web0": "/dev/rbd1"}
    assert verify() == []


def unknown(**notes):
    return {
        "unknown": (UnknownImage("lost0", **{"cluster": "", "instance": "", **notes}),)
    }


def test_an_unknown_image_is_a_warning_of_ganetis_code(config, nodes, web):
    nodes.sees("node2", VMS, **unknown())
    nodes.mapped["node3"] = {"vms/lost0": "/dev/rbd0"}
    unit = Verification(config, nodes)
    unit.op.error_codes = True
    (line,) = unit.verify()
    assert "WARNING:ENODEORPHANLV:node:node2:the image vms/lost0 is of no" in line
    assert ", mapped to /dev/rbd0 on node3;" in line
    assert "'rbd rm vms/lost0'" in line
    assert not unit.bad


def test_the_instance_that_had_an_unknown_image_is_named(nodes, verify):
    nodes.sees("node2", VMS, **unknown(cluster="cluster", instance="old1"))
    assert "of no instance (old1 had it);" in verify()[0]


def test_an_image_of_another_cluster_of_ganetis_is_left_alone(nodes, verify):
    nodes.sees("node2", VMS, **unknown(cluster="far", instance="old1"))
    assert verify() == []


def test_an_image_that_got_its_instance_meanwhile_is_left_alone(config, nodes, web):
    nodes.sees("node2", VMS, **unknown())
    unit = Verification(config, nodes)
    config.add_rbd("new", NODES[3], "lost0")
    assert unit.verify() == []


def test_a_silent_cluster_is_said_once(config, nodes, verify):
    config.add_rbd("db", NODES[0], "db0")
    for name in ("node1", "node2"):
        nodes.sees(name, VMS, error="it is silent")
    (line,) = verify()
    assert "ERROR: node node1: the images in vms were not verified: it is" in line


def test_different_reasons_are_all_said(config, nodes, verify):
    config.add_rbd("db", NODES[0], "db0")
    nodes.sees("node1", VMS, error="no key")
    nodes.sees("node2", VMS, error="it is silent")
    assert len(verify()) == 2


def test_a_node_that_fails_is_an_error_and_hides_no_other(config, nodes, verify):
    config.add_rbd("db", NODES[0], "db0")
    nodes.failing["node2"] = "it broke"
    nodes.sees("node1", VMS, missing=("db0",))
    first, second = verify()
    assert "ERROR: node node2: ganeti-ceph: it broke" in first
    assert "the image vms/db0 is missing" in second


def test_a_node_without_disks_may_do_without_the_extension(nodes, verify):
    nodes.failing["node4"] = "it has no ganeti-ceph"
    assert verify() == []


# verify-disks


@pytest.fixture
def verify_disks(config, nodes, web):
    def verify_disks(**stock):
        unit = types.SimpleNamespace(
            cfg=config,
            rpc=nodes.rpc,
            instances={one.uuid: one for one in config.GetAllInstancesInfo().values()},
        )
        answer = stock.get("answer", ({}, [], {}))
        return images.verify_disks(lambda feedback_fn: answer, unit, (print,), {})

    return verify_disks


def test_disks_that_are_there_are_not_mentioned(nodes, verify_disks):
    assert verify_disks() == ({}, [], {})
    assert nodes.places() == {"node2": [(VMS, ("web0", "web1"), None)]}
    assert nodes.asked["node2"].watched is Watched.NOT


def test_a_missing_image_is_told_as_a_missing_volume(nodes, verify_disks):
    nodes.sees("node2", VMS, missing=("web1",))
    found = verify_disks(answer=({"a": "b"}, ["c"], {"web": [["d", "e"]]}))
    assert found == (
        {"a": "b"},
        ["c"],
        {"web": [["d", "e"], [NODES[1].uuid, "vms/web1"]]},
    )


def test_disks_that_are_not_active_are_not_looked_at(config, nodes, verify_disks):
    config.find("web").disks_active = False
    assert verify_disks() == ({}, [], {})
    assert nodes.asked == {}


def test_disks_on_nodes_that_are_offline_are_not_looked_at(config, nodes, verify_disks):
    config.find("node2").offline = True
    assert verify_disks() == ({}, [], {})
    assert nodes.asked == {}


def test_what_was_not_looked_at_is_an_error_of_the_node(config, nodes, verify_disks):
    config.add_rbd("db", NODES[0], "db0")
    nodes.failing["node1"] = "it broke"
    nodes.sees("node2", VMS, error="it is silent")
    errors, _, missing = verify_disks()
    assert errors == {
        NODES[0].uuid: "ganeti-ceph: it broke",
        NODES[1].uuid: "it is silent",
    }
    assert missing == {}


def test_repairing_sizes_locks_nodes_once_the_instances_are_locked():
    unit = types.SimpleNamespace(
        dont_collate_locks=dict.fromkeys(locking.LEVELS, False)
    )
    assert images.lock_one_by_one(lambda: "theirs", unit, (), {}) == "theirs"
    assert [level for level, alone in unit.dont_collate_locks.items() if alone] == [
        locking.LEVEL_NODE_RES
    ]


def test_the_call_outlasts_what_a_node_may_wait_for():
    # To connect, to list and to look, ten seconds each, for each client in turn.
    assert rpc.IMAGES.timeout >= 60


# A new name of the cluster


class Renaming:
    """Ganeti's own unit, which gives the cluster another name."""

    def __init__(self, config, nodes, name="neu"):
        self.cfg, self.rpc = config, nodes.rpc
        self.name = name
        self.asked = {}
        self.errors = {}
        self.warnings = []
        self.LogWarning = lambda text, *given: self.warnings.append(text % given)
        nodes.rpc.answers("ceph_cluster_name", self._answer)

    def _answer(self, uuid, sent):
        name = self.rpc.names[uuid]
        self.asked[name] = wire.decode(RenameCluster, sent)
        if name in self.errors:
            raise self.errors[name]
        return wire.encode(Told(()))

    def run(self):
        def stock(_):
            self.cfg.GetClusterName = lambda: self.name
            return "as Ganeti says"

        assert images.rename_cluster(stock, self, (None,), {}) == "as Ganeti says"


@pytest.fixture
def renaming(config, nodes, web):
    config.GetNodeName = lambda uuid: config.GetNodeInfo(uuid).name
    return Renaming(config, nodes)


def test_each_pool_is_told_the_new_name_by_one_node(config, renaming):
    config.add_rbd("db", NODES[3], "db0", pool="slow")
    renaming.run()
    assert renaming.asked == {
        "node1": RenameCluster((VMS,), "cluster", "neu"),
        "node4": RenameCluster((Place("slow", user="ganeti"),), "cluster", "neu"),
    }
    assert renaming.warnings == []


def test_an_offline_node_is_not_asked_to_tell_it(config, renaming):
    config.find("node1").offline = True
    renaming.run()
    assert list(renaming.asked) == ["node2"]


def test_only_a_new_address_is_nothing_to_tell(renaming):
    renaming.name = "cluster"
    renaming.run()
    assert renaming.asked == {}


def test_a_cluster_is_renamed_though_its_storage_is_silent(renaming):
    renaming.errors["node1"] = RuntimeError("no answer within 10 s")
    renaming.run()
    (warning,) = renaming.warnings
    assert "node1: some images still tell the cluster's old name" in warning
    assert "no answer within 10 s" in warning
