"""The main job: what a user sees who runs tools/lab demo."""

import re

from conftest import Demo


def test_the_demo_does_all_and_says_what_to_try_next(demo: Demo) -> None:
    said = demo.done.stdout

    assert demo.done.returncode == 0, said + demo.done.stderr
    assert "Traceback" not in said + demo.done.stderr
    commands = re.findall(
        r"^node1# (gnt-\w+ [\w-]+|lab-console|ssh)", said, re.MULTILINE
    )
    assert commands == [
        "gnt-cluster init",
        "gnt-node add",
        "gnt-node add",
        "gnt-storage init-distributed-storage",
        "gnt-instance add",
        "lab-console",
        "gnt-instance info",
        "gnt-instance migrate",
        "gnt-instance list",
        "gnt-instance shutdown",
        "gnt-instance failover",
        "gnt-instance startup",
        "ssh",
    ]
    assert " -S ceph:disk=/dev/disk/by-id/lab-disk-1 " in said
    assert "access: userspace" in said
    assert said.splitlines()[-1].startswith("demo: done after ")
    assert "try next: " in said.splitlines()[-1]


def test_the_guest_finds_on_another_node_what_it_wrote(demo: Demo) -> None:
    wrote = demo.done.stdout.index("boot 1, wrote 16 blocks")
    assert demo.done.stdout.index("boot 2, found what boot 1 wrote: OK") > wrote


def test_the_lab_is_left_up_to_play_with(demo: Demo) -> None:
    listed = demo.lab.run("node1", "gnt-instance list --no-headers -o name,status")
    assert listed.stdout.split() == ["guest1.lab.example", "running"]
    assert demo.lab.run("node1", "ceph health").stdout == "HEALTH_OK\n"

    demo.lab.run("node1", "gnt-instance remove -f guest1")

    assert demo.lab.run("node1", "rbd ls").stdout == ""
