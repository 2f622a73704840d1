"""All checks and tests: what must pass before a release."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from functools import partial

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


def check(releases: Sequence[Release]) -> int:
    """Run all checks on all releases; 0 if all passed."""
    check_host(Shape(releases[0].name, nodes=3, disks=1))
    host.install(host.TEST_PACKAGES)
    steps: list[tuple[str, Callable[[], bool]]] = []
    for release in releases:
        steps += [
            (f"{release.name}: make check", partial(_make_check, release)),
            (f"{release.name}: test/lab", partial(_lab_tests, release)),
        ]
    results = {}
    for name, step in steps:
        print(f"\ncheck: {name}", flush=True)
        results[name] = step()
    failed = [name for name, passed in results.items() if not passed]
    print()
    for name in failed:
        print(f"check: failed: {name}")
    print(f"check: {len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _make_check(release: Release) -> bool:
    with sandbox(ensure_image(release)) as box:
        copy_tree(box.root / BUILD)
        return box.run(MAKE_CHECK) == 0


def _lab_tests(release: Release) -> bool:
    command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-v", "--durations=10", "test/lab", f"--release={release.name}"]
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
