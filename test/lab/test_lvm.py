"""OSDs on logical volumes, as ceph-volume makes them, and disks that were plain.

The tests of this file build on each other, in their order.  LVM is real but for the
kernel's part, see ``standin_lvm.py``.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NewLab, TestLab
from guests import Guest
from places import checksum, refused
from test_nodes import ADD, NODE3, ceph, lives_on, mons, nothing_to_do, osds, wait_clean

NODES = ("node1", "node2", "node3")
BY_ID = "/dev/disk/by-id"
DISK = f"{BY_ID}/lab-disk-1"
DATABASES = f"{BY_ID}/lab-db-1"
INIT = "gnt-storage init-distributed-storage -s ceph default"
STANDIN = Path(__file__).with_name("standin_lvm.py").read_text(encoding="utf-8")
#: Installs the stand-in, which is at its standard input.
INSTALL = r"""
set -e
mkdir /usr/lib/standin
mv /usr/sbin/lvm /usr/bin/lsblk /usr/sbin/ceph-volume /usr/lib/standin
cat > /usr/sbin/lvm; chmod 755 /usr/sbin/lvm; ln -s /usr/sbin/lvm /usr/bin/lsblk
cat > /usr/sbin/ceph-volume << 'END'
#!/bin/sh
CEPH_VOLUME_ALLOW_LOOP_DEVICES=1 exec /usr/lib/standin/ceph-volume "$@"
END
cat > /usr/lib/standin/boot << 'END'
#!/bin/sh
sed '1i252 device-mapper' /proc/misc > /run/standin-misc
mount --bind /run/standin-misc /proc/misc
exec vgchange -ay
END
cat > /etc/systemd/system/standin.service << 'END'
[Unit]
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/standin/boot
[Install]
WantedBy=sysinit.target
END
chmod 755 /usr/sbin/ceph-volume /usr/lib/standin/boot
systemctl enable --quiet --now standin
"""
#: Ends ceph-volume at once when it wants an OSD's file system made.
KILLER = r"""
mv /usr/bin/ceph-osd /usr/lib/standin/ceph-osd
cat > /usr/bin/ceph-osd << 'END'
#!/bin/sh
case "$*" in *--mkfs*) kill -9 $PPID;; *) exec /usr/lib/standin/ceph-osd "$@";; esac
END
chmod 755 /usr/bin/ceph-osd
"""
#: Ends ceph-volume at once when it wants something noted with a volume, and before it
#: may have that done.
NOTER = r"""
mv /usr/sbin/lvchange /usr/lib/standin/lvchange
cat > /usr/sbin/lvchange << 'END'
#!/bin/sh
case "$*" in *{noted}*) {done}; kill -9 $PPID; exit 1;; esac
exec lvm lvchange "$@"
END
chmod 755 /usr/sbin/lvchange
"""
NOTED = 'lvm lvchange "$@"'
UNDO = "mv /usr/lib/standin/lvchange /usr/sbin/lvchange"
#: Ends who wants a disk taken from LVM before and after that is done.
WIPER = """
mv /usr/sbin/pvremove /usr/lib/standin/pvremove
printf '#!/bin/sh\\n%s\\nkill -9 $PPID\\n' "{done}" > /usr/sbin/pvremove
chmod 755 /usr/sbin/pvremove
"""
#: Makes a disk of a file, and says which.
FURTHER = (
    "truncate -s 25G /srv/group; disk=$(losetup --find | cut -d' ' -f1);"
    " test -e $disk || mknod $disk b 7 ${disk#/dev/loop}; losetup $disk /srv/group;"
    " echo $disk"
)


#: Says at each boot that a node has these disks, and no others.
LINKS = f"rm {BY_ID}/lab-*; sed -i '%s' /etc/tmpfiles.d/lab-disks.conf;" + (
    " systemd-tmpfiles --create /etc/tmpfiles.d/lab-disks.conf"
)


@pytest.fixture(scope="module")
def lab(new_lab: NewLab) -> TestLab:
    """A cluster without storage, whose nodes have device-mapper for all one can see.

    Two disks of node2 share a third one for their databases, and there is a spare one.
    """
    lab = new_lab("--disks=4")
    for node in NODES:
        lab.run(node, INSTALL, stdin=STANDIN)
        first = "/lab-disk-[234]/d"
        shared = "s/lab-disk-3/lab-db-1/;s/lab-disk-4/spare-disk/"
        lab.run(node, LINKS % (shared if node == "node2" else first))
    disks = f"disk={BY_ID}/lab-disk-*,db-device={BY_ID}/lab-db-*"
    lab.run("node1", f"gnt-cluster modify -S ceph:{disks},pool-size=2")
    return lab


@pytest.fixture(scope="module")
def guest(lab: TestLab) -> Iterator[Guest]:
    guest = Guest(lab, "guest1.lab.example")
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node1 --disk 0:size=1G")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0")


def volumes(lab: TestLab, node: str) -> list[str]:
    """Return the tags of a node's logical volumes."""
    return lab.run(node, "lvs --noheadings -o lv_tags").stdout.split()


