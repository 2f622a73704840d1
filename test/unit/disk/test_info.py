"""gnt-instance info: access, image, watchers, and no block device where none is."""

import dataclasses
import types

import pytest
from fakes import FakeConfig, FakeRpc, make_node
from ganeti import constants
from ganeti.client import gnt_instance

from ganeti_ceph import wire
from ganeti_ceph.disk import info
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import DiskFacts, ImageFacts
from ganeti_ceph.rpc import DisksFacts, LookAtDisks

MIB = 2**20
NAME = "web.rbd.disk0"
NODES = [
    make_node("node1", secondary_ip="198.51.100.1"),
    make_node("node2", secondary_ip="198.51.100.2"),
]
IMAGE = ImageFacts(
    size=1024 * MIB,
    used=512 * MIB,
    features=("layering", "fast-diff"),
    watchers=(),
    snapshots=(),
    metadata=(("ganeti.instance", "web"),),
)
FACTS = DiskFacts(IMAGE, None, None, None)
USAGE = ("image state", "512M used of 1.0G")
FEATURES = ("image features", "layering, fast-diff")
NO_WATCHERS = ("image watchers", "none")


# What is told of an image


def test_an_image_tells_its_use_features_and_watchers():
    assert info.image_lines(FACTS, {}) == [USAGE, FEATURES, NO_WATCHERS]


def test_watchers_are_named_where_they_are_nodes():
    image = ImageFacts(MIB, 0, (), ("192.0.2.1", "192.0.2.9"), (), ())
    lines = info.image_lines(
        DiskFacts(image, None, None, None), {"192.0.2.1": "node1.example"}
    )
    watchers = dict(lines)["image watchers"]
    assert watchers == "node1.example (192.0.2.1), 192.0.2.9"


def test_snapshots_are_told_where_there_are_some():
    image = ImageFacts(MIB, 0, (), (), ("monday", "tuesday"), ())
    lines = info.image_lines(DiskFacts(image, None, None, None), {})
    assert lines[-1] == ("image snapshots", "monday, tuesday")


def test_a_use_that_only_a_look_at_each_object_would_tell_is_not_made_up():
    image = ImageFacts(MIB, None, ("layering",), (), (), ())
    lines = info.image_lines(DiskFacts(image, None, None, None), {})
    assert lines[0] == ("image state", "unknown (no fast-diff) used of 1M")


def test_an_object_map_that_is_invalid_is_said_with_what_mends_it():
    facts = dataclasses.replace(IMAGE, used=None)
    state, *_ = info.image_lines(DiskFacts(facts, None, None, None), {})
    assert state == (
        "image state",
        "unknown (invalid object map, see 'rbd object-map rebuild') used of 1.0G",
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (DiskFacts(None, None, None, None), "missing"),
        (DiskFacts(None, "no pool vms", None, None), "unknown: no pool vms"),
    ],
)
def test_an_image_that_is_missing_is_no_unknown_one(facts, said):
    assert info.image_lines(facts, {}) == [("image state", said)]


@pytest.mark.parametrize(
    ("access", "running", "told"),
    [
        ("userspace", None, None),
        ("kernelspace", None, None),
        ("userspace", True, None),
        ("kernelspace", False, None),
        ("userspace", False, "kernelspace, until the instance is started anew"),
        ("kernelspace", True, "userspace, until the instance is started anew"),
    ],
)
def test_what_runs_is_told_where_something_else_is_configured(access, running, told):
    lines = info.running_lines(access, DiskFacts(None, None, None, running))
    assert lines == ([("access now", told)] if told else [])


# In the job


