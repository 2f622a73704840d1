"""systemd's units: daemons run at every boot, and OSDs may open their devices."""

import stat

import pytest

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import services
from ganeti_ceph.steps import StopDaemons

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


@pytest.mark.parametrize("kind", ["mon", "mgr", "osd"])
def test_a_daemon_that_is_stopped_stays_so_after_every_boot(tree, run, systemd, kind):
    services.start(kind, "3", run)
    services.stop([(kind, "3")], run)
    assert systemd.running.isdisjoint({f"ceph-{kind}@3.service"})
    assert systemd.enabled.isdisjoint({f"ceph-{kind}@3.service"})


def test_other_daemons_and_the_targets_are_not_stopped(tree, run, systemd):
    for number in ("3", "33", "4"):
        services.start("osd", number, run)
    services.stop([("osd", "3"), ("osd", "4")], run)
    left = {"ceph-osd@33.service", "ceph-osd.target", "ceph.target"}
    assert systemd.running == left
    assert systemd.enabled == left


def test_daemons_are_stopped_at_the_same_time(tree, run):
    services.stop([("osd", "3"), ("osd", "4"), ("mon", "node1")], run)
    (argv,) = run.calls
    for unit in ("ceph-osd@3.service", "ceph-osd@4.service", UNIT):
        assert unit in argv


def test_an_osd_on_logical_volumes_is_not_found_again_at_boot(tree, run, systemd):
    services._WANTED.mkdir(parents=True)
    mine = {"ceph-volume@lvm-3-1111.service", "ceph-volume@lvm-3-2222.service"}
    others = {
        "ceph-volume@lvm-33-3333.service",
        "ceph-volume@lvm-4-3.service",
        "ceph-mon@3.service",
    }
    for name in mine | others:
        (services._WANTED / name).touch()
    systemd.enabled = mine | others
    services.stop([("osd", "3")], run)
    assert systemd.enabled == others


def test_a_mon_named_like_an_osd_takes_no_volume_with_it(tree, run, systemd):
    services._WANTED.mkdir(parents=True)
    (services._WANTED / "ceph-volume@lvm-3-1111.service").touch()
    services.stop([("mon", "3")], run)
    assert "lvm" not in repr(run.calls)


def test_with_nothing_to_stop_systemd_is_left_alone(tree, run):
    services.stop([], run)
    assert run.calls == []


def test_a_daemon_that_does_not_stop_is_a_failure(tree, run):
    run.knows("systemctl", "disable", code=1)
    with pytest.raises(ExecError, match="systemctl"):
        services.stop([("mon", "node1")], run)


@pytest.mark.parametrize("code", [0, 3, 4])
def test_daemons_that_do_not_run_are_told_by_name(run, code):
    states = "active\ninactive\nactivating\nfailed\nactive\n"
    run.knows("systemctl", "is-active", output=states, code=code)
    daemons = [("mon", "node1"), *(("osd", str(number)) for number in range(4))]
    assert services.stopped(daemons, run) == ("osd.0", "osd.1", "osd.2")
    (argv,) = run.calls
    assert argv[2:4] == ["ceph-mon@node1.service", "ceph-osd@0.service"]


def test_without_daemons_none_is_asked_for(run):
    assert services.stopped([], run) == ()
    assert run.calls == []


def test_an_osd_may_take_the_time_that_systemd_gives_it_to_stop():
    assert 90 < services._STOP_PATIENCE < StopDaemons.limit


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
