"""What must survive: daemons killed in each step, power cuts, cut networks, full disks.

The tests of this file build on each other, in their order.  A guest writes blocks
through all that happens to the finished storage cluster; in the end they are whole, and
it is healthy.
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import NewLab, Result, TestLab
from guests import Guest
from test_init import DISK, INIT, LIMIT_LOOP, modify
from test_life import go_offline
from test_nodes import (
    ADD,
    ceph,
    crash,
    harm,
    is_whole,
    lives_on,
    mons,
    nothing_to_do,
    osds,
    status,
    wait_clean,
)

pytestmark = pytest.mark.slow

NODES = ("node1", "node2", "node3", "node4")
MASTER = "node1.lab.example"
SERVE = "/usr/lib/python3/dist-packages/ganeti_ceph/node/serve.py"
FAULT = "/run/fault"
#: Makes a node daemon die in the step that a file names, once, or wait before it.
DEATH = f"""
import os as _os, time as _time

_do_one_really = _do_one


def _do_one(step):
    try:
        with open("{FAULT}") as _file:
            fault = _file.read().strip()
    except OSError:
        fault = ""
    if fault == step.name:
        _os.unlink("{FAULT}")
        _os.kill(_os.getppid(), 9)
        _os.kill(_os.getpid(), 9)
    if fault == "wait " + step.name:
        open("{FAULT}.waits", "w").close()
        while _os.path.exists("{FAULT}"):
            _time.sleep(0.1)
    return _do_one_really(step)
"""
#: Parts with two nodes each; the master is with the smaller part of the mons.
HALVES = (("node1", "node4"), ("node2", "node3"))
OSD_RUNS = "systemctl is-active -q 'ceph-osd@*'"
REVIVE = "/usr/lib/ganeti/daemon-util start ganeti-noded"


@pytest.fixture(scope="module")
def lab(new_lab: NewLab) -> TestLab:
    """Four nodes whose node daemons die where they are told to."""
    lab = new_lab("--nodes=4")
    for node in NODES:
        lab.run(
            node,
            f"cat >> {SERVE}; /usr/lib/ganeti/daemon-util stop ganeti-noded; {REVIVE}",
            stdin=DEATH,
        )
    modify(lab, f"ceph:disk={DISK}")
    return lab


@pytest.fixture(scope="module")
def guest(lab: TestLab) -> Iterator[Guest]:
    guest = Guest(lab, "guest1.lab.example")
    # The one node that is there until the last tests.
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node2 --disk 0:size=1G")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0", check=False)


def dies_in(lab: TestLab, step: str, node: str, command: str) -> Result:
    """Run a command in which a node's daemon dies in a step, and start that again."""
    lab.run(node, f"echo {step} > {FAULT}")
    done = lab.run("node1", command, check=False, timeout=400)
    alive = lab.run(node, f"test -e {FAULT}", check=False).returncode == 0
    assert not alive, f"{node} did no step {step}: {done.stdout}{done.stderr}"
    lab.run(node, REVIVE)
    return done


