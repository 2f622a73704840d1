"""The end of a storage cluster, by the very words of the guide's chapter on it."""

import os
import re
import textwrap
from collections.abc import Iterator

import pytest
from conftest import TREE, TestLab
from test_init import DISK, INIT, modify, wait_healthy
from test_nodes import refused

pytestmark = pytest.mark.slow

CHAPTER = "Ending a storage cluster"
NODES = ("node1", "node2", "node3")


@pytest.fixture
def lab(release: str) -> Iterator[TestLab]:
    """A lab of its own in any case, with storage: nothing is left of it."""
    lab = TestLab(f"test-{release}-{os.getpid()}-end", release)
    lab.up()
    modify(lab, f"ceph:disk={DISK}")
    lab.run("node1", INIT, timeout=400)
    yield lab
    lab.down()


def chapter(title: str) -> list[str]:
    """Return what a chapter of the guide says to enter, block by block."""
    text = (TREE / "doc/guide.rst").read_text(encoding="utf-8")
    start = text.index(f"\n{title}\n=") + 1
    end = re.compile(r"\n\S.*\n==+\n").search(text, start + 2 * len(title) + 2)
    blocks = re.findall(
        r"::\n\n((?:  .*\n|\n)+)", text[start : end.start() + 1 if end else None]
    )
    return [textwrap.dedent(one).strip() for one in blocks]


def test_all_that_there_was_is_taken_apart(lab: TestLab) -> None:
    look, wipe, marks = chapter(CHAPTER)
    fsid = lab.run("node1", "ceph fsid").stdout.strip()
    shown = lab.run("node1", look, timeout=60).stdout
    assert "Instance:Disk" in shown, "nothing but the heading of an empty trash"
    real = {lab.run(node, f"readlink -f {DISK}").stdout for node in NODES}
    shown = lab.run("node1", wipe, timeout=300).stdout
    assert all(one in shown for one in real)
    for node in NODES:
        left = lab.run(
            node,
            "find /var/lib/ceph/mon /var/lib/ceph/mgr /var/lib/ceph/osd /etc/ceph"
            f" -mindepth 1; pgrep -a ^ceph-; wipefs {DISK}; true",
        )
        assert left.stdout == "", f"{node}: {left.stdout}"
    lab.run("node1", marks.replace("FSID", fsid))
    assert "ceph:storage" not in lab.run("node1", "gnt-group list-tags default").stdout

    # It is as if there had been none.
    lab.run("node1", INIT, timeout=400)
    wait_healthy(lab)
    other = lab.run("node1", "ceph fsid").stdout.strip()
    assert other != fsid

    # With the mark that is left nobody destroys what there may be.
    lab.run("node1", wipe, timeout=300)
    *nodes, group = marks.splitlines()
    assert group.startswith("gnt-group ")
    lab.run("node1", "\n".join(nodes))
    for node in ("node2", "node3"):
        lab.run("node1", f"gnt-node remove {node}", timeout=300)
    destroy = "gnt-cluster destroy --yes-do-it"
    said = refused(lab.run("node1", destroy, check=False))
    assert f"node group default has the storage cluster {other}" in said
    command = group.replace("FSID", other)
    assert f"('{command}')" in said
    lab.run("node1", command)
    lab.run("node1", destroy, timeout=300)
    lab.run("node1", "! test -e /var/lib/ganeti/config.data")
