"""What the extension costs the programs of a node at their start."""

import dataclasses
import json
import statistics
from collections.abc import Sequence

from .lab import Lab, require


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that is measured."""

    name: str
    words: tuple[str, ...]
    #: How often; the shorter one takes, the more often.
    turns: int
    #: What the difference should not exceed, in milliseconds; nothing fails if it does.
    aim: float


PROGRAMS = (
    Program(
        "a Python program without Ganeti", ("/usr/bin/python3", "-c", "pass"), 300, 1.0
    ),
    # This one asks no daemon.
    Program("gnt-cluster getmaster", ("gnt-cluster", "getmaster"), 20, 50.0),
    Program(
        "what each job's process loads",
        (
            "/usr/bin/python3",
            "-c",
            "import sys; sys.path.insert(0, '/usr/share/ganeti/default');"
            " import ganeti.jqueue.exec, ganeti.mcpu",
        ),
        20,
        50.0,
    ),
)


def start(lab: Lab, runs: int) -> None:
    """Measure starts with the extension and without it, in turns."""
    for number in range(1, runs + 1):
        for one in PROGRAMS:
            words = ("start.py", str(one.turns), *one.words)
            answer = lab.script(lab.nodes[0], *words, program="python3")
            taken = json.loads(require(answer, "start.py"))
            figures = report(taken["with"], taken["without"])
            print(
                f"run {number}, {one.name}: {figures} (aim: {one.aim:.0f})", flush=True
            )


def report(joined: Sequence[float], bare: Sequence[float]) -> str:
    """Return the medians of two series of CPU seconds, and their difference."""
    ours = statistics.median(joined) * 1000
    stock = statistics.median(bare) * 1000
    return (
        f"{ours:.2f} ms of CPU with the extension, {stock:.2f} ms without:"
        f" {ours - stock:+.2f} ms"
    )
