"""OSDs: made where they may be, never over what is in use, and nothing in vain."""

import dataclasses
import itertools
import stat
from pathlib import Path

import pytest
from fakes import ADMIN, FSID, FakePool, make_device, make_label

from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import databases, devices, files, osd
from ganeti_ceph.node import services as units
from ganeti_ceph.steps import MakeLvmOsds, MakeOsd, StartOsd

UUID = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
SIZE = 4 * 2**20
BOTH = ("/dev/sdb", "/dev/nvme0")
MAKE = MakeOsd(FSID, UUID, "/dev/sdb", SIZE, None, None, (), ADMIN)
WITH_DB = dataclasses.replace(MAKE, db_device="/dev/nvme0", wipe=BOTH)
START = StartOsd(FSID, 3, UUID, "/dev/sdb", None, ADMIN)
LVM = MakeLvmOsds(
    FSID, ("/dev/sdb", "/dev/sdc"), (), False, None, ("/dev/sdb", "/dev/sdc"), ADMIN
)
REPLACE = dataclasses.replace(MAKE, replaces=3)
REPLACE_LVM = dataclasses.replace(LVM, replaces=(3, 1))
OURS = make_label(osd_uuid=UUID, osd_id=3)


class Disks:
    """The node's devices: what each carries now, and its bytes."""

    def __init__(self, root):
        self._root = root
        self._found = {}
        for path in ("/dev/sdb", "/dev/sdc", "/dev/nvme0"):
            self.file(path).write_bytes(b"x" * SIZE)
            self.set(path)

    def file(self, path):
        return self._root / Path(path).name

    def set(self, path, **changes):
        self._found[path] = make_device(
            path, **{"real_path": str(self.file(path)), "size": SIZE, **changes}
        )

    def look(self, path, run):
        return self._found[path]

    def wiped(self, path):
        """Tell whether all that a device carried is gone; half is a failure."""
        left = self.file(path).read_bytes().count(b"x")
        assert left in (0, SIZE)
        return not left


@pytest.fixture
def disks(tree, monkeypatch):
    disks = Disks(tree.root)
    monkeypatch.setattr(devices, "look", disks.look)
    return disks


@pytest.fixture
def run(run, disks):
    """A runner that knows Ceph's programs, too."""

    def make(argv):
        for path in (word for word in argv if word.startswith("/dev/sd")):
            disks.set(path, label=OURS)

    def prime(argv):
        directory = Path(argv[argv.index("--path") + 1])
        for name, text in (("fsid", UUID), ("ceph_fsid", FSID), ("keyring", "k3y")):
            (directory / name).write_text(f"{text}\n")

    run.knows("wipefs", "--all")
    run.knows("ceph-osd", "--mkfs")
    run.knows("ceph-bluestore-tool", "prime-osd-dir", effect=prime)
    run.knows("ceph-volume", "lvm", effect=make)
    run.knows("wipefs", "--noheadings", output="0x0,,,ceph_bluestore\n")
    return run


def home(number):
    return files.daemon_dir("osd", str(number))


def unit(number):
    return f"ceph-osd@{number}.service"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def untouched(disks, run, storage):
    """Tell whether nothing at all was changed."""
    return (
        not any(disks.wiped(path) for path in ("/dev/sdb", "/dev/sdc", "/dev/nvme0"))
        and not (files.DATA / "osd").exists()
        and run.calls == []
        and storage.keys == {}
    )


# Making


def test_it_is_registered_and_runs(disks, run, storage, systemd):
    assert osd.make(MAKE, run) == "osd.0 runs on /dev/sdb"
    assert [one.uuid for one in storage.osds.values()] == [UUID]
    assert unit(0) in systemd.running


def test_it_is_made_on_its_device_with_its_uuid(disks, run, storage):
    osd.make(MAKE, run)
    (argv,) = (argv for argv in run.calls if argv[0] == "ceph-osd")
    given = dict(itertools.pairwise(argv))
    assert (given["--id"], given["--osd-uuid"]) == ("0", UUID)
    assert (home(0) / "block").readlink() == Path("/dev/sdb")
    assert not (home(0) / "block.db").is_symlink()


def test_directory_and_device_are_cephs(disks, tree, run, storage):
    osd.make(WITH_DB, run)
    for path in (home(0), home(0) / "block", "/dev/sdb", "/dev/nvme0"):
        assert tree.owner(path) == tree.CEPH


