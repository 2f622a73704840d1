"""The checkout's files, without what was built in it."""

import shutil
from pathlib import Path

from .paths import TREE
from .programs import run


def tree_files() -> list[str]:
    """Return the names of all files that git has, or would take."""
    command = ["git", "-c", "safe.directory=*", "-C", str(TREE), "ls-files", "-z"]
    done = run([*command, "-co", "--exclude-standard"], check=False)
    if done.returncode == 0:
        names = done.stdout.split("\0")
    else:
        # An unpacked release, not a checkout.
        names = [str(path.relative_to(TREE)) for path in TREE.rglob("*")]
    return sorted(name for name in set(names) if name and _is_file(TREE / name))


def copy_tree(target: Path) -> None:
    """Copy the checkout's files into a folder."""
    for name in tree_files():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Somebody may be editing: a file may be gone by now.
        if _is_file(TREE / name):
            shutil.copy2(TREE / name, copy, follow_symlinks=False)


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()
