"""What the lab adds to its nodes: an OS for instances, the guest, settings."""

import shutil
from pathlib import Path

from .guest import install_guest
from .image import image_path
from .layers import ensure_layer, hash_files
from .paths import KIT_DATA
from .releases import Release

GUEST_FOLDER = "srv/lab-guest"


def ensure_site(release: Release) -> Path:
    """Return the layer with the lab's own files for the nodes."""
    image = image_path(release)
    names = [str(p.relative_to(KIT_DATA)) for p in KIT_DATA.rglob("*")]
    code = Path(__file__).with_name("guest.py").read_text()
    key = hash_files(KIT_DATA, names, release.image_key, code)

    def fill(layer: Path) -> None:
        shutil.copytree(KIT_DATA / "node", layer, symlinks=True, dirs_exist_ok=True)
        install_guest(image, layer / GUEST_FOLDER)

    return ensure_layer(f"site-{release.name}", key, fill)
