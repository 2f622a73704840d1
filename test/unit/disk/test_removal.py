"""An instance goes with all of its images or none, a disk with its image only."""

import types

import pytest
from fakes import FakeConfig, FakeRpc, make_nodes
from ganeti import constants, errors, objects
from ganeti.cmdlib import instance_utils

from ganeti_ceph import wire
from ganeti_ceph.disk import removal
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.rpc import ReleaseImages, Told

NODES = make_nodes(2)
ADD, MODIFY = constants.DDM_ADD, constants.DDM_MODIFY
REMOVE, DETACH = constants.DDM_REMOVE, constants.DDM_DETACH
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
        #: Whether the images' instance was said to run, of the last question.
        self.running = None
        self.op = types.SimpleNamespace(hotplug=False, disk_template=None)
        self.diskmod = []
        #: What Ganeti did, and what it says of the removal of images.
        self.done, self.removed = [], True

    def _release(self, node, sent):
        assert self.rpc.names[node] == "node1"
        if self.failing:
            raise self.failing
        asked = wire.decode(ReleaseImages, sent)
        self.asked.append(asked.images)
        self.running = asked.running
        return wire.encode(Told(self.held))

    def remove(self, ignore_failures=False):
        def RemoveInstance(lu, feedback_fn, instance, ignore_failures):
            return "removed"

        arguments = (self, print, self.instance, ignore_failures)
        return removal.remove_instance(RemoveInstance, None, arguments, {})

    def check(self, *mods):
        """Look at modifications (operation, disk) before anything is done."""

        def _PreCheckDisks(ispec):
            self.diskmod = instance_utils.PrepareContainerMods(
                [(operation, disk, {}) for operation, disk in mods], None
            )

        removal.check_disks(_PreCheckDisks, self, ({},), {})

    def remove_disk(self, index):
        """Remove the image of a disk, as Ganeti does before it forgets the disk."""

        def RemoveDisks(
            lu, instance, disks=None, target_node_uuid=None, ignore_failures=False
        ):
            self.done += disks
            return self.removed

        disks = [self.cfg.GetInstanceDisks(self.instance.uuid)[index]]
        given = {"disks": disks}
        args = (self, self.instance)
        return removal.remove_disks(RemoveDisks, None, args, given)


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


# Disks that leave an instance


def test_images_of_disks_that_go_are_asked_about_at_once_before_anything_is_done():
    unit = Unit((RBD, "a"), (RBD, "b"), (RBD, "c"), (RBD, "d"))
    unit.check((MODIFY, 1), (REMOVE, 0), (DETACH, 0), (REMOVE, -1), (ADD, -1))
    assert unit.asked == [(Volume("vms", "a"), Volume("vms", "d"))]


@pytest.mark.parametrize("hotplug", [True, False])
def test_a_running_instance_may_have_the_image_open_until_qemu_lets_it_go(hotplug):
    unit = Unit((RBD, "a"))
    unit.op.hotplug = hotplug
    unit.check((REMOVE, 0))
    assert unit.running is hotplug
    unit.remove_disk(0)
    assert unit.running is False


def test_what_holds_an_image_keeps_its_disk():
    unit = Unit((RBD, "a"))
    unit.held = ("vms/a has snapshots",)
    with pytest.raises(errors.OpPrereqError) as caught:
        unit.check((REMOVE, 0))
    assert caught.value.args == (
        "Can't remove instance's disks, and nothing was changed: vms/a has snapshots",
        errors.ECODE_STATE,
    )


@pytest.mark.parametrize("mods", [[], [(MODIFY, 0)], [(DETACH, 0)], [(ADD, -1)]])
def test_nothing_is_asked_where_no_disk_goes(mods):
    unit = Unit((RBD, "a"))
    unit.check(*mods)
    assert unit.asked == []


def test_disks_of_other_templates_and_those_not_yet_made_go_unasked():
    unit = Unit((PLAIN, "a"))
    unit.check((ADD, -1), (REMOVE, 1), (REMOVE, 0))
    assert unit.asked == []


def test_all_disks_go_where_the_template_changes():
    unit = Unit((RBD, "a"), (RBD, "b"))
    unit.op.disk_template = PLAIN
    unit.held = ("vms/a has clones",)
    with pytest.raises(errors.OpPrereqError, match="vms/a has clones"):
        unit.check()
    assert unit.asked == [(Volume("vms", "a"), Volume("vms", "b"))]


def test_an_image_that_nothing_holds_is_removed():
    unit = Unit((RBD, "a"), (RBD, "b"))
    assert unit.remove_disk(1) is True
    assert unit.asked == [(Volume("vms", "b"),)]
    assert [disk.iv_name for disk in unit.done] == ["disk/1"]


def test_a_disk_stays_while_qemu_does_not_let_it_go():
    unit = Unit((RBD, "a"), (RBD, "b"))
    unit.held = ("vms/b is in use",)
    with pytest.raises(errors.OpExecError) as caught:
        unit.remove_disk(1)
    assert str(caught.value) == (
        "disk/1 of web stays in Ganeti's configuration, for its image is left: vms/b is"
        " in use; mend that, then remove the disk again"
    )
    assert unit.done == []


@pytest.mark.parametrize("offline", [True, False])
def test_a_disk_stays_whose_image_ganeti_could_not_remove(offline):
    unit = Unit((RBD, "a"))
    unit.cfg.find("node1").offline = offline
    unit.removed = False
    with pytest.raises(errors.OpExecError, match=r"image is left: see the warning"):
        unit.remove_disk(0)


def test_what_was_converted_and_disks_of_other_templates_are_ganetis():
    unit = Unit((RBD, "a"), (PLAIN, "b"))
    unit.removed = False
    assert unit.remove_disk(1) is False
    unit.op.disk_template = PLAIN
    assert unit.remove_disk(0) is False
    assert unit.asked == []
