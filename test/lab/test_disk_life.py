"""The life of a disk, from its wiping to the trash, in all of Ganeti's operations."""

import re
from collections.abc import Iterator

import pytest
from conftest import TestLab
from guests import Guest, hold, images, soiled
from places import (
    ADD,
    EMPTY,
    EXPORTS,
    RUNNING,
    field,
    instances,
    made,
    refused,
    table,
)

pytestmark = pytest.mark.slow

MAPPED = "access=kernelspace,mapper=fuse"
SMALL = f"{EMPTY} --ignore-ipolicy"
OS_IMAGES = "/root/os-images"


@pytest.fixture(scope="module")
def place(lab: TestLab) -> Iterator[TestLab]:
    with made(lab):
        yield lab


def content(lab: TestLab, image: str, pool: str = "rbd") -> str:
    """Return what is not zero in an image."""
    line = f"rbd --no-progress export {pool}/{image} - | tr -d '\\0'"
    return lab.run("node1", line).stdout


def test_disks_are_wiped_where_ganeti_wipes(place: TestLab) -> None:
    """Each image holds something before Ganeti comes to its end."""
    guest = Guest(place, "guest4.lab.example")
    place.run("node1", "gnt-cluster modify --prealloc-wipe-disks yes")
    try:
        with soiled(place, 2) as dirty:
            guest.gnt(f"{SMALL} --disk 0:size=128M --disk 1:size=128M,{MAPPED}")
        assert dirty == sorted(guest.images())
        with soiled(place, 2) as dirty:
            for disk in ("size=128M", f"size=128M,{MAPPED}"):
                guest.gnt(f"modify --ignore-ipolicy --disk add:{disk}")
        assert dirty == sorted(guest.images()[2:])
        assert [content(place, image) for image in guest.images()] == [""] * 4

        # What was there before a disk grows is not wiped.
        grown = guest.images()[:2]
        for image in grown:
            with hold(place, "node1", image):
                pass
        with soiled(place, 2) as dirty:
            for index in ("0", "1"):
                guest.gnt("grow-disk --ignore-ipolicy", index, "128M")
        assert dirty == sorted(grown)
        assert [content(place, image) for image in grown] == ["held"] * 2
        assert sorted(images(place).values()) == [128, 128, 256, 256]
    finally:
        place.run("node1", "gnt-cluster modify --prealloc-wipe-disks no")
    guest.gnt("remove -f")


@pytest.fixture
def os_images(place: TestLab) -> Iterator[str]:
    """The address of files that are on node1, too."""
    place.run(
        "node1",
        f"mkdir -p {OS_IMAGES}; cd {OS_IMAGES}; head -c 9437696 /dev/urandom > first;"
        " (head -c 5M /dev/zero; head -c 2M /dev/urandom) > second;"
        " truncate -s 65M large; systemd-run -q --unit=os-images"
        f" python3 -m http.server -d {OS_IMAGES} 8321",
    )
    yield "http://node1.lab.example:8321"
    place.run("node1", f"systemctl stop os-images; rm -r {OS_IMAGES}")


def test_a_disk_begins_with_the_os_image_that_was_named(
    place: TestLab, os_images: str
) -> None:
    guest = Guest(place, "guest5.lab.example")
    add = "add -t rbd -B memory=128M -n node1 --no-start --ignore-ipolicy"
    add += " --disk 0:size=64M -O os-image={}"
    for wrong, why in (
        (f"{OS_IMAGES}/large", "the data does not fit into the image"),
        (f"{os_images}/none", "HTTP Error 404"),
    ):
        said = refused(guest.gnt(add.format(wrong), check=False))
        assert why in said
        assert images(place) == {}
        assert guest.name not in instances(place)

    guest.gnt(add.format(f"{OS_IMAGES}/first"))
    (image,) = guest.images()
    compare = f"rbd --no-progress export {image} - | cmp - {OS_IMAGES}/disk"
    place.run(
        "node1", f"cd {OS_IMAGES}; cp first disk; truncate -s 64M disk; {compare}"
    )
    # Its zeroes replace what is there, and what lies behind it stays.
    guest.gnt(f"reinstall -f -O os-image={os_images}/second")
    overwrite = f"dd if={OS_IMAGES}/second of={OS_IMAGES}/disk conv=notrunc status=none"
    place.run("node1", f"{overwrite}; {compare}")
    guest.gnt("remove -f")


