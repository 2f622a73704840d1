"""How planning and calls grow with the number of nodes; the nodes are simulated."""

import json
from collections.abc import Mapping
from typing import Any

from .lab import Lab, require

DISKS = 24
COUNTS = (3, 30, 150)
#: Seconds that planning for the most nodes should not exceed; nothing fails if it does.
AIM = 1.0
#: Seconds that calls to 100 nodes should take longer than to 3, at most.
CALLS_AIM = 2.0


def plan(lab: Lab, runs: int) -> None:
    """Time planning and calls in a node of the lab, and print it."""
    words = [str(DISKS), *map(str, COUNTS)]
    for number in range(1, runs + 1):
        answer = lab.script(lab.nodes[0], "plan.py", *words, program="python3")
        taken = json.loads(require(answer, "plan.py"))
        print(f"run {number}:\n{report(taken)}", flush=True)


def report(taken: Mapping[str, Any]) -> str:
    """Return what one run took as text."""
    lines = []
    least = taken["plan"][str(COUNTS[0])]
    for count in COUNTS:
        one = taken["plan"][str(count)]
        # Of what grows as the nodes do it is 1.
        ratios = [one[kind] / least[kind] * COUNTS[0] / count for kind in sorted(one)]
        lines.append(
            f"  planning for {count:3} nodes of {DISKS} disks: {one['new']:.3f} s from"
            f" nothing, {one['complete']:.3f} s when complete; by node, to"
            f" {COUNTS[0]} nodes: {ratios[1]:.2f}, {ratios[0]:.2f}"
        )
    most = taken["plan"][str(COUNTS[-1])]
    lines[-1] += f" (aim: {AIM:.0f} s; longest {max(most.values()):.3f} s)"
    few, many = (taken["calls"][count] for count in ("3", "100"))
    lines.append(
        f"  calls to nodes that take 1 s each: {few['seconds']:.2f} s for 3,"
        f" {many['seconds']:.2f} s for 100 (aim: {few['seconds'] + CALLS_AIM:.2f} s);"
        f" {many['work']:.2f} s of it is the master's work for TLS, as Ganeti has it"
    )
    return "\n".join(lines)
