"""Time the start of Python programs that do not import Ganeti: start.py RUNS.

Prints one JSON object: the seconds of each run with the extension's .pth file and
of each without it.  They take turns, so what else the machine does hits both.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

PTH = Path("/usr/lib/python3/dist-packages/ganeti_ceph.pth")
ASIDE = Path("/usr/lib/python3/dist-packages/ganeti_ceph.aside")
PROGRAM = ["/usr/bin/python3", "-c", "pass"]


def start() -> float:
    """Return how long one start takes."""
    begun = time.perf_counter()
    subprocess.run(PROGRAM, check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Take turns; the .pth file is where it was in the end."""
    taken: dict[str, list[float]] = {"with": [], "without": []}
    start()
    for _ in range(int(sys.argv[1])):
        taken["with"].append(start())
        PTH.rename(ASIDE)
        try:
            taken["without"].append(start())
        finally:
            ASIDE.rename(PTH)
    print(json.dumps(taken))


main()
