"""gnt-instance activate-disks: devices of a stopped instance, none of a running one."""

import types

import pytest
from fakes import FakeConfig, FakeRpc, make_nodes
from ganeti import constants, errors, objects
from ganeti.hypervisor.hv_base import HvInstanceState

from ganeti_ceph import wire
from ganeti_ceph.disk import activate
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import DiskFacts
from ganeti_ceph.rpc import DisksFacts, LookAtDisks, MapImages, Mapped

NODES = make_nodes(2)
VMS = {"pool": "vms"}


class Nodes(FakeRpc):
    """The nodes, on which an instance may run."""

    def __init__(self):
        super().__init__({node.uuid: node.name for node in NODES})
        self.answers("ceph_map", self._map)
        self.answers("ceph_disks", self._look)
        self.running = False
        #: Whether QEMU opened each image itself; None if the node is silent.
        self.opened = {}
        self.failing = None
        self.mapped = []

    def call_instance_info(self, node, name, hypervisor, hvparams):
        assert (self.names[node], name) == ("node2", "web")
        state = {"state": HvInstanceState.RUNNING} if self.running else {}
        return types.SimpleNamespace(payload=state, Raise=lambda *_, **__: None)

    def _look(self, node, sent):
        assert self.names[node] == "node2"
        if self.opened is None:
            raise ExecError("the connection is gone")
        asked = wire.decode(LookAtDisks, sent)
        assert not asked.images, "Ceph would be asked"
        found = [self.opened.get(volume.image) for _, volume in asked.disks]
        return wire.encode(
            DisksFacts(tuple(DiskFacts(None, None, None, one) for one in found))
        )

    def _map(self, node, sent):
        assert self.names[node] == "node2"
        if self.failing:
            raise self.failing
        asked = wire.decode(MapImages, sent)
        self.mapped += asked.images
        return wire.encode(
            Mapped(tuple(f"/dev/loop{index}" for index, _ in enumerate(asked.images)))
        )


class Unit:
    """Ganeti's unit that activates the disks of an instance on node2."""

    def __init__(self):
        self.cfg, self.rpc = FakeConfig(), Nodes()
        self.cfg.add_group("default", NODES)
        cluster = self.cfg._stored["cluster"]
        cluster.diskparams[constants.DT_RBD] = {"pool": "rbd", "mapper": "nbd"}
        cluster.hvparams, cluster.os_hvp = {}, {}
        self.instance = None
        self.happened = []

    def set_access(self, access):
        self.cfg._stored["cluster"].diskparams["rbd"]["access"] = access

    def add(self, *disks):
        """Add the instance with (template, image, parameters) as its disks."""
        made = [
            objects.Disk(
                dev_type=template,
                iv_name=f"disk/{index}",
                logical_id=("rbd", image),
                params=params,
            )
            for index, (template, image, params) in enumerate(disks)
        ]
        self.cfg.add_guest("web", NODES[1], made)
        self.instance = self.cfg.find("web")
        guest = self.instance
        guest.hypervisor, guest.hvparams, guest.os = constants.HT_KVM, {}, "os"

    def check(self):
        def stock():
            self.happened.append("checked")
            return "as Ganeti says"

        assert activate.check(stock, self, (), {}) == "as Ganeti says"

    def execute(self):
        """Return what is told; Ganeti has links for the disks that it knows."""
        self.check()

        def stock(feedback):
            self.happened.append("activated")
            return [
                ("node2", disk.iv_name, None)
                if self.ceph_disks.get(disk.iv_name)
                else ("node2", disk.iv_name, f"/dev/of/{disk.iv_name}")
                for disk in self.cfg.GetInstanceDisks(self.instance.uuid)
            ]

        return activate.execute(stock, self, (print,), {})


@pytest.fixture
def unit():
    return Unit()


