"""The files of this node that hold keys: who owns them, and that nobody else may read.

The user that Ceph's daemons run under owns the directories of these files, so a link in
one's place is never followed.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ganeti_ceph.disk.uri import DISK_USER
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import collector, files
from ganeti_ceph.steps import SecureKeys

_ROOT = (0, 0)
_MODE = 0o600


def loose() -> tuple[str, ...]:
    """Return those that have another owner or mode than they should."""
    found = []
    for path, owners in _owners():
        try:
            there = path.lstat()
        except FileNotFoundError:
            continue
        if there.st_mode & 0o077 or (there.st_uid, there.st_gid) not in owners:
            found.append(str(path))
    return tuple(found)


def _owners() -> Iterator[tuple[Path, tuple[tuple[int, int], ...]]]:
    """Return the paths, and who may own each, whom it is given to first."""
    for path in (files.ADMIN_KEYRING, *map(files.keyring, (DISK_USER, collector.USER))):
        yield path, (_ROOT,)
    for path in sorted(files.DATA.glob("*/*/keyring")):
        # The daemons run under this user when they read it.
        yield path, (files.ceph_ids(),)
    for path in sorted(files.DATA.glob("bootstrap-*/ceph.keyring")):
        # Root makes OSDs with it.
        yield path, (files.ceph_ids(), _ROOT)


def secure(step: SecureKeys) -> str:
    """Give those that are still loose to their owners, for them alone."""
    still = {*loose()}.intersection(step.paths)
    for path, owners in _owners():
        if str(path) not in still:
            continue
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ExecError(f"{path} is no file")
            # The mode first: nobody shall read it meanwhile.
            os.fchmod(handle, _MODE)
            os.fchown(handle, *owners[0])
        finally:
            os.close(handle)
    return f"{', '.join(step.paths)}: for the owner alone"
