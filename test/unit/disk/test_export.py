"""Exports: of clones; an rbd disk's parameters are kept and come with an import."""

import itertools
import shutil
import types

import pytest
from ganeti import backend, constants, errors, impexpd, objects, pathutils

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import export

INI = """[export]
version = 0

[instance]
name = web
disk0_size = 8
disk1_size = 9
tags = 100% mine

[os]
Pass_Word = 5%(x)s
"""
RBD, PLAIN = constants.DT_RBD, constants.DT_PLAIN


@pytest.fixture
def ini(tmp_path, monkeypatch):
    """What Ganeti has written of an export, for root only."""
    monkeypatch.setattr(pathutils, "EXPORT_DIR", str(tmp_path))
    path = tmp_path / "web" / constants.EXPORT_CONF_FILE
    path.parent.mkdir()
    path.write_text(INI)
    path.chmod(0o600)
    return path


def finalize(disks):
    called = []

    def stock(guest, disks):
        called.append((guest.name, disks))
        return "as Ganeti says"

    guest = types.SimpleNamespace(name="web")
    assert export.finalize(stock, None, (guest, disks), {}) == "as Ganeti says"
    assert called == [("web", disks)]


# Snapshots


class Rpc:
    """Answers calls of ours, and notes what was asked."""

    def __init__(self, error=""):
        self.error = error
        self.told = ()
        self.asked = []

    def _Call(self, definition, nodes, arguments):
        name, encode = definition[0], definition[5]
        (sent,) = arguments
        for uuid in nodes:
            self.asked.append((name, uuid, encode(uuid, [sent])[1]))
        payload = None if self.error else wire.encode(rpc.Told(self.told))
        reply = types.SimpleNamespace(fail_msg=self.error, payload=payload)
        return dict.fromkeys(nodes, reply)


class Helper:
    """Ganeti's helper that exports an instance; its node is called n1."""

    def __init__(self, *disks, error=""):
        ids = itertools.count(1)
        for index, disk in enumerate(disks):
            disk.uuid = f"uuid{index}"
        self.said = []
        self.rpc = Rpc(error)
        cfg = types.SimpleNamespace(
            GetInstanceDisks=lambda uuid: list(disks),
            GetNodeName=lambda uuid: "node1",
            GetInstanceDiskParams=lambda guest: {RBD: {"pool": "vms"}},
            GenerateUniqueID=lambda context: f"id{next(ids)}",
        )
        self._lu = types.SimpleNamespace(
            cfg=cfg,
            rpc=self.rpc,
            proc=types.SimpleNamespace(GetECId=lambda: "job"),
            LogWarning=lambda text, *args: self.said.append(text % args),
        )
        self._instance = types.SimpleNamespace(
            uuid="web", name="web1", primary_node="n1"
        )
        self._feedback_fn = self.said.append
        self._snapshots = [None] * len(disks)

    def create(self):
        return export.create_snapshots(lambda: "as Ganeti does", self, (), {})

    def remove(self, index):
        seen = []

        def stock(index):
            seen.append(dict(self._snapshots[index].params))
            return "removed"

        assert export.remove_snapshot(stock, self, (index,), {}) == "removed"
        return seen[0]


def disk_of(template=RBD, **params):
    return objects.Disk(
        dev_type=template,
        size=8,
        logical_id=("rbd", "web.rbd.disk0"),
        iv_name="disk/0",
        params=params,
    )


