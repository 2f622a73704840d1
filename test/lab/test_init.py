"""From storage parameters to a healthy storage cluster, and all that may go wrong.

The tests of this file build on each other, in their order: refusals on a cluster
without storage, faults half-way, the finished cluster and its reboots.
"""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import NewLab, Result, TestLab

DISK = "/dev/disk/by-id/lab-disk-1"
OTHER_DISK = "/dev/disk/by-id/lab-disk-2"
INIT = "gnt-storage init-distributed-storage -s ceph default"
DRY_RUN = INIT.replace(" default", " --dry-run default")
NODES = ("node1", "node2", "node3")
#: A pattern that does not match who looks for it.
MKFS = "'ceph-osd .*--mkf[s]'"


@pytest.fixture(scope="module")
def lab(new_lab: NewLab) -> TestLab:
    """A cluster without storage, with two disks a node."""
    return new_lab("--disks=2")


def modify(lab: TestLab, parameters: str, check: bool = True) -> str:
    """Set storage parameters and return all that was printed."""
    done = lab.run("node1", ["gnt-cluster", "modify", "-S", parameters], check=check)
    if not check:
        assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def refused(lab: TestLab) -> str:
    """Run init, which must refuse and change nothing; return the reason."""
    before = traces(lab)
    done = lab.run("node1", INIT, check=False)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert "prerequisites not met" in done.stderr
    assert traces(lab) == before
    return done.stderr


def traces(lab: TestLab) -> list[str]:
    """Return what a storage cluster would leave behind, of all nodes."""
    command = (
        "find /etc/ceph /var/lib/ceph -mindepth 1 | sort;"
        " gnt-group list-tags default 2>/dev/null;"
        f" for disk in {DISK} {OTHER_DISK}; do"
        " dd if=$disk bs=1M count=1 status=none | sha256sum; done"
    )
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda node: lab.run(node, command).stdout, NODES))


def osd_map(lab: TestLab) -> Any:
    """Return Ceph's map of its OSDs."""
    return json.loads(lab.run("node1", "ceph osd dump --format json").stdout)


def wait_healthy(lab: TestLab, seconds: float = 120, since: int = 0) -> None:
    """Wait until Ceph says HEALTH_OK and all OSDs are up, since a later epoch."""
    end = time.monotonic() + seconds
    while True:
        done = lab.run("node1", "timeout 10 ceph health", check=False)
        if "HEALTH_OK" in done.stdout:
            osds = osd_map(lab)["osds"]
            if len(osds) == 3 and all(
                osd["up"] and osd["up_from"] > since for osd in osds
            ):
                return
        if time.monotonic() > end:
            pytest.fail(f"not healthy after {seconds} s: {done.stdout}{done.stderr}")
        time.sleep(1)


@pytest.mark.parametrize(
    ("parameters", "complaint", "column"),
    [
        ("cef:disk=/dev/sdb", "unknown storage type 'cef'", 0),
        ("ceph:pool-sice=3", "did you mean 'pool-size'?", 5),
        ("ceph:mon-count=4", "even", 15),
        ("ceph:public-network=10.0.0.1/24", "10.0.0.0/24", 20),
        ("ceph:disk=sdb", "/dev/", 10),
        ("ceph:pool-size=2,pool-min-size=3", "pool-min-size", 31),
        ("ceph:device-class=a b", "device-class", 19),
    ],
)
def test_bad_parameters_are_refused_and_pointed_at(
    lab: TestLab, parameters: str, complaint: str, column: int
) -> None:
    before = lab.run("node1", "gnt-cluster list-tags").stdout

    said = modify(lab, parameters, check=False)

    assert complaint in said
    lines = said.splitlines()
    shown = next(i for i, line in enumerate(lines) if line == f"  {parameters}")
    assert lines[shown + 1] == " " * (2 + column) + "^"
    assert lab.run("node1", "gnt-cluster list-tags").stdout == before


def test_parameters_are_kept_shown_and_taken_back(lab: TestLab) -> None:
    modify(lab, "ceph:pool-size=2,disk=/dev/nosuch")
    shown = lab.run("node1", "gnt-cluster info").stdout
    assert re.search(r"^    pool-size: 2$", shown, re.MULTILINE)
    assert re.search(r"^    disk: /dev/nosuch$", shown, re.MULTILINE)
    assert re.search(r"^    mon-count: default \(3\)$", shown, re.MULTILINE)

    modify(lab, "ceph:pool-size=")

    shown = lab.run("node1", "gnt-cluster info").stdout
    assert re.search(r"^    pool-size: default \(3\)$", shown, re.MULTILINE)


