"""Where images are and what becomes of them: pools, moves, scripts, adoption, trash."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import TestLab
from guests import Guest, hold, images, look
from places import (
    ADD,
    EMPTY,
    EXPORTS,
    RUNNING,
    checksum,
    fault,
    field,
    in_ceph,
    instances,
    made,
    refused,
    table,
)

#: A tebibyte, in mebibytes.
TIB = 2**20


@pytest.fixture(scope="module")
def place(lab: TestLab) -> Iterator[TestLab]:
    with made(lab):
        yield lab


def disks_user(lab: TestLab) -> Any:
    """Return the key of the user that opens disks, and what it may do."""
    shown = lab.run("node1", "ceph auth get client.ganeti --format json").stdout
    (user,) = json.loads(shown)
    return user


def test_each_disk_has_a_place_and_a_form_of_its_own(place: TestLab) -> None:
    guest = Guest(place, "guest4.lab.example")
    guest.gnt(
        f"{EMPTY} --disk 0:size=1G,pool=My-Fast,namespace=t1,object-size=1M"
        " --disk 1:size=1G,data-pool=coded,features=layering+exclusive-lock"
    )
    first, second = guest.images()
    assert images(place) == {second: 1024}
    told = place.run("node1", f"rbd info My-Fast/t1/{first}").stdout
    assert "order 20 (1 MiB objects)" in told
    assert field(place, second, "data_pool") == "coded"
    assert field(place, second, "features") == "layering, exclusive-lock, data-pool"
    user = disks_user(place)
    assert user["caps"] == {
        "mon": "profile rbd",
        "osd": ", ".join(
            f"profile rbd pool={pool}" for pool in ("My-Fast", "coded", "rbd")
        ),
    }
    place.run("node1", "rados --id ganeti -p coded ls")
    for command in ("rados --id ganeti -p small ls", "ceph --id ganeti auth ls"):
        denied = place.run("node1", command, check=False)
        assert denied.returncode != 0
        assert re.search("not permitted|access denied", denied.stderr)
    described = place.run("node1", f"rbd image-meta list {second}").stdout
    for what in ("cluster.lab.example", guest.name, "ganeti.disk"):
        assert what in described
    guest.gnt("startup")
    shown = guest.gnt("info").stdout
    assert f"      image: My-Fast/t1/{first}\n" in shown
    assert "used of 1.0G" in shown
    assert "unknown (no fast-diff) used of 1.0G" in shown
    for node in ("node1", "node2", "node3"):
        told = place.run(node, "cat /proc/[0-9]*/cmdline; cat /var/log/ganeti/*.log")
        assert user["key"] not in told.stdout
    # A default that changes later is none of its business.
    defaults = "gnt-cluster modify -D rbd:pool={},namespace={},user-id={}"
    place.run("node1", defaults.format("My-Fast", "t1", "far"))
    guest.gnt("reboot --shutdown-timeout=0")
    assert guest.gnt("info").stdout.count("watchers: node1.lab.example") == 2
    opened = [word for word in guest.arguments() if first in word or second in word]
    assert len(opened) == 2
    assert all(re.search("[:.](id|user)=ganeti", word) for word in opened)
    place.run("node1", defaults.format("rbd", "none", "ganeti"))
    guest.gnt("remove -f --shutdown-timeout=0")


@pytest.mark.parametrize(
    ("disk", "why"),
    [
        ("pool=nope", "has no pool nope"),
        ("pool=My-Fast,namespace=t2", "has no namespace t2"),
        ("pool=a:b", "parameter pool cannot be 'a:b'"),
        ("features=bogus", "there is no feature 'bogus'"),
        ("object-size=many", "parameter object-size cannot be 'many'"),
        ("data-pool=nope", "has no pool nope"),
        ("user-id=nobody", "client.nobody"),
        ("user-id=wrong", "as client.wrong"),
        ("access=kernelspace,mapper=krbd", "krbd"),
        ("ceph-conf=/etc/ceph/none.conf", "/etc/ceph/none.conf"),
        ("adopt=nope", "there is no such image"),
    ],
)
def test_what_cannot_be_is_one_message_and_leaves_nothing(
    place: TestLab, disk: str, why: str
) -> None:
    guest, before = Guest(place, "guest5.lab.example"), in_ceph(place)
    size = "" if disk.startswith("adopt") else "size=1G,"
    said = fault(guest.gnt(f"{EMPTY} --disk 0:{size}{disk}", check=False))
    assert why in said
    assert in_ceph(place) == before
    assert guest.name not in instances(place)


def test_the_instance_policy_counts_for_disks(place: TestLab) -> None:
    guest, other = (Guest(place, f"guest{n}.lab.example") for n in (4, 5))
    guest.gnt(f"{EMPTY} --disk 0:size=1G")
    before = in_ceph(place)
    for refusal, size in (
        (other.gnt(f"{EMPTY} --disk 0:size=512M", check=False), 512),
        (other.gnt(f"{EMPTY} --disk 0:size=2T", check=False), 2 * TIB),
        (guest.gnt("grow-disk", "0", "2T", check=False), 2 * TIB + 1024),
    ):
        bounds = f"value {size} is not in range [1024, {TIB}]"
        assert bounds in fault(refusal)
    assert in_ceph(place) == before
    assert other.name not in instances(place)
    guest.gnt("remove -f")


def test_images_are_made_where_the_defaults_say(place: TestLab) -> None:
    guest, other = (Guest(place, f"guest{n}.lab.example") for n in (4, 5))
    # A group's own, which other tests may have given it, goes before the cluster's.
    unset = "gnt-group modify -D rbd:pool=default,namespace=default,data-pool=default"
    place.run("node1", f"{unset} default")
    try:
        place.run("node1", "gnt-cluster modify -D rbd:pool=My-Fast,namespace=t1")
        guest.gnt(f"{EMPTY} --disk 0:size=1G")
        own = "rbd:pool=rbd,namespace=none,data-pool=coded"
        place.run("node1", f"gnt-group modify -D {own} default")
        other.gnt(f"{EMPTY} --disk 0:size=1G")
    finally:
        place.run("node1", "gnt-cluster modify -D rbd:pool=rbd,namespace=none")
        place.run("node1", f"{unset} default")
    (image,) = guest.images()
    assert images(place, "My-Fast/t1") == {image: 1024}
    assert field(place, f"My-Fast/t1/{image}", "data_pool") == ""
    (image,) = other.images()
    assert images(place, "rbd") == {image: 1024}
    assert field(place, f"rbd/{image}", "data_pool") == "coded"
    for one in (guest, other):
        one.gnt("remove -f")


def test_a_full_pool_says_so(place: TestLab) -> None:
    guest, stopped = (Guest(place, f"guest{n}.lab.example") for n in (5, 4))
    stopped.gnt(f"{EMPTY} --disk 0:size=1G")
    (image,) = stopped.images()
    place.run("node1", f"rbd bench --io-type write --io-total 4M rbd/{image}")
    before = checksum(place, f"rbd/{image}")
    place.run("node1", "rbd create small/filler --size 64M")
    place.run("node1", "ceph osd pool set-quota small max_objects 1")
    full = "until ceph health detail | grep -q POOL_FULL; do sleep 0.5; done"
    place.run("node1", f"timeout 60 sh -c '{full}'")
    objects = place.run("node1", "rados -p small ls | sort").stdout
    said = fault(guest.gnt(f"{EMPTY} --disk 0:size=1G,pool=small", check=False))
    assert "pool 'small' is full" in said
    assert guest.name not in instances(place)

    said = fault(stopped.gnt("modify --disk 0:modify,pool=small", check=False))
    assert "pool 'small' is full" in said
    assert images(place) == {image: 1024}
    assert checksum(place, f"rbd/{image}") == before
    stopped.gnt("modify -t file")
    (path,) = stopped.images()
    assert place.run("node1", f"md5sum < {path}").stdout == before
    said = fault(stopped.gnt("modify -t rbd -e pool=small", check=False))
    assert "pool 'small' is full" in said
    assert stopped.images() == [path]
    assert place.run("node1", f"md5sum < {path}").stdout == before
    stopped.gnt("remove -f")

    place.run("node1", "ceph osd pool set-quota small max_objects 0")
    assert place.run("node1", "rados -p small ls | sort").stdout == objects


def test_a_stopped_disk_moves_and_converts_with_all_that_is_on_it(
    place: TestLab,
) -> None:
    guest = Guest(place, "guest4.lab.example")
    guest.gnt(f"{ADD} --disk 0:size=1G")
    (image,) = guest.images()
    before = checksum(place, f"rbd/{image}")
    place.run("node1", f"rbd snap create rbd/{image}@s1")
    move = "modify --disk 0:modify,pool=My-Fast,namespace=t1"
    for change in (move, "modify -t file", "modify --disk 0:remove"):
        said = refused(guest.gnt(change, check=False))
        assert f"rbd/{image} has the snapshots s1" in said
    assert guest.images() == [image]
    assert place.run("node1", "rbd ls My-Fast/t1").stdout == ""
    place.run("node1", f"rbd snap rm rbd/{image}@s1")
    guest.gnt(move)
    assert images(place) == {}
    assert checksum(place, f"My-Fast/t1/{image}") == before
    guest.gnt("startup")
    said = refused(guest.gnt("modify --disk 0:modify,pool=rbd", check=False))
    assert "cannot move its disk" in said
    guest.gnt("shutdown --timeout=0")
    after_boot = checksum(place, f"My-Fast/t1/{image}")
    guest.gnt("modify -t file")
    assert place.run("node1", "rbd ls My-Fast/t1").stdout == ""
    said = refused(guest.gnt("modify -t rbd -e shelf=2", check=False))
    assert "have no parameter shelf" in said
    guest.gnt("modify -t rbd -e pool=My-Fast,namespace=t1")
    assert images(place) == {}
    (image,) = place.run("node1", "rbd ls My-Fast/t1").stdout.split()
    assert checksum(place, f"My-Fast/t1/{image}") == after_boot
    guest.gnt("modify -t file")
    guest.gnt("modify -t rbd")
    (image,) = guest.images()
    assert checksum(place, f"rbd/{image}") == after_boot
    guest.gnt("remove -f")


def test_scripts_get_a_block_device_as_long_as_they_run(place: TestLab) -> None:
    guest = Guest(place, "guest5.lab.example")
    guest.gnt(f"{ADD} --disk 0:size=1G,pool=My-Fast")
    (image,) = guest.images()
    told = place.run("node1", "cat /root/probe.create").stdout
    assert re.search(r"^DISK_0_PATH=/dev/loop\d+$", told, re.M)
    assert f"DISK_0_URI=rbd:My-Fast/{image}:id=ganeti\n" in told
    nothing = "ls /run/ganeti-ceph/map | grep -v qmp"
    assert place.run("node1", nothing, check=False).stdout == ""
    place.run("node1", ["gnt-instance", "rename", guest.name, "guest6.lab.example"])
    assert place.run("node1", "tail -n1 /root/probe.rename").stdout == "hello\n"
    assert place.run("node1", nothing, check=False).stdout == ""
    described = place.run("node1", f"rbd image-meta list My-Fast/{image}").stdout
    assert "guest6.lab.example" in described
    renamed = Guest(place, "guest6.lab.example", "My-Fast")

    place.run("node1", f"gnt-backup export --long-sleep -n node2 {renamed.name}")
    assert place.run("node1", nothing, check=False).stdout == ""
    renamed.gnt("remove -f")
    place.run(
        "node1",
        f"gnt-backup import -t rbd -n node3 --src-node=node2"
        f" --src-dir={EXPORTS}/{renamed.name} {renamed.name}",
        timeout=300,
    )
    assert place.run("node3", nothing, check=False).stdout == ""
    (again,) = renamed.images()
    assert images(place, "My-Fast") == {again: 1024}

    (path,) = re.findall(r":disk/0:(\S+)", renamed.gnt("activate-disks").stdout)
    read = f"mkdir -p /run/probe && mount -o ro {path} /run/probe"
    assert place.run("node3", f"{read} && cat /run/probe/hello").stdout == "hello\n"
    # Of a device that is in use Ganeti only warns.
    assert "is in use: mounted on /run/probe" in renamed.gnt("deactivate-disks").stdout
    place.run("node3", "umount /run/probe")
    renamed.gnt("startup")
    assert place.run("node3", nothing, check=False).stdout == ""
    said = refused(renamed.gnt("activate-disks", check=False))
    assert "QEMU has its disks open" in said
    renamed.gnt("remove -f --shutdown-timeout=0")


@pytest.mark.parametrize("access", ["userspace", "kernelspace"])
def test_an_instance_runs_while_it_is_exported(place: TestLab, access: str) -> None:
    guest = Guest(place, "guest7.lab.example")
    mapped = "access=kernelspace,mapper=fuse" if access == "kernelspace" else ""
    guest.gnt(
        "add -t rbd -o lab-guest -B memory=128M -n node1"
        f" --disk 0:size=1G,trash-grace=3600,{mapped or 'access=userspace'}"
        " --disk 1:size=1G,pool=My-Fast"
    )
    first, second = guest.images()
    beat = guest.written(boot=1).beat
    export = f"gnt-backup export --noshutdown -n node2 {guest.name}"
    done = place.run("node1", export, timeout=300)
    assert "Creating snapshots of all disks" in done.stdout
    by_qemu = access == "userspace"
    assert ("one right after the other" in done.stdout + done.stderr) != by_qemu
    after = guest.written(boot=1, beat=beat + 1)
    assert after.verdict == "FIRST"
    assert list(images(place)) == [first]
    assert list(images(place, "My-Fast")) == [second]
    assert table(place) == []
    assert place.run("node1", f"rbd snap ls --all rbd/{first}").stdout == ""

    # One that is stopped for it runs again before its disks are copied.
    export = f"gnt-backup export --shutdown-timeout=0 -n node2 {guest.name}"
    said = place.run("node1", export, timeout=300).stdout
    assert said.index("Starting instance") < said.index("Exporting snapshot/0")
    whole = guest.written(boot=2)
    assert whole.blocks > 0
    guest.gnt("remove -f --shutdown-timeout=0")
    place.run("node1", "gnt-storage trash --force --all purge")
    place.run(
        "node1",
        f"gnt-backup import -t rbd -n node3 --src-node=node2"
        f" --src-dir={EXPORTS}/{guest.name} {guest.name}",
        timeout=300,
    )
    guest.gnt("startup")
    # It has lived through the first boot only, when it was copied.
    again = guest.written(boot=2)
    assert again.verdict == "OK"
    assert again.whole == again.blocks
    guest.gnt("remove -f --shutdown-timeout=0")
    assert len(table(place)) == 1
    place.run("node1", "gnt-storage trash --force --all purge")


#: Clones the images of an instance as its node daemon does it for an export.
_CLONE = """
import json, sys
sys.path.append("/usr/share/ganeti/default")
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.node import images
from ganeti_ceph.rpc import CloneImages
name, disks = sys.argv[1], json.loads(sys.argv[2])
asked = [(uuid, Volume("rbd", image, user="ganeti"), image + ".clone")
         for uuid, image in disks]
