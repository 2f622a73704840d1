"""Parameters of rbd disks in Ganeti: taken, checked, kept with a disk, sent along."""

import copy
import subprocess
import sys
import types

import fakes
import pytest
from ganeti import constants, errors, objects, utils
from ganeti.cmdlib import common, instance_set_params, instance_storage

from ganeti_ceph import rpc, state, wire
from ganeti_ceph.disk import config, limits, move, options, uri
from ganeti_ceph.errors import ExecError

NAMES = {option.name for option in options.OPTIONS}
PLACE = {
    "pool": "rbd",
    "namespace": "",
    "data-pool": "",
    "user-id": uri.USER,
    "ceph-conf": uri.CONF,
}
RBD, PLAIN, EXT = constants.DT_RBD, constants.DT_PLAIN, constants.DT_EXT


def joined(function, wrapped, *arguments, instance=None, **named):
    """Call one of Ganeti's functions through a join of it."""
    return function(wrapped, instance, arguments, named)


def refusal(*arguments, **named):
    """Return what a request is refused with, which Ganeti takes for wrong input."""
    with pytest.raises(errors.OpPrereqError) as caught:
        joined(*arguments, **named)
    text, kind = caught.value.args
    assert kind == errors.ECODE_INVAL
    return text


# The tables


def test_ganeti_s_own_defaults_stay_and_ours_are_added():
    defaults = copy.deepcopy(constants.DISK_DT_DEFAULTS)
    defaults["rbd"] = {"access": "kernelspace", "pool": "own"}
    others = {name: value for name, value in defaults.items() if name != "rbd"}
    before = copy.deepcopy(others)
    config.extend_defaults(defaults)
    assert set(defaults["rbd"]) == NAMES | {"access"}
    assert (defaults["rbd"]["pool"], defaults["rbd"]["iops"]) == ("own", "0")
    assert others == before


#: What says how an image is made: of no use to one that is there.
ONCE = {"features", "object-size", "stripe-count", "stripe-unit"}


@pytest.mark.parametrize(
    ("extend", "table", "added"),
    [
        (config.extend_types, constants.DISK_DT_TYPES, NAMES),
        (config.extend_types, constants.IDISK_PARAMS_TYPES, NAMES),
        (
            config.extend_changeable_types,
            constants.MODIFIABLE_IDISK_PARAMS_TYPES,
            NAMES - ONCE,
        ),
    ],
)
def test_ganeti_takes_our_parameters_as_texts(extend, table, added):
    types_now = dict(table)
    extend(types_now)
    assert table.items() <= types_now.items()
    assert set(types_now) == set(table) | added
    values = dict.fromkeys(added, "5")
    utils.ForceDictType(values, types_now)
    assert values == dict.fromkeys(added, "5")


def test_rbd_is_one_more_template_that_may_adopt():
    assert config.allow_adoption(frozenset({"plain"})) == {"plain", "rbd"}


