"""ganeti-ceph: a Ganeti cluster that holds its instances' disks in its own Ceph."""

__version__ = "0.1.0"
