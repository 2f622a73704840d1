"""Measure programs with the extension and without it: start.py TURNS PROGRAM [WORD...].

Prints one JSON object: the CPU seconds of each run with the extension's .pth file and
of each without it.  They take turns, so what else the machine does hits both.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

PTH = Path("/usr/lib/python3/dist-packages/ganeti_ceph.pth")
ASIDE = Path("/usr/lib/python3/dist-packages/ganeti_ceph.aside")


def run(program: list[str]) -> float:
    """Return the CPU seconds that one run takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Take turns; the .pth file is where it was in the end."""
    taken: dict[str, list[float]] = {"with": [], "without": []}
    turns, *program = sys.argv[1:]
    run(program)
    for _ in range(int(turns)):
        taken["with"].append(run(program))
        PTH.rename(ASIDE)
        try:
            taken["without"].append(run(program))
        finally:
            ASIDE.rename(PTH)
    print(json.dumps(taken))


main()