def test_ganeti_with_the_joins_has_all_of_it():
    program = (
        "import ganeti_ceph.joins.hook\n"
        "from ganeti import constants as c, objects, utils\n"
        "from ganeti_ceph.joins import apply\n"
        "assert c.DISK_DT_DEFAULTS['rbd']['namespace'] == ''\n"
        "assert c.DISK_DT_TYPES['iops'] == c.IDISK_PARAMS_TYPES['iops'] == 'string'\n"
        "assert 'iops' in c.MODIFIABLE_IDISK_PARAMS_TYPES\n"
        "assert 'features' not in c.MODIFIABLE_IDISK_PARAMS_TYPES\n"
        "assert 'rbd' in c.DTS_MAY_ADOPT\n"
        "(sent,) = objects.Disk.ComputeLDParams('rbd', c.DISK_DT_DEFAULTS)\n"
        "assert sent['namespace'] == ''\n"
        "utils.VerifyDictOptions({'rbd': {'iops': '5'}}, c.DISK_DT_DEFAULTS)\n"
        "try: utils.VerifyDictOptions({'rbd': {'iops': 'x'}}, c.DISK_DT_DEFAULTS)\n"
        "except Exception as err: print(err)\n"
        "assert apply.refused == [], apply.refused\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "the disk parameter iops cannot be 'x'" in done.stdout


# -D


@pytest.fixture
def known(monkeypatch):
    """Ganeti's table of disk parameters, with ours."""
    table = copy.deepcopy(constants.DISK_DT_DEFAULTS)
    config.extend_defaults(table)
    monkeypatch.setattr(constants, "DISK_DT_DEFAULTS", table)
    return table


def defaults_of(given, table):
    return joined(config.check_defaults, utils.VerifyDictOptions, given, table)


def test_good_defaults_are_taken(known):
    assert defaults_of({"rbd": {"iops": "5"}, "drbd": {}}, known) is None


def test_what_is_wrong_in_defaults_is_said_as_ganeti_says_it(known):
    with pytest.raises(errors.OpPrereqError) as caught:
        defaults_of({"rbd": {"iops": "x"}}, known)
    assert str(caught.value).startswith("the disk parameter iops cannot be 'x'")


def test_ganeti_still_looks_at_names(known):
    with pytest.raises(errors.OpPrereqError, match="no-such"):
        defaults_of({"rbd": {"no-such": "x"}}, known)
    with pytest.raises(errors.OpPrereqError, match="no-such"):
        defaults_of({"plain": {"no-such": "x"}}, known)


def test_parameters_of_anything_else_are_not_ours(known):
    assert defaults_of({"rbd": {"iops": "x"}}, {"rbd": {"iops": ""}}) is None


def test_a_new_cluster_has_no_defaults_that_make_no_image(known):
    given = {"rbd": {**known["rbd"], "stripe-unit": "64K"}}
    with pytest.raises(errors.OpPrereqError, match="stripe-unit and stripe-count"):
        defaults_of(given, known)
    given["rbd"]["stripe-count"] = "4"
    defaults_of(given, known)


def test_defaults_may_be_whole_together_with_those_that_are_there(known):
    defaults_of({"rbd": {"stripe-unit": "64K"}}, known)


# To the nodes


def test_each_node_learns_our_parameters_of_an_rbd_disk(known):
    given = {**known, "rbd": {**known["rbd"], "namespace": "blue", "other": "x"}}
    stock = objects.Disk.ComputeLDParams
    (sent,) = joined(config.compute_device_params, stock, "rbd", given)
    assert set(sent) == NAMES | {"access"}
    assert (sent["namespace"], sent["access"]) == ("blue", "kernelspace")


@pytest.mark.parametrize("template", ["plain", "drbd", "ext"])
def test_other_disks_are_sent_as_ever(known, template):
    stock = objects.Disk.ComputeLDParams
    sent = joined(config.compute_device_params, stock, template, known)
    assert sent == stock(template, known)


# --disk of a new instance


def computed(template, *disks):
    stock = instance_storage.ComputeDisks
    return joined(config.compute_disks, stock, list(disks), template, "vg")


def test_each_new_disk_keeps_what_it_was_given():
    first, second = computed(
        RBD, {"size": 5, "pool": "ssd", "iops": "7"}, {"size": 6, "access": "userspace"}
    )
    assert (first["pool"], first["iops"], first["size"]) == ("ssd", "7", 5)
    assert NAMES.isdisjoint(second)
    assert second["access"] == "userspace"


def test_a_wrong_parameter_is_named_with_its_disk():
    assert refusal(
        config.compute_disks,
        instance_storage.ComputeDisks,
        [{"size": 5}, {"size": 5, "mapper": "x"}],
        RBD,
        "vg",
    ).startswith("disk 1: the disk parameter mapper cannot be 'x'")


def test_our_parameters_are_for_no_other_template():
    assert (
        refusal(
            config.compute_disks,
            instance_storage.ComputeDisks,
            [{"size": 5, "pool": "ssd", "iops": "7"}],
            PLAIN,
            "vg",
        )
        == "disk 0: iops, pool is only for disks of the template rbd, not plain"
    )


def test_other_templates_without_our_parameters_are_computed_as_ever():
    disk = {"size": 5, "metavg": "x"}
    stock = instance_storage.ComputeDisks([disk], PLAIN, "vg")
    assert computed(PLAIN, disk) == stock


def test_external_storage_has_parameters_of_any_name():
    (disk,) = computed(EXT, {"size": 5, "provider": "x", "pool": "a b", "iops": "many"})
    assert (disk["pool"], disk["iops"]) == ("a b", "many")


# Disks that are converted


def converted(template, params, *disks):
    stock = instance_storage.ComputeDisksInfo
    return joined(config.convert_disks, stock, list(disks), template, "vg", params)


def a_disk(**params):
    return objects.Disk(
        dev_type=PLAIN, size=5, mode="rw", logical_id=("vg", "x"), params=params
    )


def test_all_disks_that_become_rbd_get_the_given_parameters():
    first, second = converted(RBD, {"pool": "ssd", "iops": "7"}, a_disk(), a_disk())
    assert first == second
    assert (first["pool"], first["iops"], first["size"]) == ("ssd", "7", 5)


def test_disks_become_rbd_without_parameters_as_ever():
    stock = instance_storage.ComputeDisksInfo([a_disk()], RBD, "vg", {})
    assert converted(RBD, {}, a_disk()) == stock


@pytest.mark.parametrize("template", [PLAIN, constants.DT_DRBD8, constants.DT_FILE])
def test_what_rbd_disks_become_is_ganeti_s(template):
    disk = objects.Disk(
        dev_type=RBD, size=5, mode="rw", logical_id=("rbd", "x"), params={"pool": "a"}
    )
    stock = instance_storage.ComputeDisksInfo([disk], template, "vg", {})
    assert converted(template, {}, disk) == stock
    assert all("pool" not in one for one in stock)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pool": "a/b"}, "the disk parameter pool cannot be 'a/b'"),
        (
            {"provider": "x", "pool": "ssd", "access": "userspace"},
            "disks of the template rbd have no parameter access, provider",
        ),
    ],
)
def test_wrong_parameters_for_a_conversion_are_refused(params, message):
    said = refusal(
        config.convert_disks,
        instance_storage.ComputeDisksInfo,
        [a_disk()],
        RBD,
        "vg",
        params,
    )
    assert said.startswith(message)