@pytest.fixture
def three(unit):
    """An instance with two disks in userspace access and one of another template."""
    unit.set_access("userspace")
    unit.add(
        ("rbd", "web0", VMS),
        ("plain", "lv", {}),
        ("rbd", "web2", {"mapper": "fuse", "user-id": "joe"}),
    )


def test_the_disks_of_a_stopped_instance_get_devices(unit, three):
    assert unit.execute() == [
        ("node2", "disk/0", "/dev/loop0"),
        ("node2", "disk/1", "/dev/of/disk/1"),
        ("node2", "disk/2", "/dev/loop1"),
    ]
    assert unit.rpc.mapped == [
        (Volume("vms", "web0"), Mapper.NBD),
        (Volume("rbd", "web2", user="joe"), Mapper.FUSE),
    ]


def test_ganeti_activates_its_disks_first(unit, three):
    unit.rpc.failing = ExecError("no mapper works on this node")
    with pytest.raises(errors.OpExecError):
        unit.execute()
    assert unit.happened == ["checked", "activated"]


def test_the_primary_node_says_why_there_is_no_device(unit, three):
    unit.rpc.failing = ExecError("no mapper works on this node")
    with pytest.raises(errors.OpExecError) as caught:
        unit.execute()
    assert str(caught.value) == "node2: no mapper works on this node"


@pytest.mark.parametrize("opened", [{}, {"web0": True, "web2": True}, None])
def test_while_the_instance_runs_it_is_refused(unit, three, opened):
    unit.rpc.running, unit.rpc.opened = True, opened
    with pytest.raises(errors.OpPrereqError) as caught:
        unit.execute()
    text, code = caught.value.args
    assert text.startswith("web runs, and QEMU has its disks open;")
    assert text.endswith("stop the instance first")
    assert code == errors.ECODE_STATE
    assert (unit.happened, unit.rpc.mapped) == (["checked"], [])


def test_what_it_runs_with_decides_and_not_what_is_configured(unit):
    unit.set_access("kernelspace")
    unit.rpc.running, unit.rpc.opened = True, {"web0": True}
    unit.add(("rbd", "web0", VMS))
    with pytest.raises(errors.OpPrereqError, match="QEMU has its disks open"):
        unit.execute()
    assert unit.rpc.mapped == []


def test_disks_that_are_mapped_are_activated_while_it_runs(unit, three):
    unit.rpc.running, unit.rpc.opened = True, {"web0": False, "web2": False}
    unit.execute()
    assert [volume.image for volume, _ in unit.rpc.mapped] == ["web0", "web2"]


@pytest.mark.parametrize("access", ["kernelspace", None])
@pytest.mark.parametrize("running", [True, False])
def test_disks_that_qemu_does_not_open_are_ganeti_s_affair(unit, access, running):
    if access:
        unit.set_access(access)
    unit.rpc.running = running
    unit.add(("rbd", "web0", VMS), ("plain", "lv", {}))
    assert unit.execute() == [
        ("node2", "disk/0", "/dev/of/disk/0"),
        ("node2", "disk/1", "/dev/of/disk/1"),
    ]
    assert unit.rpc.mapped == []


def test_the_access_of_a_disk_of_its_own_goes_before_the_default(unit):
    unit.set_access("kernelspace")
    unit.add(("rbd", "web0", {**VMS, "access": "userspace"}), ("rbd", "web1", VMS))
    unit.execute()
    assert [volume.image for volume, _ in unit.rpc.mapped] == ["web0"]


def test_userspace_access_of_another_template_is_not_meant(unit):
    unit.add(("gluster", "web0", {"access": "userspace"}))
    unit.execute()
    assert unit.rpc.sent == []


def test_what_ganeti_refuses_is_refused_first(unit, three):
    def stock():
        raise errors.OpPrereqError("node2 is offline", errors.ECODE_STATE)

    unit.rpc.running = True
    with pytest.raises(errors.OpPrereqError, match="node2 is offline"):
        activate.check(stock, unit, (), {})