print(*images.clone(CloneImages(name, tuple(asked))).errors)
"""


def test_several_disks_are_exported_as_they_were_at_one_moment(place: TestLab) -> None:
    guest = Guest(place, "guest7.lab.example")
    place.run(
        "node1",
        "gnt-instance add -t rbd -o lab-guest -B memory=128M -n node2 --disk 0:size=1G"
        f" --disk 1:size=1G -H 'kvm:kernel_args=quiet lab.fast' {guest.name}",
    )
    beat = guest.written(boot=1).beat
    shown = guest.gnt("list --no-headers -o disk.uuids").stdout
    uuids = re.findall(r"[0-9a-f-]{36}", shown)
    pairs = list(zip(uuids, guest.images(), strict=True))
    for _ in range(5):
        words = ["/usr/bin/python3", "-c", _CLONE, guest.name, json.dumps(pairs)]
        assert place.run("node2", words).stdout == "\n"
        # It is written to the first disk first, and then to the second one.
        first, second = (
            look(place, "node1", "beat", "rbd", f"{image}.clone") for _, image in pairs
        )
        assert first in (second, second + 1)
        assert first > beat, "nothing was written meanwhile"
        beat = first
        for _, image in pairs:
            place.run("node1", f"rbd --no-progress rm {image}.clone")
    guest.gnt("remove -f --shutdown-timeout=0")


def test_what_a_broken_export_leaves_is_told(place: TestLab) -> None:
    guest = Guest(place, "guest7.lab.example")
    guest.gnt(f"{RUNNING} --disk 0:size=1G")
    (image,) = guest.images()
    export = f"gnt-backup export --noshutdown -n node2 {guest.name}"
    # The node daemon dies once the clone holds what was the image's snapshot.
    kill = (
        f"until rbd snap ls --all {image} | grep -q trash; do sleep 0.2; done;"
        " pkill -9 -f sbin/ganeti-noded"
    )
    try:
        with ThreadPoolExecutor() as pool:
            done = pool.submit(place.run, "node1", export, check=False, timeout=300)
            place.run("node1", kill, timeout=120)
            assert done.result().returncode == 1
    finally:
        place.run("node1", "/usr/lib/ganeti/daemon-util start ganeti-noded")
    (clone,) = set(images(place)) - {image}
    said = place.run("node1", "gnt-cluster verify", check=False).stdout
    assert f"the image rbd/{clone} is of no instance ({guest.name} had it)" in said
    assert f"'rbd rm rbd/{clone}'" in said
    place.run("node1", f"rbd rm --no-progress rbd/{clone}")
    assert place.run("node1", f"rbd snap ls --all {image}").stdout == ""
    guest.gnt("remove -f --shutdown-timeout=0")
    assert images(place) == {}


def test_a_disk_in_use_keeps_its_instance_where_it_is(place: TestLab) -> None:
    guest = Guest(place, "guest7.lab.example")
    guest.gnt(f"{ADD} --disk 0:size=1G")
    (path,) = re.findall(r":disk/0:(\S+)", guest.gnt("activate-disks").stdout)
    place.run("node1", f"mkdir -p /run/probe && mount {path} /run/probe")
    result = guest.gnt("failover -f -n node2", check=False)
    assert result.returncode == 1
    assert "disk/0 stays in use on node node1.lab.example" in result.stdout
    assert guest.node() == "node1"
    place.run("node1", "umount /run/probe")
    guest.gnt("failover -f -n node2")
    assert guest.node() == "node2"
    (image,) = guest.images()
    guest.gnt("modify --disk 0:detach")
    adopter = Guest(place, "guest8.lab.example")
    said = refused(adopter.gnt(f"{EMPTY} --disk 0:adopt={image}", check=False))
    assert "which is detached and may be attached again" in said
    guest.gnt("remove -f")
    assert list(images(place)) == [image]
    place.run("node1", f"rbd rm rbd/{image}")


def test_another_access_counts_from_a_reboot_on(place: TestLab) -> None:
    guest = Guest(place, "guest7.lab.example")
    group = "gnt-group modify -D rbd:access={},mapper=fuse default"
    # Without --no-install, which would not start it.
    add = "add -t rbd -o lab-guest -B memory=128M -n node1 --disk 0:size=1G"
    try:
        place.run("node1", group.format("kernelspace"))
        guest.gnt(add)
        (image,) = guest.images()
        mapped = f"ls /run/ganeti-ceph/map | grep {image}"
        place.run("node1", mapped)
    finally:
        place.run("node1", group.format("userspace"))
    result = guest.gnt("migrate -f -n node2", check=False)
    assert result.returncode == 1
    assert "disk/0 runs with access=kernelspace, while" in result.stderr
    assert guest.node() == "node1"
    guest.gnt("reboot --shutdown-timeout=0")
    assert place.run("node1", mapped, check=False).stdout == ""
    assert any(image in one for one in guest.arguments())
    guest.gnt("migrate -f -n node2")
    assert guest.node() == "node2"
    guest.gnt("remove -f --shutdown-timeout=0")


@pytest.fixture
def slow_migration(place: TestLab) -> Iterator[None]:
    """Have migrations take a minute or more."""
    shown = place.run("node1", "gnt-cluster info | grep migration_bandwidth:").stdout
    limit = "gnt-cluster modify -H kvm:migration_bandwidth={}"
    place.run("node1", limit.format(1))
    yield
    place.run("node1", limit.format(int(shown.split()[-1])))


@pytest.mark.usefixtures("slow_migration")
@pytest.mark.parametrize("access", ["userspace", "kernelspace"])
def test_a_migration_that_breaks_leaves_nothing_on_the_target(
    place: TestLab, access: str
) -> None:
    """Be it that the target's QEMU dies, or the job, after which one cleans up."""
    guest = Guest(place, "guest7.lab.example")
    guest.gnt(
        "add -t rbd -o lab-guest -B memory=128M -n node1"
        f" --disk 0:size=1G,access={access}"
    )
    guest.written(1)
    (image,) = guest.images()
    qemu = "pgrep -f '^[^ ]*qemu-system.*guest7'"
    # Before it says so it may be about to fork.
    pid = f"/var/run/ganeti/kvm-hypervisor/pid/{guest.name}"
    arrives = f"until kill -0 $(cat {pid}); do sleep 0.2; done 2>/dev/null; sleep 3"
    left = f"{qemu}; ls /run/ganeti-ceph/map 2>/dev/null | grep {image}; true"
    with ThreadPoolExecutor() as pool:
        moving = pool.submit(guest.gnt, "migrate -f -n node2", check=False)
        place.run("node2", arrives)
        place.run("node2", f"kill -9 $({qemu})")
        assert "Could not migrate" in refused(moving.result())
    assert place.run("node2", left).stdout == ""
    assert guest.node() == "node1"
    now = guest.written(1).beat
    with ThreadPoolExecutor() as pool:
        # That a job died Ganeti sees after some minutes.
        moving = pool.submit(guest.gnt, "migrate -f -n node2", check=False, timeout=600)
        place.run("node2", arrives)
        place.run("node1", "pkill -9 -f jqueue/exec")
        assert moving.result().returncode == 1
    assert place.run("node2", left).stdout != ""
    guest.gnt("migrate -f --cleanup")
    assert place.run("node2", left).stdout == ""
    assert guest.node() == "node1"
    assert guest.written(1, now + 1).verdict == "FIRST"
    guest.gnt("remove -f --shutdown-timeout=0")