def test_a_disk_stays_where_it_is_whatever_becomes_of_its_instance(
    place: TestLab,
) -> None:
    guest = Guest(place, "guest6.lab.example", "My-Fast/t1")
    elsewhere = "pool=My-Fast,namespace=t1,data-pool=small,user-id=far"
    # The import script of this OS definition writes what is not zero only.
    guest.gnt(f"{ADD} --no-install --disk 0:size=1G,{elsewhere}")
    guest.gnt("startup")
    beat = guest.written(boot=1).beat
    guest.gnt("migrate -f --non-live -n node2")
    is_elsewhere(guest, "node2")
    if guest.survives_migration:
        after = guest.written(boot=1, beat=beat + 2)
        assert after.whole == after.blocks
    guest.gnt("failover -f --shutdown-timeout=20 -n node3")
    assert guest.written(boot=2).verdict == "OK"
    is_elsewhere(guest, "node3")

    # The next master knows of it, too.
    place.run("node2", "gnt-cluster master-failover", timeout=300)
    grow = f"gnt-instance grow-disk {guest.name} 0 1G"
    place.run("node2", grow)
    place.run("node1", "gnt-cluster master-failover", timeout=300)
    assert list(images(place, guest.pool).values()) == [2048]
    is_elsewhere(guest, "node3")

    export = f"gnt-backup export --noshutdown -n node2 {guest.name}"
    place.run("node1", export, timeout=300)
    guest.gnt("remove -f --shutdown-timeout=0")
    assert images(place, "My-Fast/t1") == {}
    place.run(
        "node1",
        "gnt-backup import -t rbd -n node1 --src-node=node2"
        f" --src-dir={EXPORTS}/{guest.name} {guest.name}",
        timeout=300,
    )
    guest.gnt("startup")
    assert guest.written(boot=3).verdict == "OK"
    is_elsewhere(guest, "node1")
    guest.gnt("remove -f --shutdown-timeout=0")


def is_elsewhere(guest: Guest, node: str) -> None:
    """Check that a guest runs on a node, and where its disk is, and who opened it."""
    assert guest.node() == node
    (image,) = guest.images()
    assert list(images(guest.lab, guest.pool)) == [image]
    assert field(guest.lab, f"{guest.pool}/{image}", "data_pool") == "small"
    shown = guest.gnt("info").stdout
    assert f"image: {guest.pool}/{image}\n" in shown
    assert re.search(rf"image watchers: {node}\.lab\.example \(\S+\)\n", shown)
    (opened,) = (word for word in guest.arguments() if image in word)
    assert re.search(r"[:.](id|user)=far\b", opened)


def test_scripts_learn_of_disks_in_kernelspace_access(place: TestLab) -> None:
    guest = Guest(place, "guest5.lab.example")
    guest.gnt(f"{ADD} --disk 0:size=1G,{MAPPED}")
    learnt(guest, "node1", "create")
    place.run("node1", f"gnt-backup export -n node2 {guest.name}", timeout=300)
    told = place.run("node1", "cat /root/probe.export").stdout
    assert re.search(r"^EXPORT_DEVICE=/dev/loop\d+$", told, re.M)
    assert re.search(r"^EXPORT_DISK_URI=rbd:rbd/\S+:id=ganeti$", told, re.M)
    guest.gnt("remove -f")
    place.run(
        "node1",
        "gnt-backup import -t rbd -n node3 --src-node=node2"
        f" --src-dir={EXPORTS}/{guest.name} {guest.name}",
        timeout=300,
    )
    assert "access: kernelspace\n" in guest.gnt("info").stdout
    told = learnt(guest, "node3", "import")
    assert re.search(r"^IMPORT_DEVICE=/dev/loop\d+$", told, re.M)
    # Ganeti has an import followed by a renaming, whose script reads the disk.
    assert learnt(guest, "node3", "rename").endswith("\nhello\n")
    guest.gnt("remove -f")


def learnt(guest: Guest, node: str, script: str) -> str:
    """Return what a script was told, after a check that its disk was mapped."""
    (image,) = guest.images()
    told = guest.lab.run(node, f"cat /root/probe.{script}").stdout
    assert re.search(r"^DISK_0_PATH=/dev/loop\d+$", told, re.M)
    assert f"DISK_0_URI=rbd:rbd/{image}:id=ganeti\n" in told
    return told


