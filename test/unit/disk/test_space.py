"""The room in a pool: what Ceph says, what nodes tell, and what jobs ask for."""

import json
import types

import fakes
import pytest
from ganeti import backend, constants, objects, ssconf
from ganeti.client import gnt_node

from ganeti_ceph import cephconf
from ganeti_ceph.disk import options, report, space, units
from ganeti_ceph.disk.options import DiskOptions
from ganeti_ceph.disk.space import Space
from ganeti_ceph.errors import CephError
from ganeti_ceph.node import files

MIB = 2**20
RADOS = constants.ST_RADOS


def pool(name, stored, free, **stats):
    """Return a pool as ``ceph df detail`` tells of it, in mebibytes."""
    stats = {"stored": stored * MIB, "max_avail": free * MIB, **stats}
    return {"name": name, "stats": stats}


@pytest.fixture
def ceph(storage, monkeypatch, tmp_path):
    """A storage cluster with three pools, used by a node with both keyrings."""
    storage.answers["df"] = {
        "pools": [pool("rbd", 100, 900), pool("ssd", 0, 50), pool("cold", 7, 7000)]
    }
    storage.images = {name: {} for name in ("rbd", "ssd", "cold")}
    monkeypatch.setattr(files, "keyring", lambda user: tmp_path / user)
    (tmp_path / "ganeti").touch()
    return storage


def refuse(monkeypatch, number):
    """Let nobody connect."""

    def connect(*_, **__):
        raise CephError("no way", number)

    monkeypatch.setattr(space.ceph, "connect", connect)


# What Ceph says


@pytest.mark.parametrize(("release", "free"), [("trixie", 9493), ("bookworm", 9301)])
def test_real_answers_are_understood(release, free):
    answer = json.loads(fakes.recorded(release, "df-detail.json"))
    assert space.of_pool(answer, "rbd") == Space("rbd", free, free)
    limited = space.of_pool(answer, "ssd")
    assert limited.size == 1024
    assert 0 < limited.free < 1024


@pytest.mark.parametrize(
    ("quota", "size", "free"),
    [
        (0, 1000, 900),
        (2000, 1000, 900),
        (1000, 1000, 900),
        (300, 300, 200),
        # A quota that was set when more was stored already.
        (60, 60, 0),
    ],
)
def test_a_quota_counts_where_it_is_smaller(quota, size, free):
    answer = {"pools": [pool("rbd", 100, 900, quota_bytes=quota * MIB)]}
    found = space.of_pool(answer, "rbd")
    assert (found.size, found.free, found.used) == (size, free, size - free)


def test_a_full_pool_has_no_room():
    assert space.of_pool({"pools": [pool("rbd", 9, 0)]}, "rbd") == Space("rbd", 9, 0)


def test_one_question_is_asked_as_the_disks_user(ceph):
    wanted = DiskOptions(user="ganeti", conf="/etc/ceph/far.conf")
    assert space.ask(wanted, "ssd") == Space("ssd", 50, 50)
    assert ceph.commands == [("df", {"detail": "detail"})]
    assert ceph.clients == [("/etc/ceph/far.conf", "client.ganeti")]


def test_the_room_is_where_the_data_lies(ceph):
    assert space.ask(DiskOptions(data_pool="cold"), "ssd").pool == "cold"
    ceph.options["rbd_default_data_pool"] = "cold"
    assert space.ask(DiskOptions(), "ssd").pool == "cold"


def test_ceph_names_the_pool_where_nobody_does(ceph):
    assert space.ask(DiskOptions(), None).pool == "rbd"
    ceph.options["rbd_default_pool"] = "ssd"
    assert space.ask(DiskOptions(), None).pool == "ssd"


def test_the_data_pool_that_was_kept_with_ceph_s_pool_has_the_room(ceph):
    ceph.kept = {"rbd": {"ganeti-data-pool": "cold"}, "ssd": {"other": "cold"}}
    assert space.ask(DiskOptions(), None).pool == "cold"
    # Who names a pool says all.
    assert space.ask(DiskOptions(), "rbd").pool == "rbd"
    ceph.options["rbd_default_pool"] = "ssd"
    assert space.ask(DiskOptions(), None).pool == "ssd"


def test_a_missing_pool_is_told(ceph):
    with pytest.raises(CephError, match="has no pool nosuch; create it") as caught:
        space.ask(DiskOptions(), "nosuch")
    assert caught.value.errno == 2


