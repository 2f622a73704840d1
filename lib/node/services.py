"""systemd's units of Ceph's daemons."""

import re
import threading
import time
from collections.abc import Container, Sequence
from pathlib import Path

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import files
from ganeti_ceph.run import Runner

#: Seconds for systemd to do what it is told; it waits for no daemon of Ceph.
_PATIENCE = 40

#: An OSD has 90 s to write down what it has in memory.
_STOP_PATIENCE = 110

#: How often a daemon that systemd gave up on is started again within so many seconds.
MOST_TRIES = 3
_TRIES_SPAN = 86400

_WANTED = Path("/etc/systemd/system/multi-user.target.wants")
_OSD_DROPIN = Path("/etc/systemd/system/ceph-osd@.service.d/10-ganeti-ceph.conf")
#: Device nodes are made anew at each boot and belong to root; the OSD does not.  A part
#: of an OSD's address is its process id in Ceph 16, unless it is told otherwise: one
#: that has the same as before a power cut of all is taken for that one, which the map
#: has as running, and its placement groups wait for each other for ever.
_OSD_DROPIN_TEXT = """\
# Written by ganeti-ceph: the devices of an OSD belong to it, and its address is new at
# each start.
[Service]
Environment=CEPH_USE_RANDOM_NONCE=1
ExecStartPre=+/bin/sh -c 'for link in block block.db; do \
path=/var/lib/ceph/osd/${CLUSTER}-%i/$$link; \
if [ -b "$$path" ]; then chown ceph:ceph "$$(readlink -f "$$path")"; fi; done'
"""


class _Reload:
    """Has systemd read its units again, once for all that ask at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = 0

    def __call__(self, run: Runner) -> None:
        asked = self._begun
        with self._lock:
            if self._begun != asked:
                # What began after we asked has seen what we wrote before.
                return
            self._begun += 1
            run(["systemctl", "daemon-reload"], timeout=_PATIENCE)


_reload = _Reload()
_dropin = threading.Lock()


def prepare_osds(run: Runner) -> None:
    """See to it that an OSD may open its devices after every reboot."""
    with _dropin:
        if files.read(_OSD_DROPIN) != _OSD_DROPIN_TEXT.strip():
            files.write(_OSD_DROPIN, _OSD_DROPIN_TEXT, 0o644)
            _reload(run)


def stop(daemons: Sequence[tuple[str, str]], run: Runner) -> None:
    """Stop daemons, given as kind and id, now and for every boot to come."""
    units = [f"ceph-{kind}@{daemon_id}.service" for kind, daemon_id in daemons]
    for kind, daemon_id in daemons:
        if kind == "osd":
            # It finds the logical volumes at each boot, and starts the OSD.
            units += [
                one.name for one in _WANTED.glob(f"ceph-volume@lvm-{daemon_id}-*")
            ]
    if units:
        run(["systemctl", "disable", "--now", *units], timeout=_STOP_PATIENCE)


def stopped(daemons: Sequence[tuple[str, str]], run: Runner) -> tuple[str, ...]:
    """Return which daemons, given as kind and id, do not run: ``mon.node1``."""
    if not daemons:
        return ()
    units = [f"ceph-{kind}@{daemon_id}.service" for kind, daemon_id in daemons]
    # One that systemd is about to start again is "activating", and does not run.
    states = run(
        ["systemctl", "is-active", *units], timeout=_PATIENCE, ok=(0, 3, 4)
    ).split()
    return tuple(
        f"{kind}.{daemon_id}"
        for (kind, daemon_id), state in zip(daemons, states, strict=False)
        if state != "active"
    )


def start_failed(run: Runner) -> tuple[list[str], list[str]]:
    """Start what systemd gave up on, if it shall run at each boot.

    Return the units that were started, and those that were tried too often for that:
    a disk that fails is not made better by an OSD that reads it again and again.
    """
    words = ["systemctl", "list-units", "--state=failed", "--plain", "--no-legend"]
    patterns = [f"ceph-{kind}@*.service" for kind in ("mon", "mgr", "osd")]
    listed = run([*words, *patterns])
    started, given_up = [], []
    for unit in (line.split()[0] for line in listed.splitlines() if line.strip()):
        enabled = run(["systemctl", "is-enabled", unit], ok=(0, 1))
        # What ceph-volume found at this boot is enabled for this boot.
        if enabled.strip() not in ("enabled", "enabled-runtime"):
            continue
        if not _try(unit):
            given_up.append(unit)
            continue
        run(["systemctl", "reset-failed", unit], timeout=_PATIENCE)
        # The watcher has more to do than to wait for it.
        run(["systemctl", "start", "--no-block", unit], timeout=_PATIENCE)
        started.append(unit)
    return started, given_up


def _try(unit: str) -> bool:
    """Count a try, unless there were enough of them lately; tell whether it may be."""
    path = _tries(unit)
    now = time.time()
    lately = [
        float(word)
        for word in (files.read(path) or "").split()
        if now - _TRIES_SPAN < float(word) <= now
    ]
    if len(lately) >= MOST_TRIES:
        return False
    files.write(path, " ".join(map(str, [*lately, now])), 0o600)
    return True


def _tries(unit: str) -> Path:
    return files.SCRATCH / "tries" / unit


def forgive(kind: str, daemon_id: str, run: Runner) -> str:
    """Let a daemon that died too often be started again; return its unit."""
    unit = f"ceph-{kind}@{daemon_id}.service"
    # Somebody has seen to it.
    _tries(unit).unlink(missing_ok=True)
    run(["systemctl", "reset-failed", unit], timeout=_PATIENCE, ok=(0, 1, 5))
    return unit


def forgive_free(taken: Container[str], run: Runner) -> None:
    """Let OSDs be started whose numbers those had that died too often.

    Those whose numbers are ``taken`` stay as they are.
    """
    words = ["systemctl", "list-units", "--all", "--plain", "--no-legend"]
    for line in run([*words, "ceph-osd@*.service"], timeout=_PATIENCE).splitlines():
        found = re.match(r"ceph-osd@(\d+)\.service", line.strip())
        if found and found[1] not in taken:
            forgive("osd", found[1], run)


def start(kind: str, daemon_id: str, run: Runner) -> None:
    """Start a daemon now and at every boot, also one that systemd gave up on."""
    unit = f"ceph-{kind}@{daemon_id}.service"
    # Somebody has seen to it.
    _tries(unit).unlink(missing_ok=True)
    targets = (f"ceph-{kind}.target", "ceph.target")
    enable = ["systemctl", "--no-reload", "enable", "--now", unit, *targets]
    try:
        run(enable, timeout=_PATIENCE)
    except ExecError:
        run(["systemctl", "reset-failed", unit], timeout=_PATIENCE, ok=(0, 1, 5))
        run(enable, timeout=_PATIENCE)
    # The targets are to know the unit.  That takes systemd long, so the daemon, for
    # which others wait, goes first.
    _reload(run)
