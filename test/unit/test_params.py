"""Storage parameters: the argument of -S, tags, merging, and the manual page."""

import contextlib
import copy
import dataclasses
import ipaddress
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganeti_ceph import errors, params
from ganeti_ceph.params import manual
from ganeti_ceph.params.declarations import CONF, MANAGED_OPTIONS
from ganeti_ceph.params.values import (
    Auto,
    Choice,
    Cidr,
    DevicePath,
    Memory,
    Name,
    Number,
    OddNumber,
    PowerOfTwo,
    YesNo,
)

MAN_PAGE = Path(__file__).parents[2] / "man" / "ganeti-ceph.7.rst"
DEFAULTS = params.StorageParameters()
NAMES = [declaration.name for declaration in params.DECLARATIONS]


def parsed(text: str) -> params.StorageParameters:
    """What a new cluster has after ``-S`` text."""
    return params.apply(DEFAULTS, params.parse(text), initialised=False)


def refusal(text: str) -> tuple[str, str]:
    """The problem, and the argument from the place that the caret points at."""
    with pytest.raises(params.ParameterError) as caught:
        parsed(text)
    assert caught.value.text == text
    return caught.value.problem, text[caught.value.column :]


# What is right


def test_all_parameters_together():
    assert parsed(
        "ceph:disk=/dev/sdc,disk=/dev/disk/by-path/pci-0000:00*,db-device=/dev/nvme0n1,"
        "encrypt=yes,osd-layout=lvm,device-class=ssd,public-network=10.0.0.0/24,"
        "cluster-network=192.0.2.0/25,mon-count=5,mgr-count=1,pool=disks.1,pool-size=4,"
        "pool-min-size=3,pool-pgs=128,failure-domain=rack,access=kernelspace,wipe=yes,"
        "conf.osd_max_backfills=4294967296,conf.mon_allow_pool_delete=true"
    ) == params.StorageParameters(
        disks=("/dev/disk/by-path/pci-0000:00*", "/dev/sdc"),
        db_devices=("/dev/nvme0n1",),
        encrypt=True,
        osd_layout=params.OsdLayout.LVM,
        device_class="ssd",
        public_network=ipaddress.ip_network("10.0.0.0/24"),
        cluster_network=ipaddress.ip_network("192.0.2.0/25"),
        mon_count=5,
        mgr_count=1,
        pool="disks.1",
        pool_size=4,
        pool_min_size=3,
        pool_pgs=128,
        failure_domain=params.FailureDomain.RACK,
        access=params.Access.KERNELSPACE,
        wipe=True,
        conf=(
            ("mon_allow_pool_delete", "true"),
            ("osd_max_backfills", "4294967296"),
        ),
    )


def test_change_keeps_order_and_values():
    change = params.parse("ceph:wipe=no,disk=/dev/sdb,pool=,disk=/dev/sda")
    assert change.type is params.StorageType.CEPH
    assert list(change.values.items()) == [
        ("wipe", (False,)),
        ("disk", ("/dev/sdb", "/dev/sda")),
        ("pool", params.RESET),
    ]


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("mon-count=1", "mon_count", 1),
        ("mon-count=05", "mon_count", 5),
        ("mgr-count=1", "mgr_count", 1),
        ("pool-size=1", "pool_size", 1),
        ("pool-size=10", "pool_size", 10),
        ("pool-min-size=auto", "pool_min_size", None),
        ("pool-min-size=0", "pool_min_size", None),
        ("pool-min-size=3", "pool_min_size", 3),
        ("pool-pgs=auto", "pool_pgs", None),
        ("pool-pgs=1", "pool_pgs", 1),
        ("pool-pgs=32768", "pool_pgs", 32768),
        ("device-class=auto", "device_class", None),
        ("pool=_-.9", "pool", "_-.9"),
        ("wipe=true", "wipe", True),
        ("wipe=false", "wipe", False),
        (
            "public-network=fd00::/64",
            "public_network",
            ipaddress.ip_network("fd00::/64"),
        ),
        (
            "public-network=192.0.2.1/32",
            "public_network",
            ipaddress.ip_network("192.0.2.1"),
        ),
        ("disk=/dev/sd*", "disks", ("/dev/sd*",)),
        ("conf.ms_type=a:b/c", "conf", (("ms_type", "a:b/c"),)),
    ],
)
def test_values_just_within_their_limits(text, field, value):
    assert getattr(parsed(f"ceph:{text}"), field) == value