def test_clones_of_all_disks_are_asked_for_at_once():
    helper = Helper(disk_of(), disk_of(pool="hdd", namespace="blue"))
    assert helper.create() is True
    ((name, node, sent),) = helper.rpc.asked
    assert (name, node) == ("ceph_clone", "n1")
    asked = wire.decode(rpc.CloneImages, sent, "what to clone")
    assert asked.instance == "web1"
    assert [(uuid, str(volume), clone) for uuid, volume, clone in asked.images] == [
        ("uuid0", "vms/web.rbd.disk0", "id1.rbd.disk0"),
        ("uuid1", "hdd/blue/web.rbd.disk0", "id2.rbd.disk1"),
    ]
    first, second = helper._snapshots
    assert (first.dev_type, first.size, first.iv_name) == (RBD, 8, "disk/0")
    assert first.logical_id == ("rbd", "id1.rbd.disk0")
    assert second.logical_id == ("rbd", "id2.rbd.disk1")
    assert second.params == {"pool": "hdd", "namespace": "blue"}
    assert len({first.uuid, second.uuid}) == 2


def test_what_is_not_as_it_might_be_is_said():
    helper = Helper(disk_of())
    helper.rpc.told = ("100% one after the other",)
    assert helper.create() is True
    assert helper.said[-1] == "100% one after the other"


def test_without_clones_the_reason_is_said_and_ganeti_decides():
    helper = Helper(disk_of(), error="the image has not the feature layering")
    assert helper.create() is False
    assert helper._snapshots == [None]
    assert helper.said[-1] == (
        "Could not snapshot the disks: the image has not the feature layering"
    )


@pytest.mark.parametrize("disks", [(), (disk_of(PLAIN),), (disk_of(), disk_of(PLAIN))])
def test_other_disks_are_ganetis(disks):
    helper = Helper(*disks)
    assert helper.create() == "as Ganeti does"
    assert helper.rpc.asked == []


def test_a_clone_goes_at_once_and_the_export_keeps_the_disks_grace():
    helper = Helper(disk_of(**{"trash-grace": "3600", "pool": "hdd"}))
    helper.create()
    assert helper.remove(0) == {"trash-grace": "0", "pool": "hdd"}
    assert helper._snapshots[0].params == {"trash-grace": "3600", "pool": "hdd"}


def test_ganetis_own_snapshots_are_removed_as_ever():
    helper = Helper(disk_of())
    helper._snapshots = [disk_of(PLAIN, **{"trash-grace": "9"})]
    assert helper.remove(0) == {"trash-grace": "9"}


def read(ini):
    """Return what Ganeti's own reader finds."""
    return objects.SerializableConfigParser.Loads(ini.read_text())


class Unit:
    """Ganeti's unit that imports an instance."""

    def __init__(self, template=RBD, disks=()):
        self.op = types.SimpleNamespace(disk_template=template, disks=list(disks))

    def read(self, config):
        """Return the disks; Ganeti takes theirs from the export if none are given."""

        def stock(config):
            if not self.op.disks:
                self.op.disks = [
                    {"size": int(config.get("instance", f"disk{index}_size"))}
                    for index in range(2)
                ]
            return "as Ganeti says"

        assert export.read_params(stock, self, (config,), {}) == "as Ganeti says"
        return self.op.disks


# Exporting


def test_an_export_keeps_the_parameters_of_rbd_disks(ini, disk_of):
    params = {"ceph-conf": "/etc/ceph/Far.conf", "user-id": "Joe", "iops": "500"}
    finalize([disk_of(**params), disk_of("kernelspace", **{"data-pool": "EC"})])
    config = read(ini)
    assert dict(config.items("instance", raw=True)) == {
        "name": "web",
        "disk0_size": "8",
        "disk1_size": "9",
        "tags": "100% mine",
        "disk0_rbd_pool": "vms",
        "disk0_rbd_ceph-conf": "/etc/ceph/Far.conf",
        "disk0_rbd_user-id": "Joe",
        "disk0_rbd_iops": "500",
        "disk0_rbd_access": "userspace",
        "disk1_rbd_pool": "vms",
        "disk1_rbd_data-pool": "EC",
        "disk1_rbd_access": "kernelspace",
    }


def test_the_defaults_access_is_not_the_disks(ini, disk_of):
    finalize([disk_of(None)])
    assert "disk0_rbd_access" not in read(ini).options("instance")