def test_nothing_takes_longer_than_ten_seconds(ceph, monkeypatch):
    given = {}

    def make(**arguments):
        given.update(arguments["conf"])
        return ceph.rados()

    monkeypatch.setattr(space.ceph.rados, "Rados", make)
    space.ask(DiskOptions(), "rbd")
    # To connect, and to answer.
    assert int(given["client_mount_timeout"]) + int(given["rados_mon_op_timeout"]) <= 10


# What a node tells


def told(*node_units, asked=True):
    """Return what a node tells of storage when luxid asks for these units."""
    stock = [{"type": unit[0], "name": unit[1]} for unit in node_units]
    given = ([list(unit) for unit in node_units] if asked else None, [])
    boot_id, storage, hypervisors = report.node_info(
        lambda *_: ("boot", stock if asked else None, ["hypervisor"]), None, given, {}
    )
    assert (boot_id, hypervisors) == ("boot", ["hypervisor"])
    return storage


GIB = 2**30


def memory(
    monkeypatch,
    resident,
    *tags,
    hypervisors=None,
    conf=cephconf.HEADER,
    names=("kvm",),
):
    """Return what a node tells of its memory whose OSDs have so much."""
    monkeypatch.setattr(report.files, "read", lambda _: conf)
    monkeypatch.setattr(report.osd_memory, "resident", lambda: resident)
    monkeypatch.setattr(ssconf.SimpleStore, "GetClusterTags", lambda _: list(tags))
    stock = hypervisors or [
        {"memory_total": 65536, "memory_free": 30000, "memory_dom0": 5000}
    ]
    specs = [(name, {}) for name in names]
    *_, found = report.node_info(
        lambda *_: ("boot", None, stock), None, (None, specs), {}
    )
    return found


@pytest.mark.parametrize(
    ("resident", "tags", "free", "dom0"),
    [
        # Two that are sure of 2 GiB each, and have 1.
        ([GIB, GIB], [], 30000 - 2048, 5000 + 2048),
        # They give back what they have beyond that.
        ([5 * GIB], [], 30000 + 3072, 5000 - 3072),
        ([GIB], ["ceph:osd-memory:4G"], 30000 - 3072, 5000 + 3072),
        ([GIB] * 99, ["ceph:osd-memory:4G"], 0, 5000 + 99 * 3072),
        ([], [], 30000, 5000),
    ],
)
def test_what_osds_are_sure_of_is_not_free(monkeypatch, resident, tags, free, dom0):
    (found,) = memory(monkeypatch, resident, *tags)
    assert (found["memory_free"], found["memory_dom0"]) == (free, dom0)
    assert found["memory_total"] == 65536


@pytest.mark.parametrize("conf", [None, "[global]\nfsid = another's\n"])
def test_osds_of_another_ceph_are_none_of_our_business(monkeypatch, conf):
    (found,) = memory(monkeypatch, [5 * GIB], conf=conf)
    assert (found["memory_free"], found["memory_dom0"]) == (30000, 5000)


def test_a_hypervisor_that_tells_no_memory_is_let_be(monkeypatch):
    stock = [None, {"hv_version": 1}]
    names = ["kvm", "kvm"]
    assert memory(monkeypatch, [GIB], hypervisors=stock, names=names) == stock


def test_instances_that_take_no_memory_of_the_host_get_what_there_is(monkeypatch):
    (found,) = memory(monkeypatch, [GIB], names=["xen-pvm"])
    assert found["memory_free"] == 30000


def test_parameters_that_cannot_be_read_leave_the_memory_as_it_is(monkeypatch):
    (found,) = memory(monkeypatch, [GIB], "ceph:osd-memory:many")
    assert found["memory_free"] == 30000


ROOM = {"type": RADOS, "name": "rbd", "storage_size": 1000, "storage_free": 900}
FILE = (constants.ST_FILE, "/srv", [])
VG = (constants.ST_LVM_VG, "xenvg", [False])
PV = (constants.ST_LVM_PV, "xenvg", [False])


def test_a_node_adds_the_pool_that_luxid_does_not_ask_for(ceph):
    assert told() == [ROOM]
    # luxid shows the first.
    assert [one["type"] for one in told(FILE, PV)] == [RADOS, "file", "lvm-pv"]


@pytest.mark.parametrize("unit", [VG, (RADOS, "rbd", [{}])])
def test_a_node_adds_nothing_to_what_has_to_be_first(ceph, unit):
    assert [one["type"] for one in told(unit)] == [unit[0]]
    assert ceph.clients == []


def test_a_node_adds_nothing_where_no_storage_is_asked_for(ceph):
    assert told(asked=False) is None
    assert ceph.clients == []