def databases(lab: TestLab) -> dict[str, tuple[str, str]]:
    """Return the volumes on the databases' disk of node2, by the OSD's UUID.

    Each OSD of node2 has one of them, and uses it.
    """
    found = {}
    fields = "--segments --separator=';' -o lv_uuid,lv_size,lv_tags"
    said = lab.run("node2", f"pvs --noheadings {fields} {DATABASES}").stdout
    for line in said.splitlines():
        volume, size, tags = line.strip().split(";")
        if not volume:
            continue
        assert "ceph.type=db," in f"{tags},"
        (osd,) = re.findall(r"ceph\.osd_fsid=([^,]+)", tags)
        found[osd] = volume, size
    ours = osds(lab)["node2"]
    assert set(found) == {osd["uuid"] for osd in ours.values()}
    for number in ours:
        told = ceph(lab, f"osd metadata {number}")
        assert told["bluefs_dedicated_db"] == "1"
        assert int(told["bluefs_db_size"]) > 0
    return found


def test_what_was_killed_while_it_made_an_osd_is_begun_anew(lab: TestLab) -> None:
    lab.run("node1", NOTER.format(noted="--addtag", done="true"))
    lab.run("node2", NOTER.format(noted="--addtag*ceph.type=db", done=NOTED))
    lab.run("node3", KILLER)
    done = lab.run("node1", INIT, check=False, timeout=300)
    assert done.returncode == 1
    for node in NODES:
        failed = f"{node}.lab.example: osd-lvm: 'ceph-volume lvm batch"
        assert failed in done.stderr
    assert done.stderr.count("osd-lvm") == 3, done.stderr
    assert "go on from here with" in done.stderr
    # None, the one of the database, and all.
    assert volumes(lab, "node1") == []
    noted = ["ceph.osd_id=" in one for one in volumes(lab, "node2")]
    assert sorted(noted) == [False, True]
    (before,) = volumes(lab, "node3")
    assert "ceph.osd_id=" in before
    for node in ("node1", "node2"):
        lab.run(node, UNDO)
    lab.run("node3", "mv /usr/lib/standin/ceph-osd /usr/bin/ceph-osd")
    lab.run("node1", INIT, timeout=300)
    found = osds(lab)
    assert [len(found[node]) for node in NODES] == [1, 2, 1]
    assert len(ceph(lab, "osd dump")["osds"]) == 4
    for node in ("node1", "node3"):
        ((number, osd),) = found[node].items()
        (tags,) = volumes(lab, node)
        assert f"ceph.osd_id={number}," in tags
        assert f"ceph.osd_fsid={osd['uuid']}," in tags
        assert osd["up"]
    said = lab.run("node1", "gnt-storage repair").stdout
    assert "there is nothing to do" in said


def test_disks_share_a_device_for_their_databases(lab: TestLab) -> None:
    assert len(databases(lab)) == 2
    assert len(osds(lab)["node2"]) == 2


def test_it_runs_again_after_a_reboot(guest: Guest) -> None:
    lab = guest.lab
    before = databases(lab)
    lab.reboot("node2")
    wait_up(lab)
    wait_clean(lab)
    assert databases(lab) == before
    lives_on(guest)


def test_a_node_comes_back_with_its_volumes(guest: Guest) -> None:
    lab = guest.lab
    before = osds(lab)["node3"]
    lab.run("node1", f"gnt-node modify --offline=yes {NODE3}")
    assert not any(osd["up"] for osd in osds(lab)["node3"].values())
    # Nothing is to start it behind our back.
    lab.reboot("node3")
    running = "systemctl list-units --plain --no-legend --state=active 'ceph-osd@*'"
    assert lab.run("node3", running).stdout == ""
    lab.run("node1", [*ADD, "--readd", NODE3], timeout=300)
    after = osds(lab)["node3"]
    assert [one["uuid"] for one in after.values()] == [
        one["uuid"] for one in before.values()
    ]
    wait_up(lab)
    lives_on(guest)


def test_a_device_that_ceph_volume_does_not_take_is_told(guest: Guest) -> None:
    lab = guest.lab
    (number,) = osds(lab)["node3"]
    lab.run(
        "node3",
        f"systemctl kill -s KILL ceph-osd@{number}; systemctl stop ceph-osd@{number};"
        f" vgremove -f $(vgs --noheadings -o vg_name); pvremove {DISK};"
        f" blockdev --setro {DISK}",
    )
    wait_down(lab, number)
    try:
        told = f"ceph-volume made no OSD on {DISK}: 'ceph-volume inventory"
        assert told in repair_fails(lab)
    finally:
        # The kernel keeps that for whoever gets this loop device next.
        lab.run("node3", f"blockdev --setrw {DISK}")
    lives_on(guest)


