"""Locks that two lab processes meet at."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError


@contextmanager
def file_lock(path: Path, *, waiting: str) -> Iterator[None]:
    """Hold a lock file; say what is waited for if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, waiting)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def free_lock(path: Path) -> Iterator[bool]:
    """Hold a lock file or folder if it is there and nobody else does; whether so."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path, *, waiting: str, gone: str) -> Iterator[None]:
    """Hold a folder itself as a lock, so that removing it removes the lock too.

    Raises LabError with the text ``gone`` if it was removed while we waited.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, waiting)
        if os.fstat(descriptor).st_nlink == 0:
            raise LabError(gone)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, waiting: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"lab: {waiting}", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