def test_ceph_names_the_pool_that_a_node_shows(ceph):
    ceph.options["rbd_default_pool"] = "ssd"
    assert told()[0]["name"] == "ssd"


def test_a_node_asks_as_the_user_whose_key_it_has(ceph, tmp_path):
    told()
    (tmp_path / "ganeti").unlink()
    told()
    assert [user for _, user in ceph.clients] == ["client.ganeti", "client.admin"]


def test_a_node_without_storage_adds_nothing(ceph, monkeypatch):
    # No ceph.conf; a cluster without the pool looks the same.
    refuse(monkeypatch, 2)
    assert [one["type"] for one in told(FILE)] == ["file"]


def test_a_cluster_that_does_not_answer_leaves_the_room_unknown(ceph):
    ceph.reachable = False
    room, other = told(FILE)
    assert (room["type"], room["storage_size"], room["storage_free"]) == (
        RADOS,
        None,
        None,
    )
    # luxid takes nothing but a text.
    assert room["name"] == ""
    assert other["type"] == "file"


def test_a_job_gets_the_pool_that_it_names(ceph):
    functions = {RADOS: None}
    report.extend_info_functions(functions)
    params = [{"user-id": "ganeti"}]
    assert functions[RADOS]("ssd", params) == {
        "type": RADOS,
        "name": "ssd",
        "storage_size": 50,
        "storage_free": 50,
    }


@pytest.mark.parametrize("params", [{}, {"user-id": "a b"}])
def test_a_job_gets_no_failure(ceph, params):
    ceph.reachable = False
    room = report.pool_info("ssd", [params])
    assert (room["name"], room["storage_size"]) == ("ssd", None)


# Listing storage

FIELDS = ["name", "size", "used", "free", "allocatable"]


def listed(*wanted, name=None, fields=FIELDS):
    types = {}
    report.extend_storage_types(types)
    return types[RADOS](list(wanted)).List(name, fields)


def test_pools_are_listed(ceph):
    assert listed({"pool": "rbd"}, {"pool": "cold"}) == [
        ["rbd", 1000, 100, 900, True],
        ["cold", 7007, 7, 7000, True],
    ]
    assert listed({"pool": "rbd"}, fields=["free", "name"]) == [[900, "rbd"]]


def test_one_pool_is_listed(ceph):
    rows = listed({"pool": "rbd"}, {"pool": "cold"}, name="cold", fields=["name"])
    assert rows == [["cold"]]


def test_a_pool_of_another_storage_cluster_has_another_name(ceph):
    far = {"pool": "rbd", "ceph-conf": "/etc/ceph/far.conf", "user-id": "far"}
    shown = ["rbd", "rbd:conf=/etc/ceph/far.conf"]
    assert listed({"pool": "rbd"}, far, fields=["name"]) == [[one] for one in shown]
    for one in shown:
        assert listed({"pool": "rbd"}, far, name=one, fields=["name"]) == [[one]]


def test_pools_that_a_node_does_not_have_are_not_listed(ceph, monkeypatch):
    assert listed({"pool": "nosuch"}, {"pool": "rbd"}, fields=["name"]) == [["rbd"]]
    refuse(monkeypatch, 2)
    assert listed({"pool": "rbd"}) == []


def test_a_dead_cluster_is_a_failure_of_the_listing(ceph):
    ceph.reachable = False
    with pytest.raises(backend.RPCFail, match="look at the mons"):
        listed({"pool": "rbd"})


# What jobs ask for


class Config:
    """Two node groups with a node each, the second one with a pool of its own."""

    def __init__(self):
        self.groups = {
            name: objects.NodeGroup(uuid=name, name=name) for name in ("near", "far")
        }
        self.disks = {}

    def GetNodeInfo(self, uuid):
        return objects.Node(uuid=uuid, group=uuid.removesuffix("-node"))

    def GetNodeGroup(self, uuid):
        return self.groups[uuid]

    def GetAllNodeGroupsInfo(self):
        return self.groups

    def GetGroupDiskParams(self, group):
        own = {"pool": "far", "user-id": "x"} if group.name == "far" else {}
        return {"rbd": {"pool": "rbd", "access": "userspace", **own}}

    def GetAllDisksInfo(self):
        return self.disks


NODES = ["near-node", "far-node"]
NEAR = {
    "pool": "rbd",
    "data-pool": "",
    "user-id": "admin",
    "ceph-conf": "/etc/ceph/ceph.conf",
}
FAR = {**NEAR, "pool": "far", "user-id": "x"}