def test_its_key_is_its_own_alone_and_the_one_that_ceph_knows(
    disks, tree, run, storage
):
    osd.make(MAKE, run)
    keyring = home(0) / "keyring"
    key, _ = storage.keys["osd.0"]
    assert keyring.read_text() == f"[osd.0]\n\tkey = {key}\n"
    assert mode(keyring) == 0o600
    assert tree.owner(keyring) == tree.CEPH


def test_its_key_is_on_no_command_line_and_in_no_answer(disks, run, storage):
    answer = osd.make(MAKE, run)
    key, _ = storage.keys["osd.0"]
    assert key not in answer + repr(run.calls)


def test_its_metadata_lies_where_it_is_told(disks, run, storage):
    osd.make(WITH_DB, run)
    assert (home(0) / "block.db").readlink() == Path("/dev/nvme0")


def test_it_may_open_its_devices_after_a_reboot(disks, run, storage):
    osd.make(MAKE, run)
    assert units._OSD_DROPIN.exists()


@pytest.mark.parametrize("device_class", [None, "nvme"])
def test_its_class_is_set_if_one_is_given(disks, run, storage, device_class):
    osd.make(dataclasses.replace(MAKE, device_class=device_class), run)
    assert storage.osds[0].device_class == device_class


def test_two_on_one_node_have_numbers_of_their_own(disks, run, storage):
    osd.make(MAKE, run)
    osd.make(dataclasses.replace(MAKE, osd_uuid=OTHER, device="/dev/sdc"), run)
    assert {one.id: one.uuid for one in storage.osds.values()} == {0: UUID, 1: OTHER}
    assert (home(0) / "block").readlink() == Path("/dev/sdb")
    assert (home(1) / "block").readlink() == Path("/dev/sdc")


def test_one_that_could_not_open_its_devices_later_is_not_started(
    disks, run, storage, systemd
):
    units._OSD_DROPIN.parent.write_text("no directory")
    with pytest.raises(OSError):
        osd.make(MAKE, run)
    assert unit(0) not in systemd.running


def test_one_that_could_not_be_made_is_not_started(disks, run, storage, systemd):
    run.knows("ceph-osd", code=1)
    with pytest.raises(ExecError, match="ceph-osd"):
        osd.make(MAKE, run)
    assert unit(0) not in systemd.running


# What a device carries


def test_a_blank_device_is_not_wiped(disks, run, storage):
    osd.make(dataclasses.replace(MAKE, wipe=BOTH), run)
    assert not disks.wiped("/dev/sdb")


def test_what_may_be_destroyed_is(disks, run, storage):
    disks.set("/dev/nvme0", content="ext4")
    osd.make(WITH_DB, run)
    assert disks.wiped("/dev/nvme0")
    assert not disks.wiped("/dev/sdb")


@pytest.mark.parametrize("device", ["/dev/sdb", "/dev/nvme0"])
@pytest.mark.parametrize(
    ("now", "wipe", "words"),
    [
        ({"content": "ext4"}, False, "carries ext4 now"),
        ({"content": "ext4", "busy": "mounted on /srv"}, True, "mounted on /srv"),
        ({"real_path": ""}, True, "is gone"),
    ],
)
def test_a_device_that_changed_meanwhile_stops_it_before_anything_is_done(
    disks, run, storage, device, now, wipe, words
):
    other = {"/dev/sdb", "/dev/nvme0"} - {device}
    disks.set(*other, content="ext4" if wipe else "")
    disks.set(device, **now)
    with pytest.raises(ExecError, match=f"{device} .*{words}"):
        osd.make(dataclasses.replace(WITH_DB, wipe=BOTH if wipe else ()), run)
    assert untouched(disks, run, storage)
    assert storage.osds == {}


def test_without_the_cluster_nothing_is_destroyed(disks, run, storage):
    storage.reachable = False
    disks.set("/dev/sdb", content="ext4")
    with pytest.raises(CephError, match="cannot connect"):
        osd.make(WITH_DB, run)
    assert untouched(disks, run, storage)


# What was begun


def test_a_registration_that_came_to_nothing_is_taken_back(disks, run, storage):
    storage.osd(UUID, new=True)
    osd.make(MAKE, run)
    assert [one.uuid for one in storage.osds.values()] == [UUID]
    key, _ = storage.keys["osd.0"]
    assert key in (home(0) / "keyring").read_text()


def test_an_osd_that_was_in_use_is_never_purged(disks, run, storage):
    storage.osd(UUID, new=False, up=False)
    disks.set("/dev/sdb", content="ext4")
    with pytest.raises(ExecError, match=r"'ceph osd purge osd\.0'"):
        osd.make(WITH_DB, run)
    assert [one.uuid for one in storage.osds.values()] == [UUID]
    assert untouched(disks, run, storage)


