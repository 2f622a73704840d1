"""An instance that goes elsewhere: no disk stays in use, and access stays the same."""

import pytest
from fakes import FakeConfig, FakeResult, FakeRpc, make_nodes
from ganeti import constants, errors, objects

from ganeti_ceph import wire
from ganeti_ceph.disk import migrate
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import DiskFacts
from ganeti_ceph.rpc import DisksFacts, LookAtDisks

NODES = make_nodes(2)
RBD, PLAIN = constants.DT_RBD, constants.DT_PLAIN


class Nodes(FakeRpc):
    """The nodes; the first one is the instance's."""

    def __init__(self):
        super().__init__({node.uuid: node.name for node in NODES})
        self.answers("ceph_disks", self._look)
        self.failing = None
        self.asked = []
        #: (device, whether QEMU opened it) by image.
        self.known = {}

    def _look(self, node, sent):
        assert self.names[node] == "node1"
        if self.failing:
            raise self.failing
        asked = wire.decode(LookAtDisks, sent)
        assert not asked.images, "Ceph would be asked"
        self.asked.append(asked)
        found = [self.known.get(one.image, (None, None)) for _, one in asked.disks]
        return wire.encode(
            DisksFacts(tuple(DiskFacts(None, None, *one) for one in found))
        )


class Work:
    """Ganeti's unit that moves an instance with disks (template, image, access)."""

    def __init__(self, *disks):
        self.cfg, self.rpc = FakeConfig(), Nodes()
        self.cfg.add_group("default", NODES)
        self.cfg._stored["cluster"].diskparams[RBD] = {
            "pool": "vms",
            "access": "userspace",
        }
        made = [
            objects.Disk(
                dev_type=template,
                iv_name=f"disk/{index}",
                logical_id=("rbd", image),
                params={"access": access} if access else {},
            )
            for index, (template, image, access) in enumerate(disks)
        ]
        self.cfg.add_guest("web", NODES[0], made)
        self.lu, self.instance = self, self.cfg.find("web")
        self.source_node_uuid = NODES[0].uuid
        self.warnings = []

    def LogWarning(self, text, *words):
        self.warnings.append(text % words)

    def shut_down(self, result=True, **kwargs):
        def ShutdownInstanceDisks(lu, instance, disks=None, ignore_primary=False):
            return result

        return migrate.shut_down_disks(
            ShutdownInstanceDisks, None, (self, self.instance), kwargs
        )

    def migrate(self):
        return migrate.check_access(lambda: "migrated", self, (), {})


def test_a_disk_in_use_on_the_former_node_keeps_the_instance_there():
    work = Work((RBD, "a", ""), (RBD, "b", ""), (PLAIN, "c", ""))
    work.rpc.known = {"b": ("/dev/loop3", None)}
    assert work.shut_down(ignore_primary=True) is False
    (said,) = work.warnings
    assert said.startswith("disk/1 stays in use on node node1: end what uses it there")
    (asked,) = work.rpc.asked
    assert [volume for _, volume in asked.disks] == [
        Volume("vms", "a"),
        Volume("vms", "b"),
    ]


@pytest.mark.parametrize("result", [True, False])
def test_what_is_mapped_no_more_lets_it_go(result):
    assert Work((RBD, "a", "")).shut_down(result, ignore_primary=True) is result


@pytest.mark.parametrize("why", ["offline", "silent"])
def test_a_node_that_is_lost_lets_it_go(why):
    work = Work((RBD, "a", ""))
    work.rpc.known = {"a": ("/dev/loop3", None)}
    if why == "offline":
        work.cfg.find("node1").offline = True
    else:
        work.rpc.failing = ExecError("connection refused")
    assert work.shut_down(ignore_primary=True) is True


def test_elsewhere_ganeti_hears_of_it_itself():
    work = Work((RBD, "a", ""))
    assert work.shut_down(False) is False
    assert work.rpc.asked == []


def test_no_node_is_asked_about_other_disks():
    assert Work((PLAIN, "a", "")).shut_down(ignore_primary=True) is True
    assert Work((PLAIN, "a", "")).migrate() == "migrated"


