"""How the extension joins Ganeti, and what happens where it does not fit."""

import pytest
from conftest import TestLab

FIND_BACKEND = "f=$(readlink -f /usr/share/ganeti/default)/ganeti/backend.py"


def restart_noded(lab: TestLab, node: str) -> None:
    lab.run(node, "systemctl restart ganeti-noded || systemctl restart ganeti")


@pytest.fixture
def broken_signature(lab: TestLab):  # type: ignore[no-untyped-def]
    """On node2, another version of Ganeti: one function has one parameter more."""
    lab.run(
        "node2",
        f"{FIND_BACKEND}; cp $f /root/backend.py;"
        " sed -i 's/^def BlockdevWipe(disk, offset, size):/def BlockdevWipe(disk,"
        " offset, size, shiny=None):/' $f; ! cmp -s $f /root/backend.py",
    )
    restart_noded(lab, "node2")
    yield
    lab.run("node2", f"{FIND_BACKEND}; cp /root/backend.py $f")
    restart_noded(lab, "node2")


def test_a_join_that_does_not_fit_is_refused_and_reported(
    lab: TestLab, broken_signature: None
) -> None:
    done = lab.run("node1", "gnt-cluster verify", check=False)
    version = lab.run("node2", "gnt-cluster --version").stdout.split()[-1].strip(")")

    lines = [line for line in done.stdout.splitlines() if "ganeti-ceph" in line]
    assert done.returncode == 1
    assert len(lines) == 1, done.stdout
    assert "ERROR: node node2.lab.example: " in lines[0]
    assert "ganeti.backend.BlockdevWipe" in lines[0]
    assert version in lines[0]
    logged = lab.run("node2", "journalctl --no-pager | grep 'refuses to join'").stdout
    assert "ganeti.backend.BlockdevWipe" in logged
    # Ganeti itself works on, there too.
    lab.run("node1", "gnt-node list-storage --storage-type file node2")


def test_verify_finds_nothing_where_all_fits(lab: TestLab) -> None:
    done = lab.run("node1", "gnt-cluster verify", check=False)
    assert "* Verifying the storage extension's joins" in done.stdout
    assert "ganeti-ceph" not in done.stdout


def test_a_node_without_the_extension_is_reported(lab: TestLab) -> None:
    pth = "/usr/lib/python3/dist-packages/ganeti_ceph.pth"
    lab.run("node3", f"mv {pth} /root/")
    restart_noded(lab, "node3")
    try:
        done = lab.run("node1", "gnt-cluster verify", check=False)
        assert done.returncode == 1
        said = [line for line in done.stdout.splitlines() if "ganeti-ceph" in line]
        # Each of the jobs that asked it says so, and of no other node.
        assert 1 <= len(said) <= 2
        for line in said:
            assert "ERROR: node node3.lab.example: ganeti-ceph: its node daemon" in line
            assert "restart" in line
    finally:
        lab.run("node3", f"mv /root/ganeti_ceph.pth {pth}")
        restart_noded(lab, "node3")


def test_a_program_without_ganeti_imports_next_to_nothing_of_it(lab: TestLab) -> None:
    """What costs time at the start of a program is what it imports."""
    done = lab.run("node1", "/usr/bin/python3 -X importtime -c pass")
    pth = "/usr/lib/python3/dist-packages/ganeti_ceph.pth"
    without = lab.run(
        "node1",
        f"mv {pth} /root/; /usr/bin/python3 -X importtime -c pass;"
        f" mv /root/*.pth {pth}",
    )

    def imported(text: str) -> set[str]:
        return {line.rpartition("|")[2].strip() for line in text.splitlines()}

    assert imported(done.stderr) - imported(without.stderr) == {
        "ganeti_ceph",
        "ganeti_ceph.joins",
        "ganeti_ceph.joins.hook",
    }


def test_nothing_of_ganeti_is_changed_on_disk(lab: TestLab) -> None:
    installed = "dpkg -l 'ganeti*' | awk '/^ii/ {print $2}'"
    done = lab.run("node1", f"dpkg --verify $({installed})", check=False)
    assert done.returncode in (0, 1), done.stderr
    changed = [line for line in done.stdout.splitlines() if "/usr/" in line]
    assert changed == []