@pytest.mark.parametrize("new", [True, False])
def test_other_osds_are_left_alone(disks, run, storage, new):
    storage.osd(OTHER, new=new)
    osd.make(MAKE, run)
    assert [one.uuid for one in storage.osds.values()] == [OTHER, UUID]


def test_our_own_half_made_osd_is_made_again_without_being_asked(disks, run, storage):
    half = dataclasses.replace(OURS, complete=False)
    disks.set("/dev/sdb", content="an OSD", label=half)
    osd.make(MAKE, run)
    assert disks.wiped("/dev/sdb")
    assert storage.osds[0].uuid == UUID


def test_our_own_whole_osd_is_not(disks, run, storage):
    disks.set("/dev/sdb", content="an OSD", label=OURS)
    with pytest.raises(ExecError, match="carries an OSD"):
        osd.make(MAKE, run)
    assert untouched(disks, run, storage)


def test_nothing_of_a_half_made_directory_stays(disks, run, storage):
    home(0).mkdir(parents=True)
    (home(0) / "fsid").write_text(OTHER)
    (home(0) / "block").symlink_to("/dev/sdz")
    osd.make(MAKE, run)
    assert not (home(0) / "fsid").exists()
    assert (home(0) / "block").readlink() == Path("/dev/sdb")


# Starting


@pytest.fixture
def whole(disks):
    """A device that carries osd.3, whole."""
    disks.set("/dev/sdb", content="an OSD", busy="held", label=OURS)
    return disks


def test_an_osd_whose_directory_is_there_finds_its_device_and_is_started(
    whole, run, systemd
):
    home(3).mkdir(parents=True)
    (home(3) / "fsid").write_text(f"{UUID}\n")
    (home(3) / "keyring").write_text("")
    (home(3) / "block").symlink_to("/dev/elsewhere")
    assert osd.start(START, run) == "osd.3 runs on /dev/sdb"
    assert unit(3) in systemd.running
    assert "ceph-bluestore-tool" not in run.programs()
    assert (home(3) / "block").readlink() == Path("/dev/sdb")


def test_a_directory_that_is_lost_is_made_from_the_device(whole, tree, run, systemd):
    osd.start(START, run)
    assert files.read(home(3) / "fsid") == UUID
    assert (home(3) / "block").readlink() == Path("/dev/sdb")
    for path in (home(3), *home(3).iterdir(), "/dev/sdb"):
        assert tree.owner(path) == tree.CEPH
    assert unit(3) in systemd.running


def test_an_osd_finds_its_database_again(whole, run):
    osd.start(dataclasses.replace(START, db_device="/dev/nvme0"), run)
    assert (home(3) / "block.db").readlink() == Path("/dev/nvme0")


def test_an_osd_whose_key_is_lost_gets_it_from_the_cluster(whole, tree, run, storage):
    storage.answers["auth get"] = [{"entity": "osd.3", "key": "its-key=="}]
    home(3).mkdir(parents=True)
    (home(3) / "fsid").write_text(f"{UUID}\n")
    osd.start(START, run)
    assert "its-key==" in files.read(home(3) / "keyring")
    assert stat.S_IMODE((home(3) / "keyring").stat().st_mode) == 0o600
    assert tree.owner(home(3) / "keyring") == tree.CEPH


def test_a_directory_of_another_osd_is_left_alone(whole, run, systemd):
    home(3).mkdir(parents=True)
    (home(3) / "fsid").write_text(OTHER)
    (home(3) / "block").symlink_to("/dev/elsewhere")
    with pytest.raises(ExecError, match="of another OSD"):
        osd.start(START, run)
    assert files.read(home(3) / "fsid") == OTHER
    assert (home(3) / "block").readlink() == Path("/dev/elsewhere")
    assert unit(3) not in systemd.running


def test_an_osd_that_is_started_may_open_its_devices_after_a_reboot(whole, run):
    osd.start(START, run)
    assert units._OSD_DROPIN.exists()


def test_starting_never_writes_to_the_device(whole, run):
    osd.start(START, run)
    assert not whole.wiped("/dev/sdb")
    assert not any(argv[:2] == ["wipefs", "--all"] for argv in run.calls)
    assert "--mkfs" not in repr(run.calls)