def test_what_ganeti_wrote_stays(ini, disk_of):
    finalize([disk_of()])
    assert read(ini).get("os", "Pass_Word", raw=True) == "5%(x)s"
    assert read(ini).get("export", "version") == "0"
    assert ini.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_could_not_be_exported_is_skipped(ini, disk_of):
    finalize([False, disk_of()])
    names = read(ini).options("instance")
    assert "disk1_rbd_pool" in names
    assert not [name for name in names if name.startswith("disk0_rbd")]


@pytest.mark.parametrize("template", [PLAIN, constants.DT_GLUSTER, constants.DT_EXT])
def test_an_export_without_rbd_disks_is_ganeti_s(ini, disk_of, template):
    finalize([disk_of(None, template), False])
    assert ini.read_text() == INI


def test_an_export_that_failed_is_ganeti_s(ini):
    def stock(guest, disks):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        export.finalize(stock, None, (types.SimpleNamespace(name="web"), []), {})
    assert ini.read_text() == INI


# Without data


ADOPTED = {"disk0_rbd_adopt": "web.rbd.disk0", "disk1_rbd_adopt": "Second"}


def without_data(ini, disk_of, there=False):
    """Export two disks without their data; return what is written of them."""
    if not there:
        shutil.rmtree(ini.parent)

    def stock(guest, disks):
        unfinished = ini.parent.with_name("web.new")
        assert list(unfinished.iterdir()) == []
        dumps = "disk0_dump = uuid0\ndisk1_dump = uuid1\n"
        (unfinished / ini.name).write_text(INI.replace("tags =", f"{dumps}tags ="))
        shutil.rmtree(ini.parent, ignore_errors=True)
        unfinished.rename(ini.parent)

    disks = [disk_of(adopt="web.rbd.disk0"), disk_of(adopt="Second", pool="SSD")]
    export.finalize(stock, None, (types.SimpleNamespace(name="web"), disks), {})
    return dict(read(ini).items("instance", raw=True))


@pytest.mark.parametrize("left", [False, True])
def test_an_export_without_data_names_the_images(ini, disk_of, left):
    if left:
        (ini.parent.with_name("web.new")).mkdir()
        (ini.parent.with_name("web.new") / "half").write_text("data")
    written = without_data(ini, disk_of)
    assert written.items() >= {**ADOPTED, "disk1_rbd_pool": "SSD"}.items()
    assert not [name for name in written if name.endswith("_dump")]


def test_data_is_not_given_up_for_what_has_none(ini, disk_of):
    full = INI.replace("tags =", "disk0_dump = uuid0\ntags =")
    ini.write_text(full)
    guest = types.SimpleNamespace(name="web")
    with pytest.raises(backend.RPCFail, match="'gnt-backup remove web'"):
        export.finalize(pytest.fail, None, (guest, [disk_of(adopt="a")]), {})
    assert ini.read_text() == full


def test_an_export_without_data_is_replaced_by_another(ini, disk_of):
    without_data(ini, disk_of)
    before = ini.read_text()
    without_data(ini, disk_of, there=True)
    assert ini.read_text() == before


def test_its_images_are_adopted_when_it_is_imported(ini, disk_of, monkeypatch):
    without_data(ini, disk_of)
    proved = []
    monkeypatch.setattr(export.adopt, "prove", proved.append)
    unit = Unit()
    assert unit.read(read(ini)) == [
        {"size": 8, "pool": "vms", "access": "userspace", "adopt": "web.rbd.disk0"},
        {"size": 9, "pool": "SSD", "access": "userspace", "adopt": "Second"},
    ]
    assert unit.adopt_disks
    assert proved == [unit]


@pytest.mark.parametrize(
    ("template", "disks"), [(PLAIN, []), (None, []), (RBD, [{"size": 8}])]
)
def test_it_is_not_imported_as_something_else(ini, disk_of, template, disks):
    without_data(ini, disk_of)
    with pytest.raises(errors.OpPrereqError) as caught:
        Unit(template, disks).read(read(ini))
    assert "is without data (--config-only)" in caught.value.args[0]
    assert caught.value.args[1] == errors.ECODE_INVAL