@pytest.mark.parametrize("kind", ["cluster", "group"])
def test_access_counts_from_a_start_on(place: TestLab, kind: str) -> None:
    guest = Guest(place, "guest7.lab.example")
    # The cluster's first: once a group has its own, that is what counts.
    modify = f"gnt-{kind} modify -D rbd:access={{}},mapper=fuse"
    if kind == "group":
        modify += " default"
    guest.gnt(f"{RUNNING} --disk 0:size=1G")
    (image,) = guest.images()
    mapped = f"ls /run/ganeti-ceph/map | grep {image}"
    guest.written(boot=1)
    try:
        for boot, new, former in (
            (2, "kernelspace", "userspace"),
            (3, "userspace", "kernelspace"),
        ):
            place.run("node1", modify.format(new))
            shown = guest.gnt("info").stdout
            assert f"access: {new}\n" in shown
            assert f"access now: {former}, until the instance" in shown
            guest.gnt("shutdown --timeout=20")
            guest.gnt("startup")
            assert "access now" not in guest.gnt("info").stdout
            by_qemu = any(image in word for word in guest.arguments())
            is_mapped = place.run("node1", mapped, check=False).returncode == 0
            assert (by_qemu, is_mapped) == (new == "userspace", new == "kernelspace")
            assert guest.written(boot=boot).verdict == "OK"
    finally:
        place.run("node1", modify.format("userspace"))
    guest.gnt("remove -f --shutdown-timeout=0")


def test_info_tells_what_images_take_and_are(place: TestLab) -> None:
    guest = Guest(place, "guest4.lab.example")
    group = "gnt-group modify -D rbd:pool={} default"
    place.run("node1", group.format("My-Fast"))
    try:
        guest.gnt(
            f"{EMPTY} --disk 0:size=1G,stripe-unit=64K,stripe-count=4"
            " --disk 1:size=1G,features=exclusive-lock"
        )
    finally:
        place.run("node1", group.format("rbd"))
    first, second = guest.images()
    assert images(place) == {}
    assert field(place, f"My-Fast/{first}", "stripe unit") == "64 KiB"
    assert field(place, f"My-Fast/{first}", "stripe count") == "4"
    # A stripe fills four objects of 4 MiB, one after the other.
    for image in (first, second):
        place.run(
            "node1",
            "rbd bench --io-type write --io-size 4M --io-total 32M --io-threads 1"
            f" --io-pattern seq My-Fast/{image}",
        )
    shown = guest.gnt("info").stdout
    usual = "layering, exclusive-lock, object-map, fast-diff, deep-flatten, striping"
    for image, used, features in (
        (first, "32M", usual),
        (second, "unknown (no fast-diff)", "exclusive-lock"),
    ):
        assert (
            f"      image: My-Fast/{image}\n"
            f"      image state: {used} used of 1.0G\n"
            f"      image features: {features}\n"
            "      image watchers: none\n"
        ) in shown

    number = f"rbd image-meta get My-Fast/{second} ganeti.disk"
    assert place.run("node1", number).stdout == "1\n"
    guest.gnt("modify --disk 0:remove")
    assert place.run("node1", number).stdout == "0\n"
    assert list(images(place, "My-Fast")) == guest.images() == [second]

    # Without its image it does not start, and the image is not made anew.
    place.run("node1", f"rbd mv My-Fast/{second} My-Fast/lost")
    said = refused(guest.gnt("startup", check=False))
    assert f"the storage cluster has no image My-Fast/{second}; was it" in said
    assert list(images(place, "My-Fast")) == ["lost"]
    assert guest.gnt("list --no-headers -o oper_state").stdout == "N\n"
    place.run("node1", f"rbd mv My-Fast/lost My-Fast/{second}")
    guest.gnt("remove -f")
    assert images(place, "My-Fast") == {}


def test_what_is_held_is_not_removed(place: TestLab) -> None:
    guest = Guest(place, "guest4.lab.example")
    guest.gnt(f"{EMPTY} --disk 0:size=1G --disk 1:size=1G")
    first, second = guest.images()
    place.run(
        "node1",
        f"rbd snap create {second}@s1;"
        f" rbd clone --rbd-default-clone-format 2 {second}@s1 My-Fast/child;"
        f" rbd snap rm {second}@s1",
    )
    held = f"rbd/{second} has the clones My-Fast/child; remove them"
    for command in ("remove -f", "modify --disk 1:remove"):
        assert held in refused(guest.gnt(command, check=False))
    place.run("node1", "rbd rm --no-progress My-Fast/child")
    with hold(place, "node3", second):
        said = refused(guest.gnt("modify --disk 1:remove", check=False))
        assert f"the image rbd/{second} is in use at " in said
    assert guest.images() == [first, second]
    assert sorted(images(place)) == sorted([first, second])
    guest.gnt("modify --disk 1:remove")
    assert list(images(place)) == guest.images() == [first]
    guest.gnt("remove -f")