def test_bad_arguments_of_init_are_refused(lab: TestLab) -> None:
    for arguments, complaint in (
        ("-s gluster default", "unknown storage type 'gluster'"),
        ("-s ceph nosuch", "nosuch"),
        ("-s ceph", "expects 1 argument"),
    ):
        done = lab.run(
            "node1", f"gnt-storage init-distributed-storage {arguments}", check=False
        )
        assert done.returncode == 1
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr


def test_a_group_without_nodes_is_only_marked_and_is_then_the_only_one(
    lab: TestLab,
) -> None:
    lab.run("node1", "gnt-group add empty")
    said = lab.run("node1", "gnt-storage init-distributed-storage -s ceph empty").stdout
    assert "marked" in said
    tags = lab.run("node1", "gnt-group list-tags empty").stdout
    assert tags == "ceph:storage:marked\n"

    assert "node group empty" in refused(lab)

    lab.run("node1", "gnt-group remove empty")


def test_a_device_that_is_missing_is_refused(lab: TestLab) -> None:
    said = refused(lab)
    for node in NODES:
        assert f"{node}.lab.example: /dev/nosuch is missing" in said


def test_a_device_that_carries_something_is_refused(lab: TestLab) -> None:
    modify(lab, f"ceph:disk={DISK},disk={OTHER_DISK}")
    carried = (
        ("node1", DISK, "mkfs.ext4 -q {0}", "ext4"),
        ("node1", OTHER_DISK, "mkfs.xfs -q {0}", "xfs"),
        ("node2", DISK, "mkswap -q {0}", "swap"),
        ("node2", OTHER_DISK, "echo ,1G | sfdisk -q {0}", "partition table"),
        ("node3", DISK, "pvcreate -qqy {0}", "LVM2_member"),
    )
    for node, disk, command, _ in carried:
        lab.run(node, command.format(disk))

    said = refused(lab)

    clean = "wipefs -qaf {0}; dd if=/dev/zero of={0} bs=1M count=9 status=none"
    for node, disk, _, complaint in carried:
        lab.run(node, clean.format(disk))
        (line,) = re.findall(f"^{node}.lab.example: {disk} carries.*", said, re.M)
        assert complaint in line
        assert "wipe=yes" in line
    assert f"node3.lab.example: {OTHER_DISK}" not in said
    modify(lab, f"ceph:disk={DISK}")


def test_a_mounted_device_is_refused_even_with_wipe(lab: TestLab) -> None:
    modify(lab, "ceph:wipe=yes")
    lab.run("node3", f"mkfs.ext4 -q {DISK} && mount -o ro {DISK} /mnt")
    try:
        assert f"{DISK} is in use: mounted on /mnt" in refused(lab)
    finally:
        lab.run("node3", f"umount /mnt && wipefs -qa {DISK}")
        modify(lab, "ceph:wipe=")


def test_one_device_under_two_names_is_refused(lab: TestLab) -> None:
    real = lab.run("node1", f"readlink -f {DISK}").stdout.strip()
    lab.run("node1", f"ln -sf {real} /dev/disk/by-id/alias; ")
    for node in ("node2", "node3"):
        lab.run(node, f"ln -sf {OTHER_DISK} /dev/disk/by-id/alias")
    modify(lab, f"ceph:disk={DISK},disk=/dev/disk/by-id/alias")
    said = refused(lab)
    assert f"are the same device, {real}" in said
    assert "node2" not in said
    modify(lab, f"ceph:disk={DISK}")


LIMIT_LOOP = """
import fcntl, struct, sys
# struct loop_info64 of linux/loop.h: lo_sizelimit is its fifth 64-bit number.
with open(sys.argv[1]) as device:
    info = bytearray(232)
    fcntl.ioctl(device, 0x4C05, info)  # LOOP_GET_STATUS64
    struct.pack_into("=Q", info, 32, int(sys.argv[2]))
    fcntl.ioctl(device, 0x4C04, info)  # LOOP_SET_STATUS64
"""


def test_a_small_device_is_refused(lab: TestLab) -> None:
    def limit(size: int) -> None:
        lab.run("node1", ["python3", "-c", LIMIT_LOOP, OTHER_DISK, str(size)])

    modify(lab, f"ceph:disk={OTHER_DISK}")
    limit(5 * 2**30 - 512)
    try:
        said = refused(lab)
    finally:
        limit(0)
        modify(lab, f"ceph:disk={DISK}")
    assert f"node1.lab.example: {OTHER_DISK} has 5368708608 bytes, an OSD needs" in said
    assert "node2" not in said


def test_another_clusters_traces_are_refused(lab: TestLab) -> None:
    lab.run("node2", "printf '[global]\\nfsid = 1-2-3\\n' > /etc/ceph/ceph.conf")
    assert "node2.lab.example: /etc/ceph/ceph.conf is there already" in refused(lab)
    lab.run("node2", "rm /etc/ceph/ceph.conf")

    lab.run("node3", "mkdir /var/lib/ceph/mon/ceph-old")
    assert "node3.lab.example: /var/lib/ceph has daemons of another" in refused(lab)
    lab.run("node3", "rmdir /var/lib/ceph/mon/ceph-old")