@pytest.mark.parametrize(
    ("size", "least"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (10, 5)]
)
def test_effective_min_size_is_what_ceph_makes_of_it(size, least):
    assert params.StorageParameters(pool_size=size).effective_min_size == least


def test_effective_min_size_is_the_given_one():
    parameters = params.StorageParameters(pool_size=3, pool_min_size=1)
    assert parameters.effective_min_size == 1


# What is wrong, and where


def test_message_shows_the_argument_and_the_place():
    with pytest.raises(params.ParameterError) as caught:
        params.parse("ceph:disk=/dev/sdb,pool-sice=3")
    assert str(caught.value) == (
        "unknown parameter 'pool-sice' (did you mean 'pool-size'?)\n"
        "  ceph:disk=/dev/sdb,pool-sice=3\n"
        "                     ^"
    )


def test_caret_stays_below_its_place_after_a_tab_or_line_end():
    with pytest.raises(params.ParameterError) as caught:
        params.parse("ceph:pool=a\tb\nc")
    _, shown, caret = str(caught.value).split("\n")
    assert shown == "  ceph:pool=a?b?c"
    assert shown[caret.index("^")] == "?"


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("", "storage parameters are missing", ""),
        ("ceph", "':' is missing after the storage type", ""),
        ("ceph,wipe=no", "':' is missing after the storage type", ",wipe=no"),
        ("disk=/dev/sdb", "write 'ceph:' here", "disk=/dev/sdb"),
        (
            "gluster:disk=/dev/sdb",
            "unknown storage type 'gluster'",
            "gluster:disk=/dev/sdb",
        ),
        (":wipe=no", "unknown storage type ''", ":wipe=no"),
        ("ceph:", "a parameter is missing", ""),
        ("ceph:=3", "the name of a parameter is missing", "=3"),
        ("ceph:disk", "'=' and a value are missing after 'disk'", ""),
        ("ceph:wipe,disk=/dev/sdb", "missing after 'wipe'", ",disk=/dev/sdb"),
        ("ceph:whatever", "'=' is missing after 'whatever'", ""),
        ("ceph:wipe=no,", "a comma too many", ","),
        ("ceph:,wipe=no", "a comma too many", ",wipe=no"),
        ("ceph:pool=a,,wipe=no", "a comma too many", ",wipe=no"),
        ("ceph:pool=a,pool=b", "a second time", "pool=b"),
        ("ceph:conf.a_b=1,conf.a_b=", "a second time", "conf.a_b="),
        ("ceph:disk=/dev/a,disk=/dev/a", "a second time", "/dev/a"),
        ("ceph:disk=/dev/a,disk=", "takes away all values", "disk="),
        ("ceph:disk=,disk=/dev/a", "takes away all values", "disk=/dev/a"),
        ("ceph:disk=/dev/a,/dev/b", "write disk=/dev/b", "/dev/b"),
        ("ceph:conf.a_b=1,2", "a value cannot hold one", ""),
        ("ceph:conf.a_b=1,2=3", "a value cannot hold a comma", "2=3"),
        ("ceph:pool_size=3", "did you mean 'pool-size'?", "pool_size=3"),
        ("ceph:disk=/dev/a, wipe=no", "did you mean 'wipe'?", " wipe=no"),
        ("ceph:osd_max_backfills=3", "'conf.osd_max_backfills'", "osd_max_backfills=3"),
        ("ceph:xyzzy=3", "there are disk, db-device", "xyzzy=3"),
    ],
)
def test_wrong_form_is_pointed_at(text, problem, place):
    said, at = refusal(text)
    assert problem in said
    assert at == place


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("mon-count=0", "the least is 1", "0"),
        ("mon-count=4", "write 3 or 5", "4"),
        ("mon-count=-1", "not an odd number from 1", "-1"),
        ("mgr-count=0", "the least is 1", "0"),
        ("mgr-count=two", "not a number from 1", "two"),
        ("pool-size=0", "the least is 1", "0"),
        ("pool-size=11", "the most is 10", "11"),
        ("pool-pgs=0", "the least is 1", "0"),
        ("pool-pgs=96", "write 64 or 128", "96"),
        ("pool-pgs=65536", "the most is 32768", "65536"),
        ("pool=.mgr", "cannot begin with '.'", ".mgr"),
        ("pool=-p", "cannot begin with '-'", "-p"),
        ("pool=a/b", "cannot hold '/'", "/b"),
        ("device-class=a.b", "cannot hold '.'", ".b"),
        ("wipe=maybe", "neither yes nor no", "maybe"),
        ("osd-layout=zfs", "not one of auto, lvm or raw", "zfs"),
        ("access=fuse", "not one of userspace or kernelspace", "fuse"),
        ("failure-domain=root", "not one of osd, host", "root"),
        ("public-network=10.0.0.5/24", "write 10.0.0.0/24", "10.0.0.5/24"),
        ("public-network=fd00::1/64", "write fd00::/64", "fd00::1/64"),
        ("public-network=10.0.0.0", "no prefix length", ""),
        ("public-network=10.0.0.0/255.0.0.0", "no prefix length", "255.0.0.0"),
        ("public-network=10.0.0.0/33", "is not a network", "10.0.0.0/33"),
        ("cluster-network=lan/24", "is not a network", "lan/24"),
        ("disk=sdb", "not a path that begins with /dev/", "sdb"),
        ("disk=/", "not a path beneath /dev", "/"),
        ("disk=/dev", "not a path beneath /dev", "/dev"),
        ("disk=/dev/", "not a path beneath /dev", "/dev/"),
        ("disk=/etc/passwd", "not a path beneath /dev", "/etc/passwd"),
        ("disk=/dev/../etc", "not a path beneath /dev", "/dev/../etc"),
        ("disk=//dev/sdb", "written as /dev/sdb", "/dev/sdb"),
        ("disk=/dev//sdb", "written as /dev/sdb", "/sdb"),
        ("disk=/dev/./sdb", "written as /dev/sdb", "./sdb"),
        ("disk=/dev/disk/../sdb", "written as /dev/sdb", "../sdb"),
        ("disk=/dev/sdb/", "written as /dev/sdb", ""),
        ("disk=/dev/*", "matches every device", "*"),
        ("disk=/dev/disk/by-id/**", "matches every device", "**"),
        ("db-device=/dev/sd[ab]", "cannot hold '['", "[ab]"),
        ("conf.=1", "name of a Ceph option is missing", "=1"),
        ("conf.osd-max=1", "written as conf.osd_max", "osd-max=1"),
        ("conf.osd max=1", "written as conf.osd_max", "osd max=1"),
        ("conf.OSD_MAX=1", "written as conf.osd_max", "OSD_MAX=1"),
        ("conf.osd.max=1", "cannot have '.' here", ".max=1"),
        ("conf.9p=1", "cannot have '9' here", "9p=1"),
        ("conf.fsid=1", "leave it out", "fsid=1"),
        ("conf.public_network=1", "use 'public-network'", "public_network=1"),
        ("conf.osd_pool_default_size=1", "use 'pool-size'", "osd_pool_default_size=1"),
        ("conf.x_password=1", "is a secret", "x_password=1"),
    ],
)
def test_wrong_value_is_pointed_at(text, problem, place):
    said, at = refusal(f"ceph:{text}")
    assert problem in said
    assert at == place