def test_the_trash_gives_back_by_another_name_and_forgets_in_time(
    place: TestLab,
) -> None:
    guest = Guest(place, "guest5.lab.example")
    guest.gnt(f"{EMPTY} --disk 0:size=1G,trash-grace=1 --disk 1:size=1G,trash-grace=1")
    _, second = guest.images()
    guest.gnt("remove -f")
    ids = {name: image_id for _, image_id, name, *_ in table(place)}
    restore = f"gnt-storage trash --name=Golden-Image restore {ids[second]}"
    said = place.run("node1", restore).stdout
    assert "adopt=Golden-Image,pool=rbd" in said
    assert images(place) == {"Golden-Image": 1024}
    assert len(table(place)) == 1
    purged = place.run("node1", "gnt-storage trash purge").stdout
    assert purged.strip().endswith("1 images are deleted")
    assert table(place) == []

    adopter = Guest(place, "guest8.lab.example")
    for spoil, why, mend in (
        (
            "rbd image-meta set Golden-Image ganeti.cluster far.example.org",
            f"is of the instance {guest.name} of the cluster far.example.org",
            "rbd image-meta rm Golden-Image ganeti.cluster",
        ),
        (
            "rbd resize --no-progress --size 1048577K Golden-Image",
            "its size of 1073742848 bytes is not in whole MiB",
            "rbd resize --no-progress --allow-shrink --size 1G Golden-Image",
        ),
        (MAP.format("map"), "it is mapped to /dev/loop", MAP.format("unmap")),
    ):
        place.run("node1", spoil)
        adopt = f"{RUNNING} --disk 0:adopt=Golden-Image"
        said = refused(adopter.gnt(adopt, check=False))
        assert "the image rbd/Golden-Image cannot be adopted: " in said
        assert why in said
        place.run("node1", mend)
        assert adopter.name not in instances(place)
    said = adopter.gnt(adopt).stdout
    (renamed,) = adopter.images()
    assert f"The image rbd/Golden-Image becomes rbd/{renamed}\n" in said
    assert images(place) == {renamed: 1024}
    assert adopter.written(boot=1).verdict == "FIRST"
    adopter.gnt("remove -f --shutdown-timeout=0")
    assert images(place) == {}


#: Maps an image, or takes the block device away again.
MAP = """python3 -c '
from ganeti_ceph.disk import image, mappers
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
volume = Volume("rbd", "Golden-Image", user="ganeti")
if "{0}" == "map":
    mappers.map(volume, Mapper.FUSE, image.features(volume))
else:
    mappers.unmap(volume)
'"""


def test_full_osds_are_told(place: TestLab) -> None:
    guest = Guest(place, "guest5.lab.example")
    objects = place.run("node1", "rados -p rbd ls | sort").stdout
    ratios(place, 0.0001, 0.0001, 0.0001)
    try:
        full = "until ceph health detail | grep -q OSD_FULL; do sleep 0.5; done"
        place.run("node1", f"timeout 60 sh -c '{full}'")
        said = refused(guest.gnt(f"{EMPTY} --disk 0:size=1G", check=False))
    finally:
        ratios(place, 0.85, 0.9, 0.95)
    assert re.search(r"cannot create the image rbd/\S+: osd\.\d+ is full", said)
    gone = "while ceph health detail | grep -q OSD_FULL; do sleep 0.5; done"
    place.run("node1", f"timeout 60 sh -c '{gone}'")
    assert place.run("node1", "rados -p rbd ls | sort").stdout == objects
    assert guest.name not in instances(place)
    guest.gnt(f"{EMPTY} --disk 0:size=1G")
    guest.gnt("remove -f")


def ratios(lab: TestLab, nearly: float, no_backfill: float, full: float) -> None:
    """Set from which part of its size in use on an OSD is nearly full, and full."""
    lab.run(
        "node1",
        f"ceph osd set-nearfull-ratio {nearly};"
        f" ceph osd set-backfillfull-ratio {no_backfill};"
        f" ceph osd set-full-ratio {full}",
    )