@pytest.mark.parametrize(
    "label", [None, make_label(osd_uuid=OTHER), make_label(osd_uuid="")]
)
def test_a_device_without_that_osd_starts_nothing(disks, run, systemd, label):
    disks.set("/dev/sdb", label=label)
    with pytest.raises(ExecError, match=f"does not carry OSD {UUID}"):
        osd.start(START, run)
    assert systemd.running == set()
    assert not home(3).exists()


def test_an_osd_on_logical_volumes_is_started_by_ceph_volume(whole, run):
    run.knows("wipefs", "--noheadings", output="0x0,,,LVM2_member\n")
    osd.start(START, run)
    assert ["ceph-volume", "lvm", "activate", "3", UUID] in run.calls
    assert not home(3).exists()


def test_one_that_died_too_often_is_started_by_ceph_volume_too(whole, run):
    run.knows("wipefs", "--noheadings", output="0x0,,,LVM2_member\n")
    tries = units._tries(unit(3))
    files.write(tries, "1 2 3", 0o600)
    osd.start(START, run)
    forgiven = run.calls.index(["systemctl", "reset-failed", unit(3)])
    assert forgiven < run.calls.index(["ceph-volume", "lvm", "activate", "3", UUID])
    assert not tries.exists()
    assert units._OSD_DROPIN.exists()


def test_ceph_volume_s_words_are_passed_on_without_advice_to_destroy(whole, run):
    run.knows("wipefs", "--noheadings", output="0x0,,,LVM2_member\n")
    run.knows("ceph-volume", code=1)
    with pytest.raises(ExecError, match="ceph-volume") as caught:
        osd.start(START, run)
    assert "zap" not in str(caught.value)


# Logical volumes


def batch(run):
    (argv,) = (argv for argv in run.calls if argv[0] == "ceph-volume")
    return argv


def test_ceph_volume_gets_all_devices_at_once(disks, run, storage):
    answer = osd.make_on_lvm(LVM, run)
    assert answer == "OSDs run on /dev/sdb, /dev/sdc"
    assert units._OSD_DROPIN.exists()
    assert batch(run) == [
        *("ceph-volume", "lvm", "batch", "--no-auto", "--yes", "--bluestore"),
        *("/dev/sdb", "/dev/sdc"),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encrypt": True}, ["--dmcrypt"]),
        ({"device_class": "ssd"}, ["--crush-device-class", "ssd"]),
        ({"db_devices": ("/dev/nvme0",)}, ["--db-devices", "/dev/nvme0"]),
    ],
)
def test_what_is_asked_for_reaches_ceph_volume(disks, run, storage, change, words):
    osd.make_on_lvm(dataclasses.replace(LVM, **change), run)
    assert " ".join(words) in " ".join(batch(run))


def test_the_key_to_make_osds_is_cephs_alone_and_on_no_command_line(
    disks, tree, run, storage
):
    osd.make_on_lvm(LVM, run)
    keyring = files.DATA / "bootstrap-osd" / "ceph.keyring"
    key, caps = storage.keys["client.bootstrap-osd"]
    assert key in keyring.read_text()
    assert caps == ("mon", "allow profile bootstrap-osd")
    assert mode(keyring) == 0o600
    assert tree.owner(keyring) == tree.CEPH
    assert key not in repr(run.calls)


def test_what_may_be_destroyed_is_before_ceph_volume_runs(disks, run, storage):
    seen = []
    disks.set("/dev/sdc", content="ext4")
    run.knows("ceph-volume", effect=lambda argv: seen.append(disks.wiped("/dev/sdc")))
    with pytest.raises(ExecError, match="made no OSD"):
        osd.make_on_lvm(LVM, run)
    assert seen == [True]
    assert not disks.wiped("/dev/sdb")


@pytest.mark.parametrize("device", ["/dev/sdb", "/dev/sdc", "/dev/nvme0"])
def test_one_device_that_changed_meanwhile_saves_all(disks, run, storage, device):
    for path in ("/dev/sdb", "/dev/sdc", "/dev/nvme0"):
        disks.set(path, content="ext4")
    disks.set(device, content="ext4", busy="mounted on /srv")
    with pytest.raises(ExecError, match=f"{device} is in use"):
        osd.make_on_lvm(dataclasses.replace(LVM, db_devices=("/dev/nvme0",)), run)
    assert untouched(disks, run, storage)


def test_a_device_that_ceph_volume_leaves_alone_is_a_failure(disks, run, storage):
    run.knows(
        "ceph-volume", effect=lambda argv: disks.set("/dev/sdb", label=OURS), output=""
    )
    said = "no OSD on /dev/sdc: 'ceph-volume inventory /dev/sdc' tells"
    with pytest.raises(ExecError, match=said):
        osd.make_on_lvm(LVM, run)


