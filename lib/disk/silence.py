"""A storage cluster that did not answer just now is not waited for so long again.

Ganeti handles the disks of an instance one after the other, each in a process of its
own of the node daemon, and does not stop at the first failure: each would wait as long
as the first one did, and Ganeti may have asked for the pool's room before.  So who
waited in vain leaves a note on the node, and all together wait as long as one alone.
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


@dataclasses.dataclass(frozen=True)
class Silence:
    """What others know of a cluster that did not answer just now."""

    #: When the first of them began to wait.
    began: float
    said: str

    @property
    def left(self) -> int:
        """The seconds that the cluster still has to answer."""
        return max(_MOMENT, round(self.began + ceph.TIMEOUT - time.monotonic()))


def told(conf: str, client: str) -> Silence | None:
    """Return what another process told of a cluster that did not answer just now."""
    try:
        text = _note(conf, client).read_text(encoding="utf-8")
        began, last, said = json.loads(text)
        now = time.monotonic()
        # What is older than the last boot may be of any time.
        counts = 0 <= now - last < _LIFE and 0 <= now - began < _END
    except (OSError, ValueError, TypeError):
        return None
    return Silence(began, said) if counts else None


def note(conf: str, client: str, error: CephError, waited: int) -> None:
    """Let others know that a cluster did not answer; no other error is noted.

    ``waited`` is for how many seconds.
    """
    if error.errno == errno.ETIMEDOUT:
        found = told(conf, client)
        began = found.began if found else time.monotonic() - waited
        _write(_note(conf, client), began, str(error))


def forget(conf: str, client: str) -> None:
    """Let others know that a cluster is back."""
    with contextlib.suppress(OSError):
        _note(conf, client).unlink()


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