def told(done: Result, again: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert re.search(rf"go on from here with '{again}", said), said


def healthy(lab: TestLab, seconds: float = 180) -> None:
    """Wait until the storage cluster is whole again."""
    end = time.monotonic() + seconds
    while True:
        shown = lab.run("node1", "gnt-storage status", check=False).stdout
        if "HEALTH_OK" in shown and "To do" not in shown:
            break
        if "RECENT_CRASH" in shown:
            lab.run("node1", "ceph crash archive-all", check=False)
        assert time.monotonic() < end, shown
        time.sleep(2)
    wait_clean(lab)


def told_of(lab: TestLab, *signs: str, seconds: float = 150) -> None:
    """Wait until the status tells of one of these."""
    end = time.monotonic() + seconds
    while not any(sign in (shown := status(lab)) for sign in signs):
        assert time.monotonic() < end, shown
        time.sleep(2)


def cut_when(
    lab: TestLab, node: str, sign: str, command: str, *, halves: bool = False
) -> Result:
    """Run a command, cut a node off at a sign that it shows, and connect it again.

    With ``halves`` the network is cut between :data:`HALVES`.  A step that the node
    waits before goes on then.
    """

    def cut() -> None:
        await_sign(lab, node, sign)
        if halves:
            part(lab, "replace {} lladdr 02:00:00:00:00:99 nud permanent")
        else:
            lab.cut(node)
        lab.run(node, f"rm -f {FAULT}*")

    with ThreadPoolExecutor() as pool:
        harmed = pool.submit(cut)
        try:
            done = lab.run("node1", command, check=False, timeout=900)
            harmed.result()
        finally:
            if halves:
                part(lab, "del {}")
            else:
                lab.heal(node)
    return done


def part(lab: TestLab, change: str) -> None:
    """Change what the nodes of each half know of how to reach the other's."""
    for here, there in (HALVES, HALVES[::-1]):
        for node in here:
            lab.run(
                node,
                "; ".join(
                    f"ip neigh {change.format(f'10.77.0.{other[4:]}')} dev br0"
                    for other in there
                ),
                check=False,
            )


def await_sign(lab: TestLab, node: str, sign: str) -> None:
    lab.run(node, f"for i in $(seq 1200); do {sign} && exit; sleep 0.05; done; exit 1")


@pytest.mark.parametrize(
    ("step", "node"),
    [
        ("configure", "node3"),
        ("mon", "node3"),
        ("quorum", "node1"),
        # One stage: what is done elsewhere in the first run is not done again.
        ("osd", "node2"),
        ("mgr", "node2"),
        ("pool", "node1"),
        ("client", "node4"),
        ("health", "node1"),
    ],
)
def test_the_node_daemon_dies_in_each_step_of_the_making(
    lab: TestLab, step: str, node: str
) -> None:
    told(dies_in(lab, step, node, INIT), "gnt-storage init-distributed-storage")


def test_the_master_s_power_fails_while_it_is_made(lab: TestLab) -> None:
    for node in NODES:
        lab.run(node, "systemctl stop 'ceph-osd@*'; rm -f /etc/ceph/ceph.client.g*")

    def cut() -> None:
        await_sign(lab, "node3", OSD_RUNS)
        lab.kill("node1")

    with ThreadPoolExecutor() as pool:
        harmed = pool.submit(cut)
        done = lab.run("node1", INIT, check=False, timeout=400)
        harmed.result()
    assert done.returncode, "it was ready before"
    lab.start("node1")
    answers(lab)
    said = lab.run("node1", INIT, timeout=400).stdout
    assert "is ready" in said or "there is nothing to do" in said
    healthy(lab)


@pytest.mark.parametrize("halves", [False, True])
def test_the_network_is_cut_while_it_is_made(lab: TestLab, halves: bool) -> None:
    for node in NODES:
        lab.run(node, "systemctl stop 'ceph-osd@*'; rm -f /etc/ceph/ceph.client.g*")
    told(
        cut_when(lab, "node3", OSD_RUNS, INIT, halves=halves),
        "gnt-storage init-distributed-storage",
    )
    lab.run("node1", INIT, timeout=400)
    healthy(lab)


def answers(lab: TestLab, seconds: float = 90) -> None:
    """Wait until Ganeti's master answers again."""
    end = time.monotonic() + seconds
    while lab.run("node1", "gnt-job list", check=False).returncode:
        assert time.monotonic() < end
        time.sleep(2)


@pytest.mark.parametrize(
    ("step", "node", "command"),
    [
        ("mon-removal", "node1", "gnt-node modify --offline=yes node3"),
        ("stop", "node3", "gnt-node modify --offline=yes node3"),
        ("osd-start", "node3", "gnt-storage repair node3"),
        ("daemons", "node1", "gnt-storage repair node3"),
        ("mark", "node1", "gnt-node modify --drained=yes node4"),
        ("mark", "node1", "gnt-node modify --drained=no node4"),
    ],
)
def test_the_node_daemon_dies_in_each_step_of_leaving_and_coming_back(
    guest: Guest, step: str, node: str, command: str
) -> None:
    lab = guest.lab
    again = "gnt-storage repair node3" if "repair" in command else "gnt-node modify"
    if step in ("osd-start", "daemons"):
        lab.run("node3", "systemctl stop 'ceph-osd@*'")
    if "drained=no" in command:
        lab.run("node1", "gnt-node modify --drained=yes node4")
    told(dies_in(lab, step, node, command), again)
    lives_on(guest)
    if step == "mon-removal":
        # Who does not go on with that has one mon in vain.
        assert len(mons(lab)) == 4
        lab.run("node1", "gnt-storage repair", timeout=400)
        assert len(mons(lab)) == 3
    lab.run("node1", command, timeout=400)
    if "offline" in command:
        lab.run("node1", [*ADD, "--readd", "node3.lab.example"], timeout=400)
    if "drained=yes" in command:
        lab.run("node1", "gnt-node modify --drained=no node4")
    healthy(lab)
    lives_on(guest)


def test_the_node_daemon_dies_while_a_node_is_forgotten(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node1", "gnt-node modify --offline=yes node4", timeout=300)
    lab.run("node1", "ceph osd out $(ceph osd ls-tree node4)")
    wait_clean(lab)
    told(dies_in(lab, "forget", "node1", "gnt-node remove node4"), "gnt-node remove")
    lives_on(guest)
    # Ceph has forgotten it, and so does Ganeti; it keeps what only it has.
    done = dies_in(lab, "keys", "node4", "gnt-node remove node4")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "node4.lab.example still has keys of the storage cluster" in said
    assert "node4" not in osds(lab)
    assert "node4" not in lab.run("node1", "gnt-node list --no-headers -o name").stdout
    blank(lab, "node4")
    healthy(lab)
    lives_on(guest)


def blank(lab: TestLab, node: str) -> None:
    """Take what the storage cluster has forgotten off a node."""
    lab.run(node, f"wipefs -qa {DISK}; head -c 20M /dev/zero > {DISK}")
    lab.run(node, "rm -rf /etc/ceph/ceph.* /var/lib/ceph/*/ceph-*")


def test_the_master_s_power_fails_while_a_node_is_added(guest: Guest) -> None:
    lab = guest.lab

    def cut() -> None:
        await_sign(lab, "node4", OSD_RUNS)
        lab.kill("node1")

    with ThreadPoolExecutor() as pool:
        harmed = pool.submit(cut)
        add = [*ADD, "node4.lab.example"]
        done = lab.run("node1", add, check=False, timeout=400)
        harmed.result()
    assert done.returncode, "it was added before"
    lab.start("node1")
    answers(lab)
    lab.run("node1", "gnt-storage repair node4", timeout=400)
    healthy(lab)
    assert set(osds(lab)) == set(NODES)
    lives_on(guest)


@pytest.mark.parametrize("halves", [False, True])
def test_the_network_is_cut_while_a_node_is_added(guest: Guest, halves: bool) -> None:
    lab = guest.lab
    wait_clean(lab)
    lab.run("node1", "gnt-node modify --offline=yes node4", timeout=300)
    lab.run("node1", "ceph osd out $(ceph osd ls-tree node4)")
    wait_clean(lab)
    lab.run("node1", "gnt-node remove node4", timeout=300)
    blank(lab, "node4")
    add = " ".join([*ADD, "node4.lab.example"])
    sign = "ls /var/lib/ceph/osd/ | grep -q ."
    done = cut_when(lab, "node4", sign, add, halves=halves)
    assert done.returncode == 1, done.stdout
    assert "gnt-storage repair node4" in done.stdout + done.stderr
    lab.run("node1", "gnt-storage repair node4", timeout=400)
    healthy(lab)
    lives_on(guest)


@pytest.mark.parametrize("halves", [False, True])
def test_the_network_is_cut_while_a_node_goes_offline(
    guest: Guest, halves: bool
) -> None:
    lab = guest.lab
    command = "gnt-node modify --offline=yes node3"
    # Its daemons are about to be stopped.
    lab.run("node3", f"echo wait stop > {FAULT}")
    waits = f"test -e {FAULT}.waits"
    told(cut_when(lab, "node3", waits, command, halves=halves), command)
    lives_on(guest)
    lab.run("node1", command, timeout=300)
    lab.run("node1", [*ADD, "--readd", "node3.lab.example"], timeout=400)
    healthy(lab)
    lives_on(guest)


@pytest.mark.parametrize("node", ["node1", "node3", "node4"])
def test_the_power_of_each_node_fails(guest: Guest, node: str) -> None:
    lab = guest.lab
    lab.kill(node)
    if node == "node1":
        # The others are not asked there.
        time.sleep(30)
    else:
        lives_on(guest)
    lab.start(node)
    answers(lab)
    healthy(lab, 240)
    lives_on(guest)


def test_a_cut_network_leaves_the_greater_part_at_work(guest: Guest) -> None:
    lab = guest.lab
    lab.cut("node3")
    try:
        lives_on(guest)
        done = lab.run("node1", "gnt-storage repair", check=False, timeout=120)
        assert done.returncode == 1
        assert "node3.lab.example: " in done.stderr
        # It is taken out like a dead one, and comes back like one.
        end = time.monotonic() + 60
        while any(osd["up"] for osd in osds(lab)["node3"].values()):
            assert time.monotonic() < end
            time.sleep(1)
        lab.run("node1", "gnt-node modify --offline=yes node3", timeout=300)
        assert "node3" not in mons(lab)
        lives_on(guest)
    finally:
        lab.heal("node3")
    lab.run("node1", [*ADD, "--readd", "node3.lab.example"], timeout=400)
    healthy(lab, 240)
    lives_on(guest)


def test_a_mon_s_full_disk_is_told_and_stops_that_mon_at_most(guest: Guest) -> None:
    lab = guest.lab
    (victim,) = mons(lab) & {"node2"}
    store = f"/var/lib/ceph/mon/ceph-{victim}"
    lab.run(
        victim,
        f"systemctl stop ceph-mon@{victim}; cp -a {store} {store}.aside;"
        f" mount -t tmpfs -o size=400M tmpfs {store}; cp -a {store}.aside/. {store}/;"
        f" chown ceph:ceph {store}; systemctl start ceph-mon@{victim};"
        f" sleep 5; head -c 390M /dev/zero > {store}/filler; true",
    )
    out = f"to do: make and start mon.{victim}"
    told_of(lab, "make room on the file system of /var/lib/ceph/mon", out)
    lives_on(guest)
    lab.run(
        victim,
        f"systemctl stop ceph-mon@{victim}; rm {store}/filler;"
        f" rm -rf {store}.aside/*; cp -a {store}/. {store}.aside/; umount {store};"
        f" rm -rf {store}; mv {store}.aside {store}",
    )
    # The other mons have to miss it first.
    told_of(lab, out)
    lab.run("node1", "gnt-storage repair", timeout=300)
    healthy(lab)
    lives_on(guest)


def test_a_vanished_device_is_replaced(guest: Guest) -> None:
    lab = guest.lab
    (before,) = osds(lab)["node2"]
    limit = ["python3", "-c", LIMIT_LOOP, DISK]
    lab.run("node2", [*limit, str(2**20)])
    end = time.monotonic() + 180
    while osds(lab)["node2"][before]["up"]:
        assert time.monotonic() < end
        time.sleep(1)
    lives_on(guest)
    lab.run("node2", [*limit, "0"])
    lab.run(
        "node2",
        f"systemctl stop ceph-osd@{before}; rm -f {DISK}.aside; mv {DISK} {DISK}.aside",
    )
    done = lab.run("node1", "gnt-storage repair", timeout=300)
    assert f"node2.lab.example: {DISK} is missing" in done.stdout + done.stderr
    assert f"{DISK} is missing" in status(lab)
    lab.run(
        "node2",
        f"mv {DISK}.aside {DISK}; wipefs -qa {DISK}; head -c 20M /dev/zero > {DISK}",
    )
    lab.run("node1", "gnt-storage repair", timeout=300)
    assert list(osds(lab)["node2"]) == [before]
    healthy(lab)
    lives_on(guest)


def kill_while_it_waits(lab: TestLab, command: str, node: str) -> None:
    """Submit a command, and kill its job where a step waits on a node."""
    program, verb, *rest = command.split()
    words = [program, verb, "--submit", "--print-jobid", *rest]
    job = lab.run("node1", words).stdout
    number = re.findall(r"\d+", job)[-1]
    await_sign(lab, node, f"test -e {FAULT}.waits")

    def state() -> str:
        shown = lab.run("node1", f"gnt-job list --no-headers -o status {number}")
        return shown.stdout.strip()

    assert state() == "running"
    lab.run("node1", f"gnt-job cancel --kill --yes-do-it {number}")
    end = time.monotonic() + 60
    while state() == "running":
        assert time.monotonic() < end
        time.sleep(1)


def run_again(lab: TestLab, command: str) -> None:
    """Run a command until what a killed job began on a node has ended."""
    end = time.monotonic() + 60
    while lab.run("node1", command, check=False, timeout=300).returncode:
        assert time.monotonic() < end
        time.sleep(3)


def harm_keys(lab: TestLab) -> None:
    lab.run("node3", "chmod 644 /etc/ceph/ceph.client.ganeti.keyring")


@pytest.mark.parametrize(
    ("step", "node", "what", "options"),
    [
        ("key-owners", "node3", harm_keys, ""),
        ("pg-repair", "node1", harm, ""),
        ("crashes", "node1", crash, " --archive-crashes"),
    ],
)
def test_the_node_daemon_dies_in_each_step_of_mending(
    guest: Guest, step: str, node: str, what: Callable[[TestLab], Any], options: str
) -> None:
    lab = guest.lab
    what(lab)
    command = f"gnt-storage repair{options}"
    told(dies_in(lab, step, node, command), "gnt-storage repair")
    lab.run("node1", command, timeout=400)
    if what is harm:
        is_whole(lab)
    nothing_to_do(lab)
    lives_on(guest)


def test_the_node_daemon_dies_while_it_starts_a_mon(guest: Guest) -> None:
    lab = guest.lab
    _, *stopped = sorted(mons(lab))
    for node in stopped:
        lab.run(node, f"systemctl stop ceph-mon@{node}")
    lab.run("node1", "while timeout 5 ceph mon stat; do sleep 1; done &> /dev/null")
    done = dies_in(lab, "mon-start", stopped[0], "gnt-storage repair")
    assert done.returncode == 1
    assert stopped[0] in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lab.run("node1", "gnt-storage repair", timeout=400)
    healthy(lab)
    lives_on(guest)


def test_a_killed_job_may_be_run_again(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node4", f"systemctl stop 'ceph-osd@*'; echo wait osd-start > {FAULT}")
    kill_while_it_waits(lab, "gnt-storage repair", "node4")
    assert not any(one["up"] for one in osds(lab)["node4"].values())
    lab.run("node4", f"rm {FAULT}*")
    run_again(lab, "gnt-storage repair")
    healthy(lab)
    lives_on(guest)


def test_a_node_whose_leave_was_killed_leaves_and_comes_back(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node3", f"echo wait stop > {FAULT}")
    kill_while_it_waits(lab, "gnt-node modify --offline=yes node3", "node3")
    lab.run("node3", f"rm {FAULT}*")
    run_again(lab, "gnt-node modify --offline=yes node3")
    assert not any(one["up"] for one in osds(lab)["node3"].values())
    lives_on(guest)
    lab.run("node1", [*ADD, "--readd", "node3.lab.example"], timeout=400)
    healthy(lab)
    lives_on(guest)


def test_a_dead_master_is_replaced_and_comes_back(guest: Guest) -> None:
    lab = guest.lab
    there = Guest(lab, guest.name, master="node2")
    lab.kill("node1")
    lab.run("node2", "gnt-cluster master-failover", timeout=300)
    end = time.monotonic() + 90
    while f"'gnt-node modify --offline=yes {MASTER}'" not in status(lab, "node2"):
        assert time.monotonic() < end
        time.sleep(2)
    lab.run("node2", "gnt-node modify --offline=yes node1", timeout=300)
    named = {one["name"] for one in ceph(lab, "mon dump", "node2")["mons"]}
    assert named == {"node2", "node3", "node4"}
    lives_on(there)
    # Ganeti's daemons wait for minutes until they believe that another one is master.
    lab.tool("start", "node1", check=False)
    lab.run("node2", [*ADD, "--readd", MASTER], timeout=400)
    lives_on(there)
    lab.run("node1", "gnt-cluster master-failover", timeout=300)
    answers(lab)
    # The mon that it had is on node4, and comes back when that one leaves.
    wait_clean(lab, node="node2")
    go_offline(lab, "node4")
    assert mons(lab) == {"node1", "node2", "node3"}
    lab.run("node1", [*ADD, "--readd", "node4"], timeout=400)
    healthy(lab)
    lives_on(guest)


def start_again(guest: Guest, boot: int) -> None:
    """Start a guest once its disk may be had, and see that all it wrote is whole."""
    end = time.monotonic() + 120
    while guest.gnt("startup", check=False).returncode:
        assert time.monotonic() < end
        time.sleep(5)
    wrote = guest.written(boot)
    assert wrote.verdict == "OK"
    assert wrote.whole == wrote.blocks


def test_the_power_of_the_guest_s_own_node_fails(guest: Guest) -> None:
    lab = guest.lab
    lab.kill("node2")
    lab.start("node2")
    answers(lab)
    healthy(lab, 240)
    start_again(guest, 2)


def test_all_nodes_reboot_at_once(guest: Guest) -> None:
    lab = guest.lab
    with ThreadPoolExecutor() as pool:
        list(pool.map(lab.reboot, NODES))
    answers(lab)
    healthy(lab, 300)
    start_again(guest, 3)