def test_where_ceph_volume_fails_the_cause_is_not_the_last_it_says(disks, run, storage):
    run.knows("ceph-volume", code=1)
    with pytest.raises(ExecError, match=r"exit code 1.*ceph-volume\.log"):
        osd.make_on_lvm(LVM, run)


BEGUN = make_label(osd_uuid=UUID, osd_id=0, complete=False)


def test_one_that_was_begun_on_a_volume_is_begun_anew(disks, run, storage):
    storage.osd(UUID, new=True)
    disks.set("/dev/sdb", content="an OSD", label=BEGUN)
    osd.make_on_lvm(dataclasses.replace(LVM, wipe=(), begun=(UUID,)), run)
    assert disks.wiped("/dev/sdb")
    assert not disks.wiped("/dev/sdc")
    assert storage.osds == {}


@pytest.mark.parametrize("unfinished", [False, True])
@pytest.mark.parametrize("kind", ["lvm", "raw"])
def test_what_ceph_volume_put_nothing_in_goes_first(
    disks, run, storage, kind, unfinished
):
    disks.set("/dev/sdb", unfinished=unfinished)
    if kind == "lvm":
        osd.make_on_lvm(dataclasses.replace(LVM, wipe=()), run)
    else:
        osd.make(dataclasses.replace(MAKE, wipe=()), run)
    assert disks.wiped("/dev/sdb") == unfinished


@pytest.mark.parametrize(
    ("begun", "label", "new", "why"),
    [
        ((OTHER,), BEGUN, True, "carries an OSD now"),
        ((UUID,), dataclasses.replace(BEGUN, complete=True), True, "carries an OSD"),
        ((UUID,), BEGUN, False, "osd.0 has been in use"),
    ],
)
def test_nothing_but_what_was_begun_is_begun_anew(
    disks, run, storage, begun, label, new, why
):
    storage.osd(UUID, new=new)
    disks.set("/dev/sdb", content="an OSD", label=label)
    with pytest.raises(ExecError, match=why):
        osd.make_on_lvm(dataclasses.replace(LVM, wipe=(), begun=begun), run)
    assert not disks.wiped("/dev/sdb")
    assert list(storage.osds) == [0]
    assert not any(argv[0] == "ceph-volume" for argv in run.calls)


def test_without_the_cluster_no_disk_is_wiped_for_ceph_volume(disks, run, storage):
    storage.reachable = False
    disks.set("/dev/sdb", content="ext4")
    with pytest.raises(CephError, match="cannot connect"):
        osd.make_on_lvm(LVM, run)
    assert untouched(disks, run, storage)


# In the place of one whose device is gone


@pytest.fixture
def failed(storage):
    """Five OSDs, of which two are down; all data is served without them."""
    storage.mgrs = ["node1"]
    storage.pools["vms"] = FakePool("vms", 128, "replicated_rule")
    for number in range(5):
        one = storage.osd(f"uuid-{number}", new=False, host="node1")
        one.up = number not in (1, 3)
        storage.keys[f"osd.{number}"] = (f"old-key-{number}==", ())
    return storage


def alive(storage):
    """Return the OSDs as they were made, without those that are replaced."""
    return {one.id for one in storage.osds.values() if one.uuid == f"uuid-{one.id}"}


def destroyed(storage):
    return [
        given["id"]
        for prefix, given in storage.commands
        if prefix == "osd destroy-actual"
    ]


def test_it_takes_over_the_number_and_the_place_of_the_old_one(
    disks, run, failed, systemd
):
    assert osd.make(REPLACE, run) == "osd.3 runs on /dev/sdb"
    assert (failed.osds[3].uuid, failed.osds[3].host) == (UUID, "node1")
    assert alive(failed) == {0, 1, 2, 4}
    assert systemd.running == {unit(3), "ceph-osd.target", "ceph.target"}


def test_its_key_is_a_new_one(disks, run, failed):
    osd.make(REPLACE, run)
    key, _ = failed.keys["osd.3"]
    assert key != "old-key-3=="
    assert key in (home(3) / "keyring").read_text()


def test_nothing_of_the_old_ones_directory_stays(disks, run, failed):
    home(3).mkdir(parents=True)
    for name in ("fsid", "ceph_fsid", "keyring", "type"):
        (home(3) / name).write_text("old")
    (home(3) / "block").symlink_to("/dev/gone")
    (home(3) / "block.db").symlink_to("/dev/gone")
    osd.make(REPLACE, run)
    assert {path.name for path in home(3).iterdir()} == {"block", "keyring"}
    assert (home(3) / "block").readlink() == Path("/dev/sdb")