class Query:
    """The job behind gnt-instance info, of instances on node1."""

    def __init__(self):
        self.cfg = FakeConfig()
        self.cfg.add_group("default", NODES)
        cluster = self.cfg._stored["cluster"]
        cluster.diskparams[constants.DT_RBD] = {"pool": "vms"}
        self.rpc = FakeRpc({node.uuid: node.name for node in NODES})
        self.rpc.answers("ceph_disks", self._answer)
        self.op = types.SimpleNamespace(static=False)
        #: What the node answers of all disks, or why it does not.
        self.facts = FACTS
        #: What was asked.
        self.asked = []

    def _answer(self, node, sent):
        assert self.rpc.names[node] == "node1"
        asked = wire.decode(LookAtDisks, sent)
        self.asked.append(asked)
        if isinstance(self.facts, Exception):
            raise self.facts
        return wire.encode(DisksFacts(tuple(self.facts for _ in asked.disks)))

    def status(self, guest, disk):
        """Return what is added to a disk's status."""
        shown = info.add_image(
            lambda *_: {"mode": "rw"}, self, (guest, None, None, disk), {}
        )
        assert shown.pop("mode") == "rw"
        return shown.get("ceph")

    def statuses(self, name="web"):
        """Return that of all disks, whose parameters Ganeti has filled in."""
        guest = self.cfg.find(name)
        disks = self.cfg.GetInstanceDisks(guest.uuid)
        for disk in disks:
            disk.params = {"pool": "vms", **disk.params}
        return [self.status(guest, disk) for disk in disks]


@pytest.fixture
def query():
    return Query()


@pytest.fixture
def web(query, disk_of):
    """An instance with two disks, of which the second is elsewhere."""
    disks = [disk_of(), disk_of("kernelspace", **{"pool": "ssd", "user-id": "joe"})]
    del disks[0].params["pool"]
    query.cfg.add_guest("web", NODES[0], disks)


def test_access_and_image_of_each_disk_are_told(query, web):
    rest = [USAGE, FEATURES, NO_WATCHERS]
    assert query.statuses() == [
        [("access", "userspace"), ("image", f"vms/{NAME}"), *rest],
        [("access", "kernelspace"), ("image", f"ssd/{NAME}"), *rest],
    ]


def test_what_runs_stands_beside_what_is_configured(query, web):
    query.facts = DiskFacts(IMAGE, None, None, True)
    first, second = query.statuses()
    assert [name for name, _ in first[:2]] == ["access", "image"]
    assert [name for name, _ in second[:3]] == ["access", "access now", "image"]


def test_the_primary_node_is_asked_once_for_all_disks_of_an_instance(query, web):
    query.statuses()
    query.statuses()
    (asked,) = query.asked
    assert asked == LookAtDisks(
        "web",
        (
            ("disk0-of-web", Volume("vms", NAME)),
            ("disk1-of-web", Volume("ssd", NAME, user="joe")),
        ),
    )


def test_each_instance_is_asked_about_for_itself(query, web, disk_of):
    query.cfg.add_guest("db", NODES[0], [disk_of()])
    query.statuses("web")
    query.statuses("db")
    assert [one.instance for one in query.asked] == ["web", "db"]


@pytest.mark.parametrize("address", [NODES[1].primary_ip, NODES[1].secondary_ip])
def test_a_node_is_known_by_both_its_addresses(query, web, address):
    image = ImageFacts(MIB, 0, (), (address,), (), ())
    query.facts = DiskFacts(image, None, None, None)
    first, _ = query.statuses()
    assert dict(first)["image watchers"] == f"node2 ({address})"


def test_a_node_that_does_not_answer_is_asked_once_and_said(query, web):
    query.facts = ExecError("it is on fire")
    for status in query.statuses():
        assert status[2:] == [("image state", "unknown: it is on fire")]
    assert len(query.asked) == 1


def test_a_failure_of_one_image_is_said(query, web):
    query.facts = DiskFacts(None, "no answer within 20 s", None, None)
    first, _ = query.statuses()
    assert first[2:] == [("image state", "unknown: no answer within 20 s")]


@pytest.mark.parametrize("why", ["static", "offline"])
def test_nobody_is_asked_where_nobody_shall_or_can_be(query, web, why):
    query.op.static = why == "static"
    query.cfg.find("node1").offline = why == "offline"
    assert query.statuses() == [
        [("access", "userspace"), ("image", f"vms/{NAME}")],
        [("access", "kernelspace"), ("image", f"ssd/{NAME}")],
    ]
    assert query.asked == []