def test_a_replaced_disk_gets_an_osd_of_the_old_id(guest: Guest) -> None:
    lab = guest.lab
    before = osds(lab)["node3"]
    lab.run("node1", "gnt-storage repair", timeout=300)
    after = osds(lab)["node3"]
    assert list(after) == list(before)
    assert [one["uuid"] for one in after.values()] != [
        one["uuid"] for one in before.values()
    ]
    wait_up(lab)
    wait_clean(lab)
    lives_on(guest)


def repair_fails(lab: TestLab) -> str:
    """Return why a repair fails once the OSDs that are left agree on what they have."""
    end = time.monotonic() + 60
    while True:
        done = lab.run("node1", "gnt-storage repair", check=False, timeout=300)
        assert done.returncode == 1
        if "placement groups are not active" not in done.stderr:
            return done.stderr
        assert time.monotonic() < end


def lose(lab: TestLab, disk: str) -> int:
    """Have a disk of node2 that carries an OSD go blank, and return which that was."""
    tags = lab.run("node2", f"pvs --noheadings -o lv_tags {disk}").stdout
    number = int(re.findall(r"ceph\.osd_id=(\d+)", tags)[0])
    lab.run(
        "node2",
        f"systemctl kill -s KILL ceph-osd@{number}; systemctl stop ceph-osd@{number};"
        f" vgremove -f $(pvs --noheadings -o vg_name {disk}); pvremove {disk}",
    )
    wait_down(lab, number)
    wait_active(lab)
    return number


def test_a_replaced_disk_gets_the_room_of_the_old_one_s_database(guest: Guest) -> None:
    lab = guest.lab
    before, had = databases(lab), osds(lab)["node2"]
    number = lose(lab, f"{BY_ID}/lab-disk-2")
    # Killed half-way it goes on.
    lab.run("node2", NOTER.format(noted="--addtag*ceph.type=db", done="true"))
    said = repair_fails(lab)
    lab.run("node2", UNDO)
    assert "osd-lvm: 'ceph-volume lvm create" in said
    lab.run("node2", KILLER)
    said = repair_fails(lab)
    lab.run("node2", "mv /usr/lib/standin/ceph-osd /usr/bin/ceph-osd")
    assert "osd-lvm: 'ceph-volume lvm create" in said
    lab.run("node1", "gnt-storage repair", timeout=300)
    after, has = databases(lab), osds(lab)["node2"]
    assert set(has) == set(had)
    (other,) = set(had) - {number}
    kept, old, new = had[other]["uuid"], had[number]["uuid"], has[number]["uuid"]
    assert has[other]["uuid"] == kept
    assert has[other]["up_from"] == had[other]["up_from"]
    assert after[kept] == before[kept]
    assert old not in after
    assert after[new][1] == before[old][1]
    wait_up(lab)
    nothing_to_do(lab)
    lives_on(guest)


def test_a_further_disk_needs_room_for_its_database(guest: Guest) -> None:
    lab = guest.lab
    before = databases(lab)
    lab.run("node2", f"mv {BY_ID}/spare-disk {BY_ID}/lab-disk-4")
    said = refused(lab.run("node1", "gnt-storage repair", check=False))
    assert f"{DATABASES} holds databases of OSDs and has no room for 1 more" in said
    assert databases(lab) == before
    # The room of one that was removed is the administrator's to give away.
    number = lose(lab, f"{BY_ID}/lab-disk-2")
    lab.run("node2", f"mv {BY_ID}/lab-disk-2 {BY_ID}/spare-disk")
    lab.run("node1", f"ceph osd purge {number} --yes-i-really-mean-it")
    said = refused(lab.run("node1", "gnt-storage repair", check=False))
    assert "or wipe=yes" in said
    lab.run("node1", "gnt-cluster modify -S ceph:wipe=yes")
    lab.run("node1", "gnt-storage repair", timeout=300)
    lab.run("node1", "gnt-cluster modify -S ceph:wipe=no")
    assert len(set(databases(lab)) & set(before)) == 1
    assert len(databases(lab)) == 2
    wait_up(lab)
    wait_clean(lab)
    lives_on(guest)


