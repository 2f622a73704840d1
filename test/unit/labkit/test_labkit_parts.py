import ipaddress
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labkit import cli, locks, node
from labkit.cgroups import hierarchies
from labkit.demo import commands
from labkit.disks import parse_loops
from labkit.errors import LabError
from labkit.lab import Shape
from labkit.layers import hash_files
from labkit.mounts import Mount, parse_mountinfo
from labkit.network import MAX_NODES, addresses, hosts_file
from labkit.node import Node, disk_rules
from labkit.paths import LabPaths

MOUNTINFO = r"""
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 25 0:26 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,name=systemd
31 25 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
40 25 0:44 / /run/a\040b/root rw - overlay overlay rw,lowerdir=/x
""".strip()


def test_mounts_are_read_with_their_odd_names():
    mounts = parse_mountinfo(MOUNTINFO)
    assert mounts[-1].point == Path("/run/a b/root")
    assert mounts[-1].device == "0:44"
    assert "lowerdir=/x" in mounts[-1].options


def test_only_the_hierarchies_that_systemd_uses_count():
    found = hierarchies(parse_mountinfo(MOUNTINFO))
    assert [path.name for path in found] == ["systemd", "unified"]


def test_loop_devices_are_read_also_when_there_are_none():
    assert parse_loops("") == []
    listing = (
        '{"loopdevices": [{"name": "/dev/loop3", "back-file": "/a",'
        ' "back-maj:min": "254:0 "}]}'
    )
    (loop,) = parse_loops(listing)
    assert loop.device == Path("/dev/loop3")
    assert loop.backing_device == "254:0"


def test_a_loop_device_whose_file_has_no_server_any_more_is_read_too():
    listing = (
        '{"loopdevices": [{"name": "/dev/loop3", "back-file": "/",'
        ' "back-maj:min": null}]}'
    )
    (loop,) = parse_loops(listing)
    assert (loop.backing, loop.backing_device) == ("/", "")


@given(st.integers(1, MAX_NODES))
def test_every_host_number_has_two_addresses_of_its_own(number):
    ipv4, ipv6 = addresses(number)
    assert str(ipaddress.ip_address(ipv4)) == ipv4
    assert ipv4.endswith(f".{number}")
    assert ipv6.endswith(f"::{number}")


def test_nodes_and_cluster_are_in_the_hosts_file_by_their_full_names_first():
    lines = hosts_file(2).splitlines()
    assert "10.77.0.2 node2.lab.example node2" in lines
    assert "fd00:77::2 node2.lab.example node2" in lines
    assert "10.77.0.100 cluster.lab.example cluster" in lines
    assert not any("node3" in line for line in lines)


def test_disks_have_stable_names_whatever_the_loop_devices_are():
    rules = disk_rules([Path("/dev/loop7"), Path("/dev/loop3")]).splitlines()
    assert rules[0].startswith("b+ /dev/loop7 ")
    assert rules[0].endswith(" 7:7")
    assert rules[3].split()[1] == "/dev/disk/by-id/lab-disk-2"
    assert rules[3].split()[-1] == "../../loop3"


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "a/b", "a b", "a" * 32])
def test_names_that_cannot_be_directories_and_machines_are_refused(name):
    with pytest.raises(LabError, match="lab name"):
        LabPaths(name)


@pytest.mark.parametrize(("nodes", "disks"), [(0, 1), (MAX_NODES + 1, 1), (1, -1)])
def test_impossible_shapes_are_refused(nodes, disks):
    with pytest.raises(LabError, match="must be"):
        Shape("trixie", nodes, disks)


def test_the_hash_knows_names_contents_and_modes(tmp_path):
    (tmp_path / "a").write_text("1")
    first = hash_files(tmp_path, ["a", "gone"])
    assert hash_files(tmp_path, ["gone", "a"]) == first
    (tmp_path / "a").chmod(0o755)
    second = hash_files(tmp_path, ["a"])
    (tmp_path / "a").write_text("2")
    assert len({first, second, hash_files(tmp_path, ["a"])}) == 3


@pytest.mark.parametrize(
    "words", [["--name", "x", "status"], ["status", "--name", "x"]]
)
def test_the_name_may_stand_before_or_after_the_command(words):
    assert cli.parse(words).name == "x"


def test_a_command_for_a_node_keeps_its_own_options():
    args = cli.parse(["run", "node1", "--", "ls", "--name", "-l"])
    assert args.name == "lab"
    assert args.words[-3:] == ["ls", "--name", "-l"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_demo_uses_the_nodes_that_there_are(count):
    nodes = [Node(LabPaths("x"), number) for number in range(1, count + 1)]
    typed = "\n".join(commands(nodes))
    assert typed.count("gnt-node add") == count - 1
    assert ("migrate" in typed) == (count > 1)
    assert f"node{count + 1}" not in typed


def hold(folder, meanwhile):
    """Ask for a folder's lock while another has it and does something meanwhile."""
    words = {"waiting": "waiting for it", "gone": "gone meanwhile"}
    got = []

    def ask():
        try:
            with locks.folder_lock(folder, **words):
                got.append("the lock")
        except LabError as err:
            got.append(str(err))

    other = threading.Thread(target=ask)
    with locks.folder_lock(folder, **words):
        other.start()
        other.join(0.2)
        assert got == []
        meanwhile()
    other.join(10)
    return got


def test_a_second_process_waits_for_the_lab(tmp_path, capsys):
    assert hold(tmp_path / "lab", lambda: None) == ["the lock"]
    assert capsys.readouterr().out == "lab: waiting for it\n"


def test_who_waited_for_a_lab_that_went_away_is_told(tmp_path):
    folder = tmp_path / "lab"
    assert hold(folder, folder.rmdir) == ["gone meanwhile"]
    assert not folder.exists()


def test_what_is_noted_of_a_node_outlives_it(tmp_path, monkeypatch):
    """Its keeper looks once more while somebody cuts its power."""
    made = Node(LabPaths("lab"), 1)
    monkeypatch.setattr(Node, "devices_file", tmp_path / "devices")
    monkeypatch.setattr(Node, "leader", lambda _: 4711)
    mounts = {
        "self": [Mount("8:1", Path("/"), "ext4", "rw")],
        4711: [Mount("0:44", Path("/"), "overlay", "rw")],
    }
    monkeypatch.setattr(node, "mounts_of", lambda who="self": mounts[who])
    node.note_devices(made)
    assert node.noted_devices(made) == {"0:44"}
    mounts[4711] = []
    node.note_devices(made)
    assert node.noted_devices(made) == {"0:44"}
