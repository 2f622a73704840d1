"""gnt-storage trash as a job: places that are looked into, and what is done there."""

import json

import pytest
from fakes import FSID, FakeConfig, FakeRpc, make_nodes
from ganeti import constants, objects
from ganeti import errors as ganeti_errors

from ganeti_ceph import state, wire
from ganeti_ceph.disk.uri import Place
from ganeti_ceph.errors import ExecError, PrereqError
from ganeti_ceph.facts import TrashedImage
from ganeti_ceph.jobs import trash
from ganeti_ceph.jobs.trash import choose
from ganeti_ceph.rpc import LookInTrash, Purge, Purged, Restore, Trash

NODES = make_nodes(5)
RBD, SSD = Place("rbd", user="ganeti"), Place("ssd", user="ganeti")


def trashed(image_id, place=RBD, name=None, size=2**20, cluster="ours"):
    return TrashedImage(
        place, image_id, name or f"name-of-{image_id}", size, "web:0", cluster, 1, 2
    )


# Which images are meant


A, B, C = trashed("0a"), trashed("0b"), trashed("0a", SSD)
BLUE = trashed("0d", Place("ssd", "blue"))


@pytest.mark.parametrize("images", [(), (A,), (A, B, C)])
def test_all_are_meant_where_none_is_named(images):
    assert choose(iter(images), []) == images


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["0b"], (B,)),
        (["rbd/0a"], (A,)),
        (["ssd/0a"], (C,)),
        (["ssd/blue/0d"], (BLUE,)),
        (["0d", "rbd/0a"], (BLUE, A)),
    ],
)
def test_those_are_meant_that_are_named(wanted, chosen):
    assert choose([A, B, C, BLUE], iter(wanted)) == chosen


@pytest.mark.parametrize(
    "text", ["0c", "ssd/0b", "ssd/0d", "name-of-0a", "/0b/", "rbd/"]
)
def test_an_id_of_none_is_named(text):
    with pytest.raises(PrereqError) as caught:
        choose([A, B, C, BLUE], ["0b", text])
    assert f"no image {text} in the trash; 'gnt-storage trash list'" in str(
        caught.value
    )


def test_an_id_of_several_is_told_with_the_names_that_are_clear():
    with pytest.raises(PrereqError) as caught:
        choose([A, B, C], ["0a"])
    assert str(caught.value) == (
        "several images have the id 0a; use one of rbd/0a, ssd/0a"
    )


# The job


class Nodes(FakeRpc):
    """Nodes that know the storage cluster's trash."""

    def __init__(self):
        super().__init__({node.uuid: node.name for node in NODES})
        self.answers("ceph_trash", self._look)
        self.answers("ceph_restore", self._restore)
        self.answers("ceph_purge", self._purge)
        self.images = [A, B, C]
        self.errors = []
        self.blind = False
        #: Why nodes do not answer, by name.
        self.failing = {}
        #: The nodes that were asked, in order, and what they were asked to do.
        self.asked = []
        self.places = None
        self.restored = []
        self.purged = []
        #: Ids whose time is not over.
        self.early = set()

    def _begin(self, node):
        name = self.names[node]
        self.asked.append(name)
        if name in self.failing:
            raise ExecError(self.failing[name])

    def _look(self, node, sent):
        self._begin(node)
        self.places = wire.decode(LookInTrash, sent).places
        return wire.encode(Trash(tuple(self.images), tuple(self.errors), self.blind))

    def _restore(self, node, sent):
        self._begin(node)
        self.restored.append(wire.decode(Restore, sent))

    def _purge(self, node, sent):
        self._begin(node)
        asked = wire.decode(Purge, sent)
        self.purged.append(asked)
        gone = [one for one in asked.ids if asked.force or one not in self.early]
        return wire.encode(Purged(tuple(gone)))


class Cluster:
    """A cluster with an instance, and the job on its trash."""

    def __init__(self, ganeti):
        self.ganeti = ganeti
        self.config = ganeti.config = FakeConfig()
        self.rpc = ganeti.rpc = Nodes()
        self.feedback = ganeti.feedback
        self.config.add_group("default", NODES)
        cluster = self.config.find("cluster")
        cluster.enabled_disk_templates = [constants.DT_PLAIN, constants.DT_RBD]
        cluster.diskparams[constants.DT_RBD] = {"pool": "rbd", "user-id": "ganeti"}
        cluster.cluster_name = "ours"
        for node in NODES:
            self.config.find(node.name).vm_capable = True

    def add_guest(self, name, *disks):
        """Add an instance with (template, parameters) as its disks."""
        made = [
            objects.Disk(dev_type=template, logical_id=("rbd", "x"), params=params)
            for template, params in disks
        ]
        self.config.add_guest(name, NODES[0], made)

    def ready(self, *names):
        for name in names:
            self.config.find(name).AddTag(state.NODE_READY)

    def run(self, action, **options):
        """Return the line of the job's result."""
        (line,) = self.ganeti.run("trash", action=action, **options)
        return line

    def refusal(self, code, action, **options):
        with pytest.raises(ganeti_errors.OpPrereqError) as caught:
            self.run(action, **options)
        assert self.rpc.restored == self.rpc.purged == []
        text, kind = caught.value.args
        assert kind == code
        return text


