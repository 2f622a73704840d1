"""A storage cluster that did not answer just now is not waited for so long again.

Ganeti handles the disks of an instance one after the other, each in a process of its
own of the node daemon, and does not stop at the first failure: each would wait as long
as the first one did.  So who waited in vain leaves a note on the node.
"""

import contextlib
import errno
import json
import os
import time
import urllib.parse
from pathlib import Path

from ganeti_ceph.errors import CephError
from ganeti_ceph.node import files

ROOT = files.SCRATCH / "silent"

#: Seconds for which a note counts, from the last process on that waited in vain: enough
#: until the next disk of the same operation.
_LIFE = 5
#: Seconds after which the cluster is waited for as long as usual anyway.
_END = 30


def told(conf: str, client: str) -> str | None:
    """Return what another process told of a cluster that did not answer just now."""
    found = _read(conf, client)
    return found[1] if found else None


def note(conf: str, client: str, error: CephError) -> None:
    """Let others know that a cluster did not answer; no other error is noted."""
    if error.errno == errno.ETIMEDOUT:
        found = _read(conf, client)
        began = found[0] if found else time.monotonic()
        _write(_note(conf, client), began, str(error))


def _read(conf: str, client: str) -> tuple[float, str] | None:
    """Return since when a cluster does not answer and what is told of it."""
    try:
        text = _note(conf, client).read_text(encoding="utf-8")
        began, last, said = json.loads(text)
        now = time.monotonic()
        # What is older than the last boot may be of any time.
        counts = 0 <= now - last < _LIFE and 0 <= now - began < _END
    except (OSError, ValueError, TypeError):
        return None
    return (began, said) if counts else None


def _note(conf: str, client: str) -> Path:
    return ROOT / urllib.parse.quote(f"{client},{conf}", safe="")


def _write(path: Path, began: float, said: str) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    # Where it cannot be written others will wait, as this one did.
    with contextlib.suppress(OSError):
        ROOT.parent.mkdir(exist_ok=True)
        ROOT.mkdir(mode=0o700, exist_ok=True)
        unfinished.write_text(
            json.dumps([began, time.monotonic(), said]), encoding="utf-8"
        )
        unfinished.replace(path)