def test_external_storage_is_converted_to_with_parameters_of_its_own():
    (disk,) = converted(EXT, {"provider": "x", "shelf": "a b"}, a_disk())
    assert (disk["provider"], disk["shelf"]) == ("x", "a b")


# New disks in the configuration


NODE = fakes.make_node()


class Cluster:
    """A job's configuration and its calls, with one node that is ready."""

    def __init__(self):
        self.cfg = fakes.FakeConfig()
        self.cfg.add_group("default", [NODE])
        cluster = self.cfg.find("cluster")
        cluster.enabled_disk_templates = [RBD, PLAIN]
        cluster.diskparams = {RBD: {"pool": "rbd"}}
        self.cfg.find("node1").AddTag(state.NODE_READY)
        self.rpc = fakes.FakeRpc({NODE.uuid: NODE.name})
        self.proc = types.SimpleNamespace(GetECId=lambda: "ec")
        self.op = types.SimpleNamespace(diskparams=None)
        self.granted = []
        self.rpc.answers("ceph_look", fakes.holds_key())
        self.rpc.answers("ceph_grant", self._grant)

    def _grant(self, node, sent):
        self.granted.append((sent["user"], sent["pools"]))

    def generate(self, *disks, template=RBD, defaults=None):
        """Make disks as Ganeti does for a new instance."""
        stock = instance_storage.GenerateDiskTemplate
        asked = [{"size": 5, "mode": "rw", **disk} for disk in disks]
        arguments = (self, template, "u", NODE.uuid, [], asked, None, None, 0)
        params = {RBD: {"pool": "rbd", "access": "kernelspace", **(defaults or {})}}
        return joined(config.generate_disks, stock, *arguments, lambda _: None, params)


@pytest.fixture
def cluster():
    return Cluster()


def test_a_new_disk_keeps_its_place_and_what_it_was_given(cluster):
    first, second = cluster.generate(
        {"pool": "ssd", "iops": "7"},
        {"access": "userspace"},
        defaults={"user-id": "joe", "mapper": "nbd", "iops": "9"},
    )
    assert first.params == {**PLACE, "pool": "ssd", "user-id": "joe", "iops": "7"}
    assert second.params == {**PLACE, "user-id": "joe", "access": "userspace"}
    assert first.logical_id == ("rbd", "id1.rbd.disk0")


def test_a_disk_adopts_the_image_that_is_named(cluster):
    (disk,) = cluster.generate({"adopt": "old-image"})
    assert disk.logical_id == ("rbd", "old-image")
    assert "adopt" not in disk.params


def test_parameters_that_do_not_go_with_the_defaults_make_no_disk(cluster):
    with pytest.raises(errors.OpExecError, match="give stripe-unit and stripe-count"):
        cluster.generate({}, defaults={"stripe-count": "4"})


