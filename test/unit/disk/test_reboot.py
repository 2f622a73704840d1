"""A reboot that could not succeed leaves the guest alone."""

import pytest
from fakes import FakeConfig, FakeRpc, make_nodes
from ganeti import constants, errors, objects

from ganeti_ceph import wire
from ganeti_ceph.disk import reboot
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import DiskFacts, ImageFacts
from ganeti_ceph.rpc import DisksFacts, LookAtDisks

NODES = make_nodes(2)
SOUND = DiskFacts(ImageFacts(2**30, None, (), (), (), ()), None, None, True)
GONE = DiskFacts(None, None, None, True)


def failing(why):
    return DiskFacts(None, why, None, True)


class Unit:
    """Ganeti's unit that reboots an instance on node2."""

    def __init__(self):
        self.cfg = FakeConfig()
        self.rpc = FakeRpc({node.uuid: node.name for node in NODES})
        self.rpc.answers("ceph_disks", self._look)
        self.cfg.add_group("default", NODES)
        self.cfg._stored["cluster"].diskparams[constants.DT_RBD] = {"pool": "vms"}
        #: What node2 knows of each image; an exception where it fails.
        self.known = {}
        self.asked = []

    def add(self, *disks):
        """Add the instance with (template, image) as its disks."""
        made = [
            objects.Disk(
                dev_type=template,
                iv_name=f"disk/{index}",
                logical_id=("rbd", image),
                params={},
            )
            for index, (template, image) in enumerate(disks)
        ]
        self.cfg.add_guest("web", NODES[1], made)
        self.instance = self.cfg.find("web")

    def _look(self, node, sent):
        assert self.rpc.names[node] == "node2"
        if isinstance(self.known, Exception):
            raise self.known
        asked = wire.decode(LookAtDisks, sent)
        assert asked.instance == "web"
        assert asked.images, "Ceph would not be asked"
        self.asked += [str(volume) for _, volume in asked.disks]
        found = tuple(self.known[volume.image] for _, volume in asked.disks)
        return wire.encode(DisksFacts(found))

    def check(self):
        return reboot.check(lambda: "checked", self, (), {})

    def refusal(self):
        with pytest.raises(errors.OpPrereqError) as caught:
            self.check()
        assert caught.value.args[1] == errors.ECODE_ENVIRON
        return caught.value.args[0]


@pytest.fixture
def unit():
    return Unit()


def test_an_instance_whose_images_can_be_opened_is_rebooted(unit):
    unit.add(("rbd", "a"), ("plain", "b"), ("rbd", "c"))
    unit.known = {"a": SOUND, "c": SOUND}
    assert unit.check() == "checked"
    assert unit.asked == ["vms/a", "vms/c"]


@pytest.mark.parametrize("disks", [[], [("plain", "a")]])
def test_without_a_disk_of_ours_no_node_is_asked(unit, disks):
    unit.add(*disks)
    unit.known = ExecError("asked")
    assert unit.check() == "checked"


def test_a_silent_cluster_is_told_once_for_all_disks(unit):
    unit.add(("rbd", "a"), ("rbd", "b"))
    unit.known = {"a": failing("cannot connect"), "b": failing("cannot connect")}
    assert unit.refusal() == (
        "web is left running, as it could not start again: disk/0, disk/1: cannot"
        " connect"
    )


def test_one_image_of_many_that_is_missing_is_named(unit):
    unit.add(("rbd", "a"), ("rbd", "b"))
    unit.known = {"a": SOUND, "b": GONE}
    assert unit.refusal().endswith("disk/1: the storage cluster has no image vms/b")


def test_different_failures_are_told_each(unit):
    unit.add(("rbd", "a"), ("rbd", "b"), ("rbd", "c"))
    unit.known = {"a": failing("x"), "b": GONE, "c": failing("x")}
    assert unit.refusal().endswith(
        "disk/0, disk/2: x; disk/1: the storage cluster has no image vms/b"
    )


def test_a_node_that_cannot_look_reboots_nothing(unit):
    unit.add(("rbd", "a"))
    unit.known = ExecError("the connection is gone")
    assert "the connection is gone" in unit.refusal()


def test_a_disk_with_a_wrong_parameter_reboots_nothing(unit):
    unit.add(("rbd", "a"))
    unit.cfg._stored["cluster"].diskparams[constants.DT_RBD] = {"pool": "a b"}
    assert "the disk parameter pool cannot be 'a b'" in unit.refusal()


def test_what_ganeti_refuses_asks_no_node(unit):
    unit.add(("rbd", "a"))
    unit.known = ExecError("asked")

    def refuse():
        raise errors.OpPrereqError("offline", errors.ECODE_STATE)

    with pytest.raises(errors.OpPrereqError, match="offline"):
        reboot.check(refuse, unit, (), {})
