"""Moving disks: who may open them then, what is copied, and what is refused."""

import types

import fakes
import pytest
from ganeti import constants, errors, objects

from ganeti_ceph import state, wire
from ganeti_ceph.disk import move
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.rpc import CopyImage, Grant, ReleaseImages, Told

NODE = fakes.make_node()
OURS = {"pool": "ssd", "user-id": "ganeti"}


class Unit:
    """Ganeti's job that changes the disk of an instance."""

    def __init__(self, **params):
        self.cfg = fakes.FakeConfig()
        self.cfg.add_group("default", [NODE])
        self.cfg.find("cluster").diskparams = {constants.DT_RBD: {"pool": "rbd"}}
        self.cfg.find("node1").AddTag(state.NODE_READY)
        disk = objects.Disk(
            dev_type=constants.DT_RBD,
            iv_name="disk/0",
            logical_id=("rbd", "web.rbd.disk0"),
            params=params,
        )
        self.cfg.add_guest("web", NODE, [disk])
        self.instance = self.cfg.find("web")
        (self.disk,) = self.cfg.GetInstanceDisks(self.instance.uuid)
        self.rpc = fakes.FakeRpc({NODE.uuid: NODE.name})
        self.rpc.answers("ceph_look", fakes.holds_key())
        self.rpc.answers("ceph_grant", self._grant)
        self.rpc.answers("ceph_copy", self._copy)
        self.rpc.answers("ceph_release", self._release)
        #: What holds the image.
        self.held = ()
        #: What was done, in order.
        self.done = []
        #: What a grant or a copy fails with.
        self.failing = {}
        self.warnings = []

    def LogInfo(self, text, *words):
        assert text % words

    def LogWarning(self, text, *words):
        self.warnings.append(text % words)

    def _grant(self, node, sent):
        self._do(wire.decode(Grant, sent))

    def _copy(self, node, sent):
        self._do(wire.decode(CopyImage, sent))

    def _release(self, node, sent):
        assert self.done == []
        (volume,) = wire.decode(ReleaseImages, sent).images
        assert volume.image == "web.rbd.disk0"
        return wire.encode(Told(self.held))

    def _do(self, asked):
        if type(asked) in self.failing:
            raise ExecError(self.failing[type(asked)])
        self.done.append(asked)

    def change(self, **changed):
        given = {name.replace("_", "-"): value for name, value in changed.items()}
        return move.copy(self, self.disk, given)

    def refusal(self, **changed):
        with pytest.raises(errors.OpExecError) as caught:
            self.change(**changed)
        return str(caught.value)


def test_a_disk_is_copied_to_where_its_new_user_may_open_it():
    unit = Unit(**OURS)
    assert unit.change(pool="hdd", data_pool="ec") is True
    assert unit.done == [
        Grant("ganeti", ("ec", "hdd")),
        CopyImage(
            Volume("ssd", "web.rbd.disk0", user="ganeti"),
            Volume("hdd", "web.rbd.disk0", user="ganeti"),
            "ec",
        ),
    ]


@pytest.mark.parametrize(
    ("params", "pools"),
    [({"pool": "ssd"}, ("ssd",)), ({"pool": "ssd", "data-pool": "ec"}, ("ec", "ssd"))],
)
def test_our_user_may_use_the_pool_of_a_disk_that_it_opens_from_now_on(params, pools):
    unit = Unit(**params)
    assert unit.change(user_id="ganeti") is False
    assert unit.done == [Grant("ganeti", pools)]


def test_another_user_is_granted_nothing():
    unit = Unit(**OURS)
    assert unit.change(user_id="joe") is False
    assert unit.done == []


@pytest.mark.parametrize("params", [OURS, {"pool": "ssd"}])
def test_a_disk_that_changes_nothing_stays(params):
    unit = Unit(**params)
    assert unit.change(pool="ssd", namespace="none") is False
    assert unit.done == []


@pytest.mark.parametrize("changed", [{"namespace": "blue"}, {"ceph_conf": "/etc/far"}])
def test_elsewhere_is_also_a_namespace_or_a_storage_cluster(changed):
    unit = Unit(**OURS)
    assert unit.change(**changed) is True
    (copied,) = unit.done
    assert copied.source.image == copied.target.image
    assert copied.source.place != copied.target.place


def test_the_data_pool_alone_cannot_change_and_nothing_is_granted():
    unit = Unit(pool="ssd")
    said = unit.refusal(data_pool="ec", user_id="ganeti")
    assert said.startswith("disk/0 can change its data pool only together with")
    assert unit.done == []


def test_a_user_that_may_not_open_the_disk_does_not_get_it():
    unit = Unit(pool="ssd")
    unit.failing[Grant] = "the mons are silent"
    assert "the mons are silent" in unit.refusal(user_id="ganeti")


def test_a_disk_stays_where_it_cannot_be_copied():
    unit = Unit(**OURS)
    unit.failing[CopyImage] = "no space"
    said = unit.refusal(pool="hdd")
    assert said.startswith("disk/0 stays where it is: ")
    assert "no space" in said


def test_an_image_that_could_not_be_removed_is_not_copied():
    unit = Unit(**OURS)
    unit.held = ("ssd/web.rbd.disk0 has the snapshots monday",)
    said = unit.refusal(pool="hdd")
    assert said == (
        "disk/0 stays where it is: ssd/web.rbd.disk0 has the snapshots monday"
    )
    assert unit.done == []


def test_what_holds_an_image_holds_up_no_change_of_its_user():
    unit = Unit(pool="ssd")
    unit.held = ("ssd/web.rbd.disk0 has the snapshots monday",)
    assert unit.change(user_id="ganeti") is False


def test_parameters_that_are_wrong_are_refused():
    unit = Unit(**OURS)
    assert "user-id cannot be 'a b'" in unit.refusal(user_id="a b")


@pytest.mark.parametrize("failing", ["", "it is open"])
def test_a_former_image_that_stays_is_a_warning(failing):
    unit = Unit(**OURS)
    asked = []

    def remove(node, disk_and_guest):
        asked.append((node, disk_and_guest))
        return types.SimpleNamespace(fail_msg=failing)

    unit.rpc.call_blockdev_remove = remove
    move.remove(unit, unit.disk)
    assert asked == [(NODE.uuid, (unit.disk, unit.instance))]
    assert len(unit.warnings) == bool(failing)
    assert all(
        failing in one and "'rbd rm ssd/web.rbd.disk0'" in one for one in unit.warnings
    )