def test_parameters_that_go_with_the_defaults_only_make_a_disk(cluster):
    old = objects.Disk(dev_type=RBD, params={"stripe-count": "2", **OURS})
    cluster.cfg.add_guest("old", NODE, [old])
    (disk,) = cluster.generate(
        {"stripe-unit": "64K", "pool": "ssd"}, defaults={"stripe-count": "4", **OURS}
    )
    assert disk.params["stripe-unit"] == "64K"
    assert cluster.granted == [(uri.DISK_USER, ["ssd"])]


def test_an_image_that_is_there_is_adopted_whatever_new_ones_are_made_with(cluster):
    (disk,) = cluster.generate({"adopt": "old"}, defaults={"stripe-count": "4"})
    assert disk.logical_id == ("rbd", "old")


def test_disks_of_other_templates_are_made_as_ever(cluster):
    (disk,) = cluster.generate({"vg": "x"}, template=PLAIN)
    assert disk.params == {}
    assert cluster.granted == []


# Our user's pools

OURS = {"user-id": uri.DISK_USER}


def test_our_user_may_use_the_pools_of_the_first_disks_in_them(cluster):
    cluster.generate({"pool": "ssd"}, {"data-pool": "ec"}, defaults=OURS)
    assert cluster.granted == [(uri.DISK_USER, ["ec", "ssd"])]


def test_our_user_may_use_the_data_pool_of_an_adopted_image(cluster):
    cluster.generate({"adopt": "old", "data-pool": "ec"}, defaults=OURS)
    assert cluster.granted == [(uri.DISK_USER, ["ec"])]


@pytest.mark.parametrize(
    "defaults",
    [
        {"pool": "ssd", "user-id": "joe"},
        {"pool": "ssd", **OURS, "ceph-conf": "/etc/far"},
        {"pool": "rbd", **OURS},
    ],
    ids=["another user", "another cluster", "the cluster's pool"],
)
def test_nothing_is_granted_where_it_is_not_needed(cluster, defaults):
    cluster.generate({}, defaults=defaults)
    assert cluster.granted == []


@pytest.mark.parametrize(
    ("template", "params", "granted"),
    [
        (RBD, {"pool": "ssd", **OURS}, False),
        (RBD, {"pool": "ssd", "user-id": "joe"}, True),
        (EXT, {"pool": "ssd", **OURS}, True),
        (EXT, {"pool": "a b", "features": "none"}, True),
    ],
)
def test_a_pool_with_a_disk_of_ours_is_known(cluster, template, params, granted):
    disk = objects.Disk(dev_type=template, params=params)
    cluster.cfg.add_guest("web", NODE, [disk])
    cluster.generate({"pool": "ssd"}, defaults=OURS)
    assert bool(cluster.granted) is granted


def test_the_cluster_s_pool_may_have_another_name(cluster):
    cluster.cfg.find("cluster").AddTag("ceph:pool:ssd")
    cluster.generate({"pool": "ssd"}, {"pool": "rbd"}, defaults=OURS)
    assert cluster.granted == [(uri.DISK_USER, ["rbd"])]


@pytest.mark.parametrize("change", ["offline", "not ready"])
def test_only_a_node_with_our_storage_is_asked(cluster, change):
    node = cluster.cfg.find("node1")
    if change == "offline":
        node.offline = True
    else:
        node.RemoveTag(state.NODE_READY)
    cluster.generate({"pool": "ssd"}, defaults=OURS)
    assert cluster.granted == []


def have_mons(cluster, count):
    """Have so many nodes that are part of the storage, each with a mon and its key."""
    nodes = fakes.make_nodes(count)
    cluster.cfg.add_group("default", nodes)
    for node in nodes:
        cluster.cfg.find(node.name).AddTag(state.NODE_READY)
    cluster.rpc = fakes.FakeRpc({node.uuid: node.name for node in nodes})
    cluster.rpc.answers("ceph_look", fakes.holds_key())


def test_another_node_is_asked_where_one_fails(cluster):
    have_mons(cluster, 4)
    asked, failing = [], 2

    def answer(node, sent):
        asked.append(node)
        if len(asked) <= failing:
            raise ExecError(f"failure {len(asked)}")

    cluster.rpc.answers("ceph_grant", answer)
    cluster.generate({"pool": "ssd"}, defaults=OURS)
    assert len(set(asked)) == 3
    asked.clear()
    failing = 3
    with pytest.raises(errors.OpExecError, match="failure 3"):
        cluster.generate({"pool": "ssd"}, defaults=OURS)
    assert len(asked) == 3


