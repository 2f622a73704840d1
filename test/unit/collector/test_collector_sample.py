"""The sampler: how often it asks, and what is left when something does not answer."""

import contextlib
import errno
import json

import pytest
import rados
from fakes import RELEASES, recorded

from ganeti_ceph import ceph
from ganeti_ceph.collector import facts
from ganeti_ceph.collector.images import Images
from ganeti_ceph.collector.sample import Sampler
from ganeti_ceph.errors import CephError

SHOWN = "MainPID=0\nNRestarts=0\nId=ceph-{}@{}.service\nActiveState=active\n"

#: The answers by command; those that the leader asks otherwise have two.
ANSWERS = {
    "status": "status",
    "health": "health-detail",
    "df": "df-detail",
    "mon dump": "mon-dump",
    "mon metadata": "mon-metadata",
    "mgr stat": "mgr-stat",
    "mgr metadata": "mgr-metadata",
    "osd pool ls": "osd-pool-ls-detail",
    "osd tree": "osd-tree",
    "osd tree-from": "osd-tree-from",
    "osd metadata": "osd-metadata",
    "osd df": "osd-df-tree",
    "osd perf": "osd-perf",
    "device ls-by-host": "device-ls-by-host",
    "rbd perf image counters": "rbd-perf-image-counters",
}


class Cluster:
    """A storage cluster with recorded answers; ``fails`` has errors by command."""

    def __init__(self, release):
        self.answers = {
            prefix: recorded(release, f"{name}.json")
            for prefix, name in ANSWERS.items()
        }
        self.mine = recorded(release, "osd-df-tree-node1.json")
        self.fails = {}
        self.asked = []
        self.connected = 0
        self.open = False
        self.silent = False

    @contextlib.contextmanager
    def connect(self, **_):
        if self.silent:
            raise CephError("cannot connect", errno.ETIMEDOUT)
        self.connected += 1
        self.open = True
        yield self
        self.shutdown()

    def shutdown(self):
        self.open = False

    def mon_command(self, request, data):
        assert self.open
        asked = json.loads(request)
        prefix = asked["prefix"]
        self.asked.append(prefix)
        if prefix in self.fails:
            failure = self.fails[prefix]
            if isinstance(failure, Exception):
                raise failure
            return failure, b"", "it fails" if failure < 0 else ""
        answer = self.mine if "filter" in asked else self.answers[prefix]
        return 0, answer.encode(), ""

    mgr_command = mon_command

    def change(self, prefix, change):
        value = json.loads(self.answers[prefix])
        change(value)
        self.answers[prefix] = json.dumps(value)


class Listed(Images):
    """What was asked of the images, which need librbd."""

    def __init__(self):
        self.looked = []
        self.failure = None
        self.unlisted = {}

    def look(self, cluster, pools, counters):
        assert cluster.open
        self.looked.append((tuple(pools), dict(counters)))
        if self.failure:
            raise self.failure
        return ()


@pytest.fixture(params=RELEASES)
def cluster(request, monkeypatch):
    cluster = Cluster(request.param)
    monkeypatch.setattr(ceph, "connect", cluster.connect)
    return cluster


@pytest.fixture
def images():
    return Listed()


@pytest.fixture
def sampler(cluster, images, tmp_path):
    """A sampler on node1, whose mon leads."""

    def make(hostname="node1.example", **options):
        shown = SHOWN.format("osd", "0") + "\n" + SHOWN.format("mon", "node1")
        return Sampler(
            hostname, lambda *_, **__: shown, images, ssconf=tmp_path, **options
        )

    return make


def gaps(sample):
    return {gap.part: gap.reason for gap in sample.gaps}


def test_the_leader_tells_of_everything(sampler, images):
    sample = sampler().take()
    assert gaps(sample) == {}
    assert sample.leads and len(sample.osds) == 3
    assert all(osd.commit_latency is not None for osd in sample.osds)
    assert [mgr.active for mgr in sample.mgrs].count(True) == 1
    pool = next(one for one in sample.pools if one.name == "rbd")
    assert (pool.size, pool.applications) == (3, ("rbd",))
    ((pools, counters),) = images.looked
    assert pools == ("rbd",) and counters


def test_others_tell_of_their_own(sampler, images):
    sample = sampler("node2").take()
    assert not sample.leads and sample.leader == "node1"
    assert len(sample.osds) == 1
    assert sample.images is None and not images.looked
    assert gaps(sample) == {}


def test_one_that_is_alone_tells_of_everything(sampler, images):
    assert sampler("node2", alone=True).take().leads
    assert images.looked