@pytest.mark.parametrize(
    ("configured", "opened", "runs"),
    [("", False, "kernelspace"), ("kernelspace", True, "userspace")],
)
def test_another_access_than_configured_does_not_migrate(configured, opened, runs):
    work = Work((RBD, "a", configured))
    work.rpc.known = {"a": (None, opened)}
    with pytest.raises(errors.OpExecError) as caught:
        work.migrate()
    said = str(caught.value)
    assert said.startswith(f"disk/0 runs with access={runs}, while access=")
    assert "'gnt-instance reboot web'" in said


@pytest.mark.parametrize(
    ("configured", "opened"),
    [("", True), ("kernelspace", False), ("", None), ("kernelspace", None)],
)
def test_the_same_access_migrates(configured, opened):
    work = Work((RBD, "a", configured))
    work.rpc.known = {"a": (None, opened)}
    assert work.migrate() == "migrated"


# What a migration left behind

MORE = make_nodes(4)


class Migration:
    """Ganeti's work on a migration of an instance of node1, its cleaning up above all.

    ``running`` and ``mapped`` say on which nodes QEMU runs and the disk is mapped.
    """

    def __init__(self, running=(), mapped=(), cleanup=True):
        self.cleanup, self.target_node_uuid = cleanup, None
        self.cfg, self.rpc = FakeConfig(), FakeRpc({n.uuid: n.name for n in MORE})
        self.cfg.add_group("default", MORE)
        self.cfg._stored["cluster"].hvparams = {"kvm": {"acpi": True}}
        disk = objects.Disk(
            dev_type=RBD, iv_name="disk/0", logical_id=("rbd", "a"), params={}
        )
        self.cfg.add_guest("web", MORE[0], [disk])
        self.cfg.find("web").hypervisor = "kvm"
        self.instance_uuid = self.cfg.find("web").uuid
        self.lu = self
        self.running, self.mapped, self.dead = running, mapped, []
        self.rpc.call_instance_list = self._list
        self.rpc.answers("ceph_disks", self._look)
        self.said = []

    def LogInfo(self, text, *words):
        self.said.append(text % words)

    def _list(self, nodes, hypervisors, params):
        assert (hypervisors, params) == (["kvm"], {"kvm": {"acpi": True}})
        found = {}
        for node in nodes:
            name = self.rpc.names[node]
            assert name != "node1"
            there = ["web", "db"] if name in self.running else ["db"]
            silent = name in self.dead
            found[node] = FakeResult(name, None if silent else there, silent or None)
        return found

    def _look(self, node, sent):
        name = self.rpc.names[node]
        if name in self.dead:
            raise ExecError("no answer")
        device = "/dev/loop1" if name in self.mapped else None
        return wire.encode(DisksFacts((DiskFacts(None, None, device, None),)))

    def choose(self):
        """Return the node's name, or what the allocator says."""
        allocated = migrate.choose_target(lambda: "allocated", self, (), {})
        return allocated or self.rpc.names[self.target_node_uuid]


@pytest.mark.parametrize(
    ("running", "mapped", "chosen"),
    [
        ((), (), "allocated"),
        (("node3",), (), "node3"),
        ((), ("node4",), "node4"),
        # One that runs could write.
        (("node4",), ("node2", "node4"), "node4"),
    ],
)
def test_a_cleanup_is_where_a_migration_left_something(running, mapped, chosen):
    work = Migration(running, mapped)
    assert work.choose() == chosen
    told = [] if chosen == "allocated" else [f"What is left of web is on {chosen}"]
    assert work.said == told


def test_a_migration_goes_where_the_allocator_says():
    work = Migration(("node3",), ("node3",), cleanup=False)
    assert work.choose() == "allocated"
    assert work.rpc.sent == []


def test_nodes_that_do_not_answer_or_are_offline_are_passed_over():
    work = Migration(("node2", "node3"), ("node2", "node3", "node4"))
    work.dead = ["node2"]
    work.cfg.find("node3").offline = True
    assert work.choose() == "node4"
