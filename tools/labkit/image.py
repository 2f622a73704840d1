"""The node image: one Debian root file system per release, built once."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import cgroups, host
from .errors import LabError
from .locks import file_lock, free_lock
from .mounts import mounts_of, unmount_below
from .paths import cache_root
from .programs import run, stdout_of
from .releases import GUEST_KERNEL, LINTERS, RELEASES, Release

DEFAULT_MIRROR = "http://deb.debian.org/debian"
ROOM = 5 * host.GIB
BUILD_LIMIT = 1800.0

LINT_HOME = "opt/lint"
GUEST_HOME = "opt/lab-guest"

# Wants things of the host that a node does not have, or does work nobody asked
# for while the node boots.
MASKED_UNITS = """
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
    e2scrub_all.timer e2scrub_reap.service fstrim.timer ldconfig.service
    lvm2-monitor.service lvm2-lvmpolld.socket modprobe@.service
    nvmf-autoconnect.service nvmefc-boot-connections.service rbdmap.service
    smartmontools.service smartd.service sys-kernel-debug.mount
    sys-kernel-tracing.mount systemd-hwdb-update.service
    systemd-journal-flush.service systemd-pcrlock-make-policy.service
    systemd-firstboot.service systemd-update-done.service console-getty.service
    ceph-crash.service
"""


def find_mirror() -> str:
    """Return the Debian mirror that the host uses itself."""
    listing = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)",
            "Created-By: Packages",
        ],
        check=False,
    ).stdout
    return mirror_from(listing)


def mirror_from(listing: str) -> str:
    """Return the first mirror of Debian proper in apt's list of index targets."""
    for line in listing.splitlines():
        fields = line.split("|")
        if len(fields) == 4 and fields[:3] == ["Debian", "Debian", "main"]:
            return fields[3].rstrip("/")
    return DEFAULT_MIRROR


def apt_options(dump: str) -> list[str]:
    """Return what the host's apt must be told to reach its mirror.

    mmdebstrap runs apt without the host's configuration.
    """
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-")
    return [line for line in dump.splitlines() if line.startswith(wanted)]


def mirror_of_release(mirror: str, release: Release) -> str:
    """Return the mirror, or the default one if it does not have the release."""
    if mirror == DEFAULT_MIRROR:
        return mirror
    url = f"{mirror}/dists/{release.name}/Release"
    helper = "/usr/lib/apt/apt-helper"
    with tempfile.TemporaryDirectory() as folder:
        got = run([helper, "download-file", url, f"{folder}/Release"], check=False)
    return mirror if got.returncode == 0 else DEFAULT_MIRROR


def image_path(release: Release) -> Path:
    """Return where the image of a release is, or will be."""
    return cache_root() / f"image-{release.name}-{release.image_key}"


def ensure_image(release: Release) -> Path:
    """Return the image of a release; build it first if need be."""
    image = image_path(release)
    if image.is_dir():
        return image
    waiting = f"another process builds the {release.name} image, waiting for it"
    with file_lock(_lock_file(release), waiting=waiting):
        if not image.is_dir():
            host.require_disk(cache_root(), ROOM)
            host.install(host.IMAGE_PACKAGES)
            _remove_leftovers(release)
            _build(release, image)
            _remove_outdated(release, image)
    return image


def _build(release: Release, image: Path) -> None:
    begun = time.monotonic()
    print(
        f"lab: building the {release.name} node image: once, some minutes and 1.5 GB",
        flush=True,
    )
    partial = Path(tempfile.mkdtemp(prefix=f".{image.name}.", dir=cache_root()))
    try:
        partial.chmod(0o755)
        root = partial / "root"
        with _kernel_hook(partial) as hook:
            _bootstrap(release, root, hook)
        print("lab: image: the linters", flush=True)
        _install_linters(release, root / LINT_HOME)
        _configure(root)
        root.rename(image)
    finally:
        _throw_away(partial)
    seconds = time.monotonic() - begun
    print(f"lab: image ready after {seconds:.0f} s: {image}", flush=True)


@contextmanager
def _kernel_hook(folder: Path) -> Iterator[Path]:
    """Make the script that puts the guest's kernel into the image, not installed."""
    hook = folder / "kernel-hook"
    hook.write_text(f"""#!/bin/sh
set -e
chroot "$1" sh -e -c '
mkdir -p /{GUEST_HOME}/tree
cd /{GUEST_HOME}
package=$(apt-cache depends --important {GUEST_KERNEL} |
    sed -n "s/^ *Depends: *\\(linux-image-[^ ]*\\)/\\1/p" | head -n 1)
apt-get download -q "$package"
for file in *.deb; do dpkg-deb -x "$file" tree; done
rm -f -- *.deb
'
""")
    hook.chmod(0o755)
    yield hook
    hook.unlink()