def test_a_disk_in_the_same_slot_makes_an_osd_with_the_same_uuid(disks, run, failed):
    # It comes from the device's name; to Ceph the old one is none any more.
    failed.osds[3].uuid = UUID
    osd.make(REPLACE, run)
    assert (failed.osds[3].uuid, failed.osds[3].new) == (UUID, True)
    assert sorted(failed.osds) == [0, 1, 2, 3, 4]


def test_a_new_osd_destroys_no_other(disks, run, failed):
    osd.make(MAKE, run)
    assert destroyed(failed) == []
    assert alive(failed) == {0, 1, 2, 3, 4}
    assert failed.osds[5].uuid == UUID


def test_osd_0_may_be_replaced_like_any_other(disks, run, failed):
    failed.osds[0].up = False
    osd.make(dataclasses.replace(REPLACE, replaces=0), run)
    assert failed.osds[0].uuid == UUID
    assert alive(failed) == {1, 2, 3, 4}


@pytest.fixture(params=["device", "lvm"])
def replace(request, disks):
    """Put an OSD in the place of osd.3, on a device whose content may go."""
    disks.set("/dev/sdb", content="ext4")
    if request.param == "lvm":
        return lambda run: osd.make_on_lvm(REPLACE_LVM, run)
    return lambda run: osd.make(dataclasses.replace(REPLACE, wipe=BOTH), run)


def kept(disks, run, storage):
    """Tell whether no OSD was destroyed, no device wiped and nothing started."""
    return (
        destroyed(storage) == []
        and alive(storage) == {0, 1, 2, 3, 4}
        and storage.keys["osd.3"] == ("old-key-3==", ())
        and not disks.wiped("/dev/sdb")
        and run.calls == []
        and not (files.DATA / "osd").exists()
    )


def test_an_osd_that_runs_is_never_destroyed(disks, run, failed, replace):
    failed.osds[3].up = True
    with pytest.raises(ExecError, match=r"osd\.3 is up again"):
        replace(run)
    assert kept(disks, run, failed)


@pytest.mark.parametrize("inactive", [1, 128])
def test_no_osd_is_destroyed_while_data_is_not_served(
    disks, run, failed, replace, inactive
):
    failed.unclean = inactive
    words = rf"{inactive} placement groups are not active .* old device of osd\.3"
    with pytest.raises(ExecError, match=words):
        replace(run)
    assert kept(disks, run, failed)


@pytest.mark.parametrize(
    ("state", "served"),
    [
        ("active+clean", True),
        ("active+undersized+degraded", True),
        ("active+undersized+degraded+remapped+backfill_wait", True),
        ("undersized+degraded+peered", False),
        ("unknown", False),
        ("incomplete", False),
        ("down", False),
        # What the last OSD that had it said before it went.
        ("stale+active+clean", False),
        ("stale+active+undersized+degraded", False),
    ],
)
def test_data_with_a_copy_left_is_served(disks, run, failed, replace, state, served):
    status = failed._status()
    status["pgmap"]["pgs_by_state"] = [
        {"state_name": "active+clean", "count": 127},
        {"state_name": state, "count": 1},
    ]
    failed.answers["status"] = status
    if served:
        replace(run)
        assert 3 in destroyed(failed)
    else:
        with pytest.raises(ExecError, match="1 placement groups are not active"):
            replace(run)
        assert kept(disks, run, failed)


def test_no_osd_is_destroyed_while_nobody_counts(disks, run, failed, replace):
    # What the mons remember of the last mgr's count is old.
    failed.mgrs = []
    with pytest.raises(ExecError, match="no mgr is active"):
        replace(run)
    assert kept(disks, run, failed)


def test_no_osd_is_destroyed_for_a_device_that_changed(disks, run, failed, replace):
    disks.set("/dev/sdb", content="ext4", busy="mounted on /srv")
    with pytest.raises(ExecError, match="mounted on /srv"):
        replace(run)
    assert kept(disks, run, failed)
    assert failed.commands == []


