"""What QEMU gets: disks plugged into guests that are locked in, and I/O limits.

The tests of this file build on each other, in their order.  One guest has it all: its
QEMU runs in a chroot, as a user of its own and in QEMU's sandbox, and its disks have
limits.  Node daemons log all that they can while it lives.
"""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import external
import pytest
from conftest import Result, TestLab
from guests import Guest, images, look

NODES = ("node1", "node2", "node3")
RUN = "/var/run/ganeti/kvm-hypervisor"
LOCKED_IN, OF_THE_POOL = GUESTS = ("guest7.lab.example", "guest8.lab.example")
USER, UID = "lab-vm", 880
POOL_UID = 881
#: What of it works with a QEMU that puts itself into the background, as Ganeti's does.
SANDBOX = "-sandbox on,obsolete=deny,resourcecontrol=deny"
POOL = "My-Pool"
MIB = 2**20


def on_all_nodes(lab: TestLab, line: str) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: lab.run(node, line), NODES))


def restart_noded(arguments: str) -> str:
    """Return a line that starts a node daemon anew with arguments."""
    return (
        f"sed -i 's/^NODED_ARGS=.*/NODED_ARGS=\"{arguments}\"/' /etc/default/ganeti;"
        " systemctl restart ganeti-noded 2>/dev/null || systemctl restart ganeti;"
        " until /usr/lib/ganeti/daemon-util check ganeti-noded; do sleep 0.1; done"
    )


@pytest.fixture(scope="module")
def ready(lab: TestLab) -> Iterator[TestLab]:
    """A lab with users for QEMU, talkative node daemons, another storage cluster."""
    for name, number in ((USER, UID), ("lab-pool", POOL_UID)):
        on_all_nodes(lab, f"id -u {name} >&2 || useradd -r -u {number} {name}")
    on_all_nodes(lab, restart_noded("-d"))
    lab.run("node1", f"gnt-cluster modify --uid-pool={POOL_UID}")
    with external.made(lab, POOL):
        lab.run("node1", f"rbd --cluster far namespace create {POOL}/Team_A")
        yield lab
        remove = "remove -f --shutdown-timeout=0"
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(lambda name: Guest(lab, name).gnt(remove, check=False), GUESTS)
            )
    lab.run("node1", f"gnt-cluster modify --remove-uids={POOL_UID}")
    on_all_nodes(lab, f"userdel {USER}; userdel lab-pool; " + restart_noded(""))


def add(guest: Guest, hypervisor: Sequence[str], disk: str) -> None:
    parameters = ",".join(one.replace(",", "\\,") for one in hypervisor)
    words = ["gnt-instance", "add", "-t", "rbd", "-o", "lab-guest", "-n", "node1"]
    words += ["-B", "memory=128M", "-H", f"kvm:{parameters}", "--disk", disk]
    guest.lab.run("node1", [*words, guest.name])


@pytest.fixture(scope="module")
def locked_in(ready: TestLab) -> Guest:
    """A guest whose QEMU can open nothing any more, with limits for its disk."""
    guest = Guest(ready, LOCKED_IN)
    model = ("security_model=user", f"security_domain={USER}")
    locks = ("use_chroot=true", *model, f"kvm_extra={SANDBOX}")
    add(guest, locks, "0:size=1G,iops=3000,bandwidth=64M,io-thread=yes")
    return guest


@pytest.fixture(scope="module")
def of_the_pool(ready: TestLab) -> Guest:
    """A guest whose QEMU runs as a user of Ganeti's pool of users."""
    guest = Guest(ready, OF_THE_POOL)
    add(guest, ("security_model=pool",), "0:size=1G")
    return guest


def modify(guest: Guest, change: str) -> Result:
    """Change the disks of a guest while it runs."""
    hotplug = " --hotplug" if guest.lab.release == "bookworm" else ""
    return guest.gnt(f"modify{hotplug} --disk {change}")


def process(guest: Guest, command: str) -> str:
    """Run a command in the directory where /proc shows the guest's QEMU."""
    line = f"cd /proc/$(cat {RUN}/pid/{guest.name}) && {command}"
    return guest.lab.run(guest.node(), line).stdout.strip()


def ask(guest: Guest, command: str, **arguments: str) -> Any:
    """Return what the guest's QEMU answers to a command."""
    socket = f"{RUN}/ctrl/{guest.name}.qmp"
    words = [command, json.dumps(arguments)] if arguments else [command]
    return look(guest.lab, guest.node(), "query", socket, *words)