def test_disks_that_cannot_be_cloned_are_not_exported_live(place: TestLab) -> None:
    guest = Guest(place, "guest7.lab.example")
    guest.gnt(f"{RUNNING} --disk 0:size=1G --disk 1:size=1G,features=exclusive-lock")
    export = f"gnt-backup export --noshutdown -n node2 {guest.name}"
    result = place.run("node1", export, check=False, timeout=300)
    assert "cannot be cloned: it has not the feature layering" in result.stdout
    assert "live export; aborting" in result.stderr
    assert sorted(images(place)) == sorted(guest.images())
    assert place.run("node1", f"rbd snap ls --all {guest.images()[0]}").stdout == ""
    guest.gnt("remove -f --shutdown-timeout=0")


def test_a_removed_disk_comes_back_from_the_trash(place: TestLab) -> None:
    guest = Guest(place, "guest4.lab.example")
    guest.gnt(f"{EMPTY} --disk 0:size=1G,trash-grace=3600")
    (image,) = guest.images()
    place.run("node1", f"rbd bench --io-type write --io-total 4M rbd/{image}")

    with hold(place, "node2", image):
        said = refused(guest.gnt("remove -f", check=False))
        assert "is in use at" in said
    before = checksum(place, f"rbd/{image}")
    place.run("node1", f"rbd snap create rbd/{image}@s1")
    said = refused(guest.gnt("remove -f", check=False))
    assert f"rbd/{image} has the snapshots s1" in said
    place.run("node1", f"rbd snap rm rbd/{image}@s1")
    guest.gnt("remove -f")

    ((pool, image_id, name, size, owner, _, _),) = table(place)
    assert (pool, name, size, owner) == ("rbd", image, "1024", f"{guest.name}:0")
    shown = place.run("node1", "gnt-storage trash --units=h list").stdout
    header, line = shown.splitlines()
    titles = ["Pool", "ID", "Image", "Size", "Instance:Disk", "Removed", "KeptUntil"]
    assert header.split() == titles
    assert line.split()[:4] == ["rbd", image_id, image, "1.0G"]
    purged = place.run("node1", "gnt-storage trash purge").stdout
    assert purged.startswith("0 images are deleted, 1 ")
    place.run("node1", f"gnt-storage trash restore {image_id}")
    assert table(place) == []
    with hold(place, "node2", image):
        said = refused(guest.gnt(f"{EMPTY} --disk 0:adopt={image}", check=False))
        assert "it is in use at" in said
    guest.gnt(f"{EMPTY} --disk 0:adopt={image}")
    (image,) = guest.images()
    assert checksum(place, f"rbd/{image}") == before
    other = Guest(place, "guest5.lab.example")
    said = refused(other.gnt(f"{EMPTY} --disk 0:adopt={image}", check=False))
    assert f"it is disk/0 of {guest.name}" in said

    guest.gnt("modify --disk 0:modify,trash-grace=600")
    guest.gnt("remove -f")
    ((_, image_id, *_),) = table(place)
    said = refused(place.run("node1", "gnt-storage trash --force purge", check=False))
    assert "--all" in said
    place.run("node1", f"gnt-storage trash --force purge rbd/{image_id}")
    assert table(place) == []
    assert images(place) == {}