def test_missing_and_differing_packages_are_refused(lab: TestLab) -> None:
    # dpkg's own record says what is installed; only that is changed, and put back.
    status = "/var/lib/dpkg/status"
    lab.run("node2", f"cp {status} /root/status")
    lab.run(
        "node2",
        f"sed -i '/^Package: ceph-mgr$/,/^$/s/^Status: .*/Status: deinstall ok"
        f" config-files/' {status}",
    )
    assert "node2.lab.example: Ceph's packages are missing: apt install" in refused(lab)
    lab.run(
        "node2",
        f"cp /root/status {status};"
        f" sed -i '/^Package: ceph-mon$/,/^$/s/^Version: .*/Version: 15.2.1/' {status}",
    )
    said = refused(lab)
    assert "of different versions" in said
    assert "15.2.1 on node2.lab.example" in said
    lab.run("node2", f"cp /root/status {status}")


def test_too_few_failure_domains_are_refused(lab: TestLab) -> None:
    modify(lab, "ceph:pool-size=4")
    assert "4 copies need as many failure domains (host), and there are 3" in refused(
        lab
    )
    modify(lab, "ceph:pool-size=,failure-domain=rack")
    lab.run("node1", "gnt-node add-tags node1 ceph:rack:R1")
    said = refused(lab)
    assert "gnt-node add-tags node2.lab.example ceph:rack:NAME" in said
    lab.run("node1", "gnt-node remove-tags node1 ceph:rack:R1")
    modify(lab, "ceph:failure-domain=")


def test_an_offline_node_is_left_out_and_said_so(lab: TestLab) -> None:
    lab.run("node1", "gnt-node modify --offline=yes node3")
    try:
        assert "there are 2" in refused(lab)
        modify(lab, "ceph:pool-size=2")
        said = lab.run("node1", DRY_RUN).stdout
        assert "node3.lab.example is offline and left out" in said
        assert "node3.lab.example:" not in said
        assert "mon.node2" not in said, "two mons are worse than one"
    finally:
        modify(lab, "ceph:pool-size=")
        lab.run("node1", "gnt-node add --readd --no-ssh-key-check node3")


def test_dry_run_prints_the_plan_and_changes_nothing(lab: TestLab) -> None:
    before = traces(lab)

    said = lab.run("node1", DRY_RUN).stdout

    for node in NODES:
        assert f"{node}.lab.example: {DISK} (10.0 GiB): make and start an OSD" in said
        address = lab.run("node1", f"gnt-node list --no-headers -o pip {node}").stdout
        assert f"make and start mon.{node} at {address.strip()}" in said
    assert "make pool rbd: 3 copies (2 at the least), one per host" in said
    assert traces(lab) == before


def test_a_mon_that_does_not_start_ends_in_an_error_that_says_what_to_do(
    lab: TestLab,
) -> None:
    lab.run("node2", "systemctl mask ceph-mon@node2.service")

    done = lab.run("node1", INIT, check=False)

    lab.run("node2", "systemctl unmask ceph-mon@node2.service")
    assert done.returncode == 1
    assert "node2.lab.example: mon:" in done.stderr
    assert f"'{INIT}'" in done.stderr
    assert "Traceback" not in done.stderr
    tags = lab.run("node1", "gnt-group list-tags default").stdout
    assert tags.startswith("ceph:storage:initialising:")


def while_an_osd_is_made(lab: TestLab, harm: Callable[[], object]) -> Result:
    """Run init, and do some harm while node3 makes an OSD, which is stopped for it."""

    def wait_and_harm() -> None:
        lab.run(
            "node3",
            f"for i in $(seq 600); do pkill -STOP -f {MKFS} && exit;"
            " sleep 0.05; done; exit 1",
            timeout=90,
        )
        harm()

    with ThreadPoolExecutor() as pool:
        harmed = pool.submit(wait_and_harm)
        done = lab.run("node1", INIT, check=False, timeout=400)
        harmed.result()
    return done


def test_a_node_that_vanishes_half_way_is_told_of(lab: TestLab) -> None:
    """The mons are made in this run; a node's power fails while it makes its OSD."""
    done = while_an_osd_is_made(lab, lambda: lab.kill("node3"))
    lab.start("node3")
    assert done.returncode == 1, done.stdout
    assert "node3.lab.example: osd: " in done.stderr
    assert "node2" not in done.stderr
    assert "go on from here" in done.stderr