def test_a_storage_cluster_that_is_silent_is_waited_for_once(cluster, monkeypatch):
    have_mons(cluster, 3)
    clock = fakes.FakeClock()
    monkeypatch.setattr(config, "time", clock)
    asked = []

    def wait(node, sent):
        asked.append(node)
        clock.sleep(25)
        raise ExecError("no answer")

    cluster.rpc.answers("ceph_grant", wait)
    with pytest.raises(errors.OpExecError, match="no answer"):
        cluster.generate({"pool": "ssd"}, defaults=OURS)
    assert len(asked) == 1


def test_a_node_with_a_mon_is_asked_for_only_it_holds_the_key(cluster):
    nodes = [fakes.make_node(f"node{number}") for number in (2, 3)]
    cluster.cfg.add_group("more", nodes)
    for node in nodes:
        cluster.cfg.find(node.name).AddTag(state.NODE_READY)
    uuids = [NODE.uuid, *(node.uuid for node in nodes)]
    cluster.rpc = fakes.FakeRpc(dict.fromkeys(uuids, "a node"))
    asked = []
    cluster.rpc.answers("ceph_grant", lambda node, sent: asked.append(node))
    cluster.rpc.answers("ceph_look", fakes.holds_key(*uuids[:2]))
    cluster.generate({"pool": "ssd"}, defaults=OURS)
    assert asked == [uuids[2]]
    cluster.rpc.answers("ceph_look", fakes.holds_key(*uuids))
    with pytest.raises(errors.OpExecError, match=r"no node .* administrator's key"):
        cluster.generate({"pool": "ssd"}, defaults=OURS)
    assert len(asked) == 1


# gnt-instance modify --disk


class Modify(instance_set_params.LUInstanceSetParams):
    """Ganeti's job, of which only the checks of one disk run."""

    def __init__(self, disk):
        self.cfg = fakes.FakeConfig()
        self.cfg.add_group("default", [NODE])
        self.cfg.add_guest("web", NODE, [disk])
        self.instance = self.cfg.find("web")
        self.instance.hypervisor = constants.HT_KVM
        self.instance.disks_active = True
        self.op = types.SimpleNamespace(wait_for_sync=True, hotplug=False)
        self.feedback_fn = lambda _: None
        self.disk = self.cfg.GetInstanceDisks("uuid-of-web")[0]

    def verify(self, operation, **params):
        """Check a request; return its parameters as they are after it."""
        access = dict.fromkeys(constants.DTS_HAVE_ACCESS, "kernelspace")
        joined(
            config.verify_modification,
            self._VerifyDiskModification,
            operation,
            params,
            False,
            access,
            instance=self,
        )
        return params

    def modify(self, **params):
        """Change the disk; return the changes that the job tells."""
        return joined(
            config.modify_disk,
            self._ModifyDisk,
            3,
            self.disk,
            params,
            None,
            instance=self,
        )


@pytest.fixture
def modify(monkeypatch):
    """Make a job for an instance with one disk of a template."""
    for name in ("IDISK_PARAMS_TYPES", "MODIFIABLE_IDISK_PARAMS_TYPES"):
        monkeypatch.setattr(constants, name, dict(getattr(constants, name)))
    config.extend_types(constants.IDISK_PARAMS_TYPES)
    config.extend_changeable_types(constants.MODIFIABLE_IDISK_PARAMS_TYPES)

    def modify(template=RBD, **params):
        return Modify(objects.Disk(dev_type=template, params=params))

    return modify


def refused(unit, operation, **params):
    with pytest.raises(errors.OpPrereqError) as caught:
        unit.verify(operation, **params)
    return caught.value.args[0]


def test_a_disk_may_be_added_with_our_parameters(modify):
    params = modify().verify("add", size=5, pool="ssd", iops="7")
    assert (params["pool"], params["iops"]) == ("ssd", "7")


def test_a_disk_is_not_added_with_wrong_ones(modify):
    said = refused(modify(), "add", size=5, mapper="x")
    assert said.startswith("the disk parameter mapper cannot be 'x'")


def test_our_parameters_go_with_the_template_of_the_disk_not_of_the_instance(modify):
    unit = modify(PLAIN)
    assert "only for disks of the template rbd" in refused(
        unit, "add", size=5, pool="ssd"
    )
    unit.verify("add", size=5, pool="ssd", dev_type=RBD)
    modify().verify("add", size=5, dev_type=PLAIN)
    assert "not plain" in refused(modify(), "add", size=5, pool="ssd", dev_type=PLAIN)


