"""The watcher: what died is started, what somebody stopped is let be."""

import types

import pytest
from ganeti import hypervisor, ssconf

from ganeti_ceph import cephconf
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import files, osd_memory, services, watch

OSD, MON = "ceph-osd@3.service", "ceph-mon@node1.service"


class Systemd:
    """Units that failed, and whether they are enabled."""

    def __init__(self, **failed):
        self.failed = failed
        self.calls = []
        self.broken = False

    def __call__(self, argv, *, timeout=60, ok=(0,)):
        assert argv[0] == "systemctl"
        if self.broken:
            raise ExecError("systemctl is not installed")
        self.calls.append(argv[1:])
        if argv[1] == "list-units":
            assert "--state=failed" in argv
            return "".join(
                f"{unit} loaded failed failed A daemon\n" for unit in self.failed
            )
        if argv[1] == "is-enabled":
            assert ok == (0, 1)
            return self.failed[argv[2]] + "\n"
        return ""


@pytest.fixture
def conf(tmp_path, monkeypatch):
    path = tmp_path / "ceph.conf"
    path.write_text(cephconf.HEADER + "[global]\n")
    monkeypatch.setattr(files, "CONF", path)
    monkeypatch.setattr(files, "SCRATCH", tmp_path / "run")
    monkeypatch.setattr(watch, "_set_memory", lambda: None)
    return path


def watched(monkeypatch, systemd):
    """Run the watcher; return what it did about units."""
    monkeypatch.setattr(watch, "run", systemd)
    result = watch.mend(lambda: "Ganeti's own", None, (), {})
    assert result == "Ganeti's own"
    return [call for call in systemd.calls if call[0] in ("start", "reset-failed")]


def test_daemons_that_died_are_started(conf, monkeypatch):
    systemd = Systemd(**{OSD: "enabled", MON: "enabled"})
    assert watched(monkeypatch, systemd) == [
        ["reset-failed", OSD],
        ["start", "--no-block", OSD],
        ["reset-failed", MON],
        ["start", "--no-block", MON],
    ]


def test_one_that_ceph_volume_found_at_boot_is_started(conf, monkeypatch):
    assert starts(monkeypatch, Systemd(**{OSD: "enabled-runtime"})) == [OSD]


def starts(monkeypatch, systemd):
    return [call[-1] for call in watched(monkeypatch, systemd) if call[0] == "start"]


def test_one_that_dies_again_and_again_is_left_down(conf, monkeypatch, caplog):
    now = [1e9]
    monkeypatch.setattr(services.time, "time", lambda: now[0])
    failing = {OSD: "enabled"}
    for _ in range(services.MOST_TRIES):
        assert starts(monkeypatch, Systemd(**failing)) == [OSD]
        now[0] += 300
    assert starts(monkeypatch, Systemd(**failing)) == []
    assert f"leaves {OSD} down" in caplog.text
    # Another one is none the worse for it.
    assert starts(monkeypatch, Systemd(**failing, **{MON: "enabled"})) == [MON]
    now[0] = 1e9 + 86400
    assert starts(monkeypatch, Systemd(**failing)) == [OSD]
    assert starts(monkeypatch, Systemd(**failing)) == []


def test_one_that_was_repaired_is_tried_again(conf, monkeypatch):
    failing = {OSD: "enabled"}
    for _ in range(services.MOST_TRIES):
        starts(monkeypatch, Systemd(**failing))
    services.start("osd", "3", Systemd())
    assert starts(monkeypatch, Systemd(**failing)) == [OSD]


def test_a_disabled_one_is_let_be(conf, monkeypatch):
    systemd = Systemd(**{OSD: "disabled", MON: "enabled"})
    assert watched(monkeypatch, systemd) == [
        ["reset-failed", MON],
        ["start", "--no-block", MON],
    ]


def test_where_all_is_well_nothing_is_done(conf, monkeypatch):
    assert watched(monkeypatch, Systemd()) == []


@pytest.mark.parametrize("text", [None, "[global]\nfsid = x\n"])
def test_a_ceph_that_is_not_ours_is_let_be(conf, monkeypatch, text):
    conf.unlink()
    if text:
        conf.write_text(text)
    systemd = Systemd(**{OSD: "enabled"})
    watched(monkeypatch, systemd)
    assert systemd.calls == []


def test_a_failure_of_ours_is_not_the_watchers(conf, monkeypatch, caplog):
    systemd = Systemd(**{OSD: "enabled"})
    systemd.broken = True
    watched(monkeypatch, systemd)
    assert "systemctl is not installed" in caplog.text


def test_the_patterns_are_of_all_kinds_of_daemons():
    systemd = Systemd()
    services.start_failed(systemd)
    (call,) = systemd.calls
    assert {f"ceph-{kind}@*.service" for kind in ("mon", "mgr", "osd")} <= set(call)


def test_the_osds_learn_what_instances_leave_them(conf, monkeypatch):
    told = []
    monkeypatch.undo()
    monkeypatch.setattr(
        ssconf.SimpleStore, "GetClusterTags", lambda _: ["ceph:osd-memory:3G", "web"]
    )
    kvm = types.SimpleNamespace(
        GetAllInstancesInfo=lambda: [("a", 1, 512, 1, 0, 0), ("b", 2, 1024, 1, 0, 0)]
    )
    monkeypatch.setattr(hypervisor, "GetHypervisor", lambda _: kvm)
    monkeypatch.setattr(
        osd_memory, "apply", lambda *words: told.append(words) or ["osd.0"]
    )
    watch._set_memory()
    ((wanted, instances),) = told
    assert (wanted.osd_memory, instances) == (3 * 2**30, 1536 * 2**20)


def test_room_is_made_before_an_instance_takes_it(conf, monkeypatch):
    made = []
    monkeypatch.setattr(watch, "_set_memory", made.append)
    guest = types.SimpleNamespace(beparams={"maxmem": 4096})
    watch.make_room(guest)
    assert made == [4096]
    conf.unlink()
    watch.make_room(guest)
    assert made == [4096]


def test_an_instance_starts_also_where_no_room_can_be_made(conf, monkeypatch, caplog):
    def fail(further):
        raise ExecError("no tags")

    monkeypatch.setattr(watch, "_set_memory", fail)
    watch.make_room(types.SimpleNamespace(beparams={"maxmem": 4096}))
    assert "no tags" in caplog.text