def test_a_node_daemon_killed_half_way_is_told_of(lab: TestLab) -> None:
    """The OSD that was never finished is made anew; this time the node daemon dies."""
    done = while_an_osd_is_made(
        lab,
        lambda: lab.run("node3", f"pkill -9 -f ganeti-node[d]; pkill -CONT -f {MKFS}"),
    )
    lab.run(
        "node3",
        "systemctl reset-failed; systemctl restart ganeti-noded || systemctl restart"
        " ganeti",
    )
    assert done.returncode == 1, done.stdout
    assert "node3.lab.example" in done.stderr
    assert "go on from here" in done.stderr


def test_running_it_again_goes_on_and_finishes(lab: TestLab) -> None:
    begun = lab.run("node1", "gnt-group list-tags default").stdout.strip()

    done = lab.run("node1", INIT, timeout=400)

    assert "is ready" in done.stdout
    tags = lab.run("node1", "gnt-group list-tags default").stdout.strip()
    assert tags == begun.replace("initialising", "ready")
    wait_healthy(lab)
    found = lab.run("node1", "ceph osd tree --format json | tr -d ' \\n'").stdout
    assert '"stray":[]' in found
    stat = lab.run("node1", "ceph osd stat").stdout
    assert "3 osds: 3 up" in stat, "no OSD of the failed run is left over"


def test_the_finished_cluster_is_complete(lab: TestLab) -> None:
    said = lab.run("node1", "ceph osd pool ls detail").stdout
    assert re.search(r"'rbd' replicated size 3 min_size 2", said)
    assert "application rbd" in said
    option = "auth_allow_insecure_global_id_reclaim"
    assert lab.run("node1", f"ceph config get mon {option}").stdout.strip() == "false"
    for node in NODES:
        assert (
            lab.run("node1", f"gnt-node list-tags {node}").stdout
            == "ceph:storage:ready\n"
        )
        units = lab.run(
            node,
            "systemctl list-units --plain --no-legend 'ceph-*@*.service' | awk"
            " '{print $1}' | xargs systemctl is-enabled",
        ).stdout.split()
        assert len(units) >= 2, "a mon and an OSD"
        assert set(units) == {"enabled"}
    info = lab.run("node1", "gnt-cluster info").stdout
    assert re.search(r"enabled disk templates: .*\brbd\b", info)


def test_keys_are_nobody_elses_to_read(lab: TestLab) -> None:
    for node in NODES:
        listing = lab.run(
            node,
            "stat -c '%a %U %n' /etc/ceph/*keyring /var/lib/ceph/*/*/keyring",
        ).stdout
        for line in listing.splitlines():
            mode, owner, path = line.split()
            assert mode == "600", line
            assert owner == ("root" if path.startswith("/etc") else "ceph"), line
        keys = (
            "cat /etc/ceph/*keyring /var/lib/ceph/*/*/keyring | sed -n"
            " 's/.*key = //p' | sort -u > /run/keys;"
            " grep -rlFf /run/keys /var/log /var/lib/ganeti/queue /run/systemd; true"
        )
        found = lab.run(node, keys).stdout
        assert found == "", f"a key stands in {found}"
        found = lab.run(node, "ps -eo args | grep -vF grep | grep -Ff /run/keys; true")
        assert found.stdout == ""


def test_a_finished_cluster_needs_nothing(lab: TestLab) -> None:
    assert "there is nothing to do" in lab.run("node1", INIT).stdout
    assert "nothing to do" in lab.run("node1", DRY_RUN).stdout


def test_it_is_a_job_like_others(lab: TestLab) -> None:
    done = lab.run("node1", INIT.replace(" default", " --submit --print-jobid default"))
    job = done.stdout.split()[0]
    lab.run("node1", f"gnt-job watch {job}")
    shown = lab.run("node1", f"gnt-job info {job}").stdout
    assert "Status: success" in shown
    assert "init-distributed-storage" in shown


def test_parameters_that_shape_the_cluster_are_fixed_then(lab: TestLab) -> None:
    said = modify(lab, "ceph:pool-size=2", check=False)
    assert "while a storage cluster is initialised" in said
    modify(lab, "ceph:wipe=no")


def test_the_cluster_comes_back_after_each_reboot(lab: TestLab) -> None:
    for node in NODES:
        lab.reboot(node)
        wait_healthy(lab)


def test_the_cluster_comes_back_after_a_power_cut_of_all(lab: TestLab) -> None:
    epoch = osd_map(lab)["epoch"]
    for node in NODES:
        lab.kill(node)
    # A master without the votes of other nodes does not start.
    with ThreadPoolExecutor() as pool:
        list(pool.map(lab.start, NODES))
    # Until they hear of the new ones, the mons take the dead OSDs for alive.
    wait_healthy(lab, 180, since=epoch)
    assert "there is nothing to do" in lab.run("node1", INIT).stdout
