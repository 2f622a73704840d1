"""Images: what exists is not lost, what is in use stays, failures say what to do."""

import errno

import pytest
import rados
import rbd
from fakes import FakeImage, FakeOpenImage, FakeRados, FakeSnapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganeti_ceph.disk import image
from ganeti_ceph.disk.options import USUAL_FEATURES, DiskOptions
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.facts import ImageFacts

WEB = Volume("vms", "web")
LOST = Volume("lost", "web")
BLUE = Volume("vms", "web", "blue")
PLAIN = DiskOptions()


@pytest.fixture
def web(images):
    """An image of 12 bytes."""
    images["web"] = FakeImage(content=b"x" * 12)
    return images["web"]


def failure(function, *arguments):
    with pytest.raises(CephError) as caught:
        function(*arguments)
    return caught.value


every_function = pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (image.create, (1, PLAIN)),
        (image.size, ()),
        (image.features, ()),
        (image.look, ()),
        (lambda volume: image.ids(volume.place), {}),
        (lambda volume: image.sizes(volume.place, ["web"]), ()),
        (lambda volume: image.watchers(volume.place, ["web"]), ()),
        (lambda volume: image.descriptions(volume.place, ["web"]), ()),
        (image.describe, ({"a": "b"},)),
        (image.grow, (1,)),
        (image.remove, ()),
        (image.wipe, (0, 1)),
        (lambda volume: list(image.read(volume)), ()),
        (image.write, ([b"x"],)),
    ],
)


@every_function
def test_a_pool_that_is_missing_is_named_with_the_command_that_names_another(
    storage, function, arguments
):
    err = failure(function, LOST, *arguments)
    assert "no pool lost" in str(err)
    assert "gnt-cluster modify -D rbd:pool=" in str(err)
    assert err.errno == errno.ENOENT


@every_function
def test_a_cluster_that_does_not_answer_is_an_error(storage, web, function, arguments):
    storage.reachable = False
    assert "cannot connect" in str(failure(function, WEB, *arguments))


@every_function
def test_a_namespace_that_is_missing_is_named_with_the_command_that_makes_it(
    images, function, arguments
):
    err = failure(function, BLUE, *arguments)
    assert "the pool vms has no namespace blue" in str(err)
    assert "'rbd namespace create vms/blue'" in str(err)
    assert err.errno == errno.ENOENT
    assert images == {}


@every_function
def test_only_the_image_in_the_namespace_is_meant(storage, web, function, arguments):
    blue = storage.images["vms/blue"] = {"web": FakeImage(2)}
    before = vars(web).copy()
    if function is image.create:
        blue.clear()
    function(BLUE, *arguments)
    assert vars(web) == before


@every_function
def test_the_user_and_the_configuration_are_the_volume_s(storage, function, arguments):
    storage.reachable = False
    failure(function, Volume("vms", "web", "", "joe", "/etc/far"), *arguments)
    assert storage.clients == [("/etc/far", "client.joe")]


# Making


def test_a_new_image_has_its_size_and_what_suits_qemu_and_the_kernel(images):
    image.create(WEB, 5, PLAIN)
    made = images["web"]
    assert made.data == bytes(5)
    assert (made.order, made.stripes, made.data_pool) == (22, (0, 0), None)
    assert image.features(WEB) == USUAL_FEATURES


@pytest.mark.parametrize(
    "names",
    [
        ("layering",),
        ("layering", "exclusive-lock", "journaling"),
        (*USUAL_FEATURES, "journaling"),
    ],
)
def test_a_new_image_has_the_features_that_are_asked_for(images, names):
    image.create(WEB, 5, DiskOptions(features=names))
    assert image.features(WEB) == names


@pytest.mark.parametrize(
    ("size", "order"), [(0, 22), (2**12, 12), (2**23, 23), (2**25, 25)]
)
def test_a_new_image_has_objects_of_the_size_that_is_asked_for(images, size, order):
    image.create(WEB, 5, DiskOptions(object_size=size))
    assert images["web"].order == order


def test_a_new_image_has_the_stripes_that_are_asked_for(images):
    image.create(WEB, 5, DiskOptions(stripe_unit=2**16, stripe_count=4))
    assert images["web"].stripes == (2**16, 4)


@pytest.mark.parametrize(
    "options",
    [
        DiskOptions(stripe_unit=2**16),
        DiskOptions(stripe_count=4),
        DiskOptions(stripe_unit=2**23, stripe_count=4),
    ],
)
def test_stripes_that_do_not_fit_make_no_image(storage, images, options):
    err = failure(image.create, WEB, 5, options)
    assert str(err).startswith("cannot create the image vms/web: ")
    assert "stripe-unit" in str(err)
    assert err.errno == errno.EINVAL
    assert images == {}
    assert storage.connections == 0