def test_an_export_without_data_comes_back_of_its_images(place: TestLab) -> None:
    guest = Guest(place, "guest4.lab.example", "My-Fast")
    disk = "size=1G,pool=My-Fast,trash-grace=3600"
    guest.gnt(f"{RUNNING} --disk 0:{disk} --tags=mine")
    beat = guest.written(boot=1).beat
    bare = f"gnt-backup export --config-only -n {{}} {guest.name}"
    said = place.run("node1", bare.format("node2")).stdout
    (image,) = guest.images()
    assert f"'gnt-backup import' makes it anew of {image}, which are not" in said
    guest.written(boot=1, beat=beat + 1)
    shown = place.run("node2", f"ls {EXPORTS}/{guest.name}").stdout
    assert shown == "config.ini\n"
    again = (
        "gnt-backup import -n node3 --src-node=node2"
        f" --src-dir={EXPORTS}/{guest.name} {{}} {guest.name}"
    )
    guest.gnt("remove -f --shutdown-timeout=0")
    assert images(place, "My-Fast") == {}
    said = refused(
        place.run("node1", again.format("-t rbd --disk 0:size=1G"), check=False)
    )
    assert "is without data (--config-only)" in said
    said = refused(place.run("node1", again.format("-t rbd"), check=False))
    assert f"the image My-Fast/{image} cannot be adopted: there is no such" in said
    ((_, image_id, *_),) = table(place)
    place.run("node1", f"gnt-storage trash restore {image_id}")
    place.run("node1", again.format("-t rbd"), timeout=300)
    assert guest.node() == "node3"
    guest.gnt("startup")
    assert guest.written(boot=2).verdict == "OK"
    tags = f"gnt-instance list-tags {guest.name}"
    assert place.run("node1", tags).stdout.split() == ["mine"]
    assert list(images(place, "My-Fast")) == guest.images() != [image]

    # What has data is not given up for what has none.
    full = f"gnt-backup export --noshutdown -n node2 {guest.name}"
    place.run("node1", full, timeout=300)
    said = refused(place.run("node1", bare.format("node2"), check=False))
    assert f"'gnt-backup remove {guest.name}'" in said
    place.run("node1", f"gnt-backup remove {guest.name}")
    guest.gnt("remove -f --shutdown-timeout=0")
    place.run("node1", "gnt-storage trash --force --all purge")