def test_the_questions_are_as_many_whatever_the_size(sampler, cluster):
    one = sampler()
    one.take()
    cluster.asked.clear()
    one.take()
    few = sorted(cluster.asked)

    def grow(tree):
        last = tree["nodes"][-1]
        tree["nodes"] += [
            {**last, "id": number, "name": f"osd.{number}"} for number in range(3, 3000)
        ]

    cluster.change("osd df", grow)
    cluster.asked.clear()
    assert len(one.take().osds) == 3000
    assert sorted(cluster.asked) == few
    assert len(few) <= 16 and cluster.connected == 1


@pytest.fixture
def process(monkeypatch):
    """The process of osd.0, and when it began."""

    class Process:
        born = 1.0

        def __init__(self, pid):
            pass

        oneshot = contextlib.nullcontext

        def create_time(self):
            return self.born

        def memory_info(self):
            return type("Memory", (), {"rss": 1})

        def cpu_times(self):
            return type("Times", (), {"user": 1.0, "system": 2.0})

    monkeypatch.setattr("ganeti_ceph.collector.local.psutil.Process", Process)
    return Process


@pytest.fixture
def of_osd(sampler, process):
    """A sampler on a node where osd.0 runs."""
    shown = SHOWN.format("osd", "0").replace("MainPID=0", "MainPID=7")

    def make(**options):
        one = sampler(**options)
        one._run = lambda *_, **__: shown
        return one

    return make


def test_an_osds_version_is_asked_for_once_in_its_life(of_osd, process, cluster):
    one = of_osd()
    for _ in range(3):
        (daemon,) = one.take().daemons
    assert daemon.version.count(".") == 2 and daemon.devices
    assert (daemon.cpu, daemon.memory) == (3.0, 1)
    assert cluster.asked.count("osd metadata") == 1
    process.born = 2.0
    one.take()
    assert cluster.asked.count("osd metadata") == 2


def test_what_mons_tell_of_an_osd_that_boots_may_be_of_before(of_osd, process, cluster):
    now = 1000.0
    one = of_osd(clock=lambda: now)
    one.take()
    # It is started anew, on another disk, and mons have not heard of it.
    process.born = now
    assert one.take().daemons[0].devices != ("sdz",)
    cluster.change("osd metadata", lambda told: told.update(devices="sdz"))
    now = 1015.0
    assert one.take().daemons[0].devices == ("sdz",)
    asked = cluster.asked.count("osd metadata")
    # From then on it is sure, as it counts as up.
    now = 1060.0
    one.take()
    now = 1075.0
    one.take()
    assert cluster.asked.count("osd metadata") == asked + 1


def test_an_osd_that_is_down_is_asked_about_until_it_is_up(of_osd, process, cluster):
    def set_all(status):
        def change(tree):
            for node in tree["nodes"]:
                if node["type"] == "osd":
                    node["status"] = status

        return change

    one = of_osd(clock=lambda: 1000.0)
    cluster.change("osd df", set_all("down"))
    one.take()
    one.take()
    assert cluster.asked.count("osd metadata") == 2
    cluster.change("osd df", set_all("up"))
    one.take()
    one.take()
    assert cluster.asked.count("osd metadata") == 3


def test_a_pool_that_cannot_be_listed_is_a_gap_beside_the_others(sampler, images):
    one = sampler()
    since = one.take().taken
    images.unlisted = {"vms": CephError("cannot list vms", errno.ETIMEDOUT)}
    sample = one.take()
    assert sample.images == ()
    (gap,) = sample.gaps
    assert (gap.part, gap.reason, gap.since) == ("images", "cannot list vms", since)
    images.unlisted = {}
    assert one.take().gaps == ()


def test_without_images_nobody_looks_at_them(cluster, tmp_path):
    one = Sampler("node1", lambda *_, **__: "", None, alone=True, ssconf=tmp_path)
    sample = one.take()
    assert sample.leads and sample.images is None
    assert "images" not in gaps(sample)
    assert not {"osd pool ls images", "rbd perf image counters"} & set(cluster.asked)


@pytest.mark.parametrize(
    ("prefix", "lost"),
    [
        ("health", {"health"}),
        ("mon metadata", {"mons"}),
        ("mgr metadata", {"mgrs"}),
        ("df", {"capacity", "pools"}),
        ("osd df", {"use"}),
        ("osd perf", {"latencies"}),
        ("device ls-by-host", {"devices"}),
        ("rbd perf image counters", {"io"}),
    ],
)
@pytest.mark.parametrize("failure", [-22, "half", "form"])
def test_what_fails_takes_nothing_else_with_it(sampler, cluster, prefix, lost, failure):
    one = sampler("node1", alone=True)
    assert gaps(one.take()) == {}
    if failure == "half":
        cluster.answers[prefix] = cluster.answers[prefix][:-20] or "["
    elif failure == "form":
        cluster.answers[prefix] = '"something else"'
    else:
        cluster.fails[prefix] = failure
    sample = one.take()
    assert set(gaps(sample)) == lost
    assert all(gap.since and gap.since < sample.taken for gap in sample.gaps)
    assert all(prefix in gap.reason for gap in sample.gaps)
    assert sample.osds


