"""The images: listed all, opened a few, and what is known of them meanwhile."""

import contextlib
import errno

import pytest
import rbd

from ganeti_ceph.collector import images
from ganeti_ceph.collector.facts import ImageIo
from ganeti_ceph.collector.images import Images
from ganeti_ceph.errors import CephError

IO = ImageIo(10.0, 1, 10, 0.1, 2, 20, 0.2)


class Pools:
    """A cluster whose pools hold images, by namespace."""

    def __init__(self):
        self.images = {"rbd": {"": ["a", "b", "c", "d"]}}
        self.opened = []
        self.broken = {}
        self.shared = set()

    def open_ioctx(self, pool):
        context = Context(self, pool)
        return contextlib.nullcontext(context)


class Context:
    def __init__(self, pools, pool):
        self.pools, self.pool, self.namespace = pools, pool, ""

    def set_namespace(self, namespace):
        self.namespace = namespace


class Listing:
    """What stands for :class:`rbd.RBD`."""

    def namespace_list(self, context):
        return [name for name in context.pools.images[context.pool] if name]

    def list(self, context):
        failure = context.pools.broken.get(context.pool)
        if failure:
            raise failure
        return context.pools.images[context.pool][context.namespace]


class Opened:
    """What stands for :class:`rbd.Image`, without snapshots."""

    def __init__(self, context, name, read_only):
        assert read_only, "it would count as a watcher"
        context.pools.opened.append(name)
        if name in context.pools.broken:
            raise context.pools.broken[name]
        self.pools = context.pools
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def size(self):
        return 1024

    def features(self):
        return 0

    def watchers_list(self):
        hosts = (1, 2) if self.name in self.pools.shared else (1,)
        return [{"addr": f"10.77.0.{host}:0/7"} for host in hosts]

    def list_snaps(self):
        return []

    def metadata_list(self):
        return [("ganeti.instance", f"of-{self.name}"), ("ganeti.disk", "0")]

    def list_lockers(self):
        lockers = [("client.7", "auto 1", "10.77.0.1:0/7")]
        return {"tag": "x", "exclusive": True, "lockers": lockers}


@pytest.fixture
def pools(monkeypatch):
    monkeypatch.setattr(images.rbd, "RBD", Listing)
    monkeypatch.setattr(images.rbd, "Image", Opened)
    return Pools()


@pytest.fixture
def clock():
    """A clock that goes on by one with each look at it."""
    return iter(range(100, 10_000)).__next__


def no_text():
    return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def names(found):
    return [one.name for one in found]


def looked_at(found):
    return [one.name for one in found if one.use]


def test_an_image_has_what_is_seen_when_it_is_open(pools, clock):
    first, *_ = Images(clock=clock).look(pools, ("rbd",), {("rbd", "", "a"): IO})
    assert (first.place, first.name, first.io) == ("rbd", "a", IO)
    assert first.use.instance == "of-a" and first.use.disk == "0"
    assert first.use.watchers == ("10.77.0.1",) and first.use.lock_owner == "10.77.0.1"
    assert (first.use.size, first.use.used) == (1024, None)


def test_all_are_listed_and_few_are_opened_in_turn(pools, clock):
    known = Images(limit=3, clock=clock)
    first = known.look(pools, ("rbd",), {})
    assert names(first) == ["a", "b", "c", "d"] and looked_at(first) == ["a", "b", "c"]
    pools.opened.clear()
    assert looked_at(known.look(pools, ("rbd",), {})) == ["a", "b", "c", "d"]
    assert pools.opened == ["d", "a", "b"]
    pools.images["rbd"][""].append("new")
    pools.opened.clear()
    known.look(pools, ("rbd",), {})
    assert pools.opened == ["new", "c", "d"]


def test_those_that_are_open_at_several_nodes_come_first(pools, clock):
    pools.shared = {"a"}
    known = Images(limit=2, clock=clock)
    for _ in range(3):
        known.look(pools, ("rbd",), {})
    assert pools.opened == ["a", "b", "a", "c", "a", "d"]
    # It is seen at once that a migration ended, and then it has its turn like others.
    pools.shared.clear()
    pools.opened.clear()
    assert known.look(pools, ("rbd",), {})[0].use.watchers == ("10.77.0.1",)
    known.look(pools, ("rbd",), {})
    assert pools.opened == ["a", "b", "c", "d"]


def test_those_that_are_open_at_several_nodes_leave_half_to_others(pools, clock):
    pools.shared = {"a", "b", "c"}
    known = Images(limit=2, clock=clock)
    for _ in range(4):
        known.look(pools, ("rbd",), {})
    assert looked_at(known.look(pools, ("rbd",), {})) == ["a", "b", "c", "d"]


