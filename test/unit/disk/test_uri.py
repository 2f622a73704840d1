"""An image's name in the forms that QEMU takes, and which names have none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph.disk import uri
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import UsageError

#: What a name cannot hold: each would be read as something else on its way to QEMU.
SPECIAL = ":/@\\,\"'= \t\n\r\0\x1b\u2028"


def test_qemu_opens_pool_and_image():
    assert Volume("rbd", "u-u-i-d.rbd.disk0").uri() == "rbd:rbd/u-u-i-d.rbd.disk0"


def test_the_block_driver_gets_them_apart():
    assert Volume("vms", "web.rbd.disk0").blockdev() == {
        "driver": "rbd",
        "pool": "vms",
        "image": "web.rbd.disk0",
    }


@pytest.mark.parametrize("character", SPECIAL)
def test_no_name_holds_what_qemu_reads_as_something_else(character):
    with pytest.raises(UsageError, match="pool name"):
        Volume(f"a{character}b", "image")
    with pytest.raises(UsageError, match="image name"):
        Volume("pool", f"a{character}b")


@pytest.mark.parametrize(("pool", "image"), [("", "image"), ("pool", "")])
def test_no_name_is_empty(pool, image):
    with pytest.raises(UsageError):
        Volume(pool, image)


@pytest.mark.parametrize("name", ["rbd", "my-pool_2", "a.b", "disk+1", "%s", "x;y"])
def test_names_that_qemu_reads_as_they_are(name):
    assert Volume(name, name).uri() == f"rbd:{name}/{name}"


def volumes():
    names = st.text(min_size=1).filter(
        lambda name: name.isprintable() and not set(name) & set(SPECIAL)
    )
    return st.builds(Volume, names, names)


@given(volumes())
def test_what_is_handed_on_comes_back(volume):
    assert uri.parse(volume.uri()) == volume


@given(st.text())
def test_any_text_is_a_volume_that_is_written_so_or_none(text):
    volume = uri.parse(text)
    assert volume is None or volume.uri() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rbd:",
        "rbd:pool",
        "rbd:pool/",
        "rbd:/image",
        "rbd:pool/a/b",
        "rbd:pool/image:conf=/etc/x",
        "rbd:pool/image@snapshot",
        "RBD:pool/image",
        "pool/image",
        "gluster://host:1/volume/path",
        "/dev/rbd0",
    ],
)
def test_every_other_text_names_none(text):
    assert uri.parse(text) is None
