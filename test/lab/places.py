"""More places for images, and an OS definition that notes what it is given."""

import contextlib
import re
from collections.abc import Iterator

from conftest import Result, TestLab

NODES = ("node1", "node2", "node3")
ADD = "add -t rbd -o probe -B memory=128M -n node1 --no-start"
EMPTY = "add -t rbd -o lab-guest -B memory=128M -n node1 --no-install --no-start"
RUNNING = "add -t rbd -o lab-guest -B memory=128M -n node1"
OS_PATH = "/srv/ganeti/os/probe"
EXPORTS = "/var/lib/ganeti/export"

#: An OS definition that notes what it is given, and leaves a file system.
SCRIPTS = {
    "create": "env | sort > /root/probe.create; mkfs.ext4 -q -F $DISK_0_PATH"
    " && mkdir -p /run/probe && mount $DISK_0_PATH /run/probe"
    " && echo hello > /run/probe/hello && umount /run/probe",
    "export": "env | sort > /root/probe.export; gzip -1 < $EXPORT_DEVICE",
    "import": "env | sort > /root/probe.import; gunzip"
    " | dd of=$IMPORT_DEVICE bs=1M conv=sparse status=none",
    "rename": "env | sort > /root/probe.rename; mkdir -p /run/probe; mount $DISK_0_PATH"
    " /run/probe && cat /run/probe/hello >> /root/probe.rename; umount /run/probe",
    "verify": "exit 0",
}

#: Lines around a fault: how far a job has come, with the time, and its kind.
_FRAME = re.compile(
    r"^(\w{3} \w{3} [ \d]\d [\d:]{8} \d{4} .*"
    r"|Failure: [a-z ]+:|error type: \w+, error details:)$",
    re.MULTILINE,
)

#: Who uses the pools My-Fast and small, and somebody who has another one's key.
FAR, WRONG = "far", "wrong"


def remove_all(lab: TestLab) -> None:
    """Remove all instances, also those that the demo left."""
    found = lab.run("node1", "gnt-instance list --no-headers -o name").stdout
    for instance in found.split():
        lab.run("node1", f"gnt-instance remove -f --shutdown-timeout=0 {instance}")
    lab.run("node1", "gnt-storage trash --force --all purge", check=False)


@contextlib.contextmanager
def made(lab: TestLab) -> Iterator[TestLab]:
    """Have further pools, a namespace, Ceph users, and that OS definition."""
    remove_all(lab)
    lab.run(
        "node1",
        "ceph osd erasure-code-profile set k2 k=2 m=1 crush-failure-domain=host;"
        " for p in My-Fast small; do ceph osd pool create $p 4;"
        " ceph osd pool application enable $p rbd; done;"
        " ceph osd pool create coded 4 4 erasure k2;"
        " ceph osd pool set coded allow_ec_overwrites true;"
        " ceph osd pool application enable coded rbd; rbd namespace create My-Fast/t1;"
        # It may have used others of these names.
        " ceph auth caps client.ganeti mon 'profile rbd' osd 'profile rbd pool=rbd'",
    )
    caps = "osd 'profile rbd pool=My-Fast, profile rbd pool=small'"
    for user in (FAR, WRONG):
        lab.run(
            "node1", f"ceph auth get-or-create client.{user} mon 'profile rbd' {caps}"
        )
    key = lab.run("node1", f"ceph auth get-key client.{FAR}").stdout.strip()
    for node in NODES:
        lines = [f"mkdir -p {OS_PATH}", f"cd {OS_PATH}", "echo 20 > ganeti_api_version"]
        lines += [": > parameters.list"]
        for name, script in SCRIPTS.items():
            lines.append(f"cat > {name} <<'END'\n#!/bin/sh\n{script}\nEND")
        lines.append(f"chmod +x {' '.join(SCRIPTS)}; umask 77")
        for user in (FAR, WRONG):
            section = f"[client.{user}]\n\tkey = {key}"
            path = f"/etc/ceph/ceph.client.{user}.keyring"
            lines.append(f"cat > {path} <<'END'\n{section}\nEND")
        lab.run(node, "bash", stdin="\n".join(lines))
    yield lab
    remove_all(lab)
    for node in NODES:
        lab.run(node, f"rm /etc/ceph/ceph.client.{{{FAR},{WRONG}}}.keyring")
    lab.run(
        "node1",
        "gnt-cluster modify -D rbd:pool=rbd,trash-grace=0,user-id=ganeti;"
        f" for u in {FAR} {WRONG}; do ceph auth rm client.$u; done;"
        " ceph config set mon mon_allow_pool_delete true;"
        " for p in My-Fast small coded; do"
        "  ceph osd pool delete $p $p --yes-i-really-really-mean-it; done",
    )


def refused(done: Result) -> str:
    """Return what a command that had to fail said."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    return " ".join(said.split())


def fault(done: Result) -> str:
    """Return the only line that a command that had to fail said of its failure."""
    refused(done)
    said = _FRAME.sub("", done.stdout + done.stderr)
    (line,) = [one for one in said.splitlines() if one.strip()]
    return line


def in_ceph(lab: TestLab) -> list[str]:
    """Return all objects in the pools, and what the instances' Ceph user may do."""
    pools = "rbd My-Fast small coded"
    objects = f"for p in {pools}; do echo $p; rados -p $p ls --all | sort; done"
    may = "ceph auth get client.ganeti"
    return [lab.run("node1", line).stdout for line in (objects, may)]


def checksum(lab: TestLab, image: str) -> str:
    return lab.run("node1", f"rbd --no-progress export {image} - | md5sum").stdout


def field(lab: TestLab, image: str, name: str) -> str:
    found = re.search(
        rf"^\s*{name}: (.*)$", lab.run("node1", f"rbd info {image}").stdout, re.M
    )
    return found[1] if found else ""


def table(lab: TestLab) -> list[list[str]]:
    """Return the rows of the trash."""
    shown = lab.run("node1", "gnt-storage trash --no-headers --separator=\\| list")
    return [line.split("|") for line in shown.stdout.splitlines()]


def instances(lab: TestLab) -> list[str]:
    return lab.run("node1", "gnt-instance list --no-headers -o name").stdout.split()
