"""Disks in userspace access: all that an instance does, and nothing is ever mapped.

The tests of this file build on each other, in their order: one guest lives through
them, counts how often it has booted and checks at each boot what it wrote before.
In all of this time every node has a "rbd" program that only takes notes.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from conftest import Result, TestLab
from guests import Guest, hold, images

NODES = ("node1", "node2", "node3")
RBD = "/usr/bin/rbd"
NOTES = "/root/rbd-was-run"
#: What maps images where the kernel cannot.
DAEMON = "/usr/bin/qemu-storage-daemon"
DAEMON_NOTES = "/root/daemon-was-run"
#: Seconds that a job may take where the storage cluster does not answer: 30, and more
#: for a machine with other work.
BOUND = 45
#: Seconds that anything else may take meanwhile.
SOON = 10

ADD = "add -t rbd -o lab-guest -B memory=128M -n node1"


@pytest.fixture(scope="module")
def no_rbd(lab: TestLab) -> Iterator[TestLab]:
    """A lab with storage, empty, whose rbd program does nothing but to note its runs.

    So stock Ganeti cannot map an image, whatever kernel the nodes have.  QEMU's storage
    daemon notes its runs, too, and runs: the scripts of a new instance's OS need it.
    """
    found = lab.run("node1", "gnt-instance list --no-headers -o name").stdout
    for instance in found.split():
        lab.run("node1", f"gnt-instance remove -f --shutdown-timeout=0 {instance}")
    for program, notes, then in (
        (RBD, NOTES, "exit 1"),
        (DAEMON, DAEMON_NOTES, f'exec -a "$0" {DAEMON}.aside "$@"'),
    ):
        note = f'#!/bin/bash\necho "$0 $*" >> {notes}\n{then}\n'
        aside = f"test -e {program}.aside || mv {program} {program}.aside"
        for node in NODES:
            hide = f"rm -f {notes}; {aside}; cat > {program}; chmod +x {program}"
            lab.run(node, hide, stdin=note)
    yield lab
    for node in NODES:
        lab.run(node, f"mv {RBD}.aside {RBD}; mv {DAEMON}.aside {DAEMON}")


def add(guest: Guest, disks: str) -> None:
    """Add a guest, and forget that its OS scripts got block devices."""
    guest.gnt(f"{ADD} {disks}")
    guest.lab.run("node1", f"rm {DAEMON_NOTES}")


@pytest.fixture(scope="module")
def guest(no_rbd: TestLab) -> Iterator[Guest]:
    """A running guest with one disk."""
    guest = Guest(no_rbd, "guest2.lab.example")
    add(guest, "--disk 0:size=1G")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0", check=False)


@pytest.fixture(scope="module")
def second(guest: Guest) -> Iterator[Guest]:
    """Another guest, with two disks."""
    second = Guest(guest.lab, "guest3.lab.example")
    add(second, "--disk 0:size=1G --disk 1:size=2G")
    yield second
    second.gnt("remove -f", check=False)


def address(lab: TestLab, node: str) -> str:
    listed = lab.run("node1", f"gnt-node list --no-headers -o pip {node}")
    return listed.stdout.strip()


def alone_at(guest: Guest, node: str) -> None:
    """Check that a guest's QEMU on this node is all that has its disk open.

    So nothing is mapped on any node.
    """
    assert guest.node() == node
    assert guest.watchers() == [address(guest.lab, node)]
    for name in NODES:
        # Another job may hold a lock beside the directories of mapped images.
        mapped = guest.lab.run(name, "ls -d /run/ganeti-ceph/map/*/", check=False)
        assert mapped.stdout == ""


def refused(done: Result) -> str:
    """Return what a command that had to fail said, without the wrapping of lines."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    return said


def hotplug(lab: TestLab) -> str:
    """Return the command that changes the devices of a running instance."""
    return "modify" if lab.release != "bookworm" else "modify --hotplug"


def test_a_new_guest_writes_to_an_image_that_its_qemu_opens(guest: Guest) -> None:
    wrote = guest.written(boot=1)

    assert wrote.verdict == "FIRST"
    assert wrote.whole == wrote.blocks == 16
    (image,) = guest.images()
    assert images(guest.lab) == {image: 1024}
    alone_at(guest, "node1")


