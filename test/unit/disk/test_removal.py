"""An instance goes with all of its images, or with none."""

import pytest
from fakes import FakeConfig, FakeRpc, make_nodes
from ganeti import constants, errors, objects

from ganeti_ceph import wire
from ganeti_ceph.disk import removal
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.rpc import ReleaseImages, Told

NODES = make_nodes(2)
RBD, PLAIN = constants.DT_RBD, constants.DT_PLAIN


class Unit:
    """Ganeti's unit that removes an instance with disks (template, image)."""

    def __init__(self, *disks):
        self.cfg = FakeConfig()
        self.rpc = FakeRpc({node.uuid: node.name for node in NODES})
        self.rpc.answers("ceph_release", self._release)
        self.cfg.add_group("default", NODES)
        self.cfg._stored["cluster"].diskparams[RBD] = {"pool": "vms"}
        made = [
            objects.Disk(
                dev_type=template,
                iv_name=f"disk/{index}",
                logical_id=("rbd", image),
                params={"stripe-count": "many"} if image == "odd" else {},
            )
            for index, (template, image) in enumerate(disks)
        ]
        self.cfg.add_guest("web", NODES[0], made)
        self.instance = self.cfg.find("web")
        self.asked, self.held, self.failing = [], (), None

    def _release(self, node, sent):
        assert self.rpc.names[node] == "node1"
        if self.failing:
            raise self.failing
        self.asked.append(wire.decode(ReleaseImages, sent).images)
        return wire.encode(Told(self.held))

    def remove(self, ignore_failures=False):
        def RemoveInstance(lu, feedback_fn, instance, ignore_failures):
            return "removed"

        arguments = (self, print, self.instance, ignore_failures)
        return removal.remove_instance(RemoveInstance, None, arguments, {})


def test_all_images_of_an_instance_are_asked_about_at_once():
    unit = Unit((RBD, "a"), (PLAIN, "b"), (RBD, "c"))
    assert unit.remove() == "removed"
    assert unit.asked == [(Volume("vms", "a"), Volume("vms", "c"))]


def test_what_holds_one_keeps_all():
    unit = Unit((RBD, "a"), (RBD, "b"))
    unit.held = ("vms/b is in use", "and has snapshots")
    with pytest.raises(errors.OpExecError) as caught:
        unit.remove()
    assert str(caught.value) == (
        "Can't remove instance's disks, and none was removed: vms/b is in use; and has"
        " snapshots"
    )


def test_a_node_that_cannot_tell_keeps_all():
    unit = Unit((RBD, "a"))
    unit.failing = ExecError("no luck")
    with pytest.raises(errors.OpExecError, match=r"none was removed: .*no luck"):
        unit.remove()


def test_a_disk_of_which_the_image_is_not_known_keeps_all():
    with pytest.raises(errors.OpExecError, match="stripe-count"):
        Unit((RBD, "a"), (RBD, "odd")).remove()


def test_nothing_is_asked_where_failures_are_ignored():
    unit = Unit((RBD, "a"))
    unit.held = ("in use",)
    assert unit.remove(ignore_failures=True) == "removed"
    assert unit.asked == []


@pytest.mark.parametrize("disks", [[], [(PLAIN, "a")]])
def test_instances_without_images_are_ganetis(disks):
    unit = Unit(*disks)
    assert unit.remove() == "removed"
    assert unit.asked == []


def test_ganeti_says_what_becomes_of_a_node_that_is_offline():
    unit = Unit((RBD, "a"))
    unit.cfg.find("node1").offline = True
    assert unit.remove() == "removed"
    assert unit.asked == []
