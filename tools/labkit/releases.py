"""The Debian releases that nodes can run, and what their image holds."""

import hashlib
from dataclasses import dataclass

from .errors import LabError

RECIPE = 1
"""Raise it when image.py builds something else out of the same package list."""

# A machine; what the extension joins and needs; building and testing it; the guest.
PACKAGES = """
    systemd systemd-sysv udev dbus openssh-server openssh-client iproute2
    iputils-ping procps psmisc kmod lvm2 gdisk fdisk e2fsprogs xfsprogs
    bash-completion less nano socat ca-certificates

    ganeti ceph-mon ceph-mgr ceph-osd ceph-common python3-rados python3-rbd
    python3-ceph-argparse qemu-system-x86 qemu-block-extra qemu-utils fuse3
    python3-pyparsing python3-wrapt python3-prometheus-client python3-h11
    python3-psutil

    make autoconf automake python3-docutils python3-pytest python3-mock
    python3-hypothesis python3-jsonschema

    busybox-static cpio
"""

# Not in both releases of Debian, so from PyPI, and pinned: a check must not
# change its mind from one day to the next.
LINTERS = ("ruff==0.14.4", "mypy==1.18.2")

GUEST_KERNEL = "linux-image-cloud-amd64"


@dataclass(frozen=True)
class Release:
    """One Debian release."""

    name: str
    python: str
    extra_packages: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """All packages of the node image, sorted."""
        return tuple(sorted({*PACKAGES.split(), *self.extra_packages}))

    @property
    def image_key(self) -> str:
        """A short hash that changes when the image has to be built anew."""
        recipe = "\n".join((str(RECIPE), GUEST_KERNEL, *LINTERS, *self.packages))
        return hashlib.sha256(recipe.encode()).hexdigest()[:12]


RELEASES = {
    release.name: release
    for release in (
        Release("trixie", "3.13", ("ceph-volume",)),
        Release("bookworm", "3.11"),
    )
}
DEFAULT_RELEASE = "trixie"


def find_release(name: str) -> Release:
    """Return the release of that name."""
    try:
        return RELEASES[name]
    except KeyError:
        known = ", ".join(RELEASES)
        raise LabError(f"release {name!r}: not known, only {known}") from None
