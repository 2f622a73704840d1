"""The facts of a node, from what its programs and files say."""

import json

import pytest
from fakes import RELEASES, FakeRunner, recorded

from ganeti_ceph import wire
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import NodeFacts
from ganeti_ceph.node import files, look
from ganeti_ceph.plan import PACKAGES
from ganeti_ceph.rpc import Look


def programs(release):
    runner = FakeRunner()
    runner.knows("dpkg-query", output=recorded(release, "dpkg-query.txt"))
    runner.knows("ip", "-json", "address", output=recorded(release, "ip.json"))
    runner.knows("systemctl", "is-active", output="inactive\n")
    return runner


@pytest.mark.parametrize("release", RELEASES)
def test_the_facts_of_a_bare_node(tree, release):
    facts = look.look(Look((), ()), programs(release))
    assert set(PACKAGES) <= set(dict(facts.packages))
    assert len({dict(facts.packages)[name] for name in PACKAGES}) == 1
    assert (facts.conf, facts.has_keys) == (None, False)
    assert (facts.mons, facts.mgrs, facts.osds, facts.disks) == ((), (), (), ())
    assert facts.clock[0] <= facts.clock[1]
    assert "." not in facts.hostname
    sent = json.loads(json.dumps(wire.encode(facts)))
    assert wire.decode(NodeFacts, sent) == facts


@pytest.mark.parametrize("release", RELEASES)
def test_addresses_are_those_that_others_reach(tree, release):
    facts = look.look(Look((), ()), programs(release))
    assert "10.77.0.1/24" in facts.addresses
    assert not [
        one for one in facts.addresses if one.startswith(("127.", "::1", "fe80"))
    ]


def test_packages_that_are_removed_but_not_purged_are_not_there(tree):
    runner = programs("trixie")
    runner.knows(
        "dpkg-query",
        output="installed ceph-mon 18\nconfig-files ceph-osd 18\n"
        "not-installed ceph-mgr \n",
        code=1,
    )
    assert look.look(Look((), ()), runner).packages == (("ceph-mon", "18"),)


def test_no_package_at_all_is_no_failure(tree):
    runner = programs("trixie")
    runner.knows("dpkg-query", output="", code=1)
    assert look.look(Look((), ()), runner).packages == ()


def test_an_ip_that_does_not_print_json_is_told(tree):
    runner = programs("trixie")
    runner.knows("ip", output="1: lo:")
    with pytest.raises(ExecError, match="JSON"):
        look.look(Look((), ()), runner)


def test_conf_and_keys_are_seen_and_the_keys_are_not_read(tree):
    files.CONF.parent.mkdir(parents=True)
    files.CONF.write_text("[global]\nfsid = x\n")
    files.ADMIN_KEYRING.write_text("key = s3cret")
    facts = look.look(Look((), ()), programs("trixie"))
    assert facts.conf == "[global]\nfsid = x\n"
    assert facts.has_keys
    assert "s3cret" not in repr(facts) + json.dumps(wire.encode(facts))


def test_daemons_are_found_by_their_directories(tree):
    for kind, name in (("mon", "ceph-node1"), ("mgr", "ceph-node1"), ("mon", "other")):
        (files.DATA / kind / name).mkdir(parents=True)
    for name, fsid in (("ceph-3", "f"), ("ceph-10", None), ("ceph-x", "f")):
        directory = files.DATA / "osd" / name
        directory.mkdir(parents=True)
        if fsid:
            (directory / "ceph_fsid").write_text(f"{fsid}\n")
            (directory / "fsid").write_text("u\n")
    facts = look.look(Look((), ()), programs("trixie"))
    assert (facts.mons, facts.mgrs) == (("node1",), ("node1",))
    # Number 10 was begun and not finished.
    assert [(osd.id, osd.fsid, osd.osd_uuid) for osd in facts.osds] == [(3, "f", "u")]


def test_mons_and_osds_that_do_not_run_are_told(tree):
    for kind, name in (("mon", "ceph-node1"), ("mgr", "ceph-node1"), ("osd", "ceph-3")):
        (files.DATA / kind / name).mkdir(parents=True)
    (files.DATA / "osd" / "ceph-3" / "ceph_fsid").write_text("f\n")
    runner = programs("trixie")
    units = ("ceph-mon@node1.service", "ceph-osd@3.service")
    runner.knows("systemctl", "is-active", *units, output="active\nfailed\n", code=3)
    assert look.look(Look((), ()), runner).stopped == ("osd.3",)


def test_an_osds_device_is_where_its_link_leads_or_gone(tree, tmp_path):
    (tmp_path / "sdb").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "sdb")
    links = {0: tmp_path / "by-id", 1: tmp_path / "sdz", 2: None}
    for number, target in links.items():
        directory = files.daemon_dir("osd", str(number))
        directory.mkdir(parents=True)
        (directory / "ceph_fsid").write_text("f\n")
        if target:
            (directory / "block").symlink_to(target)
    facts = look.look(Look((), ()), programs("trixie"))
    assert {osd.id: osd.block for osd in facts.osds} == {
        0: f"{tmp_path}/sdb",
        1: None,
        2: None,
    }


@pytest.mark.parametrize(
    ("volumes", "disk"),
    [
        ({"dm-3": ["sdb"]}, "/dev/sdb"),
        # Encrypted: one volume on the other.
        ({"dm-3": ["dm-1"], "dm-1": ["sdb"]}, "/dev/sdb"),
        # The disk was pulled out.
        ({"dm-3": []}, None),
        ({}, None),
    ],
)
def test_a_logical_volume_is_on_the_disk_below_it(tmp_path, monkeypatch, volumes, disk):
    monkeypatch.setattr(look, "_SYS_BLOCK", str(tmp_path))
    for name, below in volumes.items():
        for one in below:
            (tmp_path / name / "slaves" / one).mkdir(parents=True)
    assert look._disk_below("/dev/dm-3") == disk


def test_the_name_of_a_disk_that_is_gone_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "_SYS_BLOCK", str(tmp_path))
    slaves = tmp_path / "dm-3/slaves"
    slaves.mkdir(parents=True)
    (slaves / "sdb").symlink_to(tmp_path / "gone")
    assert look._disk_below("/dev/dm-3") is None


def test_each_disk_that_is_asked_for_is_looked_at(tree, tmp_path):
    (tmp_path / "sda").touch()
    asked = Look((f"{tmp_path}/sd*", f"{tmp_path}/sdz"), (f"{tmp_path}/nvme0",))
    facts = look.look(asked, programs("trixie"))
    assert [device.path for device in facts.disks] == [
        f"{tmp_path}/sda",
        f"{tmp_path}/sdz",
    ]
    assert [device.path for device in facts.db_devices] == [f"{tmp_path}/nvme0"]
