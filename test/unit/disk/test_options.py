"""Parameters of rbd disks: what each takes, what is kept, and what is said of wrong."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph.disk import manual, options
from ganeti_ceph.disk.options import OPTIONS, DiskOptions, Mapper
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.errors import UsageError

KIB, MIB = 2**10, 2**20
BY_NAME = {option.name: option for option in OPTIONS}


def failure(**params):
    with pytest.raises(UsageError) as caught:
        options.read({name.replace("_", "-"): text for name, text in params.items()})
    return str(caught.value)


# The declarations


def test_nothing_given_is_what_the_defaults_say():
    assert options.read({}) == DiskOptions()
    assert options.read({one.name: one.default for one in OPTIONS}) == DiskOptions()


def test_every_field_is_declared_once():
    fields = [field.name for field in dataclasses.fields(DiskOptions)]
    assert [option.field for option in OPTIONS] == fields
    assert len(BY_NAME) == len(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_declaration_says_what_the_manual_page_needs(option):
    assert option.description.endswith(".")
    assert option.syntax
    assert option.description.isascii()


def test_where_an_image_is_is_kept_and_limits_may_change():
    assert [one.name for one in OPTIONS if one.kept] == [
        "pool",
        "namespace",
        "data-pool",
        "user-id",
        "ceph-conf",
    ]
    changeable = [one.name for one in OPTIONS if one.changeable and not one.kept]
    assert changeable == [
        *("mapper", "trash-grace", "discard", "io-thread", "iops", "bandwidth")
    ]
    # A change of the others moves the image.
    assert all(one.changeable for one in OPTIONS if one.kept)


@pytest.mark.parametrize(
    ("given", "moves"),
    [({}, False), ({"iops": "1"}, False), ({"pool": "a"}, True), ({"x": "a"}, False)],
)
def test_what_says_where_the_image_is_moves_it(given, moves):
    assert options.moves(given) is moves


# Values


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("pool", "my-Pool_2.x", "my-Pool_2.x"),
        ("namespace", "blue", "blue"),
        ("namespace", "", ""),
        ("data-pool", "ec", "ec"),
        ("data-pool", "", ""),
        ("user-id", "ganeti", "ganeti"),
        ("ceph-conf", "/etc/ceph/far.conf", "/etc/ceph/far.conf"),
        ("mapper", "auto", Mapper.AUTO),
        ("mapper", "krbd", Mapper.KRBD),
        ("mapper", "nbd", Mapper.NBD),
        ("mapper", "fuse", Mapper.FUSE),
        ("features", "auto", None),
        ("features", "layering", ("layering",)),
        ("features", "fast-diff+object-map+exclusive-lock", options.FEATURES[1:4]),
        ("features", "+".join(options.FEATURES), options.FEATURES),
        ("object-size", "", 0),
        ("object-size", "4K", 4 * KIB),
        ("object-size", "4096", 4 * KIB),
        ("object-size", "8M", 8 * MIB),
        ("object-size", "32M", 32 * MIB),
        ("trash-grace", "0", 0),
        ("trash-grace", "315360000", 315360000),
        ("iops", "500", 500),
        ("bandwidth", "0", 0),
        ("bandwidth", "7", 7),
        ("bandwidth", "3K", 3 * KIB),
        ("bandwidth", "3M", 3 * MIB),
        ("bandwidth", "3G", 3 * 2**30),
        ("bandwidth", "3T", 3 * 2**40),
    ],
)
def test_what_a_parameter_takes(name, text, value):
    read = options.read({name: text})
    assert getattr(read, BY_NAME[name].field) == value
    assert read == dataclasses.replace(DiskOptions(), **{BY_NAME[name].field: value})


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("pool", "", "use letters"),
        ("pool", "a b", "use letters"),
        ("pool", "a/b", "use letters"),
        ("pool", "-a", "use letters"),
        ("pool", "\u00e9", "use letters"),
        ("pool", "a\n", "use letters"),
        ("namespace", "a/b", "use letters"),
        ("data-pool", "a:b", "use letters"),
        ("user-id", "", "use letters"),
        ("user-id", "client=admin", "use letters"),
        ("ceph-conf", "", "absolute path"),
        ("ceph-conf", "ceph.conf", "absolute path"),
        ("mapper", "", "use one of auto, krbd, nbd, fuse"),
        ("mapper", "KRBD", "use one of auto, krbd, nbd, fuse"),
        ("discard", "on", "use one of unmap, ignore"),
        ("io-thread", "true", "use yes or no"),
        ("features", "", "there is no feature ''"),
        ("features", "layering+", "there is no feature ''"),
        ("features", "layering,journaling", "there is no feature"),
        ("features", "data-pool", "there is no feature 'data-pool'"),
        ("features", "object-map", "object-map needs exclusive-lock"),
        ("features", "exclusive-lock+fast-diff", "fast-diff needs object-map"),
        ("features", "journaling", "journaling needs exclusive-lock"),
        ("object-size", "0", "power of two"),
        ("object-size", "2K", "power of two"),
        ("object-size", "4095", "power of two"),
        ("object-size", "4097", "power of two"),
        ("object-size", "3M", "power of two"),
        ("object-size", "64M", "power of two"),
        ("object-size", "4X", "number of bytes"),
        ("stripe-unit", "-1", "number of bytes"),
        ("stripe-count", "", "use a number"),
        ("stripe-count", "1K", "use a number"),
        ("trash-grace", "-1", "use a number"),
        ("trash-grace", "315360001", "use ten years (315360000) at the most"),
        ("trash-grace", "3000000000", "use ten years (315360000) at the most"),
        ("trash-grace", "1000000000000", "use a number"),
        ("iops", "many", "use a number"),
        ("bandwidth", "", "number of bytes"),
        ("bandwidth", "1.5M", "number of bytes"),
        ("bandwidth", "1m", "number of bytes"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(name, text, reason):
    said = failure(**{name: text})
    assert said.startswith(f"the disk parameter {name} cannot be {text!r}: ")
    assert reason in said


@pytest.mark.parametrize(
    ("unit", "count", "size", "reason"),
    [
        ("", "0", "", ""),
        ("64K", "4", "", ""),
        ("4M", "1", "", ""),
        ("4K", "2", "4K", ""),
        ("64K", "0", "", "together"),
        ("", "4", "", "together"),
        ("0", "4", "", "together"),
        ("8M", "4", "", "divide the object size 4194304"),
        ("8M", "4", "8M", ""),
        ("3K", "4", "", "divide the object size 4194304"),
        ("8K", "2", "4K", "divide the object size 4096"),
    ],
)
def test_a_stripe_is_a_whole_part_of_an_object(unit, count, size, reason):
    params = {"stripe_unit": unit, "stripe_count": count, "object_size": size}
    # Together they matter to new images only, and never keep one from being used.
    read = options.read({name.replace("_", "-"): one for name, one in params.items()})
    if reason:
        with pytest.raises(UsageError, match=reason):
            options.check_layout(read)
    else:
        options.check_layout(read)


def test_a_layout_is_of_declared_parameters():
    assert set(BY_NAME) >= options.LAYOUT
    assert not any(BY_NAME[name].changeable for name in options.LAYOUT)


def test_ganeti_s_own_parameters_are_left_alone():
    params = {"access": "no such", "size": -1, "adopt": None}
    assert options.read(params) == DiskOptions()
    assert options.given({**params, "iops": "5"}) == {"iops": "5"}


def test_a_number_is_read_as_its_text():
    assert options.read({"iops": 5}).iops == 5
    assert options.given({"iops": 5}) == {"iops": "5"}


def texts(option):
    """Return texts for a parameter, of which many are good."""
    numbers = st.integers(0, 2**41).map(str)
    sizes = st.tuples(st.integers(0, 64), st.sampled_from("KMGT")).map(
        lambda pair: f"{pair[0]}{pair[1]}"
    )
    names = st.from_regex(r"[A-Za-z0-9/._-]{0,9}", fullmatch=True)
    features = st.lists(st.sampled_from(options.FEATURES)).map("+".join)
    return st.text() | numbers | sizes | names | features | st.just(option.default)


@given(st.fixed_dictionaries({}, optional={one.name: texts(one) for one in OPTIONS}))
def test_any_parameters_are_read_or_refused_by_name(params):
    try:
        read = options.read(params)
    except UsageError as err:
        assert "\n" not in str(err)
        assert any(name in str(err) for name in params)
        return
    for option in OPTIONS:
        wanted = option.parse(params.get(option.name, option.default))
        assert getattr(read, option.field) == wanted
    # What can be read can be handed on: to librbd, and as an image's name to QEMU.
    assert options.volume("image", read).pool == read.pool
    assert read.object_size.bit_count() <= 1


# What a disk keeps


def test_a_disk_keeps_its_place_and_what_it_was_given():
    kept = options.kept(
        {"pool": "ssd", "iops": "5", "access": "userspace"},
        {"pool": "hdd", "user-id": "ganeti", "iops": "7", "mapper": "nbd"},
    )
    assert kept == {
        "pool": "ssd",
        "namespace": "",
        "data-pool": "",
        "user-id": "ganeti",
        "ceph-conf": BY_NAME["ceph-conf"].default,
        "iops": "5",
    }


@given(st.dictionaries(st.sampled_from([one.name for one in OPTIONS]), st.text()))
def test_what_is_kept_stays_whatever_the_defaults_become(own):
    kept = options.kept(own, {})
    assert options.kept(kept, {"pool": "new", "user-id": "new", "iops": "1"}) == kept


def test_the_volume_is_where_the_parameters_say():
    read = options.read(
        {"pool": "p", "namespace": "n", "user-id": "u", "ceph-conf": "/c"}
    )
    assert options.volume("i", read) == Volume("p", "i", "n", "u", "/c")
    assert options.place(read) == Place("p", "n", "u", "/c")


def test_manual_page_has_all_declarations():
    page = Path(__file__).parents[3] / "man/ganeti-ceph-disks.7.rst"
    assert manual.text() in page.read_text(encoding="utf-8"), (
        "put the output of 'python3 -m ganeti_ceph.disk.manual' into the page"
    )
