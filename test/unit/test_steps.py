"""Steps: what each says it will do, and what none can be made of."""

import dataclasses

import pytest
from fakes import FSID

from ganeti_ceph import steps
from ganeti_ceph.cephconf import ClusterConf, Mon
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import (
    KINDS,
    ArchiveCrashes,
    AskStop,
    AwaitDaemons,
    AwaitHealth,
    Configure,
    DropKeys,
    ForgetHost,
    HandOver,
    Keys,
    MakeClient,
    MakeCollector,
    MakeLvmOsds,
    MakeMgr,
    MakeMon,
    MakeOsd,
    MakePool,
    MarkOsds,
    PlaceHost,
    RemoveMon,
    RepairGroups,
    SecureKeys,
    Settle,
    StartMon,
    StartOsd,
    StopDaemons,
)

UUID = "11111111-2222-4333-8444-555555555555"
KEYS = Keys(Secret("m0n-s3cret"), Secret("adm1n-s3cret"))
ADMIN = KEYS.admin
MONS = (Mon("node1", "192.0.2.1"),)
CONF = ClusterConf(FSID, MONS, "192.0.2.0/24", None, ())

#: One of each kind, and its sentence.
EXAMPLES = [
    (
        Configure(CONF, (("room", "b"), ("rack", "r1")), "node1", KEYS.admin),
        "write /etc/ceph/ceph.conf and the administrator's key, room b, rack r1",
    ),
    (
        MakeMon(FSID, "node1", "192.0.2.1", MONS, KEYS),
        "make and start mon.node1 at 192.0.2.1",
    ),
    (
        Settle(
            (Mon("node1", "192.0.2.1"), Mon("node2", "fd00::2")),
            (("a", "1"),),
            ("restful",),
        ),
        "wait for the quorum of mons node1, node2, set a=1, mgr module restful off",
    ),
    (MakeMgr("node1", ADMIN), "make and start mgr.node1"),
    (
        MakeOsd(
            FSID, UUID, "/dev/sdb", 20 * 2**30, "/dev/sdc", "ssd", ("/dev/sdb",), ADMIN
        ),
        "/dev/sdb (20.0 GiB): wipe it and make and start an OSD, its metadata on"
        " /dev/sdc",
    ),
    (
        StartOsd(FSID, 3, UUID, "/dev/sdb", None, ADMIN),
        "/dev/sdb: start osd.3, which it carries",
    ),
    (
        MakeLvmOsds(
            FSID, ("/dev/sdb",), ("/dev/sdc",), True, None, ("/dev/sdb",), ADMIN
        ),
        "/dev/sdb: wipe /dev/sdb, make and start encrypted OSDs on logical volumes,"
        " their metadata on /dev/sdc",
    ),
    (
        MakePool("rbd", 3, 2, 128, "host", None, 3),
        "make pool rbd: 3 copies (2 at the least), one per host, 128 placement groups",
    ),
    (
        MakeClient("ganeti", "vms", ADMIN),
        "get the key of client.ganeti, for the images in pool vms",
    ),
    (MakeCollector(ADMIN), "get the collector's key and start the collector"),
    (MarkOsds((3, 4), True), "mark osd.3, osd.4 in"),
    (
        AskStop((3, 4)),
        "ask again whether all data can be reached without osd.3, osd.4",
    ),
    (
        PlaceHost("node1", (("room", "b"), ("rack", "r1"))),
        "move host node1 to room b, rack r1 in the CRUSH map",
    ),
    (HandOver("node1"), "have another mgr take over from mgr.node1"),
    (RemoveMon("node1"), "remove mon.node1 from the quorum"),
    (
        StopDaemons(("node1",), ("node1",), (3,)),
        "stop mon.node1, mgr.node1, osd.3",
    ),
    (StopDaemons((), (), (3,), True), "stop osd.3, the collector"),
    (
        ForgetHost("node1", (3, 4)),
        "purge osd.3, osd.4, remove host node1 and the keys of its daemons",
    ),
    (DropKeys(), "delete the keys of the storage cluster, and its mon and mgr"),
    (
        AwaitDaemons(("node1",), (("node4", 2),), 120),
        "wait for mon.node1, 2 OSDs of node4 (for 120 s at the most)",
    ),
    (AwaitHealth(120), "wait for HEALTH_OK (for 120 s at the most)"),
    (
        SecureKeys(("/etc/ceph/a", "/var/lib/ceph/b")),
        "make /etc/ceph/a, /var/lib/ceph/b readable by the owner alone",
    ),
    (StartMon("node1"), "start mon.node1 and wait for a quorum"),
    (
        RepairGroups(("2.1f", "10.a")),
        "make damaged copies anew from good ones in the placement groups 2.1f, 10.a",
    ),
    (
        ArchiveCrashes(),
        "mark as seen what crashed ('ceph crash ls' still lists it)",
    ),
]