def test_a_new_image_has_its_data_in_another_pool(storage, images):
    storage.images["ec"] = {}
    image.create(WEB, 5, DiskOptions(data_pool="ec"))
    assert images["web"].data_pool == "ec"
    assert image.features(WEB) == (*USUAL_FEATURES, "data-pool")
    assert storage.connections == 2


def test_a_data_pool_that_is_missing_is_named(storage, images):
    err = failure(image.create, WEB, 5, DiskOptions(data_pool="ec"))
    assert "no pool ec" in str(err)
    assert err.errno == errno.ENOENT
    assert images == {}


def test_an_image_that_exists_is_left_as_it_is(web):
    err = failure(image.create, WEB, 5, PLAIN)
    assert err.errno == errno.EEXIST
    assert "rbd rm vms/web" in str(err)
    assert web.data == b"x" * 12


# Size


def test_the_size_is_in_bytes(web):
    assert image.size(WEB) == 12


def test_an_image_that_is_missing_has_no_size(images):
    assert image.size(WEB) is None


def test_an_image_that_cannot_be_opened_is_not_a_missing_one(web):
    web.broken = rbd.PermissionError("no", errno.EPERM)
    err = failure(image.size, WEB)
    assert err.errno == errno.EPERM
    assert "cannot open the image vms/web" in str(err)


# Looking


@pytest.fixture
def lived_in(web):
    """An image of five objects, of which some hold data; others use it."""
    web.data = bytearray(b"x" * 4096 + bytes(8192) + b"y" + bytes(4096 + 9))
    web.order = 12
    web.holes = {1}
    web.watchers = ["192.0.2.2:0/1", "192.0.2.1:0/7", "192.0.2.2:0/9"]
    web.snapshots = [FakeSnapshot("monday"), FakeSnapshot("tuesday")]
    web.metadata = {"instance": "web1", "disk": "0"}
    return web


def test_all_there_is_to_know_of_an_image(lived_in):
    facts = image.look(WEB)
    assert facts == ImageFacts(
        size=4 * 4096 + 10,
        used=2 * 4096,
        features=USUAL_FEATURES,
        watchers=("192.0.2.1", "192.0.2.2"),
        snapshots=("monday", "tuesday"),
        metadata=(("disk", "0"), ("instance", "web1")),
    )


def test_the_last_object_counts_as_far_as_the_image_goes(lived_in):
    lived_in.data[-1] = 1
    assert image.look(WEB).used == 2 * 4096 + 10


def test_what_a_clone_shares_with_its_origin_is_the_origins(web, images):
    image.clone([(WEB, "first")])
    clone = images["first"]
    assert image.look(Volume("vms", "first")).used == 0
    clone.data[:] = b"other bytes."
    assert image.look(Volume("vms", "first")).used == len(clone.data)


def test_what_is_used_is_unknown_where_every_object_would_be_looked_at(lived_in):
    lived_in.features = rbd.RBD_FEATURE_LAYERING
    assert image.look(WEB).used is None


@pytest.mark.parametrize(
    "flag", [rbd.RBD_FLAG_OBJECT_MAP_INVALID, rbd.RBD_FLAG_FAST_DIFF_INVALID]
)
def test_an_object_map_that_is_invalid_is_not_asked(lived_in, flag):
    lived_in.flags = flag
    assert image.look(WEB).used is None


def test_an_empty_image_can_be_looked_at(images):
    images["web"] = FakeImage(0)
    assert image.look(WEB) == ImageFacts(0, 0, USUAL_FEATURES, (), (), ())


def test_an_image_that_is_missing_is_no_failure_of_a_look(images):
    assert image.look(WEB) is None


def test_an_image_that_cannot_be_looked_at_is_not_a_missing_one(web):
    web.broken = rbd.PermissionError("no", errno.EPERM)
    assert failure(image.look, WEB).errno == errno.EPERM


def test_an_image_that_is_missing_has_no_features(images):
    assert failure(image.features, WEB).errno == errno.ENOENT


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.1:0/123", "192.0.2.1"),
        ("[2001:db8::1]:0/3", "2001:db8::1"),
    ],
)
def test_a_watcher_is_named_by_its_host(web, address, host):
    web.watchers = [address]
    assert image.look(WEB).watchers == (host,)


def test_all_images_beside_are_named_in_one_question(storage, images):
    images.update(web=FakeImage(), other=FakeImage())
    storage.images["vms/blue"] = {"third": FakeImage()}
    assert image.ids(WEB.place).keys() == {"web", "other"}
    assert image.ids(BLUE.place) == {"third": storage.images["vms/blue"]["third"].id}
    assert storage.connections == 2