@pytest.mark.parametrize("option", MANAGED_OPTIONS)
def test_options_of_the_extension_are_refused(option):
    instead = MANAGED_OPTIONS[option]
    assert instead is None or instead in NAMES
    said, _ = refusal(f"ceph:conf.{option}=x")
    assert (f"use {instead!r}" if instead else "leave it out") in said


@pytest.mark.parametrize("character", " =?[]{}~#%'\"\\\n\xe4\u0663\udc80")
def test_value_that_no_tag_can_hold_is_pointed_at(character):
    said, at = refusal(f"ceph:conf.a_b=1{character}2")
    assert f"cannot hold {character!r}" in said
    assert at == f"{character}2"


def test_longest_value_and_one_more():
    room = 128 - len("ceph:conf.a_b:")
    assert parsed(f"ceph:conf.a_b={'x' * room}").conf == (("a_b", "x" * room),)
    said, at = refusal(f"ceph:conf.a_b={'x' * room}yz")
    assert "2 characters too long" in said
    assert at == "yz"


def test_option_whose_name_alone_fills_a_tag():
    said, at = refusal(f"ceph:conf.{'x' * 200}=1")
    assert "too long" in said
    assert at == "1"


# Contradictions


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("pool-size=2,pool-min-size=3", "more than pool-size 2", "3"),
        (
            "db-device=/dev/a,db-device=/dev/b,disk=/dev/b",
            "both a disk and a db-device",
            "/dev/b,disk=/dev/b",
        ),
        (
            "public-network=10.0.0.0/8,cluster-network=fd00::/64",
            "differ in IP version",
            "fd00::/64",
        ),
        ("osd-layout=raw,encrypt=yes", "encrypted OSDs need logical volumes", "yes"),
    ],
)
def test_contradiction_is_pointed_at(text, problem, place):
    said, at = refusal(f"ceph:{text}")
    assert problem in said
    assert at == place


