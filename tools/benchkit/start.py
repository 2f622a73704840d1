"""What the extension costs a Python program that has nothing to do with Ganeti."""

import json
import statistics
from collections.abc import Sequence

from .lab import Lab, require

#: Turns; a start takes some ten milliseconds.
TURNS = 300
#: What it should not exceed, in milliseconds; nothing fails if it does.
AIM = 1.0


def start(lab: Lab, runs: int) -> None:
    """Time starts with the extension and without it, in turns; print the difference."""
    for number in range(1, runs + 1):
        answer = lab.script(lab.nodes[0], "start.py", str(TURNS), program="python3")
        taken = json.loads(require(answer, "start.py"))
        print(f"run {number}: {report(taken['with'], taken['without'])}", flush=True)


def report(joined: Sequence[float], bare: Sequence[float]) -> str:
    """Return the medians of two series of seconds, and their difference, as text."""
    ours = statistics.median(joined) * 1000
    stock = statistics.median(bare) * 1000
    return (
        f"{ours:.2f} ms with the extension, {stock:.2f} ms without:"
        f" {ours - stock:+.2f} ms (aim: {AIM:.1f})"
    )