def test_what_cannot_be_listed_is_named_with_its_place(storage, images):
    storage.images["vms/blue"] = {}
    storage.failures["list"] = rbd.OSError("no", errno.EIO)
    err = failure(image.ids, BLUE.place)
    assert str(err) == "cannot list the images in vms/blue: Input/output error"


def test_the_pool_with_the_data_is_named(storage, images):
    storage.images["cold"] = {}
    storage.images["ec"] = {}
    image.create(WEB, 5, DiskOptions(data_pool="ec"))
    before = storage.connections
    facts = image.look(WEB)
    assert (facts.data_pool, facts.features) == ("ec", (*USUAL_FEATURES, "data-pool"))
    assert storage.connections == before + 1


def test_the_storage_cluster_is_not_asked_for_the_pool_of_an_image_s_own(
    storage, web, monkeypatch
):
    monkeypatch.setattr(
        FakeRados, "pool_reverse_lookup", lambda *_: pytest.fail("it was asked")
    )
    assert image.look(WEB).data_pool == ""


def test_the_collector_s_look_asks_for_no_pool(storage, images, monkeypatch):
    storage.images["ec"] = {}
    image.create(WEB, 5, DiskOptions(data_pool="ec"))
    for function in (FakeOpenImage, "data_pool_id"), (FakeRados, "pool_reverse_lookup"):
        monkeypatch.setattr(*function, lambda *_: pytest.fail("it was asked"))
    with image.within(WEB.place, "look") as pool, FakeOpenImage(pool, "web") as opened:
        assert image.look_inside(opened).data_pool == ""


def test_a_pool_with_the_data_that_is_gone_is_said(storage, images):
    storage.images["ec"] = {}
    image.create(WEB, 5, DiskOptions(data_pool="ec"))
    del storage.images["ec"]
    err = failure(image.look, WEB)
    assert str(err) == "cannot open the image vms/web: the pool with its data is gone"
    assert err.errno == errno.ENOENT


# Looking at many


MANY = [f"disk{number}" for number in range(40)]


@pytest.fixture
def many(images):
    """Images whose sizes are their numbers."""
    for number, name in enumerate(MANY):
        images[name] = FakeImage(number)
    return images


def test_many_images_are_looked_at_over_one_connection(storage, many):
    sizes = image.sizes(WEB.place, iter(MANY))
    assert sizes == {name: number for number, name in enumerate(MANY)}
    assert storage.connections == 1


def test_looking_at_no_image_is_no_failure(images):
    assert image.sizes(WEB.place, []) == {}


def test_only_the_images_of_the_place_are_looked_at(storage, many):
    storage.images["vms/blue"] = {"disk3": FakeImage(99)}
    assert image.sizes(BLUE.place, ["disk3", "disk4"]) == {"disk3": 99}


def test_many_images_tell_their_watchers_and_what_they_are_for(many):
    many["disk1"].watchers = ["192.0.2.2:0/1", "192.0.2.1:0/7", "192.0.2.2:0/9"]
    many["disk2"].metadata = {"instance": "web1"}
    asked = ["disk1", "disk2", "lost"]
    found = image.watchers(WEB.place, asked)
    assert set(found.pop("disk1")) == {"192.0.2.1", "192.0.2.2"}
    assert found == {"disk2": ()}
    assert image.descriptions(WEB.place, asked) == {
        "disk1": {},
        "disk2": {"instance": "web1"},
    }


def test_one_image_that_cannot_be_opened_hides_no_other(many):
    many["disk1"].broken = rbd.PermissionError("no", errno.EPERM)
    found = image.sizes(WEB.place, ["disk1", "disk2"])
    assert found["disk2"] == 2
    assert found["disk1"].errno == errno.EPERM
    assert str(found["disk1"]) == (
        "the image vms/disk1 cannot be opened: Operation not permitted"
    )


def test_a_cluster_that_does_not_answer_is_waited_for_once(many):
    many["disk0"].broken = rbd.Timeout("no", errno.ETIMEDOUT)
    err = failure(image.sizes, WEB.place, MANY)
    assert err.errno == errno.ETIMEDOUT
    assert str(err) == (
        "cannot look at the images in vms: no answer from the OSDs within 20 s; look at"
        " 'ceph -s'"
    )


# Describing


def test_what_an_image_is_for_is_written_down_beside_what_is_there(web):
    web.metadata = {"conf_rbd_cache": "false"}
    image.describe(WEB, {"instance": "web1", "disk": "0"})
    assert web.metadata == {"conf_rbd_cache": "false", "instance": "web1", "disk": "0"}


