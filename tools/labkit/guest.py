"""The guest that instances of the lab boot: a Debian kernel and a busybox."""

import gzip
import lzma
import shutil
from dataclasses import dataclass
from pathlib import Path

from .image import GUEST_HOME
from .paths import KIT_DATA

# In the order of loading: each needs those before it.
MODULES = (
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "button",
    "evdev",
    "failover",
    "net_failover",
    "virtio_net",
)
FOLDERS = ("bin", "dev", "proc", "sys", "lib")

S_DIR = 0o040000
S_FILE = 0o100000


@dataclass(frozen=True)
class Entry:
    """A file or directory of an initramfs."""

    name: str
    mode: int
    content: bytes = b""


def cpio(entries: list[Entry]) -> bytes:
    """Return an archive in the format that the kernel unpacks ("newc")."""
    out = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (
            number,
            entry.mode,
            0,
            0,
            1,
            0,
            len(entry.content),
            0,
            0,
            0,
            0,
            len(name),
            0,
        )
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4)
        out += entry.content
        out += bytes(-len(out) % 4)
    return bytes(out)


def find_module(tree: Path, name: str) -> bytes | None:
    """Return a kernel module of an unpacked kernel package; none if it is built in."""
    for found in sorted(tree.glob("**/*.ko*")):
        if found.name.split(".")[0].replace("-", "_") == name:
            content = found.read_bytes()
            return lzma.decompress(content) if found.suffix == ".xz" else content
    for listing in tree.glob("**/modules.builtin"):
        names = (Path(line).stem for line in listing.read_text().splitlines())
        if name in {built_in.replace("-", "_") for built_in in names}:
            return None
    raise FileNotFoundError(f"{tree}: no kernel module {name}")


def initramfs(image: Path) -> bytes:
    """Return the guest's whole system."""
    tree = image / GUEST_HOME / "tree"
    entries = [Entry(name, S_DIR | 0o755) for name in FOLDERS]
    busybox = (image / "usr/bin/busybox").read_bytes()
    entries.append(Entry("bin/busybox", S_FILE | 0o755, busybox))
    init = (KIT_DATA / "guest/init").read_bytes()
    entries.append(Entry("init", S_FILE | 0o755, init))
    for number, name in enumerate(MODULES):
        module = find_module(tree, name)
        if module is not None:
            file = f"lib/{number:02}-{name}.ko"
            entries.append(Entry(file, S_FILE | 0o644, module))
    return gzip.compress(cpio(entries), compresslevel=1, mtime=0)


def install_guest(image: Path, target: Path) -> None:
    """Put the guest's kernel and initramfs into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    kernel = next((image / GUEST_HOME / "tree/boot").glob("vmlinuz-*"))
    shutil.copyfile(kernel, target / "vmlinuz")
    (target / "initrd.img").write_bytes(initramfs(image))