@pytest.fixture
def cluster(ganeti):
    return Cluster(ganeti)


INVALID, STATE = ganeti_errors.ECODE_INVAL, ganeti_errors.ECODE_STATE


def test_no_instance_is_locked(ganeti):
    unit = ganeti.unit("trash", action="list")
    unit.ExpandNames()
    assert unit.needed_locks == {}
    assert not unit.REQ_BGL


@pytest.mark.parametrize("action", ["", "empty", "List"])
def test_an_unknown_action_is_refused(cluster, action):
    text = cluster.refusal(INVALID, action)
    assert text == f"unknown action '{action}', there is: list, restore, purge"
    assert cluster.rpc.sent == []


# Where it looks


def test_all_places_of_disks_and_of_new_ones_are_looked_into(cluster):
    cluster.config.add_group("other")
    other = cluster.config.find("other")
    other.diskparams = {constants.DT_RBD: {"pool": "hdd"}}
    cluster.add_guest(
        "web",
        ("rbd", {"pool": "ssd", "namespace": "blue"}),
        ("rbd", {"user-id": "joe", "ceph-conf": "/etc/far"}),
        ("rbd", {}),
        ("plain", {"pool": "no"}),
    )
    cluster.run("list")
    assert cluster.rpc.places == (
        Place("hdd", user="ganeti"),
        RBD,
        Place("rbd", "", "joe", "/etc/far"),
        Place("ssd", "blue", "ganeti"),
    )


def test_our_own_storage_cluster_is_looked_into_wherever_new_disks_would_be(cluster):
    params = {"pool": "far", "user-id": "joe", "ceph-conf": "/etc/far"}
    cluster.config.find("cluster").diskparams[constants.DT_RBD] = params
    cluster.config.find("default").AddTag(
        state.GroupState(state.Phase.READY, FSID).tag()
    )
    cluster.run("list")
    assert cluster.rpc.places == (Place("far", "", "joe", "/etc/far"), RBD)


@pytest.mark.parametrize("action", ["list", "purge"])
def test_without_rbd_disks_there_is_no_trash(cluster, action):
    templates = [constants.DT_PLAIN]
    cluster.config.find("cluster").enabled_disk_templates = templates
    text = cluster.refusal(STATE, action)
    assert text == "no disk is in a storage cluster, and so no image"
    assert cluster.rpc.sent == []


# Whom it asks


def test_a_node_that_surely_knows_the_storage_cluster_is_asked_first(cluster):
    cluster.ready("node4", "node3")
    cluster.run("list")
    assert cluster.rpc.asked == ["node3"]


def test_offline_nodes_and_those_without_instances_are_not_asked(cluster):
    cluster.ready("node1", "node2", "node3")
    cluster.config.find("node1").offline = True
    cluster.config.find("node2").vm_capable = False
    cluster.run("list")
    assert cluster.rpc.asked == ["node3"]


def test_another_node_is_asked_where_one_does_not_answer(cluster):
    cluster.rpc.failing = {"node1": "connection refused", "node2": "no key"}
    assert json.loads(cluster.run("list"))
    assert cluster.rpc.asked == ["node1", "node2", "node3"]


def test_after_three_nodes_the_failure_is_believed(cluster):
    cluster.rpc.failing = {node.name: f"{node.name} burns" for node in NODES}
    with pytest.raises(ganeti_errors.OpExecError) as caught:
        cluster.run("list")
    assert caught.value.args == ("node3: node3 burns",)
    assert cluster.rpc.asked == ["node1", "node2", "node3"]


@pytest.mark.parametrize("action", ["restore", "purge"])
def test_no_other_node_does_again_what_one_may_have_begun(cluster, action):
    cluster.rpc.failing = {"node1": "connection refused"}

    def fail(node, sent):
        cluster.rpc.asked.append(cluster.rpc.names[node])
        raise ExecError("timed out")

    cluster.rpc.answers(f"ceph_{action}", fail)
    with pytest.raises(ganeti_errors.OpExecError, match="node2: timed out"):
        cluster.run(action, images="0b")
    assert cluster.rpc.asked == ["node1", "node2", "node2"]