def test_only_what_has_changed_is_written(web):
    web.metadata = {"instance": "web1", "disk": "0"}
    image.describe(WEB, {"instance": "web1", "disk": "1"})
    assert web.described == ["disk"]
    assert web.metadata["disk"] == "1"


def test_an_image_that_is_missing_is_not_described(images):
    err = failure(image.describe, WEB, {"a": "b"})
    assert "cannot describe the image vms/web" in str(err)


# Growing


@pytest.mark.parametrize(("wanted", "size"), [(11, 12), (12, 12), (13, 13)])
def test_an_image_only_ever_grows(web, wanted, size):
    assert image.grow(WEB, wanted) == size
    assert web.data == (b"x" * 12).ljust(size, b"\0")


def test_an_image_that_is_missing_does_not_grow(images):
    assert failure(image.grow, WEB, 5).errno == errno.ENOENT
    assert images == {}


# Removing


def test_an_image_nobody_has_open_is_removed(web, images):
    image.remove(WEB)
    assert images == {}


def test_an_image_that_is_gone_is_no_failure(images):
    image.remove(WEB)


def test_other_images_stay(web, images):
    images["other"] = FakeImage(5)
    image.remove(WEB)
    assert set(images) == {"other"}


def test_an_image_in_use_stays_and_the_hosts_are_named_once(web, images):
    web.watchers = [
        "192.0.2.2:0/1",
        "192.0.2.1:0/7",
        "192.0.2.2:0/9",
        "[2001:db8::1]:0/3",
    ]
    err = failure(image.remove, WEB)
    assert err.errno == errno.EBUSY
    assert "in use at 192.0.2.1, 192.0.2.2, 2001:db8::1;" in str(err)
    assert "forgotten after 30 s" in str(err)
    assert "web" in images


@pytest.mark.parametrize(
    ("grace", "function"), [(0, "remove"), (5, "trash_move")], ids=["gone", "trash"]
)
def test_an_image_opened_since_the_look_stays(storage, web, images, grace, function):
    storage.failures[function] = rbd.ImageBusy("no", errno.EBUSY)
    err = failure(image.remove, WEB, grace)
    assert err.errno == errno.EBUSY
    assert "the image vms/web is in use; stop" in str(err)
    assert "web" in images


@pytest.mark.parametrize("grace", [0, 5])
def test_an_image_with_snapshots_stays(web, images, grace):
    web.snapshots = [FakeSnapshot("monday"), FakeSnapshot("tuesday")]
    err = failure(image.remove, WEB, grace)
    assert err.errno == errno.ENOTEMPTY
    assert "has the snapshots monday, tuesday;" in str(err)
    assert "'rbd snap rm vms/web@NAME'" in str(err)
    assert "web" in images


@pytest.mark.parametrize("grace", [0, 5])
def test_an_image_with_clones_stays_and_they_are_named(web, images, grace):
    web.snapshots = [
        FakeSnapshot("monday", clones=[("vms", "", "b", False)]),
        FakeSnapshot(
            "tuesday", clones=[("hdd", "blue", "a", False), ("vms", "", "c", True)]
        ),
    ]
    err = failure(image.remove, WEB, grace)
    assert err.errno == errno.ENOTEMPTY
    assert "has the clones hdd/blue/a, vms/b, vms/c (in the trash);" in str(err)
    assert "'rbd flatten'" in str(err)
    assert "web" in images


def test_an_image_with_a_clone_of_a_removed_snapshot_is_not_taken_for_gone(web, images):
    web.snapshots = [
        FakeSnapshot(
            "0b1c", rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH, [("vms", "", "b", False)]
        )
    ]
    assert "has the clones vms/b;" in str(failure(image.remove, WEB))
    assert "web" in images


@pytest.fixture
def two(storage, web):
    """Two images in two pools, in use."""
    storage.images["hdd"] = {"data": FakeImage(content=b"y" * 4)}
    data = storage.images["hdd"]["data"]
    web.watchers, data.watchers = ["192.0.2.2:0/1"], ["192.0.2.2:0/1"]
    web.metadata = {"ganeti.instance": "web1"}
    return (WEB, "first"), (Volume("hdd", "data"), "second")


def test_clones_hold_what_images_in_use_held(storage, web, images, two):
    image.clone(two)
    web.data[:] = b"z" * 12
    first, second = images["first"], storage.images["hdd"]["second"]
    assert (bytes(first.data), bytes(second.data)) == (b"x" * 12, b"y" * 4)
    # So that a clone that is left over tells whose it is.
    assert first.metadata == {"ganeti.instance": "web1"}
    assert image.look(WEB).snapshots == ()
    web.watchers = []
    assert "has the clones vms/first;" in str(failure(image.remove, WEB))


def test_with_its_clone_an_image_loses_its_snapshot(web, images, two):
    image.clone(two)
    image.remove(Volume("vms", "first"))
    assert web.snapshots == []
    assert list(images) == ["web"]