@pytest.mark.parametrize(
    ("module", "function"), [(osd, "_register"), (units, "prepare_osds")]
)
def test_a_replacement_that_was_interrupted_is_finished(
    disks, run, failed, monkeypatch, module, function
):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(module, function, die)
        with pytest.raises(KeyboardInterrupt):
            osd.make(REPLACE, run)
    assert osd.make(REPLACE, run) == "osd.3 runs on /dev/sdb"
    assert failed.osds[3].uuid == UUID
    assert sorted(failed.osds) == [0, 1, 2, 3, 4]
    key, _ = failed.keys["osd.3"]
    assert key in (home(3) / "keyring").read_text()


def test_ceph_volume_gets_the_numbers_of_the_old_ones(disks, run, failed):
    osd.make_on_lvm(REPLACE_LVM, run)
    assert batch(run)[-3:] == ["--osd-ids", "3", "1"]
    assert destroyed(failed) == [3, 1]


def test_ceph_volume_gets_no_numbers_for_new_ones(disks, run, failed):
    osd.make_on_lvm(LVM, run)
    assert "--osd-ids" not in batch(run)
    assert destroyed(failed) == []


def test_ceph_volume_may_start_those_whose_numbers_others_had(
    disks, run, failed, systemd
):
    listed = "".join(f"{unit(one)} loaded failed failed Ceph\n" for one in (0, 1, 3, 9))
    run.knows("systemctl", "list-units", output=listed)
    files.write(units._tries(unit(9)), "1 2 3", 0o600)
    systemd.given_up = {unit(one) for one in (0, 1, 3, 9)}
    osd.make_on_lvm(REPLACE_LVM, run)
    # osd.0 is another one, which systemd gave up on.
    assert systemd.given_up == {unit(0)}
    assert not units._tries(unit(9)).exists()
    last = max(i for i, argv in enumerate(run.calls) if "reset-failed" in argv)
    assert last < run.calls.index(batch(run))


def test_if_one_of_two_is_up_again_none_is_destroyed(disks, run, failed):
    disks.set("/dev/sdb", content="ext4")
    failed.osds[1].up = True
    with pytest.raises(ExecError, match=r"osd\.1 is up again"):
        osd.make_on_lvm(REPLACE_LVM, run)
    assert kept(disks, run, failed)


def test_an_old_one_that_hangs_is_stopped_before_it_is_destroyed(
    disks, run, failed, systemd, replace
):
    units.start("osd", "3", run)

    def stop(argv):
        assert alive(failed) == {0, 1, 2, 3, 4}
        systemd(argv)
        assert unit(3) not in systemd.running

    run.knows("systemctl", "disable", effect=stop)
    replace(run)
    assert 3 in destroyed(failed)
    assert any("disable" in argv for argv in run.calls)


def test_an_old_one_that_does_not_stop_is_not_destroyed(disks, run, failed, replace):
    run.knows("systemctl", "disable", code=1)
    with pytest.raises(ExecError, match="systemctl"):
        replace(run)
    assert alive(failed) == {0, 1, 2, 3, 4}
    assert destroyed(failed) == []
    assert not disks.wiped("/dev/sdb")


def test_the_volumes_of_an_old_one_are_not_looked_for_at_boot(
    disks, run, failed, systemd, replace
):
    units._WANTED.mkdir(parents=True)
    systemd.enabled = {"ceph-volume@lvm-3-old.service", "ceph-volume@lvm-0-a.service"}
    for name in systemd.enabled:
        (units._WANTED / name).touch()
    replace(run)
    assert "ceph-volume@lvm-3-old.service" not in systemd.enabled
    assert "ceph-volume@lvm-0-a.service" in systemd.enabled


def test_a_new_one_stops_nothing(disks, run, failed):
    osd.make(MAKE, run)
    osd.make_on_lvm(LVM, run)
    assert not any("disable" in argv for argv in run.calls)


# Beside databases that other OSDs have on the same device

BESIDE = dataclasses.replace(
    LVM,
    wipe=(),
    replaces=(3,),
    databases=(("/dev/nvme0", 5 * 2**30), ("/dev/nvme0", 4 * 2**30)),
    gone=(("/dev/nvme0", OTHER),),
)


@pytest.fixture
def removed(failed, monkeypatch):
    """What is asked for to be removed, and which OSDs were known then."""
    calls = []

    def remove(gone, fsid, own, run):
        known = {one.uuid for one in failed.osds.values()}
        calls.append((gone, fsid, own, known))

    failed.osds[3].uuid = OTHER
    monkeypatch.setattr(databases, "remove", remove)
    monkeypatch.setattr(databases, "remove_unfinished", lambda paths, run: None)
    return calls