def test_an_image_is_not_adopted_by_modify(modify):
    said = refused(modify(), "add", size=5, adopt="image")
    assert said == "an image is adopted with 'gnt-instance add' only"


def test_limits_may_be_changed(modify):
    unit = modify()
    assert unit.verify("modify", iops="7", mode="ro") == {"iops": "7", "mode": "ro"}
    assert "bandwidth cannot be 'x'" in refused(unit, "modify", bandwidth="x")


def test_limits_of_other_disks_may_not(modify):
    assert "not plain" in refused(modify(PLAIN), "modify", iops="7")


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_an_image_is_made_with_may_not_be_changed(modify, name):
    with pytest.raises(errors.TypeEnforcementError, match=name):
        modify().verify("modify", **{name: "1"})


@pytest.mark.parametrize("down", [True, False])
def test_only_the_disk_of_a_stopped_instance_moves(modify, monkeypatch, down):
    unit = modify()

    def check_state(asking, instance, states, msg):
        assert (asking.instance, states) == (instance, common.INSTANCE_DOWN)
        if not down:
            raise errors.OpPrereqError(msg)

    monkeypatch.setattr(common, "CheckInstanceState", check_state)
    if down:
        unit.verify("modify", pool="ssd")
    else:
        with pytest.raises(errors.OpPrereqError, match="cannot move its disk"):
            unit.verify("modify", pool="ssd")
    # It may run while its limits change.
    unit.verify("modify", iops="5")


def test_a_disk_of_external_storage_may_have_any(modify):
    unit = modify(EXT, provider="x")
    unit.verify("modify", iops="many", pool="a b")
    unit.verify("add", size=5, provider="x", iops="many")


@pytest.mark.parametrize("operation", ["remove", "detach"])
def test_what_changes_no_parameter_is_ganeti_s(modify, operation):
    if operation == "detach":
        operation = constants.DDM_DETACH
    unit = modify()
    unit.op.hotplug = True
    unit.verify(operation)


@pytest.fixture
def told(monkeypatch):
    """The (instance, disk, its parameters) whose running guests were told."""
    told = []

    def change_limits(unit, guest, disk, index):
        stored = unit.cfg.GetInstanceDisks(guest.uuid)[0]
        told.append((guest.name, index, stored.params))

    monkeypatch.setattr(limits, "change_limits", change_limits)
    return told


def test_a_running_guest_is_told_what_has_been_written_down(modify, told):
    modify(pool="ssd").modify(iops="7")
    assert told == [("web", 3, {"pool": "ssd", "iops": "7"})]


def test_a_running_guest_is_not_told_of_anything_else(modify, told):
    modify(pool="ssd").modify(mode="ro")
    modify(EXT, provider="x").modify(iops="7")
    assert told == []


def test_a_change_is_written_down_and_told(modify, told):
    unit = modify(pool="ssd", iops="5")
    changes = unit.modify(iops="7", mode="ro")
    assert changes == [("disk.mode/3", "ro"), ("disk.iops/3", "7")]
    stored = unit.cfg.GetInstanceDisks("uuid-of-web")[0]
    assert stored.params == {"pool": "ssd", "iops": "7"}
    assert stored.mode == "ro"
    assert unit.cfg.updates == ["disk0-of-web"]


def test_a_disk_that_moves_is_copied_written_down_and_removed_in_this_order(
    modify, told, monkeypatch
):
    unit = modify(pool="ssd")
    seen = []

    def note(what):
        def noted(_, disk, *__):
            written = unit.cfg.GetInstanceDisks("uuid-of-web")[0].params["pool"]
            seen.append((what, disk.params["pool"], written, list(unit.cfg.updates)))
            return True

        return noted

    monkeypatch.setattr(move, "copy", note("copy"))
    monkeypatch.setattr(move, "remove", note("remove"))
    unit.modify(pool="hdd")
    assert seen == [
        ("copy", "ssd", "ssd", []),
        # The former image, never the copy.
        ("remove", "ssd", "hdd", ["disk0-of-web"]),
    ]


def test_a_disk_that_stays_is_not_removed(modify, told, monkeypatch):
    monkeypatch.setattr(move, "copy", lambda *_: False)
    monkeypatch.setattr(move, "remove", lambda *_: pytest.fail("it was removed"))
    modify(pool="ssd").modify(pool="ssd")