@pytest.mark.parametrize("function", ["create_snap", "clone"])
def test_if_one_clone_fails_none_is_left(storage, web, images, two, function):
    data = storage.images["hdd"]["data"]
    if function == "create_snap":
        data.snapshots = [FakeSnapshot("second")]
    else:
        storage.images["hdd"]["second"] = FakeImage(content=b"another's")
    failure(image.clone, two)
    assert list(images) == ["web"]
    assert web.snapshots == []
    kept = storage.images["hdd"].get("second")
    assert kept is None or bytes(kept.data) == b"another's"
    assert [one.name for one in data.snapshots] == (
        ["second"] if function == "create_snap" else []
    )


@pytest.fixture
def snapshot_all(web, storage, two):
    """Make all snapshots, as somebody else does who has the images open."""

    def snapshot_all():
        origins = (web, storage.images["hdd"]["data"])
        for of, (_, name) in zip(origins, two, strict=True):
            of.snapshots.append(FakeSnapshot(name, content=bytes(of.data)))

    return snapshot_all


def test_clones_are_made_of_anothers_snapshots(storage, web, images, two, snapshot_all):
    def make():
        snapshot_all()
        web.data[:] = b"z" * 12

    image.clone(two, make)
    first, second = images["first"], storage.images["hdd"]["second"]
    assert (bytes(first.data), bytes(second.data)) == (b"x" * 12, b"y" * 4)
    assert image.look(WEB).snapshots == ()
    assert image.look(two[1][0]).snapshots == ()


@pytest.mark.parametrize("late", [False, True])
def test_of_anothers_snapshots_none_is_left_if_it_fails(
    storage, web, images, two, snapshot_all, late
):
    def make():
        if late:
            snapshot_all()
        raise ExecError("QEMU: no")

    with pytest.raises(ExecError, match="QEMU: no"):
        image.clone(two, make)
    assert list(images) == ["web"]
    assert web.snapshots == storage.images["hdd"]["data"].snapshots == []


def test_what_cannot_be_cloned_is_said_before_anything_is_made(web, images, two):
    web.features &= ~rbd.RBD_FEATURE_LAYERING
    assert "vms/web cannot be cloned" in str(failure(image.clone, two))
    assert "vms/web cannot be cloned" in str(failure(image.clone, two, list))
    assert web.snapshots == []
    assert list(images) == ["web"]


def test_a_clone_has_no_journal_of_its_own(web, images, two):
    web.features |= rbd.RBD_FEATURE_JOURNALING
    image.clone(two)
    assert image.features(Volume("vms", "first")) == USUAL_FEATURES


def test_who_has_it_open_is_said_before_what_hangs_on_it(web):
    web.watchers = ["192.0.2.2:0/1"]
    web.snapshots = [FakeSnapshot("monday", clones=[("vms", "", "b", False)])]
    assert failure(image.remove, WEB).errno == errno.EBUSY


def test_with_a_grace_an_image_goes_to_the_trash_for_so_long(storage, web, images):
    image.remove(WEB, 3600)
    assert images == {}
    (kept,) = storage.trash["vms"].values()
    assert (kept.name, kept.image) == ("web", web)
    assert kept.until - kept.removed == 3600


def test_without_a_grace_nothing_goes_to_the_trash(storage, web, images):
    image.remove(WEB, 0)
    assert images == storage.trash == {}


@pytest.mark.parametrize("grace", [0, 5])
@pytest.mark.parametrize("function", ["open", "remove", "trash_move", "list_snaps"])
def test_what_stands_in_the_way_of_removing_is_said(
    storage, web, images, function, grace
):
    storage.failures[function] = rbd.OSError("no", errno.EIO)
    if function == ("trash_move" if not grace else "remove"):
        image.remove(WEB, grace)
        assert images == {}
        return
    err = failure(image.remove, WEB, grace)
    assert str(err) == "cannot remove the image vms/web: Input/output error"
    assert "web" in images


# Copying


HDD = Volume("hdd", "web")


@pytest.fixture
def hdd(storage):
    """The images of another pool, beside one for data."""
    storage.images["ec"] = {}
    return storage.images.setdefault("hdd", {})


def test_a_copy_is_whole_and_its_origin_stays(web, images, hdd):
    web.metadata = {"instance": "web1"}
    web.snapshots = [FakeSnapshot("monday")]
    image.copy(WEB, HDD, "")
    assert list(hdd) == list(images) == ["web"]
    assert hdd["web"].data == b"x" * 12
    assert hdd["web"].metadata == {"instance": "web1"}
    assert [one.name for one in hdd["web"].snapshots] == ["monday"]
    assert image.features(HDD) == USUAL_FEATURES


