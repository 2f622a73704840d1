"""An image's name in the forms that QEMU takes, and which names have none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph.disk import uri
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import UsageError

#: What a name cannot hold: each would be read as something else on its way to QEMU.
SPECIAL = ":/@\\,\"'= \t\n\r\0\x1b\u2028"

#: What a URI is made of, and what could be taken for it.
PIECES = ("rbd:", "pool", "/", "image", ":id=", ":conf=", "admin", "/etc/x", "=", "@")


def volumes():
    printable = st.characters(
        blacklist_categories=("C", "Z"), blacklist_characters=SPECIAL
    )
    names = st.text(printable, min_size=1)
    paths = st.from_regex(r"/[A-Za-z0-9_.+/-]{0,9}[A-Za-z0-9_.+-]", fullmatch=True)
    return st.builds(
        Volume,
        names,
        names,
        st.just("") | names,
        st.just(uri.USER) | names,
        st.just(uri.CONF) | paths,
    )


def test_qemu_opens_pool_and_image():
    assert Volume("rbd", "u-u-i-d.rbd.disk0").uri() == "rbd:rbd/u-u-i-d.rbd.disk0"


def test_the_block_driver_gets_them_apart():
    assert Volume("vms", "web.rbd.disk0").blockdev() == {
        "driver": "rbd",
        "pool": "vms",
        "image": "web.rbd.disk0",
    }


def test_ceph_programs_take_pool_namespace_and_image():
    assert str(Volume("rbd", "web")) == "rbd/web"
    assert str(Volume("rbd", "web", "blue", "ganeti", "/x")) == "rbd/blue/web"


def test_the_user_has_ceph_s_full_name():
    assert Volume("rbd", "web").client == "client.admin"
    assert Volume("rbd", "web", user="ganeti").client == "client.ganeti"


@given(volumes())
def test_a_place_is_all_of_a_volume_but_the_image(volume):
    place = volume.place
    assert place.volume(volume.image) == volume
    assert place.client == volume.client
    assert f"{place}/{volume.image}" == str(volume)


@pytest.mark.parametrize(
    ("rest", "uri_of", "options"),
    [
        ({"namespace": "blue"}, "rbd:rbd/blue/web", {"namespace": "blue"}),
        ({"user": "ganeti"}, "rbd:rbd/web:id=ganeti", {"user": "ganeti"}),
        ({"user": "admin"}, "rbd:rbd/web", {}),
        ({"conf": "/etc/x"}, "rbd:rbd/web:conf=/etc/x", {"conf": "/etc/x"}),
        ({"conf": "/etc/ceph/ceph.conf"}, "rbd:rbd/web", {}),
        (
            {"namespace": "blue", "user": "ganeti", "conf": "/etc/x"},
            "rbd:rbd/blue/web:id=ganeti:conf=/etc/x",
            {"namespace": "blue", "user": "ganeti", "conf": "/etc/x"},
        ),
    ],
)
def test_only_what_is_not_ceph_s_own_choice_is_told(rest, uri_of, options):
    volume = Volume("rbd", "web", **rest)
    assert volume.uri() == uri_of
    assert volume.blockdev() == {
        "driver": "rbd",
        "pool": "rbd",
        "image": "web",
        **options,
    }


@pytest.mark.parametrize("character", SPECIAL)
@pytest.mark.parametrize("kind", ["pool", "image", "namespace", "user"])
def test_no_name_holds_what_qemu_reads_as_something_else(kind, character):
    names = {"pool": "p", "image": "i", kind: f"a{character}b"}
    with pytest.raises(UsageError, match=f"the {kind} name"):
        Volume(**names)


@pytest.mark.parametrize("kind", ["pool", "image", "user"])
def test_no_name_but_the_namespace_s_is_empty(kind):
    with pytest.raises(UsageError, match=f"the {kind} name ''"):
        Volume(**{"pool": "p", "image": "i", kind: ""})
    assert Volume("p", "i", "").namespace == ""


@pytest.mark.parametrize("name", ["rbd", "my-pool_2", "a.b", "disk+1", "%s", "x;y"])
def test_names_that_qemu_reads_as_they_are(name):
    assert Volume(name, name).uri() == f"rbd:{name}/{name}"


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/a", True),
        ("/etc/ceph/far-1_x+y.conf", True),
        ("", False),
        ("/", False),
        ("etc/ceph.conf", False),
        ("/etc/ceph/", False),
        ("/etc/a b", False),
        ("/etc/a:b", False),
        ("/etc/a=b", False),
        ("/etc/a,b", False),
        ("/etc/a\n", False),
        ("/etc/\u00e9", False),
    ],
)
def test_the_configuration_is_an_absolute_path_of_plain_characters(path, good):
    if good:
        assert Volume("p", "i", conf=path).conf == path
    else:
        with pytest.raises(UsageError, match="absolute path"):
            Volume("p", "i", conf=path)


@given(volumes())
def test_what_is_handed_on_comes_back(volume):
    assert uri.parse(volume.uri()) == volume


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
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
        "rbd:pool//image",
        "rbd:pool/a/b/c",
        "rbd:pool/image:",
        "rbd:pool/image:id=",
        "rbd:pool/image:id=admin",
        "rbd:pool/image:id=a:id=b",
        "rbd:pool/image:conf=/etc/x:id=a",
        "rbd:pool/image:conf=etc/x",
        "rbd:pool/image:key=AQ==",
        "rbd:pool/image@snapshot",
        "RBD:pool/image",
        "pool/image",
        "gluster://host:1/volume/path",
        "/dev/rbd0",
    ],
)
def test_every_other_text_names_none(text):
    assert uri.parse(text) is None
