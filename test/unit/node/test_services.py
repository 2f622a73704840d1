"""systemd's units: daemons run at every boot, and OSDs may open their devices."""

import stat

import pytest

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import services

UNIT = "ceph-mon@node1.service"


@pytest.mark.parametrize("kind", ["mon", "mgr", "osd"])
def test_a_daemon_runs_now_and_after_every_boot(run, systemd, kind):
    services.start(kind, "3", run)
    assert f"ceph-{kind}@3.service" in systemd.running
    wanted = {f"ceph-{kind}@3.service", f"ceph-{kind}.target", "ceph.target"}
    assert wanted <= systemd.enabled


def test_the_targets_know_the_daemon_at_once(run, systemd):
    services.start("mon", "node1", run)
    assert systemd.unread == set()


def test_a_daemon_that_systemd_gave_up_on_is_started(run, systemd):
    systemd.given_up.add(UNIT)
    services.start("mon", "node1", run)
    assert UNIT in systemd.running


def test_a_daemon_that_does_not_start_is_a_failure(run, systemd):
    systemd.broken.add(UNIT)
    with pytest.raises(ExecError, match=UNIT):
        services.start("mon", "node1", run)


def test_a_daemon_that_runs_may_be_started_again(run, systemd):
    for _ in range(2):
        services.start("mon", "node1", run)
    assert UNIT in systemd.running


def test_osds_are_given_their_devices_at_every_start(tree, run):
    services.prepare_osds(run)
    text = services._OSD_DROPIN.read_text()
    assert "chown ceph:ceph" in text
    assert "block block.db" in text


def test_the_dropin_is_roots_and_readable(tree, run):
    services.prepare_osds(run)
    assert tree.owner(services._OSD_DROPIN) == (0, 0)
    assert stat.S_IMODE(services._OSD_DROPIN.stat().st_mode) == 0o644


def test_systemd_reads_a_new_dropin(tree, run, systemd):
    services.prepare_osds(run)
    assert systemd.reloads == 1


def test_a_dropin_that_is_there_is_left_alone(tree, run, systemd):
    services.prepare_osds(run)
    before = services._OSD_DROPIN.stat().st_ino
    services.prepare_osds(run)
    assert services._OSD_DROPIN.stat().st_ino == before
    assert systemd.reloads == 1


def test_a_dropin_of_another_version_is_replaced(tree, run, systemd):
    services._OSD_DROPIN.parent.mkdir(parents=True)
    services._OSD_DROPIN.write_text("[Service]\n")
    services.prepare_osds(run)
    assert "ExecStartPre" in services._OSD_DROPIN.read_text()
    assert systemd.reloads == 1