@pytest.mark.parametrize("data_pool", ["", "ec"])
def test_the_data_of_a_copy_is_where_it_is_asked_for(storage, hdd, data_pool):
    image.create(WEB, 5, DiskOptions(data_pool="ec"))
    image.copy(WEB, HDD, data_pool)
    assert image.look(HDD).data_pool == data_pool


@pytest.mark.parametrize(
    "bit", [rbd.RBD_FEATURE_OPERATIONS, rbd.RBD_FEATURE_STRIPINGV2]
)
def test_what_ceph_sets_by_itself_is_not_asked_for(web, hdd, bit):
    # As of a clone, or of a member of a group.
    web.features |= bit
    image.copy(WEB, HDD, "")
    assert hdd["web"].features == web.features & ~bit


def test_all_features_that_may_be_asked_for_are_kept(images, hdd):
    image.create(WEB, 5, DiskOptions(features=(*USUAL_FEATURES, "journaling")))
    image.copy(WEB, HDD, "")
    assert image.features(HDD) == (*USUAL_FEATURES, "journaling")


def test_an_image_in_use_is_not_copied(web, hdd):
    web.watchers = ["192.0.2.1:0/7"]
    err = failure(image.copy, WEB, HDD, "")
    assert err.errno == errno.EBUSY
    assert hdd == {}


def test_an_image_gets_another_name(web, images):
    image.rename(WEB, "db")
    assert images == {"db": web}


@pytest.mark.parametrize(
    ("watchers", "there", "number", "said"),
    [
        (["192.0.2.1:0/7"], True, errno.EBUSY, "vms/web is in use at 192.0.2.1"),
        ([], True, errno.EEXIST, "vms/db"),
        ([], False, errno.ENOENT, "cannot rename the image vms/web"),
    ],
    ids=["in use", "taken", "missing"],
)
def test_an_image_that_cannot_have_a_name_keeps_its_own(
    web, images, watchers, there, number, said
):
    web.watchers = watchers
    images["db"] = FakeImage(content=b"y")
    if not there:
        del images["web"]
    before = dict(images)
    err = failure(image.rename, WEB, "db")
    assert (err.errno, said in str(err)) == (number, True)
    assert images == before


UNFINISHED = f"web{image.UNFINISHED}"


def test_a_copy_that_was_cut_short_is_made_anew(web, hdd):
    hdd[UNFINISHED] = FakeImage(content=b"y")
    hdd[UNFINISHED].snapshots = [FakeSnapshot("monday")]
    image.copy(WEB, HDD, "")
    assert list(hdd) == ["web"]
    assert hdd["web"].data == b"x" * 12


def test_a_copy_that_still_goes_on_is_left_alone(web, hdd):
    hdd[UNFINISHED] = FakeImage(content=b"y")
    hdd[UNFINISHED].snapshots = [FakeSnapshot("monday")]
    hdd[UNFINISHED].watchers = ["192.0.2.2:0/1"]
    err = failure(image.copy, WEB, HDD, "")
    assert err.errno == errno.EBUSY
    assert UNFINISHED in str(err)
    assert list(hdd) == [UNFINISHED]
    assert [one.name for one in hdd[UNFINISHED].snapshots] == ["monday"]


def test_of_a_copy_that_fails_nothing_stays(storage, web, hdd, monkeypatch):
    stock = FakeOpenImage.deep_copy

    def fill(*args, **kwargs):
        stock(*args, **kwargs)
        raise rbd.OSError("no room", errno.ENOSPC)

    monkeypatch.setattr(FakeOpenImage, "deep_copy", fill)
    assert failure(image.copy, WEB, HDD, "").errno == errno.ENOSPC
    assert hdd == {}
    assert web.data == b"x" * 12


def test_an_image_with_the_name_of_the_copy_stays(web, hdd):
    hdd["web"] = FakeImage(content=b"y")
    err = failure(image.copy, WEB, HDD, "")
    assert err.errno == errno.EEXIST
    assert hdd["web"].data == b"y"


# Content


@pytest.fixture
def chunk(monkeypatch):
    monkeypatch.setattr(image, "CHUNK", 4)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 12), (0, 0), (3, 1), (3, 7), (11, 1), (4, 4)]
)
def test_only_the_part_that_is_asked_for_is_wiped(web, chunk, offset, length):
    image.wipe(WEB, offset, length)
    assert [index for index in range(12) if not web.data[index]] == list(
        range(offset, offset + length)
    )
    assert web.written == []


def test_nothing_is_wiped_at_more_than_a_chunk_at_a_time(web, chunk):
    image.wipe(WEB, 1, 10)
    assert web.zeroed == [(1, 4), (5, 4), (9, 2)]