def test_without_a_node_that_is_said(cluster):
    for node in NODES:
        cluster.config.find(node.name).offline = True
    with pytest.raises(ganeti_errors.OpExecError, match="no node is online"):
        cluster.run("list")


# Listing


def test_the_list_is_of_all_images(cluster):
    found = json.loads(cluster.run("list"))
    assert [wire.decode(TrashedImage, one) for one in found] == [A, B, C]
    assert cluster.feedback == []


def test_the_list_may_be_of_some_images(cluster):
    found = json.loads(cluster.run("list", images="0b,ssd/0a"))
    assert [wire.decode(TrashedImage, one) for one in found] == [B, C]


def test_the_list_tells_whose_another_clusters_image_is(cluster):
    cluster.rpc.images = [A, trashed("0e", cluster="far"), trashed("0f", cluster="")]
    found = [wire.decode(TrashedImage, one) for one in json.loads(cluster.run("list"))]
    assert [one.owner for one in found] == ["web:0", "web:0 of far", "web:0"]


def test_an_empty_trash_is_an_empty_list(cluster):
    cluster.rpc.images = []
    assert cluster.run("list") == "[]"


@pytest.mark.parametrize("action", ["list", "purge"])
def test_a_place_that_cannot_be_seen_is_said_and_hides_no_other(cluster, action):
    cluster.rpc.errors = ["hdd: the storage cluster has no pool hdd"]
    cluster.run(action, images="0b")
    assert cluster.feedback[0] == (
        "* not looked into: hdd: the storage cluster has no pool hdd"
    )


@pytest.mark.parametrize("action", ["list", "purge"])
def test_where_no_place_can_be_seen_nobody_says_that_nothing_is_there(cluster, action):
    cluster.run("list")
    cluster.rpc.images = []
    cluster.rpc.errors = [f"{one}: no answer" for one in cluster.rpc.places]
    cluster.rpc.blind = True
    with pytest.raises(ganeti_errors.OpPrereqError, match="no trash can be seen: "):
        cluster.run(action)
    assert cluster.rpc.purged == []


# Restoring


def test_an_image_comes_back_under_its_own_name(cluster):
    assert cluster.run("restore", images="ssd/0a") == (
        "ssd/name-of-0a is back; 'gnt-instance add -t rbd -n NODE --disk"
        " 0:adopt=name-of-0a,pool=ssd' makes an instance of it"
    )
    assert cluster.rpc.restored == [Restore(SSD, "0a", "name-of-0a")]


@pytest.mark.parametrize("name", ["other", ""])
def test_an_image_comes_back_under_another_name_if_one_is_given(cluster, name):
    line = cluster.run("restore", images="0b", name=name)
    expected = name or "name-of-0b"
    assert cluster.rpc.restored == [Restore(RBD, "0b", expected)]
    assert f"adopt={expected},pool=rbd" in line


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place("ssd", "blue", "ganeti"), "pool=ssd,namespace=blue"),
        (
            Place("rbd", "", "joe", "/etc/far"),
            "pool=rbd,user-id=joe,ceph-conf=/etc/far",
        ),
        (Place("rbd"), "pool=rbd,user-id=admin"),
    ],
)
def test_what_makes_an_instance_of_it_names_all_that_is_no_default(
    cluster, place, words
):
    cluster.rpc.images = [trashed("0d", place)]
    line = cluster.run("restore", images="0d")
    assert f" 0:adopt=name-of-0d,{words}' makes" in line


def test_it_names_what_is_not_the_default_of_all_node_groups(cluster):
    cluster.config.add_group("other")
    cluster.config.find("other").diskparams = {
        constants.DT_RBD: {"namespace": "blue", "user-id": "joe"}
    }
    line = cluster.run("restore", images="0b")
    assert "0:adopt=name-of-0b,pool=rbd,namespace=none,user-id=ganeti'" in line


@pytest.mark.parametrize("name", ["a/b", "x@y", "a,size=5"])
def test_no_image_comes_back_under_a_name_that_no_disk_can_have(cluster, name):
    text = cluster.refusal(INVALID, "restore", images="0b", name=name)
    assert f"the image name {name!r} cannot be handed to QEMU" in text


def test_an_image_whose_own_name_no_disk_can_have_needs_another_one(cluster):
    cluster.rpc.images = [trashed("0d", name="a@b")]
    assert "'a@b'" in cluster.refusal(INVALID, "restore", images="0d")
    cluster.run("restore", images="0d", name="web")
    assert cluster.rpc.restored == [Restore(RBD, "0d", "web")]


