"""Databases on shared devices: only those go whose OSDs are no more, and no other."""

import pytest
from fakes import FSID, FakeRunner, make_device

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import databases, devices

OTHER_CLUSTER = "99999999-aaaa-4bbb-8ccc-dddddddddddd"
GONE, BEGUN, LIVE = "gone", "begun", "live"


class Node:
    """A node with a db-device, /dev/nvme0, and what its logical volumes are."""

    def __init__(self, monkeypatch, tmp_path):
        self.run = FakeRunner()
        self.wiped = []
        self.used = {}
        self.mapper = tmp_path
        self._lines = []
        self._segments = []
        monkeypatch.setattr(databases, "_MAPPER", tmp_path)
        monkeypatch.setattr(devices, "look", lambda path, run: make_device(path))
        monkeypatch.setattr(
            devices, "wipe", lambda device, run: self.wiped.append(device.path)
        )
        monkeypatch.setattr(
            devices, "volume_user", lambda path: self.used.get(path, "")
        )
        self.run.knows("lvremove")
        self.run.knows("cryptsetup")

    def volume(self, name, osd, kind="db", fsid=FSID, group="ceph-db", more=""):
        """Add a volume of an OSD."""
        tags = f"ceph.cluster_fsid={fsid},ceph.osd_fsid={osd},ceph.osd_id=3"
        tags += f",ceph.type={kind}{more}"
        self._lines.append(f"  {group};{name};id-{name};{tags}\n")
        if group == "ceph-db":
            self._segments.append(f"  {tags};1;{group};{name};9;4\n")

    def remove(self, gone=(GONE, BEGUN), own=(BEGUN,)):
        self.run.knows("lvs", output="".join(self._lines))
        self.run.knows("pvs", output="".join(self._segments))
        databases.remove([("/dev/nvme0", one) for one in gone], FSID, own, self.run)

    def removed(self):
        return [argv[-1] for argv in self.run.calls if argv[0] == "lvremove"]


@pytest.fixture
def node(monkeypatch, tmp_path):
    node = Node(monkeypatch, tmp_path)
    node.volume("db-live", LIVE)
    node.volume("block-live", LIVE, kind="block", group="ceph-sdb")
    return node


def test_only_those_of_osds_that_are_no_more_go(node):
    node.volume("db-gone", GONE)
    node.volume("wal-gone", GONE, kind="wal-of-another-make")
    node.volume("db-foreign", GONE, fsid=OTHER_CLUSTER)
    node.volume("db-elsewhere", "else", group="ceph-other")
    node.remove(own=(GONE, BEGUN))
    assert node.removed() == ["ceph-db/db-gone"]
    assert node.wiped == []


def test_one_whose_data_goes_next_goes_though_that_is_here(node):
    node.volume("db-begun", BEGUN)
    node.volume("block-begun", BEGUN, kind="block", group="ceph-sdc")
    node.remove()
    assert node.removed() == ["ceph-db/db-begun"]


def test_one_whose_data_is_on_this_node_stays(node):
    node.volume("db-begun", BEGUN)
    node.volume("db-gone", GONE)
    node.volume("block-gone", GONE, kind="block", group="ceph-sdc")
    with pytest.raises(ExecError, match=r"db-gone is the database of osd\.3, whose"):
        node.remove()
    assert node.removed() == []


def test_one_that_is_in_use_stays_and_so_do_all_others(node):
    node.volume("db-begun", BEGUN)
    node.volume("db-gone", GONE)
    node.used["/dev/ceph-db/db-gone"] = "held by dm-7"
    with pytest.raises(ExecError, match="db-gone is in use: held by dm-7"):
        node.remove()
    assert node.removed() == []


@pytest.mark.parametrize(
    ("more", "is_open", "closed"),
    [
        (",ceph.encrypted=1", True, True),
        (",ceph.encrypted=1", False, False),
        (",ceph.encrypted=0", True, False),
    ],
)
def test_what_its_osd_left_open_is_closed_first(node, more, is_open, closed):
    node.volume("db-gone", GONE, more=more)
    if is_open:
        (node.mapper / "id-db-gone").touch()
    node.remove()
    programs = [one for one in node.run.programs() if one not in ("lvs", "pvs")]
    assert programs == ["cryptsetup", "lvremove"][0 if closed else 1 :]
    if closed:
        assert ["cryptsetup", "close", "id-db-gone"] in node.run.calls


def test_a_group_of_which_nothing_is_left_goes_whole(monkeypatch, tmp_path):
    node = Node(monkeypatch, tmp_path)
    node.volume("db-gone", GONE)
    node.volume("db-begun", BEGUN)
    node.remove()
    assert node.wiped == ["/dev/nvme0"]
    assert node.removed() == []


def test_where_nothing_is_to_go_nothing_goes(node):
    node.remove()
    assert (node.removed(), node.wiped) == ([], [])


@pytest.mark.parametrize(
    ("group", "count", "why"),
    [
        ("dbs", 1, "its volume group dbs is not ceph-volume's"),
        ("ceph-db", 2, "its volume group ceph-db has other devices, too"),
    ],
)
def test_nothing_goes_from_a_group_that_is_not_ceph_volumes_alone(
    node, group, count, why
):
    tags = f"ceph.cluster_fsid={FSID},ceph.osd_fsid={GONE},ceph.osd_id=3,ceph.type=db"
    node._segments = [f"  {tags};{count};{group};db-gone;9;4\n"]
    with pytest.raises(ExecError, match=why):
        node.remove()
    assert node.removed() == node.wiped == []


def test_a_lost_one_s_log_is_not_taken_for_its_data(node):
    node.volume("db-gone", GONE)
    node.volume("wal-gone", GONE, kind="wal", group="ceph-wal")
    node.remove()
    assert node.removed() == ["ceph-db/db-gone"]


@pytest.mark.parametrize("blank", [False, True])
def test_only_those_that_were_not_finished_go_for_their_room(node, monkeypatch, blank):
    node.volume("osd-db-begun", "null")
    node.run.knows("pvs", output="".join(node._segments), code=5 if blank else 0)
    node.run.knows("wipefs", output="" if blank else "0x218,,,LVM2_member\n")
    seen = []

    def unfinished(found, run):
        seen.extend(one.name for one in found)
        return [one for one in found if one.name == "osd-db-begun"]

    monkeypatch.setattr(devices, "unfinished", unfinished)
    databases.remove_unfinished(["/dev/nvme0"], node.run)
    assert seen == ([] if blank else ["db-live", "osd-db-begun"])
    assert node.removed() == ([] if blank else ["ceph-db/osd-db-begun"])
