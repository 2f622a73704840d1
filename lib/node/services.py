"""systemd's units of Ceph's daemons."""

from ganeti_ceph.node import files
from ganeti_ceph.run import Runner

_OSD_DROPIN = files.Path(
    "/etc/systemd/system/ceph-osd@.service.d/10-ganeti-ceph.conf"
)
#: Device nodes are made anew at each boot and belong to root; the OSD does not.
_OSD_DROPIN_TEXT = """\
# Written by ganeti-ceph: the devices of an OSD belong to it.
[Service]
ExecStartPre=+/bin/sh -c 'for link in block block.db; do \
path=/var/lib/ceph/osd/${CLUSTER}-%i/$$link; \
if [ -b "$$path" ]; then chown ceph:ceph "$$(readlink -f "$$path")"; fi; done'
"""


def prepare_osds(run: Runner) -> None:
    """See to it that an OSD may open its devices after every reboot."""
    if files.read(_OSD_DROPIN) != _OSD_DROPIN_TEXT.strip():
        files.write(_OSD_DROPIN, _OSD_DROPIN_TEXT, 0o644)
        run(["systemctl", "daemon-reload"])


def start(kind: str, daemon_id: str, run: Runner) -> None:
    """Start a daemon now and at every boot, also one that systemd gave up on."""
    unit = f"ceph-{kind}@{daemon_id}.service"
    # It fails for a unit that never failed, which is as well.
    run(["systemctl", "reset-failed", unit], ok=(0, 1, 5))
    run(
        ["systemctl", "enable", "--now", unit, f"ceph-{kind}.target", "ceph.target"],
        timeout=120,
    )