def test_such_an_image_can_be_listed_and_purged(cluster):
    cluster.rpc.images = [trashed("0d", name="a@b")]
    assert json.loads(cluster.run("list"))
    cluster.run("purge")
    assert cluster.rpc.purged == [Purge(RBD, ("0d",), False)]


@pytest.mark.parametrize("images", ["", ",", "0b,ssd/0a"])
def test_one_image_is_restored_at_a_time(cluster, images):
    text = cluster.refusal(INVALID, "restore", images=images)
    assert text == "name the one image to restore"
    assert cluster.rpc.sent == []


@pytest.mark.parametrize("action", ["restore", "purge", "list"])
@pytest.mark.parametrize("wanted", ["0c", "0a"])
def test_an_id_of_none_or_of_several_does_nothing(cluster, action, wanted):
    assert wanted in cluster.refusal(STATE, action, images=wanted)


def test_why_an_image_does_not_come_back_is_said(cluster, monkeypatch):
    def refuse(node, sent):
        raise ExecError("rbd has an image web already")

    cluster.rpc.answers("ceph_restore", refuse)
    with pytest.raises(ganeti_errors.OpExecError, match="an image web already"):
        cluster.run("restore", images="0b")


# Purging


def test_all_images_are_deleted_place_by_place(cluster):
    assert cluster.run("purge") == "3 images are deleted"
    assert cluster.rpc.purged == [
        Purge(RBD, ("0a", "0b"), False),
        Purge(SSD, ("0a",), False),
    ]
    assert cluster.feedback == [
        "* deleted rbd/name-of-0a (0a)",
        "* deleted rbd/name-of-0b (0b)",
        "* deleted ssd/name-of-0a (0a)",
    ]


def test_what_was_no_disk_of_this_cluster_is_left_alone(cluster):
    half = trashed("0c", size=None, cluster="")
    cluster.rpc.images = [
        A,
        trashed("0e", cluster="far"),
        trashed("0f", cluster=""),
        half,
    ]
    line = cluster.run("purge", force="yes")
    assert line.startswith(
        "2 images are deleted; 2 of no disk of this cluster are left"
    )
    # Of one that is half deleted there is nothing to keep.
    assert cluster.rpc.purged == [Purge(RBD, ("0a", "0c"), True)]


@pytest.mark.parametrize("whose", ["far", ""])
def test_it_is_deleted_if_it_is_named(cluster, whose):
    cluster.rpc.images = [A, trashed("0e", cluster=whose)]
    assert cluster.run("purge", images="0e") == "1 images are deleted"
    assert cluster.rpc.purged == [Purge(RBD, ("0e",), False)]


def test_only_images_that_are_named_are_deleted(cluster):
    cluster.run("purge", images="ssd/0a", force="yes")
    assert cluster.rpc.purged == [Purge(SSD, ("0a",), True)]


def test_those_whose_time_is_not_over_are_kept_and_counted(cluster):
    cluster.rpc.early = {"0b"}
    line = cluster.run("purge")
    assert line.startswith("2 images are deleted, 1 are kept: their time is not over")
    assert "--force" in line
    assert "* deleted rbd/name-of-0b (0b)" not in cluster.feedback


@pytest.mark.parametrize(
    ("force", "forced"), [("yes", True), ("no", False), ("", False), ("true", False)]
)
def test_force_is_nothing_but_yes(cluster, force, forced):
    cluster.run("purge", images="0b", force=force)
    assert cluster.rpc.purged == [Purge(RBD, ("0b",), forced)]


def test_an_empty_trash_needs_no_purging(cluster):
    cluster.rpc.images = []
    assert cluster.run("purge") == "0 images are deleted"
    assert cluster.rpc.purged == []


def test_what_was_deleted_is_told_although_another_place_fails(cluster):
    stock = cluster.rpc._purge

    def purge(node, sent):
        if wire.decode(Purge, sent).place == SSD:
            raise ExecError("cannot purge the trash of ssd")
        return stock(node, sent)

    cluster.rpc.answers("ceph_purge", purge)
    with pytest.raises(
        ganeti_errors.OpExecError, match="cannot purge the trash of ssd"
    ):
        cluster.run("purge")
    assert len(cluster.feedback) == 2


def test_a_dry_run_deletes_nothing(cluster):
    cluster.ganeti.unit("trash", True, action="purge").CheckPrereq()
    assert cluster.rpc.purged == []


def test_the_actions_are_those_that_the_command_offers():
    assert trash.ACTIONS == ("list", "restore", "purge")
