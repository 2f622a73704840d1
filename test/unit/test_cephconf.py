"""ceph.conf: what is written is what is read again, by us and by Ceph's rules."""

import configparser

import pytest
from fakes import FSID
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph import cephconf
from ganeti_ceph.cephconf import ClusterConf, Mon

IDS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z").filter(
    lambda name: name.strip("_.-")
)


ONE = (Mon("node1", "192.0.2.1"),)


def conf(mons=ONE, **changes):
    values = {
        "fsid": FSID,
        "mons": tuple(mons),
        "public_network": "192.0.2.0/24",
        "cluster_network": None,
        "options": (),
    }
    return ClusterConf(**{**values, **changes})


def read(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    assert parser.sections() == ["global"]
    return dict(parser["global"])


def test_all_that_is_written():
    text = cephconf.render(
        conf(
            cluster_network="198.51.100.0/24",
            options=(("osd_max_backfills", "2G"),),
        ),
        (("room", "b"), ("rack", "r1")),
        "node1",
    )
    assert read(text) == {
        "fsid": FSID,
        "mon_initial_members": "node1",
        "mon_host": "[v2:192.0.2.1:3300,v1:192.0.2.1:6789]",
        "public_network": "192.0.2.0/24",
        "cluster_network": "198.51.100.0/24",
        "crush_location": "root=default room=b rack=r1 host=node1",
        "osd_max_backfills": "2G",
    }


def test_what_is_not_needed_is_not_written():
    assert set(read(cephconf.render(conf(), (), "node1"))) == {
        "fsid",
        "mon_initial_members",
        "mon_host",
        "public_network",
    }


def test_ipv6_binds_to_ipv6_alone():
    text = cephconf.render(conf([Mon("a", "2001:db8::1")]), (), "a")
    assert read(text)["ms_bind_ipv6"] == "true"
    assert read(text)["ms_bind_ipv4"] == "false"


def test_the_one_place_is_as_good_as_the_text_says():
    # Ceph takes lines of the same file on every node; only the place differs.
    first = cephconf.render(conf(), (("rack", "r1"),), "node1")
    second = cephconf.render(conf(), (("rack", "r2"),), "node2")
    differing = set(first.splitlines()) ^ set(second.splitlines())
    assert all(line.startswith("crush_location") for line in differing)


@given(
    st.lists(
        st.builds(Mon, IDS, st.ip_addresses().map(str)),
        min_size=1,
        max_size=7,
        unique_by=lambda mon: mon.id,
    ),
    st.uuids(),
)
def test_mons_and_fsid_are_read_as_they_were_written(mons, fsid):
    text = cephconf.render(conf(mons, fsid=str(fsid)), (), "node1")
    assert cephconf.read_mons(text) == tuple(mons)
    assert cephconf.read_fsid(text) == str(fsid)


@pytest.mark.parametrize("address", ["fd00:3300::1", "2001:db8::3300", "::3300:0:1"])
def test_an_address_that_looks_like_a_port_is_read_whole(address):
    text = cephconf.render(conf([Mon("a", address)]), (), "a")
    assert cephconf.read_mons(text) == (Mon("a", address),)


@pytest.mark.parametrize(
    ("text", "fsid"),
    [
        ("", None),
        ("not a configuration", None),
        ("[global]\n", None),
        ("[mon]\nfsid = x\n", None),
        (f"[global]\nfsid={FSID}\n", FSID),
        (f"# c\n[global]\n; c\n\tfsid = {FSID}\nauth client required = %x\n", FSID),
        (f"[global]\nFSID = {FSID}\n[global]\nmon-host = a\n", FSID),
    ],
)
def test_a_conf_by_another_hand_is_read(text, fsid):
    assert cephconf.read_fsid(text) == fsid
    assert cephconf.read_mons(text) == ()


def test_mons_by_another_hand_are_nobodys():
    text = "[global]\nmon initial members = a\nmon host = 192.0.2.1, 192.0.2.2\n"
    assert cephconf.read_mons(text) == ()


@given(st.text())
def test_no_text_breaks_the_reader(text):
    cephconf.read_fsid(text)
    cephconf.read_mons("[global]\n" + text)


@pytest.mark.parametrize("name", ["node1", "a", "A-b_c.9", "_x"])
def test_names_that_a_daemon_may_have(name):
    cephconf.check_id(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", ".x", "a/b", "a b", "a\n", "é", "a;b", "$(x)"]
)
def test_names_that_no_daemon_may_have(name):
    with pytest.raises(ValueError):
        cephconf.check_id(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"fsid": "x"},
        {"mons": ()},
        {"options": (("a", "x\n[osd]"),)},
        {"options": (("a b", "x"),)},
        {"options": (("", "x"),)},
    ],
)
def test_what_cannot_stand_in_ceph_conf_is_refused(changes):
    with pytest.raises(ValueError):
        conf(**changes)


@pytest.mark.parametrize("address", ["", "node1", "192.0.2.1/24", "192.0.2.300"])
def test_a_mon_has_a_real_address(address):
    with pytest.raises(ValueError):
        Mon("a", address)


def test_addresses_as_ceph_writes_them():
    assert Mon("a", "192.0.2.1").vector == "[v2:192.0.2.1:3300,v1:192.0.2.1:6789]"
    assert Mon("a", "fd00::1").vector == "[v2:[fd00::1]:3300,v1:[fd00::1]:6789]"