def test_the_whole_content_is_read(web, chunk):
    web.data[:] = b"abcdefghijkl"
    assert list(image.read(WEB)) == [b"abcd", b"efgh", b"ijkl"]


def test_reading_is_no_use_of_the_image(web, monkeypatch):
    # One that may write is a watcher, and stands in the way of a guest.
    opened = []
    real = image.rbd.Image

    def watching(*arguments, **options):
        opened.append(options.get("read_only", False))
        return real(*arguments, **options)

    monkeypatch.setattr(image.rbd, "Image", watching)
    list(image.read(WEB))
    image.size(WEB)
    assert opened == [True, True]


@given(st.lists(st.binary(min_size=1, max_size=6), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(images, pieces):
    content = b"".join(pieces)
    images["web"] = FakeImage(len(content))
    image.write(WEB, pieces)
    assert b"".join(image.read(WEB)) == content


def test_what_follows_after_the_last_piece_stays(web):
    image.write(WEB, [b"abc"])
    assert web.data == b"abc" + b"x" * 9


def test_what_was_written_is_safe(web):
    image.write(WEB, [b"abcd", bytes(4)])
    assert web.flushed


def test_zeroes_are_written_as_such_and_take_no_space(web):
    image.write(WEB, [b"abcd", bytes(4), b"\0\0\0x"])
    assert web.data == b"abcd\0\0\0\0\0\0\0x"
    assert (web.written, web.zeroed) == ([(0, 4), (8, 4)], [(4, 4)])


@pytest.mark.parametrize(("length", "good"), [(12, True), (13, False)])
def test_what_does_not_fit_is_refused(web, length, good):
    pieces = [b"y" * (length - 1), b"y"]
    if good:
        image.write(WEB, pieces)
        return
    err = failure(image.write, WEB, pieces)
    assert err.errno == errno.EFBIG
    assert "take a larger disk" in str(err)


# What fails


def test_any_other_failure_names_image_and_reason(web):
    web.broken = rbd.OSError("no", errno.EIO)
    for verb, function, arguments in (
        ("grow", image.grow, (20,)),
        ("wipe", image.wipe, (0, 1)),
        ("write", image.write, ([b"x"],)),
        ("describe", image.describe, ({"a": "b"},)),
    ):
        err = failure(function, WEB, *arguments)
        assert f"cannot {verb} the image vms/web: Input/output error" in str(err)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_a_user_that_may_not_is_named_with_the_command_that_shows_what_it_may(
    web, number
):
    web.broken = rbd.OSError("no", number)
    err = failure(image.size, Volume("vms", "web", user="joe"))
    assert err.errno == number
    assert "client.joe may not do that in the pool vms" in str(err)
    assert "'ceph auth get client.joe'" in str(err)


FULL = {
    "POOL_FULL": {
        "summary": {"message": "1 pool(s) full"},
        "detail": [{"message": "pool 'vms' is full (running out of quota)"}],
    },
}
FULL_OSDS = {
    "OSD_FULL": {
        "summary": {"message": "2 full osd(s)"},
        "detail": [{"message": "osd.0 is full"}, {"message": "osd.1 is full"}],
    },
}
SLOW = {"OSD_DOWN": {"summary": {"message": "1 osds down"}, "detail": []}}


@pytest.mark.parametrize(
    ("number", "checks", "reason"),
    [
        (errno.ETIMEDOUT, {}, "no answer from the OSDs within 20 s; look at 'ceph -s'"),
        (
            errno.ETIMEDOUT,
            SLOW,
            "no answer from the OSDs within 20 s; look at 'ceph -s'",
        ),
        (errno.ETIMEDOUT, FULL, "pool 'vms' is full (running out of quota)"),
        (errno.ENOSPC, {}, "No space left on device"),
        (errno.ENOSPC, {**FULL, **FULL_OSDS}, "osd.0 is full; osd.1 is full"),
        (errno.EDQUOT, {}, "Disk quota exceeded"),
        (errno.EDQUOT, FULL, "pool 'vms' is full (running out of quota)"),
        (
            errno.EDQUOT,
            {"POOL_FULL": {"summary": {"message": "1 pool(s) full"}}},
            "1 pool(s) full",
        ),
        (errno.EIO, FULL, "Input/output error"),
    ],
)
def test_a_full_cluster_is_told_from_one_that_is_slow(
    storage, web, number, checks, reason
):
    storage.checks = checks
    storage.failures["write"] = rbd.OSError("no", number)
    err = failure(image.write, WEB, [b"x"])
    assert str(err) == f"cannot write the image vms/web: {reason}"
    assert err.errno == number


def test_a_cluster_that_cannot_even_say_whether_it_is_full_is_slow(
    storage, web, monkeypatch
):
    def silent(*_):
        raise rados.TimedOut("no", errno.ETIMEDOUT)

    monkeypatch.setattr(storage, "mon_command", silent)
    storage.failures["write"] = rbd.OSError("no", errno.ETIMEDOUT)
    assert "no answer from the OSDs within 20 s" in str(
        failure(image.write, WEB, [b"x"])
    )


def test_a_failure_without_a_number_is_one_of_input_and_output(storage, web):
    storage.failures["write"] = rbd.IncompleteWriteError("Wrote only 1 of 2 bytes")
    err = failure(image.write, WEB, [b"xx"])
    assert err.errno == errno.EIO


def test_a_failure_of_librados_is_a_failure_of_the_image_s(storage, web):
    storage.failures["read"] = rados.TimedOut("no", errno.ETIMEDOUT)
    err = failure(lambda volume: list(image.read(volume)), WEB)
    assert "cannot read the image vms/web: no answer" in str(err)


# Connections


@pytest.fixture
def ended(monkeypatch):
    """The connections that ended."""
    ended = []
    monkeypatch.setattr(FakeRados, "shutdown", lambda self: ended.append(self))
    return ended


def test_every_connection_ends(storage, web, ended):
    image.size(WEB)
    failure(image.create, WEB, 1, PLAIN)
    list(image.read(WEB))
    assert len(ended) == storage.connections == 3


def test_a_connection_is_shared_within_a_block_and_ends_with_it(storage, web, ended):
    with image.together():
        image.size(WEB)
        with image.together():
            image.look(WEB)
        image.grow(WEB, 20)
        assert ended == []
    assert len(ended) == storage.connections == 1
    image.size(WEB)
    assert storage.connections == 2


@pytest.mark.parametrize(("timeout", "seconds"), [({}, 20), ({"timeout": 8}, 8)])
def test_a_block_may_give_ceph_less_time(storage, web, timeout, seconds):
    storage.failures["resize"] = rbd.Timeout("no", errno.ETIMEDOUT)
    with image.together(**timeout):
        with image.together():
            err = failure(image.grow, WEB, 20)
        assert f"no answer from the OSDs within {seconds} s" in str(err)
    bounds = storage.bounds[-1]
    assert bounds["rados_osd_op_timeout"] == str(seconds)
    assert bounds["client_mount_timeout"] == str(seconds)


def test_clients_share_no_connection(storage, web, ended):
    with image.together():
        for _ in range(2):
            for volume in (
                WEB,
                Volume("vms", "web", user="joe"),
                Volume("vms", "web", conf="/etc/far"),
            ):
                image.size(volume)
    assert len(ended) == storage.connections == 3
    assert len(set(storage.clients)) == 3


def test_pools_and_images_do_share_one(storage, web):
    storage.images["hdd"] = {"db": FakeImage()}
    with image.together():
        image.size(WEB)
        image.size(Volume("hdd", "db"))
        failure(image.size, LOST)
        image.size(WEB)
    assert storage.connections == 1


def test_a_connection_that_failed_is_tried_again_within_a_block(storage, web, ended):
    with image.together():
        storage.reachable = False
        failure(image.size, WEB)
        storage.reachable = True
        assert image.size(WEB) == 12
        assert image.size(WEB) == 12
    # The first only saw that the storage cluster is back.
    assert storage.connections == 2


def test_shared_connections_end_also_where_the_block_fails(storage, web, ended):
    with pytest.raises(KeyError), image.together():
        image.size(WEB)
        raise KeyError
    assert len(ended) == 1
    image.size(WEB)
    assert storage.connections == 2


def test_an_image_is_open_only_while_something_is_done_with_it(web):
    image.grow(WEB, 20)
    image.wipe(WEB, 0, 1)
    image.write(WEB, [b"x"])
    image.describe(WEB, {"a": "b"})
    assert FakeOpenImage.HERE not in web.watchers


def test_what_was_never_written_is_neither_read_nor_zeroed(images, monkeypatch):
    images["web"] = stored = FakeImage(3 * image.CHUNK)
    with_data = image.CHUNK
    stored.data[with_data : with_data + 3] = b"old"
    reads = []
    read = FakeOpenImage.read

    def note(self, offset, length):
        reads.append(offset)
        return read(self, offset, length)

    monkeypatch.setattr(FakeOpenImage, "read", note)
    volume = Volume("vms", "web")
    whole = b"".join(image.read(volume))
    assert whole == bytes(stored.data)
    assert reads == [with_data]
    image.write(volume, [bytes(image.CHUNK)] * 3)
    assert stored.zeroed == [(with_data, image.CHUNK)]
    assert not any(stored.data)
