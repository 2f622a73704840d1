"""The extension, installed as its own "make install" does it."""

import shutil
from pathlib import Path

from .errors import LabError
from .image import image_path
from .layers import ensure_layer, hash_files
from .paths import TREE
from .releases import Release
from .sandbox import BUILD, sandbox
from .tree import copy_tree, tree_files

# Not installed, so of no consequence for what is.
IGNORED = ("test/", "tools/lab", ".ci/", ".git")

STAGING = "staging"
INSTALL = f"""
./autogen.sh
./configure
make
make install DESTDIR=/{STAGING}
"""


def ensure_extension(release: Release) -> Path | None:
    """Return the layer with the extension, or nothing if there is none to build."""
    names = [name for name in tree_files() if not name.startswith(IGNORED)]
    if "configure.ac" not in names or "Makefile.am" not in names:
        print("lab: the checkout has no configure.ac: nodes without the extension")
        return None
    key = hash_files(TREE, names, release.image_key, INSTALL)

    def fill(layer: Path) -> None:
        print(f"lab: building the extension for {release.name}", flush=True)
        with sandbox(image_path(release)) as box:
            copy_tree(box.root / BUILD)
            log = layer / "build.log"
            if box.run(INSTALL, output=log) != 0:
                raise LabError(_last_words(log))
            log.unlink()
            staging = box.root / STAGING
            shutil.copytree(staging, layer, symlinks=True, dirs_exist_ok=True)

    return ensure_layer(f"extension-{release.name}", key, fill)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "the extension cannot be built:\n  " + "\n  ".join(lines[-15:])