@pytest.mark.parametrize(
    ("text", "place"),
    [("pool-size=3", "3"), ("wipe=no,pool-size=", "")],
)
def test_contradiction_with_a_former_value_points_at_the_new_one(text, place):
    current = params.StorageParameters(pool_size=5, pool_min_size=4)
    change = params.parse(f"ceph:{text}")
    with pytest.raises(params.ParameterError) as caught:
        params.apply(current, change, initialised=False)
    assert change.text[caught.value.column :] == place


def test_pool_min_size_may_equal_pool_size():
    assert parsed("ceph:pool-size=2,pool-min-size=2").effective_min_size == 2


def test_contradiction_outside_an_argument():
    with pytest.raises(errors.UsageError) as caught:
        params.validate(params.StorageParameters(pool_size=1, pool_min_size=2))
    assert not isinstance(caught.value, params.ParameterError)


def test_former_contradiction_can_be_mended_in_one_change():
    current = params.StorageParameters(pool_size=1, pool_min_size=2)
    change = params.parse("ceph:pool-min-size=")
    assert params.apply(current, change, initialised=False).pool_min_size is None


# Merging


def test_new_values_replace_the_former_list():
    current = params.StorageParameters(disks=("/dev/sda", "/dev/sdb"))
    change = params.parse("ceph:disk=/dev/sdc")
    assert params.apply(current, change, initialised=True).disks == ("/dev/sdc",)


def test_options_are_merged_one_by_one():
    current = params.StorageParameters(conf=(("a_a", "1"), ("b_b", "2")))
    change = params.parse("ceph:conf.c_c=3,conf.a_a=,conf.b_b=4,conf.z_z=")
    merged = params.apply(current, change, initialised=False)
    assert merged.conf == (("b_b", "4"), ("c_c", "3"))


@pytest.mark.parametrize("declaration", params.DECLARATIONS, ids=NAMES)
def test_reset_gives_the_default(declaration):
    current = dataclasses.replace(
        DEFAULTS, **{declaration.field: OTHER[declaration.name]}
    )
    name = "conf.a_b" if declaration.name == CONF else declaration.name
    change = params.parse(f"ceph:{name}=")
    assert params.apply(current, change, initialised=False) == DEFAULTS


#: For each parameter a value that is not its default.
OTHER = {
    "disk": ("/dev/sdb",),
    "db-device": ("/dev/sdb",),
    "encrypt": True,
    "osd-layout": params.OsdLayout.RAW,
    "osd-memory": 4 * 2**30,
    "device-class": "ssd",
    "public-network": ipaddress.ip_network("10.0.0.0/24"),
    "cluster-network": ipaddress.ip_network("fd00::/64"),
    "mon-count": 1,
    "mgr-count": 1,
    "pool": "disks",
    "pool-size": 2,
    "pool-min-size": 1,
    "pool-pgs": 64,
    "failure-domain": params.FailureDomain.OSD,
    "access": params.Access.KERNELSPACE,
    "wipe": True,
    CONF: (("a_b", "1"),),
}

