"""The lab itself: it keeps its promises to the host and to those who use it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import TOOL, tool

RUN = Path("/run/ganeti-ceph-lab")
DATA = Path("/var/lib/ganeti-ceph-lab")


def traces(name):
    """What there is of a lab on the host."""
    found = [str(path) for path in (RUN / name, DATA / name) if path.exists()]
    found += Path("/sys/fs/cgroup").glob(f"**/ganeti-ceph-lab/{name}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if f"/ganeti-ceph-lab/{name}/" in line]
    loops = subprocess.run(["losetup", "-l"], capture_output=True, text=True).stdout
    found += [line for line in loops.splitlines() if f"{DATA / name}/" in line]
    processes = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True
    ).stdout
    found += [line for line in processes.splitlines() if f"{RUN / name}/" in line]
    found += [
        line
        for line in processes.splitlines()
        if "_keep" in line and f"--name={name} " in line
    ]
    return found


def host_network():
    """The host's interfaces, addresses, routes and files about it."""
    shown = [
        subprocess.run(["ip", *words], capture_output=True, text=True).stdout
        for words in (["-o", "link"], ["-o", "-4", "address"], ["route"], ["rule"])
    ]
    shown += [Path(p).read_text() for p in ("/etc/hosts", "/etc/resolv.conf")]
    return shown


@pytest.fixture
def name(release):
    """The name of a lab that is not there before and after."""
    name = f"own-{release}-{os.getpid()}"
    yield name
    tool("down", "--name", name)