def test_one_that_is_open_at_several_nodes_and_stuck_ends_not_each_round(pools, clock):
    pools.shared = {"a"}
    known = Images(clock=clock)
    known.look(pools, ("rbd",), {})
    pools.broken["a"] = rbd.OSError("slow", errno=errno.ETIMEDOUT)
    pools.opened.clear()
    for _ in range(2):
        known.look(pools, ("rbd",), {})
    assert pools.opened == ["a", "b", "c", "d", "a"]


def test_no_more_are_opened_when_the_time_is_over(pools, clock):
    assert looked_at(Images(seconds=-1, clock=clock).look(pools, ("rbd",), {})) == []
    assert len(Images(limit=None, clock=clock).look(pools, ("rbd",), {})) == 4


def test_an_image_that_is_gone_is_forgotten(pools, clock):
    known = Images(clock=clock)
    known.look(pools, ("rbd",), {})
    pools.images["rbd"][""].remove("b")
    assert names(known.look(pools, ("rbd",), {})) == ["a", "c", "d"]
    # Listed, and removed before it was opened.
    pools.broken["c"] = rbd.ImageNotFound("gone", errno=errno.ENOENT)
    assert names(known.look(pools, ("rbd",), {})) == ["a", "d"]


def test_one_that_cannot_be_opened_says_why_and_has_its_turn_like_others(pools, clock):
    known = Images(limit=2, clock=clock)
    pools.broken["a"] = rbd.PermissionError("no", errno=errno.EPERM)
    first = known.look(pools, ("rbd",), {})[0]
    assert first.error == "Operation not permitted" and first.use is None
    pools.opened.clear()
    known.look(pools, ("rbd",), {})
    assert pools.opened == ["c", "d"]
    pools.broken.clear()
    first = known.look(pools, ("rbd",), {})[0]
    assert first.error is None and first.use


def test_bytes_that_are_no_text_are_the_fault_of_one_image(pools, clock):
    pools.broken["b"] = no_text()
    found = Images(clock=clock).look(pools, ("rbd",), {})
    assert looked_at(found) == ["a", "c", "d"]
    assert found[1].error == (
        "bytes that are not UTF-8 in its metadata or its snapshots' names"
    )


def test_a_name_that_is_no_text_is_said(pools, clock):
    pools.broken["rbd"] = no_text()
    with pytest.raises(CephError, match="not UTF-8 in a name"):
        Images(clock=clock).look(pools, ("rbd",), {})


def test_one_that_is_stuck_ends_the_round_and_hides_no_other(pools, clock):
    pools.broken["b"] = rbd.OSError("slow", errno=errno.ETIMEDOUT)
    known = Images(clock=clock)
    found = known.look(pools, ("rbd",), {})
    assert names(found) == ["a", "b", "c", "d"] and looked_at(found) == ["a"]
    assert found[1].error == "Connection timed out"
    assert pools.opened == ["a", "b"]
    found = known.look(pools, ("rbd",), {})
    assert looked_at(found) == ["a", "c", "d"]
    assert pools.opened == ["a", "b", "c", "d", "a", "b"]


def test_a_client_that_was_shut_out_opens_no_more(pools, clock):
    pools.broken["b"] = rbd.OSError("out", errno=errno.ESHUTDOWN)
    with pytest.raises(CephError, match="cannot open the image rbd/b") as caught:
        Images(clock=clock).look(pools, ("rbd",), {})
    assert caught.value.errno == errno.ESHUTDOWN
    assert pools.opened == ["a", "b"]


def test_a_pool_that_cannot_be_listed_is_named(pools, clock):
    pools.broken["rbd"] = rbd.PermissionError("no", errno=errno.EPERM)
    with pytest.raises(CephError, match="cannot list the images in the pool rbd"):
        Images(clock=clock).look(pools, ("rbd",), {})


def test_a_pool_that_cannot_be_listed_hides_no_other(pools, clock):
    pools.images["ssd"] = {"": ["z"]}
    known = Images(clock=clock)
    assert names(known.look(pools, ("rbd", "ssd"), {})) == ["a", "b", "c", "d", "z"]
    pools.images["ssd"][""].append("y")
    pools.broken["rbd"] = no_text()
    found = known.look(pools, ("rbd", "ssd"), {})
    # What was known of it may be so still.
    assert names(found) == ["a", "b", "c", "d", "y", "z"]
    assert "in the pool rbd" in str(known.unlisted["rbd"])
    del pools.broken["rbd"]
    pools.images["rbd"][""].remove("a")
    assert names(known.look(pools, ("rbd", "ssd"), {})) == ["b", "c", "d", "y", "z"]
    assert known.unlisted == {}


