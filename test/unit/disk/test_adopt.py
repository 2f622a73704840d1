"""Adopting images: only those nobody uses, whose owner is told afterwards."""

import dataclasses
import types

import pytest
from fakes import FakeConfig, FakeRpc, holds_key, make_nodes
from ganeti import constants, errors, objects

from ganeti_ceph import state, wire
from ganeti_ceph.disk import adopt
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import DiskFacts, ImageFacts
from ganeti_ceph.rpc import DisksFacts, Grant, LookAtDisks, RenameImages

MIB = 2**20
NODES = make_nodes(2)
IMAGE = ImageFacts(3 * MIB, 0, ("layering",), (), (), ())
FACTS = DiskFacts(IMAGE, None, None, None)
DEFAULTS = {"pool": "rbd", "user-id": "ganeti"}


def facts(device=None, **changes):
    return DiskFacts(dataclasses.replace(IMAGE, **changes), None, device, None)


# Which images can be adopted


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("ganeti.cluster", "ours"), ("ganeti.instance", "web")),
        (("ganeti.instance", "web"),),
        (("conf_rbd_cache", "false"),),
    ],
)
def test_an_image_of_ours_or_of_nobody_fits(metadata):
    assert adopt.unfit(facts(metadata=metadata), "ours") == ""


@pytest.mark.parametrize(
    ("looked", "said"),
    [
        (DiskFacts(None, "no pool vms", None, None), "no pool vms"),
        (DiskFacts(None, None, None, None), "there is no such image"),
        (
            facts(watchers=("192.0.2.1", "192.0.2.2")),
            "it is in use at 192.0.2.1, 192.0.2.2",
        ),
        (facts("/dev/rbd0", watchers=("192.0.2.1",)), "it is mapped to /dev/rbd0"),
        (
            facts(metadata=(("ganeti.cluster", "far"), ("ganeti.instance", "db"))),
            "it is of the instance db of the cluster far; if that is no more, 'rbd"
            " image-meta remove IMAGE ganeti.cluster' says so",
        ),
        *(
            (
                facts(size=size),
                f"its size of {size} bytes is not in whole MiB, as Ganeti counts;"
                " resize it first ('rbd resize')",
            )
            for size in (0, 1, MIB - 1, MIB + 512)
        ),
    ],
)
def test_an_image_that_does_not_fit_is_told_why(looked, said):
    assert adopt.unfit(looked, "ours") == said


@pytest.mark.parametrize("size", [MIB, 5 * MIB, 2**50])
def test_a_size_in_whole_mebibytes_fits(size):
    assert adopt.unfit(facts(size=size), "ours") == ""


def test_what_is_unknown_is_said_before_what_is_missing():
    looked = DiskFacts(None, "the mons do not answer", "/dev/rbd0", None)
    assert adopt.unfit(looked, "ours") == "the mons do not answer"


# Making an instance of them


class Nodes(FakeRpc):
    """Nodes that look at images, and write down whose they are."""

    def __init__(self):
        super().__init__({node.uuid: node.name for node in NODES})
        self.answers("ceph_disks", self._look)
        self.answers("ceph_look", holds_key())
        self.answers("ceph_grant", self._grant)
        self.answers("ceph_rename", self._rename)
        #: What is found of an image, by its volume.
        self.found = {}
        self.failing = None
        self.asked = []
        self.granted = []
        #: (node, {former name: new name}) of each call, and why some of them fail.
        self.renamed = []
        self.refusals = {}
        #: (node, image, its number, whose) of all that was written down.
        self.told = []
        self.fail_msg = None

    def _look(self, node, sent):
        asked = wire.decode(LookAtDisks, sent)
        self.asked.append((self.names[node], asked))
        if self.failing:
            raise self.failing
        return wire.encode(
            DisksFacts(
                tuple(self.found.get(volume, FACTS) for _, volume in asked.disks)
            )
        )

    def _grant(self, node, sent):
        self.granted.append(wire.decode(Grant, sent))

    def _rename(self, node, sent):
        asked = wire.decode(RenameImages, sent)
        names = {str(volume): name for volume, name in asked.images}
        self.renamed.append((self.names[node], names))
        if error := self.refusals.get(len(self.renamed)):
            raise ExecError(error)

    def call_blockdev_setinfo(self, node, disk_and_guest, text):
        disk, guest = disk_and_guest
        assert disk.uuid in guest.disks
        self.told.append((self.names[node], disk.iv_name, text))
        return types.SimpleNamespace(fail_msg=self.fail_msg)