def test_a_device_of_which_all_databases_go_is_never_left_to_be_wiped_by_hand(
    guest: Guest,
) -> None:
    lab = guest.lab
    had = osds(lab)["node2"]
    for disk in ("lab-disk-1", "lab-disk-4"):
        lose(lab, f"{BY_ID}/{disk}")
    for done in ("true", r"lvm pvremove \"\$@\""):
        lab.run("node2", WIPER.format(done=done))
        killed = repair_fails(lab)
        lab.run("node2", "mv /usr/lib/standin/pvremove /usr/sbin/pvremove")
        assert "osd-lvm" in killed
    lab.run("node1", "gnt-storage repair", timeout=300)
    has = osds(lab)["node2"]
    assert set(has) == set(had)
    assert not {one["uuid"] for one in has.values()} & {
        one["uuid"] for one in had.values()
    }
    assert len(databases(lab)) == 2
    wait_up(lab)
    wait_clean(lab)
    nothing_to_do(lab)
    lives_on(guest)


def test_what_a_node_had_is_destroyed_only_with_wipe(guest: Guest) -> None:
    lab = guest.lab
    (number,) = osds(lab)["node3"]
    # The mgr's own, too.
    resize = "for pool in $(ceph osd pool ls); do ceph osd pool set $pool size 2; done"
    lab.run("node1", resize)
    lab.run("node1", f"gnt-node modify --drained=yes {NODE3}")
    wait_clean(lab)
    lab.run("node1", f"gnt-node modify --offline=yes {NODE3}")
    # The mons that are left agree on that first, which takes long on a busy machine.
    end = time.monotonic() + 120
    remove = f"gnt-node remove {NODE3}"
    while (done := lab.run("node1", remove, check=False)).returncode:
        assert "does not answer" in done.stderr
        assert time.monotonic() < end
    assert "node3" not in osds(lab)
    (before,) = volumes(lab, "node3")
    said = refused(lab.run("node1", [*ADD, NODE3], check=False, timeout=300))
    assert f"{DISK} carries osd.{number}, which was removed" in said
    assert volumes(lab, "node3") == [before]
    lab.run("node1", "gnt-cluster modify -S ceph:wipe=yes")
    lab.run("node1", [*ADD, NODE3], timeout=300)
    lab.run("node1", "gnt-cluster modify -S ceph:wipe=no")
    ((number, osd),) = osds(lab)["node3"].items()
    (tags,) = volumes(lab, "node3")
    assert f"ceph.osd_fsid={osd['uuid']}," in tags
    assert osd["uuid"] not in before
    assert mons(lab) == set(NODES)
    assert "there is nothing to do" in lab.run("node1", "gnt-storage repair").stdout
    wait_up(lab)
    lives_on(guest)


def test_a_disk_becomes_plain_and_is_in_the_storage_cluster_again(
    guest: Guest,
) -> None:
    lab = guest.lab
    disks = {node: lab.run(node, FURTHER).stdout.strip() for node in NODES}
    for node, disk in disks.items():
        # Nobody takes away the device node of an image that was mapped once.
        others = " ".join(set(disks.values()) - {disk})
        lab.run(node, f"rm -f {others}; vgcreate xenvg {disk}")
    lab.run(
        "node1",
        "gnt-cluster modify --vg-name=xenvg --ipolicy-disk-templates=rbd,plain,diskless"
        " --enabled-disk-templates=rbd,plain,diskless",
    )
    guest.gnt("shutdown --timeout=0")
    (image,) = guest.images()
    before = checksum(lab, f"rbd/{image}")
    guest.gnt("modify -t plain")
    assert lab.run("node1", "rbd ls").stdout == ""
    (volume,) = lab.run("node1", "ls /dev/xenvg/*").stdout.split()
    assert lab.run("node1", f"md5sum < {volume}").stdout == before
    guest.gnt("modify -t rbd")
    (image,) = guest.images()
    assert checksum(lab, f"rbd/{image}") == before
    assert lab.run("node1", "lvs --noheadings xenvg").stdout == ""
    guest.gnt("startup")
    assert guest.written(2).verdict == "OK"


def wait_up(lab: TestLab) -> None:
    end = time.monotonic() + 120
    while any(not osd["up"] for found in osds(lab).values() for osd in found.values()):
        assert time.monotonic() < end
        time.sleep(1)


def wait_down(lab: TestLab, number: int) -> None:
    end = time.monotonic() + 60
    while any(found[number]["up"] for found in osds(lab).values() if number in found):
        assert time.monotonic() < end
        time.sleep(1)


def wait_active(lab: TestLab) -> None:
    """Wait until the OSDs that are left agreed on what they have."""
    end = time.monotonic() + 60
    while True:
        states = ceph(lab, "status")["pgmap"]["pgs_by_state"]
        names = [one["state_name"] for one in states]
        if all("active" in name and "stale" not in name for name in names):
            return
        assert time.monotonic() < end, names
        time.sleep(1)