def test_each_disk_gets_its_database_of_a_size_beside_the_others(
    disks, run, failed, removed
):
    step = dataclasses.replace(BESIDE, encrypt=True, device_class="hdd")
    assert osd.make_on_lvm(step, run) == "OSDs run on /dev/sdb, /dev/sdc"
    common = [
        *("ceph-volume", "lvm", "create", "--bluestore", "--dmcrypt"),
        *("--crush-device-class", "hdd", "--data"),
    ]
    size = "--block.db-size"
    assert [argv for argv in run.calls if argv[0] == "ceph-volume"] == [
        [
            *(*common, "/dev/sdb", "--block.db", "/dev/nvme0", size, "5368709120B"),
            *("--osd-id", "3"),
        ],
        [*common, "/dev/sdc", "--block.db", "/dev/nvme0", size, "4294967296B"],
    ]


def test_the_database_of_a_lost_one_goes_while_that_is_still_known(
    disks, run, failed, removed, systemd
):
    units.start("osd", "3", run)
    disks.set("/dev/sdb", content="an OSD", label=BEGUN)
    gone = (("/dev/nvme0", OTHER), ("/dev/nvme0", UUID))
    step = dataclasses.replace(BESIDE, begun=(UUID,), gone=gone)
    osd.make_on_lvm(step, run)
    ((went, fsid, own, known),) = removed
    assert (went, fsid) == (gone, FSID)
    assert own == {UUID}
    assert OTHER in known
    assert unit(3) not in systemd.running
    assert destroyed(failed) == [3]


def test_one_that_was_begun_is_known_until_its_database_went(
    disks, run, failed, monkeypatch
):
    failed.osd(UUID, new=True)

    def refuse(*_):
        raise ExecError("it is in use")

    monkeypatch.setattr(databases, "remove", refuse)
    step = dataclasses.replace(BESIDE, begun=(UUID,), gone=(("/dev/nvme0", UUID),))
    with pytest.raises(ExecError, match="it is in use"):
        osd.make_on_lvm(step, run)
    assert UUID in {one.uuid for one in failed.osds.values()}


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["/usr/bin/python3", "/usr/sbin/ceph-volume", "lvm", "batch", "--yes"], True),
        (["ceph-volume", "lvm", "create"], True),
        (["ceph-volume", "inventory"], False),
        (["less", "/var/log/ceph/ceph-volume.log", "create"], False),
    ],
)
def test_two_ceph_volumes_are_not_at_work_at_the_same_time(
    disks, run, storage, monkeypatch, tmp_path, words, refused
):
    (tmp_path / "77").mkdir()
    (tmp_path / "77/cmdline").write_text("\0".join(words) + "\0")
    (tmp_path / "78").mkdir()
    monkeypatch.setattr(osd, "_PROC", tmp_path)
    if refused:
        with pytest.raises(ExecError, match=r"makes OSDs .* already \(process 77\)"):
            osd.make_on_lvm(LVM, run)
        assert run.calls == []
    else:
        osd.make_on_lvm(LVM, run)


def test_a_database_that_was_not_finished_goes_before_there_are_new_ones(
    disks, run, failed, removed, monkeypatch
):
    went = []

    def remove(paths, run):
        assert not any(argv[0] == "ceph-volume" for argv in run.calls)
        assert destroyed(failed) == []
        went.extend(paths)

    monkeypatch.setattr(databases, "remove_unfinished", remove)
    osd.make_on_lvm(BESIDE, run)
    assert went == ["/dev/nvme0"]


@pytest.mark.parametrize("change", [{"up": True}, {"id": 2}])
def test_no_database_goes_of_one_that_is_there_again(
    disks, run, failed, removed, change
):
    if "up" in change:
        failed.osds[3].up = True
    else:
        failed.osds[3].uuid = "uuid-3"
        failed.osds[2].uuid = OTHER
    with pytest.raises(ExecError, match=r"osd\.[23] is (up|there) again"):
        osd.make_on_lvm(BESIDE, run)
    assert removed == []
    assert destroyed(failed) == []


def test_nothing_is_destroyed_where_a_database_stays(
    disks, run, failed, removed, monkeypatch
):
    def refuse(*_):
        raise ExecError("it is in use")

    monkeypatch.setattr(databases, "remove", refuse)
    disks.set("/dev/sdb", content="ext4")
    with pytest.raises(ExecError, match="it is in use"):
        osd.make_on_lvm(dataclasses.replace(BESIDE, wipe=("/dev/sdb",)), run)
    assert destroyed(failed) == []
    assert not disks.wiped("/dev/sdb")
