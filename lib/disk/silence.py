"""A storage cluster that did not answer just now is not waited for so long again.

Ganeti handles the disks of an instance one after the other, each in a process of its
own of the node daemon, and does not stop at the first failure: each would wait as long
as the first one did, and Ganeti may have asked for the pool's room before.  So who
waited in vain leaves a note on the node, and all together wait as long as one alone.

A note is of a storage cluster, whose mons did not answer a client, or of a pool, whose
OSDs did not.
"""

import contextlib
import dataclasses
import errno
import json
import os
import time
import urllib.parse
from pathlib import Path

from ganeti_ceph import ceph
from ganeti_ceph.errors import CephError
from ganeti_ceph.node import files

ROOT = files.SCRATCH / "silent"

#: Seconds for which a note counts, from the last process on that waited in vain: enough
#: until the next disk of the same operation.
_LIFE = 5
#: Seconds after which the cluster is waited for as long as usual anyway.
_END = 50
#: Seconds that it has at the least, in which one that is back answers.
_MOMENT = 1

#: Configuration file and client, and a pool where its OSDs are meant.
Key = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Silence:
    """What others know of what did not answer just now."""

    #: When the first of them began to wait.
    began: float
    said: str

    @property
    def left(self) -> int:
        """The seconds that there still are for an answer."""
        return max(_MOMENT, round(self.began + ceph.TIMEOUT - time.monotonic()))


def told(key: Key) -> Silence | None:
    """Return what another process told of what did not answer just now."""
    try:
        text = _note(key).read_text(encoding="utf-8")
        began, last, said = json.loads(text)
        now = time.monotonic()
        # What is older than the last boot may be of any time.
        counts = 0 <= now - last < _LIFE and 0 <= now - began < _END
    except (OSError, ValueError, TypeError):
        return None
    return Silence(began, said) if counts else None


def note(key: Key, error: CephError, waited: int) -> None:
    """Let others know that there was no answer; no other error is noted.

    ``waited`` is for how many seconds.
    """
    if error.errno == errno.ETIMEDOUT:
        found = told(key)
        began = found.began if found else time.monotonic() - waited
        _write(_note(key), began, str(error))


def forget(key: Key) -> None:
    """Let others know that there is an answer again."""
    with contextlib.suppress(OSError):
        _note(key).unlink()


def _note(key: Key) -> Path:
    return ROOT / urllib.parse.quote(",".join(key), safe="")


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