def drives(guest: Guest) -> list[Any]:
    """Return what QEMU says of the guest's disks, in the order of their being added."""
    return [one["inserted"] for one in ask(guest, "query-block") if "inserted" in one]


def limits(guest: Guest) -> list[tuple[int, int]]:
    """Return requests and mebibytes per second that QEMU lets the guest's disks do."""
    return [(one["iops"], one["bps"] // MIB) for one in drives(guest)]


def threads(guest: Guest) -> list[bool]:
    """Tell of each of the guest's disks whether it has a thread of its own in QEMU."""
    there = {f"/objects/{one['id']}" for one in ask(guest, "query-iothreads")}
    found = []
    for one in ask(guest, "query-block"):
        if "inserted" in one:
            path = one["qdev"].removesuffix("/virtio-backend")
            found.append(ask(guest, "qom-get", path=path, property="iothread"))
    assert {one for one in found if one} <= there
    return [bool(one) for one in found]


def moves_on(guest: Guest, boot: int, disk: int) -> None:
    """Check that a guest goes on writing to a disk."""
    wrote = guest.written(boot=boot, disk=disk)
    guest.written(boot=boot, beat=wrote.beat, disk=disk)


def test_a_guest_starts_with_the_limits_of_its_disk(locked_in: Guest) -> None:
    assert (
        process(locked_in, "readlink root") == f"/run{RUN[8:]}/chroot/{locked_in.name}"
    )
    assert process(locked_in, "awk '/^Uid/ {print $2}' status") == str(UID)
    assert SANDBOX.split()[1] in locked_in.arguments()
    assert limits(locked_in) == [(3000, 64)]
    assert threads(locked_in) == [True]
    assert locked_in.written(boot=1).verdict == "FIRST"


def test_a_disk_is_plugged_into_a_guest_that_can_open_nothing(locked_in: Guest) -> None:
    done = modify(locked_in, "add:size=1G,iops=2000,io-thread=yes")

    assert "hotplug:done" in done.stdout
    assert limits(locked_in) == [(3000, 64), (2000, 0)]
    assert threads(locked_in) == [True, True]
    moves_on(locked_in, boot=1, disk=1)


def test_what_a_guest_discards_takes_no_space(locked_in: Guest) -> None:
    """Asked past the guest of QEMU's own devices: of its start, and plugged in."""

    def used(disk: int) -> int:
        image = f"{locked_in.pool}/{locked_in.images()[disk]}"
        told = locked_in.lab.run("node1", f"rbd du --exact --format json {image}")
        return int(json.loads(told.stdout)["images"][0]["used_size"])

    blocks = [one for one in ask(locked_in, "query-block") if "inserted" in one]
    for number, block in enumerate(blocks):
        # Far from what the guest writes.
        for what, grows in (("write -P 7", True), ("discard", False)):
            before = used(number)
            line = f'qemu-io -d {block["qdev"]} "{what} 512M 8M"'
            # It says nothing but what is wrong.
            assert not ask(locked_in, "human-monitor-command", **{"command-line": line})
            assert (used(number) - before >= 8 * MIB) is grows
        assert used(number) < before


def test_qemu_knows_no_secret_for_good(locked_in: Guest) -> None:
    objects = ask(locked_in, "qom-list", path="/objects")
    assert objects, "QEMU has some objects always"
    assert not [one for one in objects if "secret" in one["type"]]


def test_a_disk_in_another_storage_cluster_is_plugged_in(
    locked_in: Guest,
) -> None:
    place = f"pool={POOL},namespace=Team_A,user-id={external.USER}"
    place += f",ceph-conf={external.CONF}"
    done = modify(locked_in, f"add:size=1G,{place}")

    assert "hotplug:done" in done.stdout
    moves_on(elsewhere(locked_in), boot=1, disk=2)


def elsewhere(guest: Guest) -> Guest:
    """Return the same guest, with images in the other storage cluster."""
    return Guest(guest.lab, guest.name, f"{external.PREFIX}{POOL}/Team_A")


def test_a_disk_that_is_a_block_device_is_plugged_in(locked_in: Guest) -> None:
    done = modify(locked_in, "add:size=1G,access=kernelspace,iops=1000")

    assert "hotplug:done" in done.stdout
    assert limits(locked_in)[3] == (1000, 0)
    moves_on(locked_in, boot=1, disk=3)
    assert "hotplug:failed" not in modify(locked_in, "3:remove").stdout
    assert len(drives(locked_in)) == 3


@pytest.mark.parametrize("access", ["userspace", "kernelspace"])
def test_a_disk_is_plugged_into_a_guest_under_a_user_of_the_pool(
    of_the_pool: Guest, access: str
) -> None:
    assert process(of_the_pool, "awk '/^Uid/ {print $2}' status") == str(POOL_UID)
    of_the_pool.written(boot=1)

    done = modify(of_the_pool, f"add:size=1G,access={access}")

    assert "hotplug:done" in done.stdout
    moves_on(of_the_pool, boot=1, disk=1)
    assert limits(of_the_pool) == [(0, 0), (0, 0)]
    added = of_the_pool.images()[1]
    mapped = f"ls -d /run/ganeti-ceph/map/*{added}/"
    by_device = of_the_pool.lab.run("node1", mapped, check=False).returncode == 0
    assert by_device is (access == "kernelspace")

    # A busy machine's guest may let go later than Ganeti waits for; that is fine.
    assert "hotplug:failed" not in modify(of_the_pool, "1:remove").stdout
    assert len(drives(of_the_pool)) == 1
    assert of_the_pool.lab.run("node1", mapped, check=False).stdout == ""
    assert added not in images(of_the_pool.lab)
    moves_on(of_the_pool, boot=1, disk=0)


def test_limits_change_while_the_guest_runs(locked_in: Guest) -> None:
    modify(locked_in, "0:modify,iops=1500")
    assert limits(locked_in)[0] == (1500, 64)
    modify(locked_in, "0:modify,iops=0,bandwidth=0")
    assert limits(locked_in)[0] == (0, 0)
    modify(locked_in, "0:modify,bandwidth=48M")
    assert limits(locked_in) == [(0, 48), (2000, 0), (0, 0)]
    moves_on(locked_in, boot=1, disk=0)


def test_limits_hold_in_a_guest_that_restarts_itself(locked_in: Guest) -> None:
    ask(locked_in, "system_reset")
    assert locked_in.written(boot=2).verdict == "OK"
    assert limits(locked_in) == [(0, 48), (2000, 0), (0, 0)]


def test_a_guest_moves_with_its_plugged_disks_and_their_limits(
    locked_in: Guest,
) -> None:
    locked_in.gnt("migrate -f -n node2")

    assert locked_in.node() == "node2"
    assert limits(locked_in) == [(0, 48), (2000, 0), (0, 0)]
    assert threads(locked_in) == [True, True, False]
    if locked_in.survives_migration:
        moves_on(locked_in, boot=2, disk=1)


def test_limits_hold_where_ganeti_restarts_a_guest(locked_in: Guest) -> None:
    locked_in.gnt("reboot -t soft --shutdown-timeout=0")

    assert locked_in.written(boot=3).verdict == "OK"
    assert limits(locked_in) == [(0, 48), (2000, 0), (0, 0)]
    moves_on(elsewhere(locked_in), boot=3, disk=2)


def test_a_disk_is_removed_from_a_guest_that_can_open_nothing(
    locked_in: Guest,
) -> None:
    assert "hotplug:failed" not in modify(locked_in, "1:remove").stdout
    assert limits(locked_in) == [(0, 48), (0, 0)]


def test_an_image_that_is_larger_than_ganeti_knows_is_not_cut(
    locked_in: Guest,
) -> None:
    image = locked_in.images()[0]
    locked_in.lab.run("node1", f"rbd resize --no-progress -s 2G rbd/{image}")

    locked_in.gnt("grow-disk", "0", "128M")

    assert drives(locked_in)[0]["image"]["virtual-size"] == 2**31
    told = locked_in.lab.run("node1", f"rbd info --format json rbd/{image}").stdout
    assert re.search(r'"size":\s*2147483648\b', told)


def test_nobody_sees_a_key(locked_in: Guest) -> None:
    # What was logged of the plugging in proves that all was logged.
    lab = locked_in.lab
    logged = lab.run("node1", "grep -c block /var/log/ganeti/node-daemon.log").stdout
    assert int(logged) > 0
    assert (
        "device_add"
        in lab.run("node1", "grep -h device_add /var/log/ganeti/node-daemon.log").stdout
    )
    # The keys are no words of a command here, either.
    find = (
        "grep -asrlFf <(sed -n 's/^[[:space:]]*key = //p' /etc/ceph/*.keyring)"
        " /etc/ceph /proc/[0-9]*/cmdline /proc/[0-9]*/environ /var/log"
        " /run/ganeti /var/lib/ganeti/queue /var/lib/ganeti/config.data"
    )
    for node in NODES:
        found = lab.run(node, find, check=False).stdout.split()
        assert found, "the search finds not even the keyrings"
        assert {one.rpartition(".")[2] for one in found} == {"keyring"}, found
