"""Devices: what they carry and who uses them, and that only what may be is wiped."""

import errno
import json
import os

import pytest
from fakes import FSID, RELEASES, FakeRunner, make_device, make_label, recorded

from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import Database
from ganeti_ceph.node import devices

SIZE = 3 * 2**20


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A file that passes for a block device."""
    path = tmp_path / "sdb"
    path.write_bytes(b"x" * SIZE)
    monkeypatch.setattr(devices.stat, "S_ISBLK", lambda mode: True)
    monkeypatch.setattr(devices, "_STABLE", (str(tmp_path / "by-id"),))
    return path


def carrying(release, content):
    runner = FakeRunner()
    runner.knows(
        "wipefs", "--noheadings", output=recorded(release, f"wipefs-{content}.txt")
    )
    return runner


# Names


def test_plain_paths_are_kept_and_patterns_are_matched(tmp_path):
    for name in ("sdb", "sdc", "vda"):
        (tmp_path / name).touch()
    patterns = [f"{tmp_path}/sd*", f"{tmp_path}/missing", f"{tmp_path}/sdb"]
    assert devices.expand(patterns) == [
        f"{tmp_path}/sdb",
        f"{tmp_path}/sdc",
        f"{tmp_path}/missing",
    ]
    assert devices.expand([f"{tmp_path}/nothing*"]) == []


def test_the_stable_name_is_the_first_that_leads_there(disk, tmp_path):
    (tmp_path / "by-id").mkdir()
    (tmp_path / "sdc").touch()
    for name, target in (("b-2", "sdb"), ("a", "sdc"), ("b-1", "sdb")):
        (tmp_path / "by-id" / name).symlink_to(tmp_path / target)
    found = devices.look(str(disk), carrying("trixie", "blank"))
    assert found.stable_path == f"{tmp_path}/by-id/b-1"


def test_a_device_without_another_name_keeps_its_own(disk):
    assert devices.stable_path(str(disk), str(disk)) == str(disk)


def test_a_name_that_the_administrator_chose_is_kept():
    path = "/dev/disk/by-path/pci-1"
    assert devices.stable_path(path, "/dev/sdb") == path


# What is there


def test_a_device_that_is_missing(tmp_path):
    found = devices.look(f"{tmp_path}/sdz", FakeRunner())
    assert found.real_path == ""
    (tmp_path / "dangling").symlink_to("nowhere")
    assert devices.look(f"{tmp_path}/dangling", FakeRunner()).real_path == ""


def test_what_is_no_block_device_is_not_even_opened(tmp_path):
    (tmp_path / "file").touch()
    found = devices.look(f"{tmp_path}/file", FakeRunner())
    assert found.busy == "it is no block device"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("blank", ""),
        ("ext4", "ext4"),
        ("swap", "swap"),
        ("gpt", "partition table"),
        ("ambivalent", "ext4"),
    ],
)
def test_what_a_device_carries(disk, release, content, words):
    found = devices.look(str(disk), carrying(release, content))
    assert bool(found.content) == (content != "blank")
    assert words in found.content
    assert (found.size, found.busy, found.label) == (SIZE, "", None)


@pytest.mark.parametrize("release", RELEASES)
def test_an_osd_is_known_by_its_label(disk, release):
    runner = carrying(release, "osd")
    label = recorded(release, "show-label.json")
    runner.knows("ceph-bluestore-tool", "show-label", "--dev", str(disk), output=label)
    found = devices.look(str(disk), runner)
    assert found.label.complete
    assert found.label.osd_id is not None
    assert f'"ceph_fsid": "{found.label.fsid}"' in label
    assert f'"osd_uuid": "{found.label.osd_uuid}"' in label
    assert found.content == f"an OSD of the storage cluster {found.label.fsid}"
    assert "AQAAAA" not in repr(found)


def test_the_label_of_an_osd_that_was_not_finished(disk):
    runner = carrying("trixie", "osd")
    runner.knows(
        "ceph-bluestore-tool", output='{"d": {"osd_uuid": "u", "ceph_fsid": "f"}}'
    )
    label = devices.look(str(disk), runner).label
    assert (label.complete, label.osd_id) == (False, None)


def test_the_label_of_metadata_names_no_cluster(disk):
    runner = carrying("trixie", "osd")
    output = '{"d": {"osd_uuid": "u", "description": "bluefs db"}}'
    runner.knows("ceph-bluestore-tool", output=output)
    found = devices.look(str(disk), runner)
    assert (found.label.osd_uuid, found.label.fsid) == ("u", "")
    assert found.content == "the metadata of an OSD"


@pytest.mark.parametrize(("output", "code"), [("", 1), ("no JSON", 0), ("{}", 0)])
def test_what_may_be_an_osd_and_cannot_be_read_is_not_to_be_had(disk, output, code):
    runner = carrying("trixie", "osd")
    runner.knows("ceph-bluestore-tool", output=output, code=code)
    found = devices.look(str(disk), runner)
    assert found.content
    assert found.label is None
    assert "cannot be read" in found.busy


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        ("", None),
        ("backup=yes", None),
        (
            f"ceph.block_device=/dev/vg/lv,ceph.cluster_fsid={FSID},ceph.osd_fsid=u,"
            "ceph.osd_id=4,ceph.type=block",
            make_label(osd_uuid="u", osd_id=4),
        ),
        (f"ceph.cluster_fsid={FSID}", make_label(osd_uuid="", osd_id=None)),
    ],
)
def test_volumes_tell_of_osds_in_their_tags(disk, tags, label):
    runner = carrying("trixie", "lvm")
    runner.knows(
        "pvs", "--noheadings", "--segments", output=f"  {tags};1;ceph-x;osd;9;4\n"
    )
    runner.knows("pvs", "--noheadings", "--options", output="  ceph-x\n")
    found = devices.look(str(disk), runner)
    assert found.label == label
    assert "LVM2_member" in found.content or label is not None


TAGS = f"ceph.cluster_fsid={FSID},ceph.osd_fsid=u,ceph.osd_id=4,ceph.type=block"


def volumes(monkeypatch, tmp_path, *lines):
    """Return a runner for a disk with volumes, whose nodes are in tmp_path."""
    monkeypatch.setattr(devices, "_DEV", tmp_path)
    runner = carrying("trixie", "lvm")
    for line in lines:
        group, name = line.split(";")[2:4]
        (tmp_path / group).mkdir(exist_ok=True)
        if name:
            (tmp_path / group / name).write_bytes(b"x" * SIZE)
    runner.knows("pvs", output="".join(f"  {line};9;4\n" for line in lines))
    return runner


@pytest.mark.parametrize(
    ("types", "ready", "complete"),
    [
        ("", None, False),
        ("ceph_bluestore", "", False),
        ("ceph_bluestore", "ready", True),
        ("crypto_LUKS", None, True),
    ],
)
def test_an_osd_on_a_volume_is_whole_once_bluestore_is_ready(
    disk, monkeypatch, tmp_path, types, ready, complete
):
    runner = volumes(monkeypatch, tmp_path, f"{TAGS};1;ceph-x;osd-block")
    path = str(tmp_path / "ceph-x/osd-block")
    words = ("wipefs", "--noheadings", "--parsable", path)
    runner.knows(*words, output=f"0x0,,,{types}\n" if types else "")
    label = {"osd_uuid": "u", "ready": ready}
    runner.knows("ceph-bluestore-tool", output=json.dumps({path: label}))
    found = devices.look(str(disk), runner)
    assert found.label == make_label(osd_uuid="u", osd_id=4, complete=complete)
    assert found.busy == ""


def test_what_holds_a_volume_holds_its_disk(disk, monkeypatch, tmp_path):
    path = str(tmp_path / "ceph-x/osd-block")
    monkeypatch.setattr(
        devices, "user", lambda real: "held by dm-7" if real == path else "held by dm-0"
    )
    runner = volumes(
        monkeypatch, tmp_path, f"{TAGS},ceph.encrypted=1;1;ceph-x;osd-block"
    )
    found = devices.look(str(disk), runner)
    assert found.busy == f"its volume {path}: held by dm-7"


@pytest.mark.parametrize("tags", ["", "backup=yes"])
def test_a_volume_beside_ceph_s_is_nobody_s_to_destroy(
    disk, monkeypatch, tmp_path, tags
):
    ours = f"{TAGS},ceph.encrypted=1;1;ceph-x;osd"
    runner = volumes(monkeypatch, tmp_path, ours, f"{tags};1;ceph-x;home")
    found = devices.look(str(disk), runner)
    assert found.busy == f"its volume {tmp_path}/ceph-x/home is not Ceph's"


def test_a_group_of_more_than_one_device_is_nobody_s_to_destroy(
    disk, monkeypatch, tmp_path
):
    runner = volumes(monkeypatch, tmp_path, f"{TAGS};2;ceph-x;osd")
    words = ("wipefs", "--noheadings", "--parsable", str(tmp_path / "ceph-x/osd"))
    runner.knows(*words)
    assert "other devices, too" in devices.look(str(disk), runner).busy


DATABASE = f"ceph.cluster_fsid={FSID},ceph.osd_fsid=%s,ceph.osd_id=%d,ceph.type=db"


@pytest.mark.parametrize(
    ("group", "last", "free"), [("ceph-x", "", 8), ("fast", "", 0), ("ceph-x", "d", 0)]
)
def test_a_device_tells_what_databases_it_has_and_what_room(
    disk, monkeypatch, tmp_path, group, last, free
):
    lines = [
        f"{DATABASE % ('u', 4)};1;{group};a",
        f"{DATABASE % ('v', 5)};1;{group};b",
        # The other piece of the first.
        f"{DATABASE % ('u', 4)};1;{group};a",
        f"{TAGS};1;{group};c",
    ]
    runner = volumes(monkeypatch, tmp_path, *lines)
    words = ("wipefs", "--noheadings", "--parsable", str(tmp_path / group / "c"))
    runner.knows(*words)
    text = "".join(f"  {line};3;4\n" for line in lines) + f"  ;1;{group};{last};2;4\n"
    runner.knows("pvs", output=text)
    found = devices.look(str(disk), runner)
    assert found.databases == (Database(FSID, "u", 4, 24), Database(FSID, "v", 5, 12))
    assert found.free == free


def test_a_disk_without_databases_has_no_room_for_any(disk, monkeypatch, tmp_path):
    runner = volumes(monkeypatch, tmp_path, f"{TAGS};1;ceph-x;osd", ";1;ceph-x;")
    words = ("wipefs", "--noheadings", "--parsable", str(tmp_path / "ceph-x/osd"))
    runner.knows(*words)
    found = devices.look(str(disk), runner)
    assert (found.databases, found.free) == ((), 0)


def test_volumes_that_cannot_be_asked_are_not_to_be_had(disk):
    runner = carrying("trixie", "lvm")
    runner.knows("pvs", code=5)
    found = devices.look(str(disk), runner)
    assert found.content == "LVM2_member"
    assert "cannot be read" in found.busy


@pytest.mark.parametrize(("group", "busy"), [("", ""), ("xenvg", "volume group xenvg")])
def test_a_disk_of_a_volume_group_is_in_use_though_no_volume_is(disk, group, busy):
    runner = carrying("trixie", "lvm")
    runner.knows("pvs", "--noheadings", "--segments", output=f"  ;1;{group};;9;4\n")
    runner.knows("pvs", "--noheadings", "--options", output=f"  {group}\n")
    found = devices.look(str(disk), runner)
    assert found.label is None
    assert busy in found.busy
    assert bool(found.busy) == bool(group)


BEGUN_GROUP = "ceph-01234567-89ab-4cde-8f01-23456789abcd"
BEGUN_OSD = "76543210-89ab-4cde-8f01-23456789abcd"
BEGUN_BLOCK = f"osd-block-{BEGUN_OSD}"
BEGUN_DB = "osd-db-01234567-89ab-4cde-8f01-23456789abcd"
NO_OSD = "ceph.type=block,ceph.block_device=/dev/x/y"


def begun(monkeypatch, tmp_path, *lines, count=1, signature="", group=BEGUN_GROUP):
    """Return a runner for a disk that ceph-volume began an OSD on."""
    runner = volumes(monkeypatch, tmp_path, *lines)
    runner.knows("pvs", "--noheadings", "--options", output=f"  {group}\n")
    runner.knows("vgs", output=f"  {count}\n")
    for name in (BEGUN_BLOCK, BEGUN_DB):
        words = ("wipefs", "--noheadings", "--parsable", str(tmp_path / group / name))
        runner.knows(*words, output=f"0x0,,,{signature}\n" if signature else "")
    return runner


@pytest.mark.parametrize(
    "lines",
    [
        [f";1;{BEGUN_GROUP};"],
        [f";1;{BEGUN_GROUP};{BEGUN_BLOCK}"],
        [f"{NO_OSD};1;{BEGUN_GROUP};{BEGUN_BLOCK}"],
        [f"ceph.osd_fsid=null,ceph.cluster_fsid=null;1;{BEGUN_GROUP};{BEGUN_DB}"],
        [f";1;{BEGUN_GROUP};{BEGUN_BLOCK}", f";1;{BEGUN_GROUP};{BEGUN_DB}"],
    ],
)
def test_what_ceph_volume_put_nothing_in_is_nothing(disk, monkeypatch, tmp_path, lines):
    monkeypatch.setattr(devices, "user", lambda real: "dm" if real == str(disk) else "")
    found = devices.look(str(disk), begun(monkeypatch, tmp_path, *lines))
    assert (found.busy, found.content, found.label) == ("", "", None)
    assert found.unfinished
    assert found.free == 0
    names = {line.rpartition(";")[2] for line in lines}
    assert found.registered == ((BEGUN_OSD,) if BEGUN_BLOCK in names else ())


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (f"{TAGS};1;{BEGUN_GROUP};{BEGUN_BLOCK}", {}),
        (f"ceph.osd_fsid=u;1;{BEGUN_GROUP};{BEGUN_BLOCK}", {}),
        (f"ceph.cluster_fsid={FSID};1;{BEGUN_GROUP};{BEGUN_BLOCK}", {}),
        (f";1;{BEGUN_GROUP};{BEGUN_BLOCK}", {"signature": "ceph_bluestore"}),
        (f";1;{BEGUN_GROUP};{BEGUN_BLOCK}", {"signature": "ext4"}),
        (f";1;{BEGUN_GROUP};{BEGUN_BLOCK}", {"count": 2}),
        (f";1;{BEGUN_GROUP};home", {}),
        (f";1;ceph-x;{BEGUN_BLOCK}", {"group": "ceph-x"}),
        (";1;xenvg;", {"group": "xenvg"}),
        (f";2;{BEGUN_GROUP};", {"count": 2}),
    ],
)
def test_what_may_be_something_is_not_taken_for_nothing(
    disk, monkeypatch, tmp_path, line, change
):
    found = devices.look(str(disk), begun(monkeypatch, tmp_path, line, **change))
    assert not found.unfinished
    assert found.registered == ()
    assert found.content
    assert found.busy or found.label


@pytest.mark.parametrize("why", ["in use", "not active"])
def test_a_volume_that_nobody_can_tell_of_is_not_taken_for_nothing(
    disk, monkeypatch, tmp_path, why
):
    line = f";1;{BEGUN_GROUP};{BEGUN_BLOCK}"
    runner = begun(monkeypatch, tmp_path, line)
    path = tmp_path / BEGUN_GROUP / BEGUN_BLOCK
    if why == "in use":
        monkeypatch.setattr(
            devices, "user", lambda real: "held" if real == str(path) else ""
        )
    else:
        path.unlink()
    found = devices.look(str(disk), runner)
    assert not found.unfinished
    assert f"it belongs to the volume group {BEGUN_GROUP}" in found.busy


def test_a_database_that_was_not_finished_is_room_for_another(
    disk, monkeypatch, tmp_path
):
    lines = [
        f"{DATABASE % ('u', 4)};1;{BEGUN_GROUP};osd-db-u",
        f";1;{BEGUN_GROUP};{BEGUN_DB}",
        f";1;{BEGUN_GROUP};",
    ]
    found = devices.look(str(disk), begun(monkeypatch, tmp_path, *lines))
    assert found.databases == (Database(FSID, "u", 4, 36),)
    assert found.free == 72
    assert (found.busy, found.unfinished) == ("", False)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("/dev/disk/by-id/wwn-0x5", True),
        ("/dev/disk/by-path/pci-0000", True),
        ("/dev/disk/by-id/lvm-pv-uuid-abc", False),
        ("/dev/disk/by-id/dm-name-x", False),
        ("/dev/disk/by-uuid/abc", False),
        ("/dev/disk/by-label/data", False),
    ],
)
def test_a_name_that_goes_with_the_content_is_not_a_stable_one(name, good):
    assert (devices.stable_path(name, "/dev/sdb") == name) == good


def test_a_label_without_an_osd_is_never_our_own(monkeypatch):
    device = make_device(
        content="an OSD", label=make_label("", osd_uuid="", complete=False)
    )
    monkeypatch.setattr(devices, "look", lambda path, run: device)
    with pytest.raises(ExecError, match="carries an OSD now"):
        devices.check_unchanged("/dev/sdb", False, FakeRunner())


def test_a_device_that_the_kernel_gives_to_nobody_is_in_use(disk, monkeypatch):
    real = os.open

    def held(path, flags, *rest):
        if path == str(disk) and flags & os.O_EXCL:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", held)
    found = devices.look(str(disk), carrying("trixie", "blank"))
    assert "holds it" in found.busy
    assert found.size == SIZE


def test_a_device_that_cannot_be_opened_is_told_with_the_reason(disk, monkeypatch):
    def broken(path, flags, *rest):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(devices.os, "open", broken)
    assert devices._open_exclusively(str(disk)) == (
        "",
        "it cannot be opened (Input/output error)",
        0,
    )


@pytest.mark.parametrize("end", ["head", "tail"])
def test_a_device_that_cannot_be_read_is_not_taken_for_blank(disk, monkeypatch, end):
    real = os.pread

    def broken(handle, length, offset):
        if (offset == 0) == (end == "head"):
            raise OSError(errno.EIO, "Input/output error")
        return real(handle, length, offset)

    monkeypatch.setattr(devices.os, "pread", broken)
    # wipefs says nothing then, and that it went well.
    found = devices.look(str(disk), carrying("trixie", "blank"))
    assert found.failing == "it cannot be read (Input/output error)"
    with pytest.raises(ExecError, match="has failed: it cannot be read"):
        devices.check_unchanged(str(disk), True, carrying("trixie", "blank"))


def test_a_device_that_wipefs_cannot_open_hides_no_other(disk, monkeypatch):
    def broken(path, flags, *rest):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(devices.os, "open", broken)
    runner = FakeRunner()
    runner.knows("wipefs", code=1)
    assert "cannot be opened" in devices.look(str(disk), runner).failing


# Wiping


def looks_like(monkeypatch, **changes):
    device = make_device(**changes)
    monkeypatch.setattr(devices, "look", lambda path, run: device)
    monkeypatch.setattr(devices, "_LOOK", 0)
    return device


@pytest.mark.parametrize(
    ("changes", "wipe", "good"),
    [
        ({}, False, True),
        ({"content": "ext4"}, False, False),
        ({"content": "ext4"}, True, True),
        ({"busy": "mounted on /srv"}, True, False),
        ({"real_path": ""}, True, False),
    ],
)
def test_a_device_is_looked_at_again_before_it_is_written_to(
    monkeypatch, changes, wipe, good
):
    device = looks_like(monkeypatch, **changes)
    if good:
        assert devices.check_unchanged("/dev/sdb", wipe, FakeRunner()) == device
    else:
        with pytest.raises(ExecError, match="/dev/sdb"):
            devices.check_unchanged("/dev/sdb", wipe, FakeRunner())


@pytest.mark.parametrize(("second", "good"), [("", True), ("a file system", False)])
def test_who_only_looks_at_a_device_as_well_is_waited_for(monkeypatch, second, good):
    seen = [make_device("/dev/sdb", busy=busy) for busy in ("another", second)]
    monkeypatch.setattr(devices, "look", lambda path, run: seen.pop(0))
    monkeypatch.setattr(devices, "_LOOK", 0)
    if good:
        devices.check_unchanged("/dev/sdb", False, FakeRunner())
    else:
        with pytest.raises(ExecError, match="/dev/sdb is in use: a file system"):
            devices.check_unchanged("/dev/sdb", False, FakeRunner())
    assert seen == []


@pytest.mark.parametrize(
    ("label", "good"),
    [
        (make_label(osd_uuid="ours", complete=False), True),
        (make_label(osd_uuid="ours", complete=True), False),
        (make_label(osd_uuid="theirs", complete=False), False),
    ],
)
def test_only_our_own_half_made_osd_may_be_made_again(monkeypatch, label, good):
    looks_like(monkeypatch, content="an OSD", label=label)
    if good:
        devices.check_unchanged("/dev/sdb", False, FakeRunner(), own=("ours",))
    else:
        with pytest.raises(ExecError, match="carries an OSD"):
            devices.check_unchanged("/dev/sdb", False, FakeRunner(), own=("ours",))


@pytest.mark.parametrize(
    ("wiped", "kept"), [(2**20, range(2**20, SIZE - 2**20)), (100 * 2**20, range(0))]
)
def test_both_ends_are_zeroed_and_the_middle_is_not(disk, monkeypatch, wiped, kept):
    monkeypatch.setattr(devices, "WIPED", wiped)
    runner = FakeRunner()
    runner.knows("wipefs", "--noheadings", output="0x0,,,ext4\n")
    runner.knows("wipefs", "--all", str(disk))
    device = make_device(str(disk), size=SIZE, content="ext4")
    devices.wipe(device, runner)
    data = disk.read_bytes()
    assert len(data) == SIZE
    assert {index for index in (0, SIZE // 2, SIZE - 1) if data[index]} == {
        index for index in (0, SIZE // 2, SIZE - 1) if index in kept
    }
    assert data.count(b"x") == len(kept)


def test_nothing_is_zeroed_where_wipefs_fails(disk):
    runner = FakeRunner()
    runner.knows("wipefs", "--noheadings")
    runner.knows("wipefs", "--all", code=1)
    with pytest.raises(ExecError):
        devices.wipe(make_device(str(disk), size=SIZE), runner)
    assert disk.read_bytes() == b"x" * SIZE


@pytest.mark.parametrize("group", ["", "ceph-x"])
def test_volumes_go_with_what_they_are_on(disk, group):
    runner = carrying("trixie", "lvm")
    runner.knows("pvs", output=f"  {group}\n")
    runner.knows("vgs", output="  1\n")
    runner.knows("lvremove", "--force", "--yes", "ceph-x")
    runner.knows("pvremove")
    runner.knows("wipefs", "--all")
    devices.wipe(make_device(str(disk), size=SIZE), runner)
    changes = [argv for argv in runner.calls if argv[0].endswith("remove")]
    gone = ["pvremove", "--force", "--force", "--yes", str(disk)]
    volumes = ["lvremove", "--force", "--yes", group]
    assert changes == ([volumes] if group else []) + [gone]
    assert ["wipefs", "--all", str(disk)] in runner.calls


@pytest.mark.parametrize(("count", "code"), [(1, 5), (2, 0)])
def test_nothing_is_zeroed_where_a_volume_is_in_use_or_on_another_disk_too(
    disk, count, code
):
    runner = carrying("trixie", "lvm")
    runner.knows("pvs", output="  ceph-x\n")
    runner.knows("vgs", output=f"  {count}\n")
    runner.knows("lvremove", code=code)
    with pytest.raises(ExecError):
        devices.wipe(make_device(str(disk), size=SIZE), runner)
    assert disk.read_bytes() == b"x" * SIZE
    assert "pvremove" not in runner.programs()
