"""Bad input for every command: one line that says why, and nothing is changed.

Parameters and devices are in test_init.py, disks in test_images.py, and what a node's
state forbids in test_nodes.py and test_life.py.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Result, TestLab
from test_nodes import ceph

CONFIG = "/var/lib/ganeti/config.data"
INIT = "gnt-storage init-distributed-storage -s ceph"
NODE1, NODE3 = "node1.lab.example", "node3.lab.example"
#: An address that node1 gets beside its own.
SECOND = "10.78.0.1"

#: Commands on the master, and what is said of them.
BAD = (
    # Unknown nodes, groups and images.
    (f"{INIT} nowhere", "nowhere"),
    ("gnt-storage repair nowhere", "there is no node nowhere"),
    ("gnt-storage repair node2 nowhere", "there is no node nowhere"),
    ("gnt-storage trash restore nothing", "there is no image nothing in the trash"),
    ("gnt-storage trash purge nothing", "there is no image nothing in the trash"),
    ("gnt-node add --no-ssh-key-check nowhere.lab.example", "nowhere.lab.example"),
    ("gnt-node add --readd --no-ssh-key-check nowhere.lab.example", "nowhere"),
    ("gnt-node modify --offline=yes nowhere", "nowhere"),
    ("gnt-node modify --drained=yes nowhere", "nowhere"),
    ("gnt-node remove nowhere", "nowhere"),
    ("gnt-group assign-nodes nowhere node3", "nowhere"),
    ("gnt-group assign-nodes lab-other nowhere", "nowhere"),
    # A wrong state.
    (f"{INIT} lab-other", "node group default is the one for the storage cluster"),
    ("gnt-storage init-distributed-storage -s lvm default", "unknown storage type"),
    ("gnt-cluster modify -S ceph:failure-domain=rack", "most data would move"),
    ("gnt-node add --no-ssh-key-check node3", "already in the cluster"),
    ("gnt-node modify --offline=yes node1", "master"),
    ("gnt-node modify --drained=yes node1", "master"),
    (
        "gnt-node modify --drained=yes node3",
        f"the data on {NODE3} cannot move away: pool rbd keeps 3 copies",
    ),
    (
        f"gnt-node modify --force --secondary-ip={SECOND} node1",
        f"the storage daemons of {NODE1} listen at its addresses",
    ),
    ("gnt-node remove node1", "master"),
    (
        "gnt-node remove node3",
        f"{NODE3} cannot be removed: it is part of the storage cluster: mark it offline"
        " first ('gnt-node modify --offline=yes')",
    ),
    (
        "gnt-group assign-nodes lab-other node3",
        f"{NODE3} is part of the storage cluster of group default; only 'gnt-node"
        " remove' takes it out",
    ),
    ("gnt-group rename default lab-other", "lab-other"),
    ("gnt-group remove default", "default"),
    ("gnt-cluster destroy --yes-do-it", "2 node(s)"),
)

#: Command lines that are none.
MALFORMED = (
    ("gnt-storage init-distributed-storage -s ceph", "expects 1 argument"),
    ("gnt-storage status default", "expects no arguments"),
    ("gnt-storage trash burn", "use list, restore or purge"),
    ("gnt-storage trash restore", "restore"),
    ("gnt-storage trash purge --force", "options go before 'purge'"),
    ("gnt-storage trash --force purge", "--force would delete all images"),
    ("gnt-storage --nonsense", "Usage: gnt-storage"),
)

#: Those that only the master answers.
MASTERS = (
    f"{INIT} default",
    "gnt-storage repair",
    "gnt-storage status",
    "gnt-storage trash list",
    "gnt-storage trash restore nothing",
    "gnt-storage trash purge nothing",
    "gnt-cluster destroy --yes-do-it",
    "gnt-cluster modify -S ceph:wipe=yes",
    "gnt-node add --no-ssh-key-check nowhere.lab.example",
    "gnt-node modify --offline=yes node3",
    "gnt-node modify --drained=yes node3",
    "gnt-node remove node3",
    "gnt-group assign-nodes default node3",
)


Said = dict[tuple[str, str], Result]


@pytest.fixture(scope="module")
def said(lab: TestLab) -> Said:
    """What comes of all of them, by node and command: nothing has changed then."""
    lab.run("node1", "gnt-group add lab-other")
    lab.run("node1", f"ip address add {SECOND}/32 dev lo")
    before = in_ceph(lab)
    asked = [("node1", command) for command, _ in BAD + MALFORMED]
    asked += [("node2", command) for command in MASTERS]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda one: attempt(lab, *one), asked)
        done = dict(zip(asked, found, strict=True))
    assert in_ceph(lab) == before
    lab.run("node1", f"ip address del {SECOND}/32 dev lo")
    lab.run("node1", "gnt-group remove lab-other")
    return done


def in_ceph(lab: TestLab) -> Any:
    """Return what Ceph has of daemons, their places and its users."""
    osds = ceph(lab, "osd dump")
    return [
        [(one["osd"], one["uuid"], one["up"], one["in"]) for one in osds["osds"]],
        [(one["pool_name"], one["size"]) for one in osds["pools"]],
        [one["name"] for one in ceph(lab, "mon dump")["mons"]],
        [(one["name"], one["id"]) for one in ceph(lab, "osd tree")["nodes"]],
        sorted(one["entity"] for one in ceph(lab, "auth ls")["auth_dump"]),
        lab.run("node1", "ls -l /etc/ceph").stdout,
    ]


def attempt(lab: TestLab, node: str, command: str) -> Result:
    """Run a command; the exit code is 99 if it changed Ganeti's configuration."""
    return lab.run(
        node,
        f"before=$(sha256sum < {CONFIG}); {command}; code=$?;"
        f' [ "$before" = "$(sha256sum < {CONFIG})" ] || code=99; exit $code',
        check=False,
    )


def failed(done: Result) -> str:
    """Return all that a command said that had to fail and change nothing."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(("command", "why"), BAD)
def test_bad_input_is_one_line_and_changes_nothing(
    said: Said, command: str, why: str
) -> None:
    text = failed(said["node1", command])
    # Ganeti's own frame: what kind of error it is, then what is wrong.
    rest, frame, details = text.partition("error details:\n")
    (line,) = [one for one in (details if frame else rest).splitlines() if one.strip()]
    assert why in line


@pytest.mark.parametrize(("command", "why"), MALFORMED)
def test_a_wrong_command_line_says_what_is_right(
    said: Said, command: str, why: str
) -> None:
    assert why in failed(said["node1", command])


@pytest.mark.parametrize("command", MASTERS)
def test_only_the_master_answers(said: Said, command: str) -> None:
    text = failed(said["node2", command])
    assert "This is not the master node, please connect to node" in text
    assert NODE1 in text