def test_a_copy_that_fails_changes_nothing(modify, told, monkeypatch):
    def fail(*_):
        raise errors.OpExecError("no space")

    monkeypatch.setattr(move, "copy", fail)
    unit = modify(pool="ssd")
    with pytest.raises(errors.OpExecError):
        unit.modify(pool="hdd")
    assert unit.disk.params == {"pool": "ssd"}
    assert unit.cfg.updates == []


def test_a_disk_of_external_storage_is_changed_by_ganeti(modify):
    unit = modify(EXT, provider="x")
    changes = unit.modify(iops="7")
    assert changes == [("disk.params:iops/3", "7")]
    assert unit.disk.params == {"provider": "x", "iops": "7"}


# Defaults that change


@pytest.fixture
def grown(cluster):
    """Two groups with disks that Ganeti made without us, and others."""
    far = fakes.make_node("node2")
    cluster.cfg.add_group("far", [far])
    cluster.cfg.find("far").diskparams = {RBD: {"pool": "hdd"}}
    old = {"pool": "ssd"}
    cluster.cfg.add_guest(
        "web",
        NODE,
        [
            objects.Disk(dev_type=RBD, params={}),
            objects.Disk(dev_type=PLAIN, params={}),
            objects.Disk(dev_type=RBD, params={**PLACE, "pool": "own"}),
        ],
    )
    cluster.cfg.add_guest("db", far, [objects.Disk(dev_type=RBD, params={})])
    cluster.cfg.add_guest("far-own", far, [objects.Disk(dev_type=RBD, params=old)])
    return cluster


def params_of(cluster):
    return {
        disk.uuid: disk.params["pool"]
        for disk in cluster.cfg.GetAllDisksInfo().values()
        if "pool" in disk.params
    }


def before_ganeti(unit, seen):
    """Stand for Ganeti's job; note what is kept when it begins."""

    def stock(feedback_fn):
        seen.update(params_of(unit))
        return "as Ganeti says"

    return stock


def test_all_disks_keep_their_place_before_the_cluster_s_defaults_change(grown):
    grown.op.diskparams = {RBD: {"pool": "new"}}
    seen = {}
    stock = before_ganeti(grown, seen)
    assert (
        joined(config.keep_places_in_cluster, stock, print, instance=grown)
        == "as Ganeti says"
    )
    assert seen == {
        "disk0-of-web": "rbd",
        "disk2-of-web": "own",
        "disk0-of-db": "hdd",
        "disk0-of-far-own": "ssd",
    }
    assert sorted(grown.cfg.updates) == [
        "disk0-of-db",
        "disk0-of-far-own",
        "disk0-of-web",
    ]


def test_only_a_group_s_disks_keep_theirs_before_its_defaults_change(grown):
    grown.op.diskparams = {RBD: {"pool": "new"}}
    grown.group_uuid = "uuid-of-far"
    seen = {}
    stock = before_ganeti(grown, seen)
    joined(config.keep_places_in_group, stock, print, instance=grown)
    assert seen == {
        "disk2-of-web": "own",
        "disk0-of-db": "hdd",
        "disk0-of-far-own": "ssd",
    }


def test_the_whole_place_is_kept(grown):
    assert config.keep_places(grown, ["uuid-of-far"]) == 2
    (disk,) = grown.cfg.GetInstanceDisks("uuid-of-db")
    assert disk.params == {**PLACE, "pool": "hdd"}


def test_what_is_kept_is_written_once(grown):
    groups = grown.cfg.GetNodeGroupList()
    assert config.keep_places(grown, groups) == 3
    assert config.keep_places(grown, groups) == 0
    assert len(grown.cfg.updates) == 3


@pytest.fixture
def named(grown):
    """The pools that the storage cluster is told to be the default."""
    named = []

    def name(node, sent):
        named.append(wire.decode(rpc.DefaultPool, sent))

    grown.rpc.answers("ceph_default_pool", name)
    return named


@pytest.mark.parametrize("where", ["cluster", "group"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pool": "new"}, ("new", "")),
        ({"pool": "new", "data-pool": "ec"}, ("new", "ec")),
        ({"data-pool": "ec"}, ("rbd", "ec")),
        ({"data-pool": "none"}, ("rbd", "")),
    ],
)
def test_the_storage_cluster_learns_its_new_default_pools(
    grown, named, where, given, expected
):
    group = grown.cfg.find("default")
    grown.group_uuid = group.uuid
    grown.op.diskparams = {RBD: {**given, **OURS}}

    def stock(feedback_fn):
        group.diskparams = grown.op.diskparams

    joined(getattr(config, f"keep_places_in_{where}"), stock, print, instance=grown)
    assert named == [rpc.DefaultPool(*expected)]