class Unit:
    """Ganeti's unit that makes or changes an instance on node2."""

    def __init__(self):
        self.cfg, self.rpc = FakeConfig(), Nodes()
        self.cfg.add_group("default", NODES)
        cluster = self.cfg._stored["cluster"]
        cluster.cluster_name = "ours"
        cluster.diskparams[constants.DT_RBD] = dict(DEFAULTS)
        cluster.GetTags().update({"ceph:pool:rbd"})
        self.adopt_disks = True
        self.op = types.SimpleNamespace(
            disk_template=constants.DT_RBD,
            instance_name="web",
            pnode_uuid=NODES[1].uuid,
            disks=[{"adopt": "old0"}, {"adopt": "old1", "pool": "ssd"}],
        )
        #: As Ganeti's check makes them of the opcode's.
        self.disks = [dict(disk) for disk in self.op.disks]
        self.instance = None
        self.proc = types.SimpleNamespace(GetECId=lambda: "job")
        self.happened = []
        self.warnings = []
        self.told = []

    def LogInfo(self, text, *words):
        self.told.append(text % words)

    def LogWarning(self, text, *words):
        self.warnings.append(text % words)

    def check(self):
        """Return the disks as Ganeti's own check gets them."""

        def stock():
            self.happened.append([dict(disk) for disk in self.op.disks])
            return "as Ganeti says"

        assert adopt.check(stock, self, (), {}) == "as Ganeti says"
        (disks,) = self.happened
        return disks

    def refusal(self, code=errors.ECODE_STATE):
        with pytest.raises(errors.OpPrereqError) as caught:
            self.check()
        assert self.happened == []
        text, kind = caught.value.args
        assert kind == code
        return text

    def add(self, name, *disks, node=NODES[1]):
        """Add an instance with (template, image, parameters) as its disks."""
        made = [
            objects.Disk(
                dev_type=template,
                iv_name=f"disk/{index}",
                logical_id=("rbd", image),
                params=params,
            )
            for index, (template, image, params) in enumerate(disks)
        ]
        self.cfg.add_guest(name, node, made)
        self.instance = self.cfg.find(name)

    def finish(self):
        assert adopt.finish(lambda feedback: "done", self, (print,), {}) == "done"

    def renumber(self, change):
        def stock(feedback):
            change()
            return "done"

        assert adopt.renumber(stock, self, (print,), {}) == "done"


@pytest.fixture
def unit():
    return Unit()


def test_adopted_disks_are_as_large_as_their_images(unit):
    unit.rpc.found[Volume("ssd", "old1", user="ganeti")] = facts(size=7 * MIB)
    assert unit.check() == [
        {"adopt": "old0", "size": 3},
        {"adopt": "old1", "pool": "ssd", "size": 7},
    ]


def test_a_size_that_was_given_is_the_image_s(unit):
    unit.op.disks = [{"adopt": "old0", "size": 99}]
    assert unit.check() == [{"adopt": "old0", "size": 3}]


OLD0 = Volume("rbd", "old0", user="ganeti")


@pytest.mark.parametrize(
    ("default", "data_pool", "kept"),
    [
        ("", "", {}),
        ("", "ec", {"data-pool": "ec"}),
        ("ec", "ec", {}),
        ("ec", "", {"data-pool": "none"}),
        ("ec", "cold", {"data-pool": "cold"}),
    ],
)
def test_a_disk_has_the_data_pool_of_its_image(unit, default, data_pool, kept):
    unit.cfg.find("cluster").diskparams[constants.DT_RBD]["data-pool"] = default
    unit.op.disks = [{"adopt": "old0"}]
    unit.rpc.found[OLD0] = facts(data_pool=data_pool)
    assert unit.check() == [{"adopt": "old0", "size": 3, **kept}]