def test_qemu_gets_the_uri_that_the_block_device_made(guest: Guest) -> None:
    (image,) = guest.images()
    assert f'"rbd:rbd/{image}:id=ganeti"' in guest.runtime()
    command = [word for word in guest.arguments() if image in word]
    assert len(command) == 1
    if guest.lab.release == "bookworm":
        assert f"file=rbd:rbd/{image}:id=ganeti," in command[0]
    else:
        driver = f",file.driver=rbd,file.pool=rbd,file.image={image},"
        assert f"{driver}file.user=ganeti," in command[0]
    (opened,) = guest.block_devices()
    assert opened["virtual-size"] == 2**30
    for part in ('"driver": "rbd"', '"pool": "rbd"', f'"image": "{image}"'):
        assert part in opened["filename"]


def test_info_shows_the_access_mode(guest: Guest) -> None:
    shown = guest.gnt("info").stdout
    assert re.search(r"^      access: userspace$", shown, re.MULTILINE)
    assert re.search(r"^      on primary: no block device$", shown, re.MULTILINE)
    # Only what is configured: nothing may be mapped for the answer.
    guest.lab.run("node1", "gnt-cluster modify -D rbd:access=kernelspace")
    try:
        shown = guest.gnt("info --static").stdout
    finally:
        guest.lab.run("node1", "gnt-cluster modify -D rbd:access=userspace")
    assert re.search(r"^      access: kernelspace$", shown, re.MULTILINE)


def test_a_running_guest_sees_that_its_disk_has_grown(guest: Guest) -> None:
    line = "lab-console guest2 'disks: vda=1280MiB' 60"
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(guest.lab.run, "node1", line)
        guest.gnt("grow-disk", "0", "256M")
        heard.result()

    assert guest.block_devices()[0]["virtual-size"] == 1280 * 2**20
    assert images(guest.lab) == {guest.images()[0]: 1280}
    assert "size 1.2G" in guest.gnt("info --static").stdout


def test_a_disk_is_added_to_a_running_guest(guest: Guest) -> None:
    done = guest.gnt(f"{hotplug(guest.lab)} --disk add:size=1G")

    assert "hotplug:done" in done.stdout
    wrote = guest.written(boot=1, disk=1)
    assert wrote.disk == "vdb"
    added = guest.images()[1]
    assert f'"rbd:rbd/{added}:id=ganeti"' in guest.runtime()
    assert added in guest.block_devices()[1]["filename"]


def test_a_live_migrated_guest_runs_on_with_all_its_disks(guest: Guest) -> None:
    if not guest.survives_migration:
        pytest.skip("the guest may not survive that here")
    before = guest.written(boot=1)

    guest.gnt("migrate -f -n node2")

    for disk in (0, 1):
        after = guest.written(boot=1, beat=before.beat + 2, disk=disk)
    after = guest.written(boot=1)
    assert after.whole == after.blocks == before.blocks
    alone_at(guest, "node2")
    assert any("virtual-size" in one for one in guest.block_devices())


def test_a_disk_is_removed_from_a_running_guest(guest: Guest) -> None:
    kept, removed = guest.images()
    remove = f"{hotplug(guest.lab)} --disk 1:remove"

    guest.lab.run("node1", f"{RBD}.aside snap create rbd/{removed}@kept")
    said = refused(guest.gnt(remove, check=False))
    assert f"rbd/{removed} has the snapshots kept" in " ".join(said.split())
    assert guest.images() == [kept, removed]
    assert len(guest.block_devices()) == 2
    guest.lab.run("node1", f"{RBD}.aside snap rm rbd/{removed}@kept")

    # A busy machine's guest may let go later than Ganeti waits for; that is fine.
    done = guest.gnt(remove)

    assert removed not in done.stdout, "nothing to say of a removal that worked"
    assert list(images(guest.lab)) == [kept]
    assert len(guest.block_devices()) == 1
    guest.written(boot=1, beat=guest.written(boot=1).beat)


def test_an_image_follows_a_live_migration(guest: Guest) -> None:
    target = "node1" if guest.node() == "node2" else "node2"

    guest.gnt(f"migrate -f -n {target}")

    alone_at(guest, target)


def test_a_guest_that_failed_over_finds_what_it_wrote(guest: Guest) -> None:
    # One that did not survive the migration does not hear that it shall shut down.
    guest.gnt("failover -f --shutdown-timeout=20 -n node3")

    assert guest.written(boot=2).verdict == "OK"
    alone_at(guest, "node3")