@pytest.mark.parametrize(
    ("given", "now"),
    [
        ({"iops": "9"}, {"iops": "9"}),
        # Not ours to configure.
        ({"pool": "new"}, {"pool": "new", "user-id": "alice"}),
        ({"pool": "new"}, {"pool": "new", "ceph-conf": "/etc/ceph/far.conf"}),
    ],
)
def test_it_is_not_told_of_other_changes(grown, named, given, now):
    grown.op.diskparams = {RBD: given}

    def stock(feedback_fn):
        grown.cfg.find("default").diskparams = {RBD: now}

    joined(config.keep_places_in_cluster, stock, print, instance=grown)
    assert named == []


def test_a_storage_cluster_that_cannot_be_told_is_a_warning(grown):
    grown.cfg.find("default").diskparams = {RBD: {"pool": "new", **OURS}}
    grown.op.diskparams = {RBD: {"pool": "new"}}

    def fail(node, pool):
        raise ExecError("no pool new")

    grown.rpc.answers("ceph_default_pool", fail)
    said = []
    joined(
        config.keep_places_in_cluster,
        lambda feedback_fn: None,
        said.append,
        instance=grown,
    )
    assert len(said) == 1
    assert "WARNING" in said[0]
    assert "no pool new" in said[0]
    assert "room in pool new:" in said[0]


#: How new defaults and those of the other side make stripes, and what is wrong.
TOGETHER = "give stripe-unit and stripe-count together"
STRIPES = [
    ({"stripe-unit": "64K", "stripe-count": "4"}, {}, ""),
    ({"stripe-unit": "64K"}, {"stripe-count": "4"}, ""),
    ({"stripe-unit": "64K"}, {}, TOGETHER),
    ({"stripe-count": "0"}, {"stripe-unit": "64K"}, TOGETHER),
    (
        {"object-size": "4K"},
        {"stripe-unit": "64K", "stripe-count": "4"},
        "stripe-unit 65536 has to divide the object size 4096",
    ),
    # What is wrong already keeps nothing else from being changed.
    ({"iops": "5"}, {"stripe-unit": "64K"}, ""),
]


@pytest.mark.parametrize(("given", "others", "wrong"), STRIPES)
@pytest.mark.parametrize("where", ["cluster", "group"])
def test_defaults_that_make_no_image_are_refused(grown, where, given, others, wrong):
    grown.group_uuid = "uuid-of-far"
    grown.op.diskparams = grown.new_diskparams = {RBD: given}
    sides = ["default", "far"] if where == "cluster" else ["cluster"]
    for side in sides:
        grown.cfg.find(side).diskparams = {RBD: others}
    happened = []
    arguments = getattr(config, f"keep_places_in_{where}"), happened.append, print
    if not wrong:
        joined(*arguments, instance=grown)
        assert happened == [print]
        return
    said = refusal(*arguments, instance=grown)
    assert said.endswith(wrong)
    assert said.startswith("node group ")
    assert happened == grown.cfg.updates == []


def test_the_group_in_which_no_image_could_be_made_is_named(grown):
    grown.op.diskparams = {RBD: {"stripe-unit": "64K", "stripe-count": "4"}}
    grown.new_diskparams = grown.op.diskparams
    grown.cfg.find("far").diskparams = {RBD: {"stripe-count": "0"}}
    said = refusal(config.keep_places_in_cluster, print, print, instance=grown)
    assert said == f"node group far: {TOGETHER}"


def test_former_defaults_of_the_same_side_count(grown):
    grown.group_uuid = "uuid-of-far"
    grown.op.diskparams = {RBD: {"stripe-unit": "64K"}}
    grown.new_diskparams = {RBD: {"stripe-unit": "64K", "stripe-count": "4"}}
    for where in ("cluster", "group"):
        function = getattr(config, f"keep_places_in_{where}")
        joined(function, lambda feedback_fn: None, print, instance=grown)


@pytest.mark.parametrize("given", [None, {}, {constants.DT_DRBD8: {}}])
@pytest.mark.parametrize("where", ["cluster", "group"])
def test_nothing_is_written_while_other_things_change(grown, given, where):
    grown.op.diskparams = given
    grown.group_uuid = "uuid-of-far"
    function = getattr(config, f"keep_places_in_{where}")
    joined(function, lambda feedback_fn: None, print, instance=grown)
    assert grown.cfg.updates == []