CHANGEABLE = {
    "disk",
    "db-device",
    "encrypt",
    "osd-layout",
    "osd-memory",
    "device-class",
    "mon-count",
    "mgr-count",
    "access",
    "wipe",
    CONF,
}


@pytest.mark.parametrize("declaration", params.DECLARATIONS, ids=NAMES)
def test_while_initialised_only_what_is_safe_changes(declaration):
    field, other = declaration.field, OTHER[declaration.name]
    wanted = dataclasses.replace(DEFAULTS, **{field: other})
    change = change_to(wanted)
    if declaration.name in CHANGEABLE:
        assert params.apply(DEFAULTS, change, initialised=True) == wanted
    else:
        with pytest.raises(errors.PrereqError) as caught:
            params.apply(DEFAULTS, change, initialised=True)
        assert change.settings[0].name in str(caught.value)
        assert declaration.why in str(caught.value)
    assert params.apply(DEFAULTS, change, initialised=False) == wanted
    # No change at all: what there is, or a default for what was never given.
    assert params.apply(wanted, change, initialised=True) == wanted


def test_reset_to_another_value_is_a_change_too():
    current = params.StorageParameters(pool="disks")
    with pytest.raises(errors.PrereqError):
        params.apply(current, params.parse("ceph:pool="), initialised=True)
    unchanged = params.parse("ceph:pool-size=")
    assert params.apply(current, unchanged, initialised=True) == current


def test_all_refused_parameters_are_named():
    change = params.parse("ceph:pool=a,disk=/dev/sdb,pool-size=4")
    with pytest.raises(errors.PrereqError, match=r"pool \(.*pool-size \("):
        params.apply(DEFAULTS, change, initialised=True)


# Tags


def test_tags_hold_what_was_given():
    assert params.to_tags(DEFAULTS) == frozenset()
    change = (
        "ceph:disk=/dev/sdb,disk=/dev/sdc,public-network=fd00::/64,mon-count=3,"
        "encrypt=yes,conf.osd_max_backfills=4294967296"
    )
    assert params.to_tags(parsed(change)) == {
        "ceph:disk:/dev/sdb",
        "ceph:disk:/dev/sdc",
        "ceph:public-network:fd00::/64",
        "ceph:encrypt:yes",
        "ceph:conf.osd_max_backfills:4294967296",
    }


def test_other_tags_are_left_alone():
    tags = ["owner:me", "ceph", "cephalopod:disk:x", "ceph:pool-size:2"]
    assert params.from_tags(tags) == params.StorageParameters(pool_size=2)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (
            ["ceph:colour:red"],
            ["'ceph:colour:red'", "upgrade", "remove-tags ceph:colour:red"],
        ),
        (["ceph:pool"], ["'ceph:pool'", "upgrade"]),
        (
            ["ceph:pool-size:11"],
            ["'ceph:pool-size:11'", "the most is 10", "remove-tags"],
        ),
        (["ceph:pool:"], ["the value is missing"]),
        (["ceph:conf.fsid:1"], ["set by ganeti-ceph itself"]),
        (["ceph:pool:a", "ceph:pool:b"], ["'ceph:pool:a'", "'ceph:pool:b'"]),
        (["ceph:conf.a_b:1", "ceph:conf.a_b:2"], ["contradict", "remove-tags"]),
    ],
)
def test_tags_that_cannot_be_used_are_named(tags, words):
    with pytest.raises(errors.PrereqError) as caught:
        params.from_tags(tags)
    for word in words:
        assert word in str(caught.value)


# Showing


def test_defaults_are_shown_as_ganeti_shows_them():
    shown = dict(params.describe(DEFAULTS))
    assert list(shown) == NAMES
    assert shown["pool-size"] == "default (3)"
    assert shown["encrypt"] == "default (no)"
    assert shown["disk"] == "default (none)"
    assert all(
        text.startswith("default (") and "()" not in text for text in shown.values()
    )