@pytest.mark.parametrize(("given", "data_pool"), [("ec", "ec"), ("none", "")])
def test_the_data_pool_may_be_given(unit, given, data_pool):
    unit.op.disks = [{"adopt": "old0", "data-pool": given}]
    unit.rpc.found[OLD0] = facts(data_pool=data_pool)
    assert unit.check() == [{"adopt": "old0", "size": 3, "data-pool": given}]


@pytest.mark.parametrize(
    ("given", "data_pool", "said"),
    [
        ("ec", "", "its data is in the pool rbd, not in ec"),
        ("ec", "cold", "its data is in the pool cold, not in ec"),
        ("none", "ec", "its data is in the pool ec, not in rbd"),
    ],
)
def test_another_data_pool_than_the_image_s_is_refused(unit, given, data_pool, said):
    unit.op.disks = [{"adopt": "old0", "data-pool": given}]
    unit.rpc.found[OLD0] = facts(data_pool=data_pool)
    assert unit.refusal() == f"the image rbd/old0 cannot be adopted: {said}"


def test_a_data_pool_with_a_name_that_no_disk_may_have_is_refused(unit):
    unit.rpc.found[OLD0] = facts(data_pool=".ec")
    assert unit.refusal().startswith(
        "the image rbd/old0 cannot be adopted: the disk parameter data-pool cannot be"
        " '.ec': use letters"
    )


def test_the_primary_node_looks_at_all_images_in_one_call(unit):
    unit.op.disks[0].update({"namespace": "blue", "user-id": "joe", "iops": "9"})
    unit.op.disks[0]["ceph-conf"] = "/etc/far"
    unit.check()
    old0 = Volume("rbd", "old0", "blue", "joe", "/etc/far")
    old1 = Volume("ssd", "old1", user="ganeti")
    assert unit.rpc.asked == [("node2", LookAtDisks("web", (("0", old0), ("1", old1))))]


@pytest.mark.parametrize("why", ["no adoption", "another template"])
def test_other_instances_are_ganeti_s_affair(unit, why):
    if why == "no adoption":
        unit.adopt_disks = False
    else:
        unit.op.disk_template = constants.DT_PLAIN
    assert unit.check() == [{"adopt": "old0"}, {"adopt": "old1", "pool": "ssd"}]
    assert unit.rpc.sent == []


def test_an_image_that_does_not_fit_is_named(unit):
    unit.rpc.found[Volume("ssd", "old1", user="ganeti")] = facts("/dev/rbd0")
    assert unit.refusal() == (
        "the image ssd/old1 cannot be adopted: it is mapped to /dev/rbd0"
    )


def test_an_image_of_another_cluster_is_not_taken(unit):
    far = (("ganeti.cluster", "far"), ("ganeti.instance", "db"))
    unit.rpc.found[Volume("rbd", "old0", user="ganeti")] = facts(metadata=far)
    assert "the instance db of the cluster far" in unit.refusal()


def test_a_node_that_cannot_look_says_why(unit):
    unit.rpc.failing = ExecError("it is on fire")
    assert unit.refusal() == "node2: it is on fire"


def test_no_allocator_chooses_the_node_not_even_the_default_one(unit):
    unit.op.pnode_uuid = None
    text = unit.refusal(errors.ECODE_INVAL)
    assert text.startswith("name the primary node (-n) of an instance that adopts")
    assert unit.rpc.sent == []


@pytest.mark.parametrize("why", ["no adoption", "another template"])
def test_an_allocator_chooses_the_node_of_other_instances(unit, why):
    unit.op.pnode_uuid = None
    if why == "no adoption":
        unit.adopt_disks = False
    else:
        unit.op.disk_template = constants.DT_PLAIN
    unit.check()


