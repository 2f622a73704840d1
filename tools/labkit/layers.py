"""Folders made once and then used read-only, as layers under the nodes."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .locks import file_lock
from .mounts import mounts_of
from .paths import cache_root

KEPT_SECONDS = 24 * 3600


def hash_files(root: Path, names: Iterable[str], *more: str) -> str:
    """Return a short hash of files' names, modes and contents, and of some words."""
    digest = hashlib.sha256("\0".join(more).encode())
    for name in sorted(names):
        path = root / name
        if path.is_symlink():
            content = str(path.readlink()).encode()
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue
        mode = path.lstat().st_mode
        digest.update(f"\0{name}\0{mode:o}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def ensure_layer(kind: str, key: str, fill: Callable[[Path], None]) -> Path:
    """Return the layer of that kind and key; have it filled first if need be."""
    layer = cache_root() / f"{kind}-{key}"
    waiting = f"another process makes {kind}, waiting for it"
    with file_lock(cache_root() / f"{kind}.lock", waiting=waiting):
        if not layer.is_dir():
            for stale in cache_root().glob(f".{kind}-*"):
                shutil.rmtree(stale, ignore_errors=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=cache_root()))
            try:
                partial.chmod(0o755)
                fill(partial)
                partial.rename(layer)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        os.utime(layer)
        _remove_outdated(kind, layer)
    return layer


def _remove_outdated(kind: str, layer: Path) -> None:
    used = "\n".join(mount.options for mount in mounts_of())
    oldest = time.time() - KEPT_SECONDS
    for folder in cache_root().glob(f"{kind}-*/"):
        outdated = folder != layer and folder.stat().st_mtime < oldest
        if outdated and str(folder) not in used:
            shutil.rmtree(folder, ignore_errors=True)