# Importing


def test_the_disks_of_an_import_have_the_parameters_that_they_had(ini, disk_of):
    params = {"ceph-conf": "/etc/ceph/Far.conf", "namespace": "", "iops": "500"}
    finalize([disk_of(**params), disk_of("kernelspace", pool="SSD")])
    assert Unit().read(read(ini)) == [
        {"size": 8, "pool": "vms", "access": "userspace", **params},
        {"size": 9, "pool": "SSD", "access": "kernelspace"},
    ]


def test_a_text_that_ganeti_takes_for_no_value_comes_back(ini, disk_of):
    finalize([disk_of(namespace="none", pool="None")])
    first, _ = Unit().read(read(ini))
    assert first.items() >= {"namespace": "none", "pool": "None"}.items()


def test_an_export_of_stock_ganeti_is_imported_as_ever(ini):
    assert Unit().read(read(ini)) == [{"size": 8}, {"size": 9}]


def test_what_the_import_says_of_its_disks_is_all_that_counts(ini, disk_of):
    finalize([disk_of(iops="500")])
    given = {"size": 3, "pool": "hdd"}
    assert Unit(disks=[dict(given)]).read(read(ini)) == [given]


@pytest.mark.parametrize("template", [PLAIN, None])
def test_as_another_template_they_have_none(ini, disk_of, template):
    finalize([disk_of(iops="500")])
    assert Unit(template).read(read(ini)) == [{"size": 8}, {"size": 9}]


# Arriving


def certificate(cert, command):
    builder = types.SimpleNamespace(_opts=types.SimpleNamespace(cert=cert))
    return export.name_certificate(lambda: command, builder, (), {})


def test_ganeti_s_own_certificate_is_expected_by_its_own_name():
    command = [
        "socat",
        "stdin",
        "OPENSSL:192.0.2.1:99,retry=3,openssl-commonname=node1,verify=1",
    ]
    assert certificate(pathutils.NODED_CERT_FILE, command) == [
        "socat",
        "stdin",
        "OPENSSL:192.0.2.1:99,retry=3,"
        f"openssl-commonname={constants.X509_CERT_CN},verify=1",
    ]


def test_the_certificate_of_a_move_between_clusters_is_expected_as_ever():
    command = ["socat", "OPENSSL:192.0.2.1:99,openssl-commonname=node1"]
    assert certificate("/run/other.pem", command) is command


def test_a_command_that_expects_no_name_stays():
    command = ["socat", "OPENSSL-LISTEN:0,cert=/x/openssl-commonname=y", "stdout"]
    assert certificate(pathutils.NODED_CERT_FILE, list(command)) == command


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (constants.IEM_IMPORT, []),
        (constants.IEM_EXPORT, [f"openssl-commonname={constants.X509_CERT_CN}"]),
    ],
)
def test_the_name_in_ganeti_s_own_command_is_found(mode, names, monkeypatch):
    monkeypatch.setattr(impexpd.CommandBuilder, "_SOCAT_VERSION", (1, 8))
    options = {
        "key": pathutils.NODED_CERT_FILE,
        "cert": pathutils.NODED_CERT_FILE,
        "ca": "/run/ca",
        "host": "node7.example",
        "port": 99,
        "connect_timeout": 5,
        "connect_retries": 3,
        "bind": None,
        "ipv4": True,
        "ipv6": False,
        "magic": None,
    }
    builder = impexpd.CommandBuilder(mode, types.SimpleNamespace(**options), 1, 2, 3)
    command = export.name_certificate(builder._GetSocatCommand, builder, (), {})
    parts = [part for word in command for part in word.split(",")]
    assert [one for one in parts if one.startswith("openssl-commonname")] == names
    assert f"cert={pathutils.NODED_CERT_FILE}" in parts