class Rpc:
    """Answers of nodes to ``node_info``; the stock ones know no pools."""

    def __init__(self, stock=(), offline=()):
        self.stock, self.offline = stock, offline
        self.calls = []

    def call_node_info(self, uuids, asked, specs):
        self.calls.append((list(uuids), asked, specs))
        return {uuid: self._answer(uuid, asked) for uuid in uuids}

    def _answer(self, uuid, asked):
        offline = uuid in self.offline
        failed = offline or (uuid in self.stock and asked)
        return types.SimpleNamespace(fail_msg="no" if failed else "", offline=offline)


def asked_nodes(rpc, template="rbd"):
    """Return the answers that an allocator gets."""
    cluster = objects.Cluster(hvparams={"kvm": {"a": 1}})
    return units.ask_nodes(
        lambda *_: "stock",
        types.SimpleNamespace(cfg=Config(), rpc=rpc),
        ([template], NODES, cluster, "kvm"),
        {},
    )


def test_an_allocator_asks_each_node_for_its_groups_pool():
    rpc = Rpc()
    assert set(asked_nodes(rpc)) == set(NODES)
    wanted = {
        "near-node": [(RADOS, "rbd", [NEAR])],
        "far-node": [(RADOS, "far", [FAR])],
    }
    assert rpc.calls == [(NODES, wanted, [("kvm", {"a": 1})])]


def test_a_node_without_the_extension_is_asked_as_ganeti_does():
    rpc = Rpc(stock=["far-node"])
    answers = asked_nodes(rpc)
    assert rpc.calls[1] == (["far-node"], [], [("kvm", {"a": 1})])
    assert not any(answer.fail_msg for answer in answers.values())


def test_a_node_that_is_offline_is_not_asked_twice():
    rpc = Rpc(offline=["far-node"])
    assert asked_nodes(rpc)["far-node"].offline
    assert len(rpc.calls) == 1


def test_other_templates_are_ganetis():
    rpc = Rpc()
    assert asked_nodes(rpc, "plain") == "stock"
    assert rpc.calls == []


@pytest.mark.parametrize(
    ("infos", "template", "expected"),
    [
        ([{"type": "file"}, ROOM], "rbd", (1000, 900, 0, 0)),
        # Instance allocators take nothing but numbers.
        ([{**ROOM, "storage_size": None, "storage_free": None}], "rbd", (0, 0, 0, 0)),
        ([], "rbd", (0, 0, 0, 0)),
        ([ROOM], "file", "stock"),
    ],
)
def test_an_allocator_is_told_numbers(infos, template, expected):
    found = units.storage_of_node(
        lambda *_: "stock", None, (infos, "node", template), {}
    )
    assert found == expected


@pytest.mark.parametrize(
    ("templates", "asked", "chosen"),
    [
        (["rbd", "file"], None, RADOS),
        (["file", "rbd"], None, None),
        (["rbd", "file"], "file", "file"),
    ],
)
def test_pools_are_listed_where_rbd_is_the_default(templates, asked, chosen):
    cluster = objects.Cluster(enabled_disk_templates=templates)
    unit = types.SimpleNamespace(
        op=types.SimpleNamespace(storage_type=asked),
        cfg=types.SimpleNamespace(GetClusterInfo=lambda: cluster),
    )
    seen = []
    units.choose_storage(lambda: seen.append(unit.op.storage_type), unit, (), {})
    assert seen == [chosen]


def disk(template, **params):
    return objects.Disk(dev_type=template, params=params)


def arguments(config, storage_type=RADOS):
    return units.storage_arguments(lambda *_: "stock", None, (config, storage_type), {})


def test_the_pools_in_use_are_listed_once():
    config = Config()
    config.disks = {
        "a": disk("rbd", **{"pool": "old", "namespace": "ns", "iops": "5"}),
        "b": disk("rbd", **{"pool": "old", "namespace": "other"}),
        "c": disk("rbd", access="userspace"),
        "d": disk("file", pool="none"),
    }
    assert arguments(config) == [[FAR, {**NEAR, "pool": "old"}, NEAR]]


def test_what_is_asked_for_is_what_the_node_reads():
    ((far, near),) = arguments(Config())
    assert (options.read(far).pool, options.read(far).user) == ("far", "x")
    assert options.read(near) == DiskOptions()


def test_other_storage_is_ganetis():
    assert arguments(Config(), "file") == "stock"


def test_the_command_takes_pools():
    option = types.SimpleNamespace(choices=["file"], help="")
    units.extend_option(option)
    assert option.choices == ["file", RADOS]
    assert option.help == "Storage type (file, rados)"
    assert "choices" in dir(gnt_node._STORAGE_TYPE_OPT)