def test_a_parameter_that_is_wrong_is_wrong_input(unit):
    unit.op.disks[1]["user-id"] = "a b"
    text = unit.refusal(errors.ECODE_INVAL)
    assert "the disk parameter user-id cannot be 'a b'" in text
    assert unit.rpc.sent == []


def test_a_name_that_qemu_would_misread_is_wrong_input(unit):
    unit.op.disks[0]["adopt"] = "old:id=x"
    assert "cannot be handed to QEMU" in unit.refusal(errors.ECODE_INVAL)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_the_disk_of_another_instance_is_not_adopted(unit, node):
    unit.add("db", ("rbd", "x", {}), ("rbd", "old1", {"pool": "ssd"}), node=node)
    assert unit.refusal() == (
        "the image ssd/old1 cannot be adopted: it is disk/1 of db"
    )
    assert unit.rpc.sent == []


@pytest.mark.parametrize("user", ["ganeti", "joe"])
def test_whoever_opens_it(unit, user):
    unit.add("db", ("rbd", "old0", {"user-id": user}))
    assert "it is disk/0 of db" in unit.refusal()


@pytest.mark.parametrize(
    "params",
    [{"pool": "hdd"}, {"namespace": "blue"}, {"ceph-conf": "/etc/far"}],
)
def test_an_image_of_the_same_name_elsewhere_is_another_one(unit, params):
    unit.add("db", ("rbd", "old0", params), ("plain", "old0", {}))
    unit.check()


def test_an_image_named_twice_is_refused(unit):
    unit.op.disks[1] = {"adopt": "old0", "user-id": "joe"}
    assert unit.refusal() == (
        "the image rbd/old0 cannot be adopted: it is named for disk 0, too"
    )


@pytest.mark.parametrize("own", [{"pool": "ssd"}, {}], ids=["own pool", "default"])
def test_the_image_of_a_detached_disk_is_not_adopted(unit, own):
    unit.add("db", ("rbd", "old1" if own else "old0", own))
    unit.cfg._stored["uuid-of-db"].disks = []
    assert unit.refusal().endswith(
        "cannot be adopted: it is the disk disk0-of-db, which is detached and may be"
        " attached again"
    )


def test_two_jobs_do_not_adopt_the_same_image(unit):
    taken = adopt.reservation(Volume("ssd", "old1", user="joe"))
    unit.cfg.ReserveLV(taken, "another job")
    assert unit.refusal() == (
        "the image ssd/old1 cannot be adopted: another job is about to"
    )
    assert unit.rpc.sent == []


def test_our_user_may_open_the_images_before_they_are_looked_at(unit):
    unit.cfg.find("node1").AddTag(state.NODE_READY)
    unit.check()
    assert unit.rpc.granted == [Grant("ganeti", ("ssd",))]
    assert [name for name, _ in unit.rpc.sent] == [
        "ceph_look",
        "ceph_grant",
        "ceph_disks",
    ]


def test_another_user_is_granted_nothing(unit):
    unit.cfg.find("node1").AddTag(state.NODE_READY)
    unit.op.disks[1]["user-id"] = "joe"
    unit.check()
    assert unit.rpc.granted == []


# Taking them over


RENAMED = {"rbd/old0": "id1.rbd.disk0", "ssd/old1": "id2.rbd.disk1"}


def failing(feedback):
    raise errors.OpExecError("no")


def test_adopted_images_get_names_as_ganeti_gives_them(unit):
    unit.check()

    def stock(feedback):
        assert [disk["adopt"] for disk in unit.disks] == [*RENAMED.values()]
        unit.add("web", *WEB)
        return "done"

    assert adopt.finish(stock, unit, (print,), {}) == "done"
    assert unit.rpc.renamed == [("node2", RENAMED)]
    assert unit.told == [
        "The image rbd/old0 becomes rbd/id1.rbd.disk0",
        "The image ssd/old1 becomes ssd/id2.rbd.disk1",
    ]


def test_an_instance_that_could_not_be_made_gives_them_back(unit):
    unit.check()
    with pytest.raises(errors.OpExecError, match=r"^no$"):
        adopt.finish(failing, unit, (print,), {})
    back = {"rbd/id1.rbd.disk0": "old0", "ssd/id2.rbd.disk1": "old1"}
    assert unit.rpc.renamed == [("node2", RENAMED), ("node2", back)]
    assert unit.warnings == []


