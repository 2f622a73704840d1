"""All checks and tests: what must pass before a release."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from . import host
from .errors import SignalError
from .image import ensure_image
from .lab import Shape, check_host
from .paths import TREE
from .releases import Release
from .sandbox import BUILD, sandbox
from .tree import copy_tree

# With it: the unit tests, from an archive of its own, and installing to elsewhere.
MAKE_CHECK = "./autogen.sh\n./configure\nmake distcheck"

# The tests run on the checkout itself.
NOTHING_WRITTEN = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/ganeti-ceph-lab-hypothesis",
}

STOP_PATIENCE = 180.0

#: What lines begin with that are to be seen at the end of everything.
FAILED = "check: failed: "
#: How much of what a failed test says is said again, in characters.
REASON = 400

# What is left to the other release, or to a check of all.
LEFT_OUT = {
    "bookworm": (
        *("test_guest", "test_images", "test_lvm", "test_nodes"),
        # It runs on the host, as does test_monitoring.
        "test_page",
    ),
    "trixie": (
        # What test_nodes does begins with much of test_init.
        *("test_collector", "test_external", "test_images", "test_init"),
        *("test_kernelspace", "test_lab", "test_mappers", "test_monitoring"),
        *("test_space", "test_verify"),
    ),
}


def check(releases: Sequence[Release], everything: bool) -> int:
    """Run the checks on releases, or really all of them; 0 if all passed."""
    check_host(Shape(releases[0].name, nodes=3, disks=1))
    host.install(host.TEST_PACKAGES)
    if len(releases) > 1:
        return _side_by_side(releases, everything)
    (release,) = releases
    steps: list[tuple[str, Callable[[], bool]]] = [
        (f"{release.name}: make check", partial(_make_check, release)),
        (f"{release.name}: test/lab", partial(_lab_tests, release, everything)),
    ]
    results = {}
    for name, step in steps:
        print(f"\ncheck: {name}", flush=True)
        results[name] = step()
    failed = [name for name, passed in results.items() if not passed]
    print()
    for name in failed:
        print(f"{FAILED}{name}")
    print(f"check: {len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _side_by_side(releases: Sequence[Release], everything: bool) -> int:
    """Check all releases at the same time, as much of it is waiting."""
    children = {}
    begun = time.monotonic()
    for release in releases:
        children[release.name] = subprocess.Popen(
            [
                *(sys.executable, TREE / "tools/lab", "check"),
                *(["--all"] if everything else []),
                f"--release={release.name}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # One signal, from us.
            process_group=0,
        )
    told: list[str] = []
    printers = [
        threading.Thread(target=_print_lines, args=(name, child.stdout, told))
        for name, child in children.items()
    ]
    for printer in printers:
        printer.start()
    try:
        failed = [name for name, child in children.items() if child.wait() != 0]
    except SignalError:
        for child in children.values():
            child.send_signal(signal.SIGINT)
        for child in children.values():
            child.wait(2 * STOP_PATIENCE)
        raise
    finally:
        for printer in printers:
            printer.join(STOP_PATIENCE)
    # The other release may have said a lot since.
    print("".join(told), end="")
    for name in failed:
        print(f"{FAILED}{name}")
    print(
        f"check: {len(children) - len(failed)} releases passed, {len(failed)} failed,"
        f" in {(time.monotonic() - begun) / 60:.0f} minutes"
    )
    return 1 if failed else 0


def _print_lines(name: str, lines: Iterable[str], told: list[str]) -> None:
    """Print lines with a release's name, and keep those that tell what failed."""
    for line in lines:
        print(f"{name}: {line}", end="", flush=True)
        if line.startswith(FAILED):
            told.append(f"{name}: {line}")


def _make_check(release: Release) -> bool:
    with sandbox(ensure_image(release)) as box:
        copy_tree(box.root / BUILD)
        return box.run(MAKE_CHECK) == 0


def _lab_tests(release: Release, everything: bool) -> bool:
    command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-v", "--durations=10", "test/lab", f"--release={release.name}"]
    if not everything:
        command += ["-m", "not slow"]
        command += [f"--ignore=test/lab/{name}.py" for name in LEFT_OUT[release.name]]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.xml")
        passed = _run_group([*command, f"--junit-xml={results}"])
        if not passed and results.exists():
            for reason in reasons(results.read_text(encoding="utf-8")):
                print(f"{FAILED}{reason}")
    return passed


def reasons(results: str) -> list[str]:
    """Return why tests failed, out of pytest's results in XML: a line for each reason.

    Of those that failed for the same one, as for a fixture, the first is named.
    """
    found: dict[str, list[str]] = {}
    for case in xml.etree.ElementTree.fromstring(results).iter("testcase"):
        for one in (*case.findall("failure"), *case.findall("error")):
            words = " ".join(one.get("message", "").split())
            found.setdefault(words[:REASON], []).append(case.get("name", ""))
    return [
        f"{first}{f' and {len(others)} more' if others else ''}: {words}"
        for words, (first, *others) in found.items()
    ]


def _run_group(command: Sequence[str]) -> bool:
    # A group of its own: one signal, from us, and time to take its labs down.
    child = subprocess.Popen(
        command,
        cwd=TREE,
        env={**os.environ, **NOTHING_WRITTEN},
        process_group=0,
    )
    try:
        return child.wait() == 0
    except SignalError:
        child.send_signal(signal.SIGINT)
        child.wait(STOP_PATIENCE)
        raise