def test_a_pool_that_could_not_be_listed_and_is_gone_is_forgotten(pools, clock):
    pools.images["ssd"] = {"": ["z"]}
    pools.broken["ssd"] = no_text()
    known = Images(clock=clock)
    known.look(pools, ("rbd", "ssd"), {})
    assert "ssd" in known.unlisted
    assert names(known.look(pools, ("rbd",), {})) == ["a", "b", "c", "d"]
    assert known.unlisted == {}


def test_a_pool_that_is_stuck_is_waited_for_once_a_minute(pools, clock, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(images.time, "monotonic", lambda: now[0])
    listed = []
    monkeypatch.setattr(
        Listing, "namespace_list", lambda _, context: listed.append(context.pool) or []
    )
    pools.images["ssd"] = {"": ["z"]}
    pools.broken["rbd"] = rbd.OSError("slow", errno=errno.ETIMEDOUT)
    known = Images(clock=clock)
    for seconds in (0, 15, 44):
        now[0] += seconds
        assert names(known.look(pools, ("rbd", "ssd"), {})) == ["z"]
        assert "rbd" in known.unlisted
    assert listed.count("rbd") == 1
    now[0] += 1
    del pools.broken["rbd"]
    assert len(known.look(pools, ("rbd", "ssd"), {})) == 5
    assert known.unlisted == {}


@pytest.mark.parametrize(("limit", "at_once"), [(64, 3), (None, 4)])
def test_slow_pools_are_listed_in_turns(pools, clock, monkeypatch, limit, at_once):
    now = [1000.0]
    monkeypatch.setattr(images.time, "monotonic", lambda: now[0])
    listed = []

    def slowly(_, context):
        listed.append(context.pool)
        now[0] += 2.5
        return []

    monkeypatch.setattr(Listing, "namespace_list", slowly)
    pools.images = {name: {"": [name]} for name in "stuv"}
    known = Images(limit, clock=clock)
    found = known.look(pools, "stuv", {})
    assert names(found) == listed == list("stuv")[:at_once]
    if limit is None:
        assert known.unlisted == {}
        return
    assert str(known.unlisted["v"]) == (
        "no time was left to list the images in the pool v: others took long"
    )
    listed.clear()
    assert names(known.look(pools, "stuv", {})) == list("stuv")
    assert listed == list("vst")
    assert list(known.unlisted) == ["u"]


def test_of_pools_that_are_all_stuck_one_is_waited_for_at_a_time(
    pools, clock, monkeypatch
):
    now = [1000.0]
    monkeypatch.setattr(images.time, "monotonic", lambda: now[0])
    listed = []

    def in_vain(_, context):
        listed.append(context.pool)
        now[0] += 10
        raise rbd.OSError("slow", errno=errno.ETIMEDOUT)

    monkeypatch.setattr(Listing, "namespace_list", in_vain)
    pools.images = {name: {"": [name]} for name in "stuv"}
    known = Images(clock=clock)
    for count in range(1, 9):
        with pytest.raises(CephError):
            known.look(pools, "stuv", {})
        assert len(listed) == count
        assert known.unlisted.keys() == {*"stuv"}
        now[0] += 15
    assert listed == list("stuvstuv")


def test_a_client_that_was_shut_out_lists_no_more(pools, clock):
    pools.images["ssd"] = {"": ["z"]}
    pools.broken["rbd"] = rbd.OSError("out", errno=errno.ESHUTDOWN)
    with pytest.raises(CephError) as caught:
        Images(clock=clock).look(pools, ("rbd", "ssd"), {})
    assert caught.value.errno == errno.ESHUTDOWN


def test_namespaces_and_pools_are_looked_into(pools, clock):
    pools.images = {"rbd": {"": ["a"], "mine": ["a"]}, "ssd": {"": ["z"]}}
    found = Images(clock=clock).look(pools, ("ssd", "rbd"), {})
    assert [(one.place, one.name) for one in found] == [
        ("rbd", "a"),
        ("rbd/mine", "a"),
        ("ssd", "z"),
    ]


def test_rates_come_of_two_readings_in_a_row(pools, clock):
    known, key = Images(clock=clock), ("rbd", "", "a")
    assert known.look(pools, ("rbd",), {key: IO})[0].rates is None
    later = ImageIo(20.0, 11, 110, 0.1, 2, 20, 0.2)
    rates = known.look(pools, ("rbd",), {key: later})[0].rates
    assert (rates.read_bytes, rates.read_ops, rates.write_ops) == (10.0, 1.0, 0.0)
    # Ceph tells of the busiest only.
    quiet = known.look(pools, ("rbd",), {})[0]
    assert quiet.io is None and quiet.rates is None and quiet.use
