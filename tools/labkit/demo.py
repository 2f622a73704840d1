"""The demo: from bare nodes to a live migration, typed at node1's prompt."""

import shlex
import time

from .cluster import add_command, init_command
from .lab import Lab, Shape
from .network import DOMAIN
from .node import Node

STORAGE = "ceph:disk=/dev/disk/by-id/lab-disk-1"
GUEST = f"guest1.{DOMAIN}"


def commands(nodes: list[Node]) -> list[str]:
    """Return what is typed, in order."""
    first, others = nodes[0], nodes[1:]
    # A lab of one or two nodes shows less, but shows it.
    second = nodes[min(1, len(nodes) - 1)]
    third = nodes[-1]
    typed = [shlex.join(init_command("-S", STORAGE))]
    typed += [shlex.join(add_command(node)) for node in others]
    typed += [
        "gnt-storage init-distributed-storage -s ceph default",
        "gnt-instance add -t rbd -o lab-guest --disk 0:size=1G "
        f"-n {first.fqdn} {GUEST}",
        _console(first, first, "boot 1, wrote"),
        f"gnt-instance info {GUEST}",
    ]
    if others:
        typed.append(f"gnt-instance migrate -f -n {second.fqdn} {GUEST}")
        typed.append(f"gnt-instance list -o name,pnode,status {GUEST}")
    typed.append(f"gnt-instance shutdown {GUEST}")
    if third is not second:
        typed.append(f"gnt-instance failover -f -n {third.fqdn} {GUEST}")
    typed += [
        f"gnt-instance startup {GUEST}",
        _console(first, third, "found what boot 1 wrote: OK"),
    ]
    return typed


def _console(here: Node, node: Node, pattern: str) -> str:
    command = f"lab-console {GUEST} {shlex.quote(pattern)}"
    return command if node is here else f'ssh {node.fqdn} "{command}"'


def demo(lab: Lab, shape: Shape) -> int:
    """Start a lab and run the commands in it; return the first exit code not 0.

    The lab stays up, also after a command that failed: to look what is wrong.
    """
    begun = time.monotonic()
    with lab.going_up(shape):
        nodes = lab.nodes()
    option = "" if lab.name == "lab" else f" --name {lab.name}"
    for command in commands(nodes):
        print(f"\n{nodes[0].name}# {command}", flush=True)
        code = nodes[0].stream(["bash", "-c", command])
        if code != 0:
            print(
                f"\ndemo: exit code {code}; the lab is still up: look around with "
                f"tools/lab run{option} node1, or end it with tools/lab down{option}",
                flush=True,
            )
            return code
    seconds = time.monotonic() - begun
    print(
        f"\ndemo: done after {seconds:.0f} s; try next: tools/lab kill{option} node2; "
        f"tools/lab run{option} node1 -- ceph status; tools/lab down{option}"
    )
    return 0