def test_a_second_guest_has_images_of_its_own(guest: Guest, second: Guest) -> None:
    assert second.written(boot=1).verdict == "FIRST"
    assert second.written(boot=1, disk=1).disk == "vdb"
    mine, theirs = guest.images(), second.images()
    sizes = dict(zip([*mine, *theirs], [1280, 1024, 2048], strict=True))
    assert images(guest.lab) == sizes
    guest.written(boot=2, beat=guest.written(boot=2).beat)
    second.gnt("shutdown")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("move -f -n node2", "has disk type rbd and is not suitable for copying"),
        ("replace-disks -p", "strange layout, expected one secondary but found 0"),
    ],
)
def test_what_is_for_disks_on_nodes_is_refused(
    second: Guest, command: str, why: str
) -> None:
    before = second.node(), second.images()
    assert why in " ".join(refused(second.gnt(command, check=False)).split())
    assert (second.node(), second.images()) == before


def test_verify_looks_at_running_and_stopped_guests(
    guest: Guest, second: Guest
) -> None:
    done = guest.lab.run("node1", "gnt-cluster verify", check=False)
    found = [line for line in done.stdout.splitlines() if "guest" in line]
    assert found == []
    said = guest.lab.run("node1", "gnt-cluster verify-disks").stdout
    assert "No disks need to be activated" in said
    assert second.watchers() == []
    alone_at(guest, "node3")


class TestWhileSomethingHasAnImageOpen:
    """Ganeti tries for 30 s to remove an image that is in use; other tests go on."""

    @pytest.fixture(scope="class")
    def removal(self, second: Guest) -> Iterator[Future[Result]]:
        # Ganeti would remove the first one before it sees that this one is held.
        _, held = second.images()
        with ThreadPoolExecutor() as pool, hold(second.lab, "node3", held):
            yield pool.submit(second.gnt, "remove -f", check=False)

    @pytest.mark.parametrize(("kind", "boot"), [("soft", 3), ("hard", 4)])
    def test_a_rebooted_guest_finds_what_it_wrote(
        self, guest: Guest, removal: Future[Result], kind: str, boot: int
    ) -> None:
        guest.gnt(f"reboot -t {kind}")

        assert guest.written(boot=boot).verdict == "OK"
        alone_at(guest, "node3")

    def test_no_image_is_removed(self, second: Guest, removal: Future[Result]) -> None:
        first, held = second.images()

        said = refused(removal.result())

        at = address(second.lab, "node3")
        assert f"the image rbd/{held} is in use at {at}; stop what has it open" in said
        assert {first, held} <= set(images(second.lab))
        assert second.gnt("list --no-headers -o status").stdout == "ADMIN_down\n"


def test_the_image_is_removed_once_nothing_has_it_open(
    guest: Guest, second: Guest
) -> None:
    second.gnt("remove -f")
    assert list(images(guest.lab)) == guest.images()


def test_a_guest_started_on_another_node_finds_what_it_wrote(guest: Guest) -> None:
    guest.gnt("shutdown")
    assert guest.watchers() == []
    guest.gnt("grow-disk", "0", "768M")
    guest.gnt("failover -f -n node1")
    assert guest.watchers() == []
    guest.gnt("startup")

    assert guest.written(boot=5).verdict == "OK"
    assert guest.block_devices()[0]["virtual-size"] == 2**31
    alone_at(guest, "node1")


@contextlib.contextmanager
def stopped(lab: TestLab, kind: str) -> Iterator[None]:
    """Have all storage daemons of a kind stopped in the block."""

    def all_nodes(verb: str) -> None:
        # systemd starts a service a few times in half an hour only.
        each = "systemctl reset-failed;"
        each += f" for one in /var/lib/ceph/{kind}/ceph-*; do systemctl {verb}"
        each += f" ceph-{kind}@${{one##*/ceph-}}; done"
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: lab.run(node, each), NODES))

    all_nodes("stop")
    try:
        yield
    finally:
        all_nodes("start")


@pytest.fixture(scope="module")
def four(guest: Guest) -> Iterator[Guest]:
    """A stopped guest with four disks."""
    four = Guest(guest.lab, "guest5.lab.example")
    disks = " ".join(f"--disk {number}:size=1G" for number in range(4))
    four.gnt(f"{ADD} --no-install --no-start {disks}")
    yield four
    four.gnt("remove -f --shutdown-timeout=0", check=False)