def test_given_values_are_shown():
    change = "ceph:disk=/dev/sdb,disk=/dev/sda,wipe=yes,conf.b_b=2,conf.a_a=1"
    shown = params.describe(parsed(change))
    assert ("disk", "/dev/sda, /dev/sdb") in shown
    assert ("wipe", "yes") in shown
    assert shown[-2:] == [("conf.a_a", "1"), ("conf.b_b", "2")]


# Declarations and the manual page


@pytest.mark.parametrize("declaration", params.DECLARATIONS, ids=NAMES)
def test_declarations_are_complete(declaration):
    description = declaration.description
    assert description[0].isupper() and description.endswith(".")
    assert ". " not in description, "one sentence"
    assert declaration.default_text
    assert declaration.why and not declaration.why.endswith(".")
    # What is shown as the default can also be given as a value, but for words.
    if not declaration.unset:
        parsed_default = declaration.kind.parse(declaration.default_text)
        assert parsed_default == declaration.default


def test_names_are_unique():
    assert len(set(NAMES)) == len(NAMES)


def test_manual_page_has_all_declarations():
    assert manual.text() in MAN_PAGE.read_text(encoding="utf-8"), (
        "put the output of 'python3 -m ganeti_ceph.params.manual' into the page"
    )


# Errors


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * 2**30),
        ("4g", 4 * 2**30),
        ("1024", 2**30),
        ("1536M", 1536 * 2**20),
        ("1T", 2**40),
        ("auto", None),
    ],
)
def test_memory_is_written_as_ganeti_writes_sizes(text, size):
    assert parsed(f"ceph:osd-memory={text}").osd_memory == size


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1023", "1023 is too small: the least is 1G"),
        ("1025G", "1025G is too large: the most is 1T"),
        ("999999999T", "is too large"),
        ("4GB", "'4GB' is not a size from 1G to 1T, such as 4G"),
        ("-1G", "is not a size"),
    ],
)
def test_other_memory_is_refused(text, complaint):
    with pytest.raises(params.ParameterError, match=complaint):
        parsed(f"ceph:osd-memory={text}")


def test_errors_end_programs_as_ganeti_does():
    kinds = [errors.UsageError, errors.PrereqError, errors.ExecError, errors.CephError]
    assert {kind.exit_code for kind in kinds} == {1}
    assert issubclass(params.ParameterError, errors.UsageError)


@pytest.mark.parametrize(
    "error",
    [errors.CephError("no such pool", 2), params.ParameterError("bad", "ceph:x", 5)],
)
def test_errors_survive_copies(error):
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_ceph_error_keeps_errno():
    error = errors.CephError("pool 'x' does not exist: create it", 2)
    assert (str(error), error.errno) == ("pool 'x' does not exist: create it", 2)


# Properties

#: Examples may take long on a busy machine.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def text_of(alphabet: str, longest: int = 20) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=longest)