def test_a_fault_is_logged_once_and_takes_nothing_else_with_it(sampler, images, caplog):
    one = sampler()
    images.failure = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    for _ in range(3):
        sample = one.take()
        assert gaps(sample).keys() == {"images"} and sample.osds and sample.daemons
        assert "UnicodeDecodeError" in gaps(sample)["images"]
    assert caplog.text.count("a fault while the images are read") == 1
    images.failure = None
    assert gaps(one.take()) == {}
    images.failure = ZeroDivisionError()
    one.take()
    assert caplog.text.count("a fault while the images are read") == 2


def test_without_a_manager_the_mons_tell_which_osds_run(sampler, cluster):
    cluster.change("status", lambda one: one["mgrmap"].update(available=False))
    sample = sampler().take()
    parts = {"groups", "capacity", "pools", "use", "latencies", "devices", "io"}
    assert set(gaps(sample)) == parts
    assert set(gaps(sample).values()) == {"no manager is active"}
    assert [osd.up for osd in sample.osds] == [True, True, True]
    assert "osd perf" not in cluster.asked


def test_a_manager_that_does_not_answer_is_waited_for_once(sampler, cluster, images):
    for prefix in ("osd df", "osd perf", "device ls-by-host"):
        # As librados has it, which is no negative number.
        cluster.fails[prefix] = errno.ETIMEDOUT
    sample = sampler().take()
    assert {"use", "latencies", "devices", "io"} <= set(gaps(sample))
    assert cluster.asked.count("osd perf") + cluster.asked.count("osd df") == 1
    assert sample.health and sample.osds and images.looked
    # What came late over the first connection would hit memory of others.
    assert cluster.connected == 2


def test_mons_that_fall_silent_with_the_manager_are_waited_for_once(sampler, cluster):
    one = sampler()
    one.take()
    cluster.asked.clear()
    cluster.fails["osd df"] = rados.TimedOut("slow", errno=errno.ETIMEDOUT)
    tries = []

    def silent(**options):
        tries.append(options)
        raise CephError("cannot connect", errno.ETIMEDOUT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceph, "connect", silent)
        sample = one.take()
    assert len(tries) == 1
    assert sample.health and sample.osds is None
    assert gaps(sample)["osds"] == gaps(sample)["images"] == "cannot connect"
    cluster.fails.clear()
    assert gaps(one.take()) == {}


def test_mons_that_fall_silent_are_waited_for_once(sampler, cluster, images):
    one = sampler()
    one.take()
    cluster.asked.clear()
    cluster.fails["mon metadata"] = rados.TimedOut("slow", errno=errno.ETIMEDOUT)
    sample = one.take()
    assert cluster.asked == ["status", "mon metadata"]
    assert sample.health is None and sample.leader is None and sample.daemons
    assert sample.counts
    cluster.fails.clear()
    assert gaps(one.take()) == {}
    assert cluster.connected == 2


def test_a_storage_cluster_that_does_not_answer_is_tried_again(sampler, cluster):
    cluster.silent = True
    one = sampler()
    sample = one.take()
    assert set(gaps(sample).values()) == {"cannot connect"}
    assert (sample.health, sample.osds, sample.images) == (None, None, None)
    assert set(gaps(sample)) >= {*facts.CLUSTER_PARTS, "images"}
    assert all(gap.since is None for gap in sample.gaps)
    cluster.silent = False
    assert gaps(one.take()) == {}


def test_images_are_not_known_while_no_mon_leads(sampler, cluster, images):
    """Else each collector would leave them to another."""
    cluster.change("status", lambda status: status.update(quorum_names=["node9"]))
    sample = sampler().take()
    assert sample.leader is None and images.looked == []
    assert gaps(sample) == {"images": "none of the mons leads a quorum"}


def test_a_client_that_was_shut_out_comes_back_as_another(sampler, cluster, images):
    images.failure = CephError("shut out", errno.ESHUTDOWN)
    one = sampler()
    assert gaps(one.take()) == {"images": "shut out"}
    images.failure = None
    assert gaps(one.take()) == {}
    assert cluster.connected == 2


def test_a_host_without_data_has_no_osds(sampler, cluster):
    cluster.fails = {"osd df": -errno.EINVAL, "osd tree-from": -errno.ENOENT}
    sample = sampler("node9").take()
    assert sample.osds == () and gaps(sample) == {}


def test_systemd_that_does_not_answer_is_a_gap_of_its_own(sampler):
    from ganeti_ceph.errors import ExecError

    def run(*_, **__):
        raise ExecError("no bus")

    one = sampler()
    one._run = run
    sample = one.take()
    assert gaps(sample) == {"daemons": "no bus"} and sample.daemons is None
