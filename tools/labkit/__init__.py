"""The lab: real Ganeti and Ceph nodes on one machine."""