@pytest.fixture
def start(name, release):
    """Begin an "up" of one node and wait until the given part of it is done."""

    def begin(until):
        child = subprocess.Popen(
            [TOOL, "up", "--name", name, "--release", release, "--nodes=2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 900
        while not until():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return child

    return begin


@pytest.fixture(scope="module")
def bare(new_lab):
    """Two nodes with two disks each and no cluster."""
    return new_lab("--nodes=2", "--disks=2", "--no-cluster")


class TestHost:
    def test_the_host_has_no_part_in_the_network(self, lab):
        before = host_network()
        assert "10.77.0." not in "".join(before)
        lab.run(
            "node1", "ip link add odd0 type veth peer name odd1 && ip link del odd0"
        )
        assert host_network() == before

    def test_status_names_the_nodes(self, lab):
        shown = lab.tool("status").stdout
        assert "node3.lab.example: on" in shown

    def test_down_of_what_is_not_there_says_so_and_is_fine(self):
        done = tool("down", "--name", "never-was")
        assert "no lab 'never-was'" in done.stdout

    def test_up_of_what_is_there_is_refused_and_does_no_harm(self, lab):
        done = lab.tool("up", check=False)
        assert done.returncode == 1
        assert "there already" in done.stderr
        assert lab.run("node1", ["hostname"]).stdout == "node1.lab.example\n"

    def test_too_little_memory_is_one_line_and_nothing_starts(self, tmp_path):
        meminfo = tmp_path / "meminfo"
        meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable: 1000 kB\n")
        shown = 'mount --bind "$0" /proc/meminfo && exec "$1" up --name big'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", shown, meminfo, TOOL],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "not enough memory" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert traces("big") == []


class TestNodes:
    def test_the_cluster_has_all_nodes(self, lab):
        listed = lab.run("node1", "gnt-node list --no-headers -o name").stdout.split()
        assert listed == [f"node{n}.lab.example" for n in (1, 2, 3)]

    def test_a_command_has_its_input_output_and_exit_code(self, lab):
        done = lab.run("node2", "cat; echo no >&2; exit 7", check=False, stdin="yes\n")
        assert (done.returncode, done.stdout, done.stderr) == (7, "yes\n", "no\n")

    def test_no_unit_has_failed(self, lab):
        failed = lab.run("node1", "systemctl --failed --plain --no-legend").stdout
        assert failed == ""

    def test_nodes_reach_each_other_over_both_protocols(self, lab):
        lab.run("node1", "ping -4 -c1 -W5 node2 && ping -6 -c1 -W5 node3")

    def test_root_may_go_from_node_to_node(self, lab):
        assert lab.run("node1", "ssh node3 hostname -s").stdout == "node3\n"

    def test_disks_have_stable_names_and_are_the_nodes_own(self, bare):
        command = "lsblk -bdnro SIZE $(realpath /dev/disk/by-id/lab-disk-*)"
        assert bare.run("node1", command).stdout.split() == [str(10 * 1024**3)] * 2
        real = "realpath /dev/disk/by-id/lab-disk-*"
        of_1, of_2 = (set(bare.run(n, real).stdout.split()) for n in ("node1", "node2"))
        assert not of_1 & of_2

    def test_the_owner_of_a_disk_in_a_node_is_no_business_of_the_host(self, bare):
        disk = bare.run("node1", "realpath /dev/disk/by-id/lab-disk-1").stdout.strip()
        before = Path(disk).stat()
        bare.run("node1", f"chown nobody {disk}")
        assert Path(disk).stat().st_uid == before.st_uid


class TestPower:
    def test_a_reboot_keeps_files_and_starts_anew(self, bare):
        boot = "cat /proc/sys/kernel/random/boot_id"
        before = bare.run("node1", f"echo kept > /root/file; {boot}").stdout
        bare.reboot("node1")
        after = bare.run("node1", boot).stdout
        assert before != after
        assert bare.run("node1", "cat /root/file").stdout == "kept\n"

    def test_a_reboot_from_inside_comes_back_by_itself(self, bare):
        boot = "cat /proc/sys/kernel/random/boot_id"
        before = bare.run("node2", boot).stdout
        bare.run("node2", "systemctl reboot", check=False)
        deadline = time.monotonic() + 60
        while True:
            done = bare.run("node2", boot, check=False)
            if done.returncode == 0 and done.stdout != before:
                break
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def test_a_killed_node_is_dead_to_the_others_until_started(self, bare):
        bare.run("node1", "touch /root/before; ping -c1 -W5 node2")
        bare.kill("node2")
        assert "node2.lab.example: off" in bare.tool("status").stdout
        assert bare.run("node1", "ping -c1 -W1 node2", check=False).returncode != 0
        done = bare.run("node2", "true", check=False)
        assert "node2 is not running" in done.stderr
        bare.start("node2")
        bare.run("node1", "ping -c1 -W5 node2")

    def test_kill_stops_even_what_was_started_from_outside(self, bare):
        bare.run("node1", "setsid sleep 4321 >/dev/null 2>&1 &")
        bare.kill("node1")
        left = subprocess.run(["pgrep", "-f", "^sleep 4321$"], capture_output=True)
        bare.start("node1")
        assert left.stdout == b""

    def test_a_loop_device_made_in_a_node_ends_with_it(self, bare):
        bare.run(
            "node1",
            "truncate -s 1M /root/loop; d=$(losetup -f | cut -d ' ' -f 1);"
            " test -e $d || mknod $d b 7 ${d#/dev/loop}; losetup $d /root/loop",
        )
        assert "/root/loop" in _loops()
        bare.kill("node1")
        assert "/root/loop" not in _loops()
        bare.start("node1")

    def test_starting_what_runs_is_refused(self, bare):
        done = bare.tool("start", "node1", check=False)
        assert done.returncode == 1
        assert "already running" in done.stderr


class TestNetwork:
    def test_a_cut_node_runs_on_alone_until_healed(self, bare):
        bare.cut("node2")
        assert bare.run("node1", "ping -c1 -W1 node2", check=False).returncode != 0
        assert bare.run("node2", ["true"]).returncode == 0
        assert "cut off" in bare.tool("status").stdout
        bare.heal("node2")
        bare.run("node1", "ping -c5 -W5 node2 && ping -6 -c5 -W5 node2")

    def test_a_cut_outlives_a_reboot(self, bare):
        bare.cut("node2")
        bare.reboot("node2")
        cut_off = bare.run("node1", "ping -c1 -W1 node2", check=False).returncode != 0
        bare.heal("node2")
        assert cut_off
        bare.run("node1", "ping -c5 -W5 node2")


class TestNothingIsLeft:
    def test_after_down(self, name, release):
        before = host_network()
        tool("up", "--name", name, "--release", release, "--nodes=1", timeout=900)
        assert traces(name)
        tool("down", "--name", name)
        assert traces(name) == []
        assert host_network() == before

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_after_an_interrupted_up(self, name, start, number):
        child = start((RUN / name / "node2/console.log").exists)
        child.send_signal(number)
        assert child.wait(60) == 128 + number
        assert traces(name) == []

    def test_after_an_up_killed_while_it_made_the_cluster(self, name, start):
        def clustered():
            return Path(
                f"{DATA}/{name}/node1/upper/var/lib/ganeti/config.data"
            ).exists()

        child = start(clustered)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert traces(name)
        tool("down", "--name", name)
        assert traces(name) == []

    def test_after_an_up_killed_at_its_very_beginning(self, name, start):
        child = start((RUN / name).exists)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        tool("down", "--name", name)
        assert traces(name) == []


def test_two_labs_side_by_side_do_not_see_each_other(new_lab):
    first, second = (new_lab("--nodes=1", "--no-cluster") for _ in range(2))
    for lab in (first, second):
        lab.run("node1", f"echo {lab.name} > /root/name")
    address = json.loads(first.run("node1", "ip -j -4 addr show br0").stdout)
    assert address == json.loads(second.run("node1", "ip -j -4 addr show br0").stdout)
    assert first.run("node1", "ssh 10.77.0.1 cat /root/name").stdout == (
        f"{first.name}\n"
    )
    second.down()
    assert traces(second.name) == []
    assert first.run("node1", "cat /root/name").stdout == f"{first.name}\n"


def _loops():
    return subprocess.run(
        ["losetup", "--list"], capture_output=True, text=True, check=True
    ).stdout