ALNUM = "abcxyzABC019"
PATHS = st.lists(text_of(ALNUM + "-+:@*"), min_size=1, max_size=4).map(
    lambda parts: "/dev/" + "/".join([*parts[:-1], "x" + parts[-1]])
)
NETWORKS = st.one_of(
    st.builds(
        lambda number, length: ipaddress.ip_network((number, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, length: ipaddress.IPv6Network((number, length), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)
OPTIONS = text_of("abc_09").map(lambda text: "osd_" + text)


def values_of(kind: object) -> st.SearchStrategy[object]:
    """All values of a kind."""
    match kind:
        case YesNo():
            return st.booleans()
        case Choice(options):
            return st.sampled_from(list(options))
        case PowerOfTwo(_, most):
            return st.integers(0, most.bit_length() - 1).map(lambda power: 1 << power)
        case OddNumber(least):
            return st.integers(0, 1000).map(lambda number: least + 2 * number)
        case Memory(least, most):
            return st.integers(least >> 20, most >> 20).map(lambda size: size << 20)
        case Number(least, most):
            return st.integers(least, most or 1000)
        case Auto(inner):
            return st.none() | values_of(inner)
        case Name(further):
            rest = st.text(ALNUM + further, max_size=20)
            # As a name "auto" would be the other thing.
            return rest.map(lambda text: "n" + text)
        case Cidr():
            return NETWORKS
        case DevicePath():
            return PATHS
        case _:
            return text_of(ALNUM + "_.+*/:@-")


def field_values(declaration: params.Declaration) -> st.SearchStrategy[object]:
    values = values_of(declaration.kind)
    if declaration.name == CONF:
        options = st.dictionaries(OPTIONS, values, max_size=4)
        return options.map(lambda each: tuple(sorted(each.items())))
    if declaration.repeatable:
        several = st.lists(values, unique=True, max_size=4)
        return several.map(lambda each: tuple(sorted(each)))
    return st.just(declaration.default) | values


PARAMETERS = st.fixed_dictionaries(
    {
        declaration.field: field_values(declaration)
        for declaration in params.DECLARATIONS
    }
).map(lambda fields: params.StorageParameters(**fields))


def change_to(wanted: params.StorageParameters) -> params.Change:
    """The change from defaults to these parameters."""
    settings: list[params.Setting] = []
    for declaration in params.DECLARATIONS:
        value = getattr(wanted, declaration.field)
        if declaration.name == CONF:
            settings += [
                params.Setting(f"conf.{name}", (text,)) for name, text in value
            ]
        elif value != declaration.default:
            values = value if declaration.repeatable else (value,)
            settings.append(params.Setting(declaration.name, values))
    return params.Change(tuple(settings))


@patient
@given(PARAMETERS)
def test_parameters_survive_tags(parameters):
    tags = params.to_tags(parameters)
    assert all(len(tag) <= 128 and tag.isascii() for tag in tags)
    assert params.from_tags(tags) == parameters


@patient
@given(PARAMETERS.map(change_to).filter(lambda change: change.settings), st.data())
def test_change_survives_its_text(change, data):
    reset = data.draw(st.sets(st.sampled_from(change.settings)))
    change = dataclasses.replace(
        change,
        settings=tuple(
            dataclasses.replace(each, values=params.RESET) if each in reset else each
            for each in change.settings
        ),
    )
    again = params.parse(str(change))
    assert again == change
    assert str(again) == again.text


@patient
@given(PARAMETERS, PARAMETERS)
def test_merged_parameters_are_the_given_ones_and_valid(current, wanted):
    change = change_to(wanted)
    try:
        merged = params.apply(current, change, initialised=False)
    except errors.UsageError:
        return
    params.validate(merged)
    assert params.apply(merged, change, initialised=True) == merged
    tags = {tag for tag in params.to_tags(wanted) if not tag.startswith("ceph:conf.")}
    assert tags <= params.to_tags(merged)


PIECES = st.sampled_from(
    [
        *NAMES,
        *(
            "ceph:",
            "ceph",
            "conf.",
            "conf.a_b",
            "=",
            ",",
            ":",
            "/dev/sdb",
            "/dev/",
            "*",
        ),
        *(
            "auto",
            "yes",
            "3",
            "0",
            "10.0.0.0/8",
            "fd00::1/64",
            "/",
            "..",
            " ",
            "\t",
            "\n",
        ),
    ]
)
ARGUMENTS = st.text() | st.lists(PIECES | st.text(max_size=3)).map("".join)


@patient
@given(ARGUMENTS | ARGUMENTS.map(lambda text: "ceph:" + text))
def test_any_text_is_taken_or_refused_at_a_place_in_it(text):
    try:
        change = params.parse(text)
    except params.ParameterError as error:
        assert 0 <= error.column <= len(text)
        assert len(str(error).splitlines()) == 3
        return
    assert params.parse(str(change)) == change
    try:
        merged = params.apply(DEFAULTS, change, initialised=False)
    except params.ParameterError as error:
        assert 0 <= error.column <= len(text)
        return
    assert params.from_tags(params.to_tags(merged)) == merged


@patient
@given(st.text())
def test_any_tag_is_taken_or_refused(text):
    with contextlib.suppress(errors.PrereqError):
        params.from_tags(["ceph:" + text])