@pytest.mark.parametrize(("step", "sentence"), EXAMPLES)
def test_a_step_says_what_it_will_do(step, sentence):
    assert step.sentence() == sentence


def test_there_is_an_example_of_every_kind():
    assert {type(step) for step, _ in EXAMPLES} == set(KINDS.values())
    assert all(KINDS[step.name] is type(step) for step, _ in EXAMPLES)


@pytest.mark.parametrize(("step", "sentence"), EXAMPLES)
def test_no_step_shows_a_secret(step, sentence):
    assert "s3cret" not in repr(step) + str(step) + step.sentence()


def test_sentences_leave_out_what_is_not_done():
    out = MarkOsds((3,), False)
    assert out.sentence() == "mark osd.3 out, so that data moves away"
    forget = ForgetHost("node1", ())
    assert forget.sentence() == "remove host node1 and the keys of its daemons"
    plain = MakeOsd(FSID, UUID, "/dev/sdb", 2**30, None, None, (), ADMIN)
    assert plain.sentence() == "/dev/sdb (1.0 GiB): make and start an OSD"
    many = MakeLvmOsds(FSID, ("/dev/sdb", "/dev/sdc"), (), False, None, (), ADMIN)
    assert many.sentence() == (
        "/dev/sdb, /dev/sdc: make and start OSDs on logical volumes"
    )


def test_no_osd_is_left_without_a_database_beside_others_with_one():
    two = ("/dev/sdb", "/dev/sdc")
    with pytest.raises(ValueError, match="others none"):
        MakeLvmOsds(
            *(FSID, two, (), False, None, (), ADMIN, (), ()), (("/dev/sdd", 1),)
        )


@pytest.mark.parametrize("group", ["", "1", "1.", ".1", "1.g", "1.1 2.2", "1.1\n"])
def test_no_step_is_made_for_what_is_no_placement_group(group):
    with pytest.raises(ValueError, match="is not a placement group"):
        RepairGroups((group,))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "sdb",
        "/etc/passwd",
        "/dev/../etc/passwd",
        "/dev/disk/../sdb",
        "/dev//sdb",
        "/dev/sd b",
        "/dev/sdb\n",
        "/dev/sdb;reboot",
        "--all",
    ],
)
def test_no_step_is_made_for_what_is_no_device(path):
    with pytest.raises(ValueError):
        MakeOsd(FSID, UUID, path, 1, None, None, (), ADMIN)
    with pytest.raises(ValueError):
        MakeOsd(FSID, UUID, "/dev/sdb", 1, path, None, (), ADMIN)
    with pytest.raises(ValueError):
        StartOsd(FSID, 1, UUID, path, None, ADMIN)
    with pytest.raises(ValueError):
        MakeLvmOsds(FSID, ("/dev/sdb",), (path,), False, None, (), ADMIN)
    with pytest.raises(ValueError):
        MakeLvmOsds(
            *(FSID, ("/dev/sdb",), (), False, None, (), ADMIN, (), ()), ((path, 1),)
        )


@pytest.mark.parametrize(
    "path",
    [
        "/dev/sdb",
        "/dev/disk/by-id/ata-X_Y-1.2+3:4@5",
        "/dev/mapper/vg-lv",
        "/dev/cciss/c0d0",
    ],
)
def test_paths_that_devices_have(path):
    assert MakeOsd(FSID, UUID, path, 1, path, None, (), ADMIN).device == path


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (0, {"hostname": "../x"}),
        (0, {"place": (("rack", "r 1"),)}),
        (0, {"place": (("ra=ck", "r1"),)}),
        (1, {"fsid": "x"}),
        (1, {"id": "../../etc"}),
        (1, {"address": "somewhere"}),
        (3, {"id": "a/b"}),
        (4, {"osd_uuid": "x"}),
        (4, {"device_class": "ssd --yes"}),
        (5, {"osd_id": -1}),
        (6, {"device_class": "-x"}),
        (6, {"fsid": ""}),
        (7, {"pool": "a b"}),
        (7, {"failure_domain": ""}),
    ],
)
def test_no_step_is_made_of_what_could_harm(number, changes):
    with pytest.raises(ValueError):
        dataclasses.replace(EXAMPLES[number][0], **changes)


def test_steps_are_not_changed_once_they_are_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXAMPLES[3][0].id = "other"
    assert all(isinstance(step, steps.Step) for step, _ in EXAMPLES)
