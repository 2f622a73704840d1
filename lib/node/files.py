"""Files that are written whole or not at all, readable by whom they are for."""

import contextlib
import fcntl
import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

from ganeti_ceph.errors import ExecError

CONF = Path("/etc/ceph/ceph.conf")
ADMIN_KEYRING = Path("/etc/ceph/ceph.client.admin.keyring")
DATA = Path("/var/lib/ceph")
#: Where steps keep what must be gone after a power cut.
SCRATCH = Path("/run/ganeti-ceph")


def daemon_dir(kind: str, daemon_id: str) -> Path:
    """Return the data directory of a mon, mgr or OSD."""
    return DATA / kind / f"ceph-{daemon_id}"


def keyring(user: str) -> Path:
    """Return where Ceph's programs look for the key of a client."""
    return Path(f"/etc/ceph/ceph.client.{user}.keyring")


def ceph_ids() -> tuple[int, int]:
    """Return the user and group id that Ceph's daemons run under."""
    try:
        user = pwd.getpwnam("ceph")
    except KeyError:
        raise ExecError(
            "there is no user ceph: install Ceph's packages on the node"
        ) from None
    return user.pw_uid, user.pw_gid


def write(path: Path, text: str, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
    """Put a text in a file's place, at once and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.ganeti-ceph")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make what was renamed or made in a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_dir(path: Path, owner: tuple[int, int], mode: int = 0o750) -> None:
    """Make a directory if it is not there, with its owner and mode."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, *owner)
    path.chmod(mode)


def read(path: Path) -> str | None:
    """Return a file's text without the blanks around it, None if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextlib.contextmanager
def scratch(name: str, owner: tuple[int, int]) -> Iterator[Path]:
    """Give an empty directory that only its owner reads, gone after the block."""
    SCRATCH.mkdir(exist_ok=True)
    SCRATCH.chmod(0o711)  # the node daemon's umask keeps Ceph's user out
    path = SCRATCH / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    os.chown(path, *owner)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def turn(name: str) -> Iterator[None]:
    """Wait until nobody else on this node is within a block of this name."""
    SCRATCH.mkdir(exist_ok=True)
    path = SCRATCH / f"{name}.lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(held: str) -> Iterator[None]:
    """Be alone on this node; raises :class:`ExecError` with the text if we are not."""
    SCRATCH.mkdir(exist_ok=True)
    descriptor = os.open(SCRATCH / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExecError(held) from None
        yield
    finally:
        os.close(descriptor)