def test_a_disk_that_ganeti_does_not_know_yet_is_told_without_its_state(
    query, web, disk
):
    disk.uuid = "new"
    assert query.status(query.cfg.find("web"), disk) == [
        ("access", "userspace"),
        ("image", f"vms/{NAME}"),
    ]


def test_a_parameter_that_is_wrong_is_said_and_hides_no_other_disk(query, disk_of):
    bad = disk_of(**{"user-id": "a b"})
    query.cfg.add_guest("web", NODES[0], [disk_of(), bad])
    first, second = query.statuses()
    assert USAGE in first
    (_, (name, said)) = second
    assert name == "image"
    assert said.startswith("unknown: the disk parameter user-id cannot be 'a b'")


@pytest.mark.parametrize(
    ("given", "told"), [("userspace", "userspace"), (None, "kernelspace")]
)
def test_a_disk_of_another_template_with_access_modes_tells_its_own(
    query, disk_of, given, told
):
    disk = disk_of(given, constants.DT_GLUSTER)
    assert query.status(None, disk) == [("access", told)]
    assert query.asked == []


def test_a_disk_without_access_modes_tells_nothing(query, disk_of):
    assert query.status(None, disk_of(None, constants.DT_PLAIN)) is None


# What gnt-instance prints


DISK = {
    "iv_name": "disk/0",
    "size": 1024,
    "dev_type": "rbd",
    "spindles": None,
    "mode": "rw",
    "logical_id": ("rbd", NAME),
    "pstatus": (None, None, None, None, None, False, None),
    "sstatus": None,
    "name": None,
    "uuid": "u",
    "children": [],
}


def shown(access="userspace", *more, **changes):
    """Return what gnt-instance prints of a disk, as lists that came from a job."""
    disk = {**DISK, "ceph": [["access", access], *more], **changes}
    stock = gnt_instance._FormatBlockDevInfo
    return info.show_image(stock, None, (0, True, disk, False), {})


def test_a_disk_in_userspace_access_has_no_block_device():
    assert dict(shown())["on primary"] == "no block device"


def test_the_block_device_that_somebody_asked_for_is_shown():
    status = ("/dev/loop7", 7, 7, None, None, False, None)
    lines = dict(shown(pstatus=status))
    assert lines["on primary"] == "/dev/loop7 (7:7)"


@pytest.mark.parametrize(
    ("path", "told"),
    [("/dev/rbd0", "/dev/rbd0 (250:0)"), (None, "no block device")],
)
def test_in_kernelspace_access_it_is_shown_where_there_is_one(path, told):
    status = (path, 250, 0, None, None, False, None)
    assert dict(shown("kernelspace", pstatus=status))["on primary"] == told


def test_a_disk_that_is_not_active_is_shown_as_such():
    assert "on primary" not in dict(shown(pstatus=None))


def test_what_is_told_stands_beside_the_mode_in_its_order():
    lines = shown("userspace", ["image", "vms/x"], ["image state", "missing"])
    names = [name for name, _ in lines]
    place = names.index("access mode")
    assert names[place : place + 4] == ["access mode", "access", "image", "image state"]
    assert all(isinstance(line, tuple) for line in lines)


def test_a_disk_within_a_disk_tells_it_after_its_heading():
    disk = {**DISK, "ceph": [["access", "kernelspace"]]}
    stock = gnt_instance._FormatBlockDevInfo
    lines = info.show_image(stock, None, (0, False, disk, False), {})
    assert [name for name, _ in lines][:3] == ["child 0", "access", "logical_id"]


def test_a_disk_that_tells_nothing_is_shown_as_ever():
    seen = []

    def noting(*arguments):
        seen.append(gnt_instance._FormatBlockDevInfo(*arguments))
        return seen[0]

    disk = {**DISK, "dev_type": "plain", "logical_id": ("vg", "lv"), "pstatus": None}
    assert info.show_image(noting, None, (0, True, disk, False), {}) is seen[0]
