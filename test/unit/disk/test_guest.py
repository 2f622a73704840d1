"""How the KVM hypervisor names a disk to QEMU: ours for ours, Ganeti's for others."""

import pytest

from ganeti_ceph.disk import guest


def stock(uri):
    """Take Ganeti's place, which knows pools of few letters only."""
    if uri.startswith("gluster:"):
        return {"driver": "gluster"}
    raise LookupError(uri)


def parse(uri):
    return guest.parse_uri(stock, None, (uri,), {})


@pytest.mark.parametrize("pool", ["rbd", "my-pool", "a.b_c", "2"])
def test_images_in_pools_of_any_name_are_opened(pool):
    assert parse(f"rbd:{pool}/web.rbd.disk0") == {
        "driver": "rbd",
        "pool": pool,
        "image": "web.rbd.disk0",
    }


def test_other_storage_is_ganetis():
    assert parse("gluster://host:1/volume/path") == {"driver": "gluster"}


@pytest.mark.parametrize("uri", ["rbd:pool/image:id=x", "rbd:pool", "sheepdog:x"])
def test_what_nobody_can_open_is_ganetis_to_refuse(uri):
    with pytest.raises(LookupError):
        parse(uri)