def test_a_reboot_on_a_dead_storage_cluster_ends_no_guest(
    guest: Guest, four: Guest
) -> None:
    four.gnt("startup")
    before, wrote = [guest.pid(), four.pid()], guest.written(boot=5)
    took = []
    with stopped(guest.lab, "mon"):
        for kind in ("soft", "hard", "full"):
            begun = time.monotonic()
            said = refused(four.gnt(f"reboot -t {kind}", check=False))
            took.append(time.monotonic() - begun)
            assert said.count("cannot connect to the storage cluster") == 1, said
            assert "disk/0, disk/1, disk/2, disk/3: cannot" in " ".join(said.split())
        refused(guest.gnt("reboot -t soft", check=False))
    assert [guest.pid(), four.pid()] == before
    assert max(took) < BOUND
    # It goes on where it was.
    assert guest.written(boot=5, beat=wrote.beat + 1).verdict == "OK"
    four.gnt("shutdown --timeout=0")


def test_a_dead_storage_cluster_is_one_clear_error_in_bounded_time(
    guest: Guest, four: Guest
) -> None:
    lab = guest.lab
    with ThreadPoolExecutor() as pool, stopped(lab, "mon"):
        guest.gnt("shutdown")
        begun = time.monotonic()
        # Where to is Ganeti's choice, for which it asks for the pool's room.
        of_move = refused(four.gnt("failover -f", check=False))
        moving = time.monotonic() - begun
        begun = time.monotonic()
        failing = [pool.submit(start, guest), pool.submit(add_third, lab)]
        started = pool.submit(start, four)
        goes_on(guest, failing[0])
        said = [refused(one.result()) for one in failing]
        of_four = refused(started.result())
        took = time.monotonic() - begun
    for text in said:
        assert text.count("cannot connect to the storage cluster") == 1, text
    assert of_four.count("cannot connect to the storage cluster") == 4, of_four
    assert of_move.count("cannot connect to the storage cluster") == 1, of_move
    assert max(moving, took) < BOUND
    lab.run("node1", "ceph --connect-timeout=60 mon stat")


def test_osds_that_do_not_answer_are_one_clear_error_in_bounded_time(
    guest: Guest, four: Guest
) -> None:
    lab = guest.lab
    with ThreadPoolExecutor() as pool, stopped(lab, "osd"):
        begun = time.monotonic()
        failing = [pool.submit(start, guest), pool.submit(start, four)]
        goes_on(guest, failing[0])
        of_one, of_four = (refused(one.result()) for one in failing)
        took = time.monotonic() - begun
    assert of_one.count("no answer from the OSDs within 20 s") == 1, of_one
    assert of_four.count("no answer from the OSDs within 20 s") == 4, of_four
    assert took < BOUND
    # It asks all of them.
    lab.run("node1", "timeout 100 rados -p rbd ls")
    four.gnt("remove -f")


def test_a_missing_pool_is_one_clear_error(guest: Guest) -> None:
    lab, before = guest.lab, images(guest.lab)
    lab.run("node1", "gnt-cluster modify -D rbd:pool=nosuch")
    try:
        text = refused(add_third(lab))
        # The disk that is there keeps the pool that it was made in.
        guest.gnt("startup")
    finally:
        lab.run("node1", "gnt-cluster modify -D rbd:pool=rbd")
    assert text.count("the storage cluster has no pool nosuch;") == 1, text
    assert images(lab) == before
    listed = lab.run("node1", "gnt-instance list --no-headers -o name").stdout.split()
    assert listed == [guest.name]
    assert guest.written(boot=6).verdict == "OK"


def goes_on(guest: Guest, hangs: Future[Result]) -> None:
    """Check that the guest's node daemon answers at once while something hangs."""
    took = []
    while not hangs.done():
        begun = time.monotonic()
        assert guest.gnt("list --no-headers -o oper_state").stdout == "N\n"
        took.append(time.monotonic() - begun)
        time.sleep(1)
    assert len(took) > 1
    assert max(took) < SOON


def start(guest: Guest) -> Result:
    return guest.gnt("startup", check=False)


def add_third(lab: TestLab) -> Result:
    third = Guest(lab, "guest4.lab.example")
    return third.gnt(f"{ADD} --disk 0:size=1G", check=False)


def test_a_removed_guest_leaves_no_image(guest: Guest) -> None:
    guest.gnt("remove -f --shutdown-timeout=0")
    assert images(guest.lab) == {}


def test_no_image_was_ever_mapped(guest: Guest) -> None:
    for node in NODES:
        ran = f"cat {NOTES} {DAEMON_NOTES}"
        assert guest.lab.run(node, ran, check=False).stdout == "", node
        mapped = "find /dev -name 'rbd*'; ls /sys/bus/rbd/devices 2>/dev/null; true"
        assert guest.lab.run(node, mapped).stdout == ""
