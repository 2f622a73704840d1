"""ceph.conf and keyrings: ours are written, another cluster's are left alone."""

import stat

import pytest
from fakes import FSID, OTHER_FSID

from ganeti_ceph import cephconf
from ganeti_ceph.cephconf import ClusterConf, Mon
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import config, files
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import Configure, Keys

KEYS = Keys(Secret("m0n-s3cret=="), Secret("adm1n-s3cret=="))
CONF = ClusterConf(FSID, (Mon("node1", "192.0.2.1"),), "192.0.2.0/24", None, ())
STEP = Configure(CONF, (("rack", "r1"),), "node1", KEYS.admin)


def test_conf_and_key_are_written(tree):
    assert "s3cret" not in config.configure(STEP)
    assert files.CONF.read_text() == cephconf.render(CONF, (("rack", "r1"),), "node1")
    assert "s3cret" not in files.CONF.read_text()
    assert "key = adm1n-s3cret==\n" in files.ADMIN_KEYRING.read_text()
    assert stat.S_IMODE(files.ADMIN_KEYRING.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.CONF.stat().st_mode) == 0o644


def test_our_own_conf_is_replaced(tree):
    config.configure(STEP)
    files.CONF.write_text(f"[global]\nfsid = {FSID}\n")
    config.configure(STEP)
    assert cephconf.read_mons(files.CONF.read_text()) == CONF.mons


@pytest.mark.parametrize("text", [f"[global]\nfsid = {OTHER_FSID}\n", "", "[global]\n"])
def test_the_conf_of_another_cluster_is_refused_and_nothing_changes(tree, text):
    files.CONF.parent.mkdir(parents=True)
    files.CONF.write_text(text)
    with pytest.raises(ExecError, match="another storage cluster"):
        config.configure(STEP)
    assert files.CONF.read_text() == text
    assert not files.ADMIN_KEYRING.exists()


def test_where_ceph_conf_is_the_key_is_too(tree, monkeypatch):
    real = files.write
    written = []

    def write(path, *rest):
        if path == files.CONF:
            raise OSError(28, "No space left on device")
        written.append(path)
        real(path, *rest)

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(OSError):
        config.configure(STEP)
    assert written == [files.ADMIN_KEYRING]


def test_the_keys_are_read_as_they_were_written(tree):
    config.configure(STEP)
    store = files.daemon_dir("mon", "node1")
    store.mkdir(parents=True)
    (store / "keyring").write_text(config.mon_keyring(KEYS))
    assert config.read_keys() == KEYS


def test_a_mons_keyring_holds_both_keys_with_their_rights():
    text = config.mon_keyring(KEYS)
    mon, admin = text.split("[client.admin]")
    assert mon.startswith("[mon.]\n")
    assert 'caps mon = "allow *"' in mon
    for daemon in ("mds", "mgr", "mon", "osd"):
        assert f'caps {daemon} = "allow *"' in admin


def test_a_node_without_a_mon_has_no_keys(tree):
    with pytest.raises(ExecError, match="no mon"):
        config.read_keys()
    config.configure(STEP)
    with pytest.raises(ExecError, match="no mon"):
        config.read_keys()


def test_a_keyring_without_a_key_is_told_and_not_shown(tree):
    config.configure(STEP)
    store = files.daemon_dir("mon", "node1")
    store.mkdir(parents=True)
    (store / "keyring").write_text("s3cret without form")
    with pytest.raises(ExecError, match="holds no key") as caught:
        config.read_keys()
    assert "s3cret" not in str(caught.value)