def _bootstrap(release: Release, root: Path, hook: Path) -> None:
    mirror = mirror_of_release(find_mirror(), release)
    dump = stdout_of(["apt-config", "dump"])
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        '--aptopt=Acquire::Languages "none"',
        *(f"--aptopt={line}" for line in apt_options(dump)),
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--include={','.join(release.packages)}",
        f"--customize-hook={hook}",
        release.name,
        str(root),
        f"deb {mirror} {release.name} main",
    ]
    log = cache_root() / f"build-{release.name}.log"
    with log.open("w") as sink:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            # Keyboard interrupts come to us, and we end it.
            process_group=0,
            preexec_fn=lambda: cgroups.enter(*_group(root.parent)),
        )
        code = _follow(child, log)
    if code != 0:
        raise LabError(f"mmdebstrap ended with exit code {code}: see {log}")


def _follow(child: "subprocess.Popen[bytes]", log: Path) -> int:
    """Wait for mmdebstrap and pass on the lines that say how far it is."""
    deadline = time.monotonic() + BUILD_LIMIT
    seen = 0
    while True:
        code = child.poll()
        lines = log.read_text(errors="replace").splitlines()
        for line in lines[seen:]:
            if line.startswith("I: ") and line.endswith("..."):
                print(f"lab: image: {line[3:-3]}", flush=True)
        seen = len(lines)
        if code is not None:
            return code
        if time.monotonic() > deadline:
            raise LabError(f"mmdebstrap: no end after {BUILD_LIMIT:.0f} s: see {log}")
        time.sleep(0.5)


def _install_linters(release: Release, home: Path) -> None:
    # By the host's pip, which knows how to reach an index from here, but for
    # the Python of the image.
    abi = release.python.replace(".", "")
    run(
        [
            "/usr/bin/python3",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--target",
            home / "lib",
            f"--python-version={release.python}",
            "--implementation=cp",
            f"--abi=cp{abi}",
            "--abi=abi3",
            "--abi=none",
            "--platform=manylinux_2_28_x86_64",
            "--platform=manylinux_2_17_x86_64",
            "--platform=manylinux2014_x86_64",
            "--platform=any",
            "--only-binary=:all:",
            "--no-compile",
            *LINTERS,
        ],
        timeout=600,
    )
    (home / "bin").mkdir()
    (home / "bin/ruff").symlink_to("../lib/bin/ruff")
    mypy = home / "bin/mypy"
    mypy.write_text(
        "#!/usr/bin/python3\n"
        "import sys\n"
        f'sys.path.insert(0, "/{LINT_HOME}/lib")\n'
        "from mypy.__main__ import console_entry\n"
        "console_entry()\n"
    )
    mypy.chmod(0o755)


def _configure(root: Path) -> None:
    """Make the root file system one that many nodes can share."""
    for unit in MASKED_UNITS.split():
        mask = root / "etc/systemd/system" / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")
    # Only /etc/hosts answers in a node: a name server would only be a time-out.
    nsswitch = root / "etc/nsswitch.conf"
    lines = nsswitch.read_text().splitlines()
    lines = ["hosts: files" if line.startswith("hosts:") else line for line in lines]
    nsswitch.write_text("\n".join(lines) + "\n")
    (root / "etc/resolv.conf").write_text("")
    _make_keys(root)


def _make_keys(root: Path) -> None:
    """Give all nodes the same keys, so that they trust each other from the start."""
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    home = root / "root/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    keygen = ["chroot", str(root), "ssh-keygen", "-q", "-N", "", "-C", "lab"]
    for kind in ("rsa", "ed25519"):
        run([*keygen, "-t", kind, "-f", f"/etc/ssh/ssh_host_{kind}_key"])
    run([*keygen, "-t", "ed25519", "-f", "/root/.ssh/id_ed25519"])
    public = (home / "id_ed25519.pub").read_text()
    (home / "authorized_keys").write_text(public)
    known = [
        f"* {(root / f'etc/ssh/ssh_host_{kind}_key.pub').read_text()}"
        for kind in ("rsa", "ed25519")
    ]
    (root / "etc/ssh/ssh_known_hosts").write_text("".join(known))


def remove_abandoned() -> None:
    """Remove what builds that were killed left behind."""
    for release in RELEASES.values():
        with free_lock(_lock_file(release)) as free:
            if free:
                _remove_leftovers(release)


def _lock_file(release: Release) -> Path:
    return cache_root() / f"{release.name}.lock"


def _group(folder: Path) -> tuple[str, str]:
    """Return the control group of the build in a folder."""
    return cgroups.BUILDS, folder.name.strip(".").replace("_", "-")


def _throw_away(folder: Path) -> None:
    """Remove the folder of a build, and first all that makes it dangerous.

    The host's own /dev and the like may still be mounted in there.
    """
    cgroups.kill_all(*_group(folder))
    cgroups.remove(*_group(folder))
    cgroups.remove_if_unused()
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(release: Release) -> None:
    for folder in cache_root().glob(f".image-{release.name}-*"):
        _throw_away(folder)


def _remove_outdated(release: Release, image: Path) -> None:
    """Remove images of older package lists, but none that a lab runs on."""
    used = "\n".join(mount.options for mount in mounts_of())
    for folder in cache_root().glob(f"image-{release.name}-*"):
        if folder != image and str(folder) not in used:
            shutil.rmtree(folder, ignore_errors=True)