def test_images_that_cannot_be_given_back_are_told(unit):
    unit.rpc.refusals[2] = "the mons do not answer"
    with pytest.raises(errors.OpExecError, match=r"^no$"):
        adopt.finish(failing, unit, (print,), {})
    assert unit.warnings == ["The images keep their new names: the mons do not answer"]


def test_an_instance_that_did_not_start_keeps_them(unit):
    def stock(feedback):
        unit.add("web", *WEB)
        raise errors.OpExecError("no")

    with pytest.raises(errors.OpExecError):
        adopt.finish(stock, unit, (print,), {})
    assert len(unit.rpc.renamed) == 1


def test_no_instance_is_made_of_images_that_somebody_took(unit):
    unit.rpc.refusals[1] = "the image rbd/old0 is in use at 192.0.2.1"
    with pytest.raises(errors.OpExecError) as caught:
        adopt.finish(pytest.fail, unit, (print,), {})
    assert str(caught.value) == (
        "no image was adopted: the image rbd/old0 is in use at 192.0.2.1"
    )
    assert [disk["adopt"] for disk in unit.disks] == ["old0", "old1"]


# Telling whose they are


WEB = [("rbd", "old0", {}), ("rbd", "old1", {"pool": "ssd"})]


def test_adopted_images_tell_whose_they_are(unit):
    unit.add("web", *WEB)
    unit.finish()
    assert unit.rpc.told == [
        ("node2", "disk/0", "originstname+web"),
        ("node2", "disk/1", "originstname+web"),
    ]
    assert unit.warnings == []


@pytest.mark.parametrize("why", ["no adoption", "another template"])
def test_images_that_were_not_adopted_have_told_it_already(unit, why):
    unit.add("web", *WEB)
    if why == "no adoption":
        unit.adopt_disks = False
    else:
        unit.op.disk_template = constants.DT_PLAIN
    unit.finish()
    assert unit.rpc.told == unit.rpc.renamed == []


def test_an_image_that_cannot_tell_it_is_a_warning(unit):
    unit.add("web", *WEB)
    unit.rpc.fail_msg = "cannot describe the image: 100% full"
    unit.finish()
    assert unit.warnings == [
        f"the image of disk/{index} does not tell whose it is: cannot describe the"
        " image: 100% full"
        for index in range(2)
    ]


def test_an_instance_that_could_not_be_made_tells_nothing(unit):
    unit.add("web", *WEB)
    with pytest.raises(errors.OpExecError):
        adopt.finish(failing, unit, (print,), {})
    assert unit.rpc.told == []


# New numbers


def remove_first(unit):
    """Take an instance's first disk away, as Ganeti does."""

    def change():
        guest = unit.cfg.find("web")
        del unit.cfg._stored[guest.disks.pop(0)]
        for index, uuid in enumerate(guest.disks):
            unit.cfg._stored[uuid].iv_name = f"disk/{index}"

    return change


def test_disks_that_got_another_number_tell_it(unit):
    unit.add("web", *WEB, ("rbd", "old2", {}))
    unit.renumber(remove_first(unit))
    assert [(node, name) for node, name, _ in unit.rpc.told] == [
        ("node2", "disk/0"),
        ("node2", "disk/1"),
    ]


def test_disks_that_keep_their_number_and_new_ones_tell_nothing(unit):
    unit.add("web", *WEB)

    def add():
        new = objects.Disk(dev_type="rbd", iv_name="disk/2", uuid="new", params={})
        unit.cfg._stored["new"] = new
        unit.cfg.find("web").disks.append("new")

    unit.renumber(add)
    assert unit.rpc.told == []


def test_disks_of_another_template_tell_nothing(unit):
    unit.add("web", ("plain", "a", {}), ("plain", "b", {}))
    unit.renumber(remove_first(unit))
    assert unit.rpc.told == []
