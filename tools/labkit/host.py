"""What the lab needs of the host: rights, room and packages."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError
from .programs import run

GIB = 1024**3
SUPPORTED = {"12", "13"}

# program or file that must be there -> the package that has it
NODE_PACKAGES = {
    "/usr/bin/systemd-nspawn": "systemd-container",
    "/usr/sbin/losetup": "mount",
    "/usr/bin/nsenter": "util-linux",
    "/usr/bin/ip": "iproute2",
}
IMAGE_PACKAGES = {
    "/usr/bin/mmdebstrap": "mmdebstrap",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "/usr/lib/python3/dist-packages/pip": "python3-pip",
}
# The tests, and with what the collector's page and alerts are proved.
TEST_PACKAGES = {
    "/usr/lib/python3/dist-packages/pytest": "python3-pytest",
    "/usr/lib/python3/dist-packages/h11": "python3-h11",
    "/usr/lib/python3/dist-packages/yaml": "python3-yaml",
    "/usr/lib/python3/dist-packages/prometheus_client": "python3-prometheus-client",
    "/usr/bin/chromium": "chromium",
    "/usr/bin/promtool": "prometheus",
}

# What a package would have run from the next boot on; only its programs are wanted.
SERVICES = {"prometheus": "prometheus.service"}

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = (
    "#!/bin/sh\n# Written by tools/lab for the time of an installation.\nexit 101\n"
)


def os_release(text: str) -> dict[str, str]:
    """Return the fields of an os-release file."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


def require_root() -> None:
    """Refuse to go on as anybody but root."""
    if os.geteuid() != 0:
        raise LabError("must run as root: the lab mounts, makes namespaces and nodes")


def require_debian() -> None:
    """Refuse hosts that the lab was not made for."""
    try:
        fields = os_release(Path("/etc/os-release").read_text())
    except OSError:
        fields = {}
    if fields.get("ID") == "debian" and fields.get("VERSION_ID") in SUPPORTED:
        return
    name = fields.get("PRETTY_NAME", "unknown")
    raise LabError(f"this host is {name!r}: the lab needs Debian 12 or 13")


def available_memory(meminfo: str) -> int:
    """Return the bytes that /proc/meminfo calls available."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def require_memory(needed: int) -> None:
    """Refuse to start what would push the host into swapping."""
    free = available_memory(Path("/proc/meminfo").read_text())
    if free < needed:
        raise LabError(
            f"not enough memory: {free / GIB:.1f} GiB available, "
            f"{needed / GIB:.1f} GiB needed"
        )


def require_disk(folder: Path, needed: int) -> None:
    """Refuse to fill the file system that a folder is, or will be, on."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise LabError(
            f"not enough room for {folder}: {free / GIB:.1f} GiB free, "
            f"{needed / GIB:.1f} GiB needed"
        )


@contextmanager
def services_kept_down() -> Iterator[None]:
    """Keep package installations from starting services on the host."""
    # Ours may be left over where we were killed.
    if POLICY.exists() and POLICY.read_text() != POLICY_TEXT:
        yield
        return
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def missing_packages(wanted: dict[str, str]) -> list[str]:
    """Return the packages whose files the host does not have."""
    return sorted({pkg for path, pkg in wanted.items() if not Path(path).exists()})


def install(wanted: dict[str, str]) -> None:
    """Install what is missing, and only that."""
    missing = missing_packages(wanted)
    if not missing:
        return
    print(f"lab: installing {', '.join(missing)} on this host", flush=True)
    with services_kept_down():
        # The lists may be too old or absent, but asking for new ones takes
        # time and network: only when it does not work without.
        if not _apt_install(missing):
            run(["apt-get", "update", "-qq"], timeout=600)
            if not _apt_install(missing):
                raise LabError(f"apt-get cannot install {', '.join(missing)}")
    for unit in (SERVICES[name] for name in missing if name in SERVICES):
        run(["systemctl", "disable", "--quiet", unit])


def _apt_install(packages: Sequence[str]) -> bool:
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    env = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
    return run(command, check=False, timeout=1800, env=env).returncode == 0