def test_the_trash_of_a_pool_without_a_disk_is_seen(place: TestLab) -> None:
    guest = Guest(place, "guest4.lab.example")
    guest.gnt(f"{EMPTY} --disk 0:size=1G,pool=My-Fast,namespace=t1,trash-grace=3600")
    # As two jobs that grant pools at once might do it.
    only = "mon 'profile rbd' osd 'profile rbd pool=rbd'"
    place.run("node1", f"ceph auth caps client.ganeti {only}")
    said = refused(guest.gnt("remove -f", check=False))
    assert "client.ganeti may not do that in the pool My-Fast" in said
    place.run("node1", "gnt-storage repair")
    guest.gnt("remove -f")

    ((pool, image_id, *_),) = table(place)
    assert pool == "My-Fast/t1"
    # Or nobody would find it any more.
    place.run("node1", "gnt-storage repair")
    assert len(table(place)) == 1
    place.run("node1", f"gnt-storage trash --force purge {image_id}")
    assert table(place) == []
    assert "pool=My-Fast" in disks_user(place)["caps"]["osd"]
    place.run("node1", "gnt-storage repair")
    assert "pool=My-Fast" not in disks_user(place)["caps"]["osd"]


def test_lost_images_are_made_anew_and_others_are_left_as_they_are(
    place: TestLab,
) -> None:
    guest = Guest(place, "guest4.lab.example")
    guest.gnt(f"{EMPTY} --disk 0:size=1G --disk 1:size=1G")
    first, second = guest.images()
    place.run("node1", f"rbd rm --no-progress {first}")
    guest.gnt("recreate-disks --disk 0")
    assert images(place) == {first: 1024, second: 1024}
    said = refused(guest.gnt("recreate-disks --disk 1", check=False))
    assert f"{second} exists already and was left as it is" in said
    assert images(place) == {first: 1024, second: 1024}
    guest.gnt("remove -f")
