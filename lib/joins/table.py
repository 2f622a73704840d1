"""Every place where the extension joins Ganeti: one row each.

A row names the place (module and attribute), what is expected to be there, and
the function that joins it.  The joining functions live in :mod:`.ganeti` and are
named by text, so that reading this table imports none of them.
"""

import dataclasses
import enum


class Kind(enum.Enum):
    """How a join meets the attribute it names."""

    #: ``function(wrapped, instance, args, kwargs)`` runs around a callable.
    WRAP = "wrap"
    #: ``function(attribute)`` is called once and adds to it (a dict, a class).
    EXTEND = "extend"
    #: ``function(attribute)`` is called once and returns what takes its place.
    REPLACE = "replace"
    #: ``function(module)`` fills a module whose own loading failed.
    STAND_IN = "stand in"


@dataclasses.dataclass(frozen=True)
class Join:
    """One place where the extension joins Ganeti.

    ``accepts`` are the known-good shapes of the attribute.  For a callable each
    is its parameters as text, for example ``"self, op, cbs, timeout"`` (names
    only; ``*`` and ``**`` kept).  For anything else each is ``TYPE`` or
    ``TYPE with KEY, KEY``: the class name of the value and the keys (of a dict)
    or attributes (of anything else) that must exist.
    """

    module: str
    attribute: str
    kind: Kind
    accepts: tuple[str, ...]
    function: str
    what: str
    #: Where it is needed: ``("3.0",)``; in all releases of Ganeti if empty.
    releases: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The full dotted name, as messages show it."""
        return f"{self.module}.{self.attribute}"


JOINS: tuple[Join, ...] = (
    Join(
        "bcrypt",
        "",
        Kind.STAND_IN,
        (),
        "ganeti_ceph.joins.ceph_mgr:stand_in_for_bcrypt",
        "ceph-mgr's modules load where bcrypt refuses subinterpreters",
    ),
    Join(
        "ganeti.client.gnt_cluster",
        "commands",
        Kind.EXTEND,
        ("dict with init, modify, info",),
        "ganeti_ceph.cli.cluster:extend_commands",
        "gnt-cluster init and modify take -S, info shows storage parameters",
    ),
    Join(
        "ganeti.client.gnt_storage",
        "commands",
        Kind.EXTEND,
        ("dict with diagnose, info",),
        "ganeti_ceph.cli.storage:extend_commands",
        "gnt-storage has the storage cluster's commands",
    ),
    Join(
        "ganeti.constants",
        "DISK_DT_DEFAULTS",
        Kind.EXTEND,
        ("dict with rbd",),
        "ganeti_ceph.disk.config:extend_defaults",
        "clusters and node groups have all parameters of rbd disks",
    ),
    Join(
        "ganeti.constants",
        "DISK_DT_TYPES",
        Kind.EXTEND,
        ("dict with access, pool",),
        "ganeti_ceph.disk.config:extend_types",
        "-D takes all parameters of rbd disks",
    ),
    Join(
        "ganeti.constants",
        "IDISK_PARAMS_TYPES",
        Kind.EXTEND,
        ("dict with access, size",),
        "ganeti_ceph.disk.config:extend_types",
        "--disk takes the parameters of rbd disks",
    ),
    Join(
        "ganeti.constants",
        "MODIFIABLE_IDISK_PARAMS_TYPES",
        Kind.EXTEND,
        ("dict with mode, name",),
        "ganeti_ceph.disk.config:extend_changeable_types",
        "gnt-instance modify --disk changes parameters of rbd disks",
    ),
    Join(
        "ganeti.constants",
        "DTS_MAY_ADOPT",
        Kind.REPLACE,
        ("frozenset",),
        "ganeti_ceph.disk.config:allow_adoption",
        "gnt-instance add adopts images",
    ),
    Join(
        "ganeti.utils",
        "VerifyDictOptions",
        Kind.WRAP,
        ("options, defaults",),
        "ganeti_ceph.disk.config:check_defaults",
        "wrong values of -D rbd: are refused",
    ),
    Join(
        "ganeti.objects",
        "Disk.ComputeLDParams",
        Kind.WRAP,
        ("disk_template, disk_params",),
        "ganeti_ceph.disk.config:compute_device_params",
        "the nodes learn a disk's parameters",
    ),
    Join(
        "ganeti.cmdlib.instance_storage",
        "ComputeDisks",
        Kind.WRAP,
        ("disks, disk_template, default_vg",),
        "ganeti_ceph.disk.config:compute_disks",
        "--disk takes the parameters of rbd disks",
    ),
    Join(
        "ganeti.cmdlib.instance_storage",
        "GenerateDiskTemplate",
        Kind.WRAP,
        (
            "lu, template_name, instance_uuid, primary_node_uuid,"
            " secondary_node_uuids, disk_info, file_storage_dir, file_driver,"
            " base_index, feedback_fn, full_disk_params, forthcoming",
        ),
        "ganeti_ceph.disk.config:generate_disks",
        "a disk keeps the place that it was made in",
    ),
    Join(
        "ganeti.cmdlib.instance_set_params",
        "LUInstanceSetParams._VerifyDiskModification",
        Kind.WRAP,
        ("self, op, params, excl_stor, group_access_types",),
        "ganeti_ceph.disk.config:verify_modification",
        "gnt-instance modify --disk refuses wrong parameters of rbd disks",
    ),
    Join(
        "ganeti.cmdlib.instance_set_params",
        "LUInstanceSetParams._ModifyDisk",
        Kind.WRAP,
        ("self, idx, disk, params, _",),
        "ganeti_ceph.disk.config:modify_disk",
        "gnt-instance modify --disk changes parameters of rbd disks",
    ),
    Join(
        "ganeti.cmdlib.cluster",
        "LUClusterSetParams.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.disk.config:keep_places_in_cluster",
        "disks stay where they are when gnt-cluster modify changes defaults",
    ),
    Join(
        "ganeti.cmdlib.group",
        "LUGroupSetParams.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.disk.config:keep_places_in_group",
        "disks stay where they are when gnt-group modify changes defaults",
    ),
    Join(
        "ganeti.mcpu",
        "Processor.DISPATCH_TABLE",
        Kind.EXTEND,
        ("dict",),
        "ganeti_ceph.jobs.dispatch:extend_table",
        "the extension's operations run as jobs",
    ),
    Join(
        "ganeti.server.noded",
        "NodeRequestHandler",
        Kind.EXTEND,
        ("type with HandleRequest, perspective_version",),
        "ganeti_ceph.node.serve:extend_handler",
        "the node daemon answers the extension's calls",
    ),
    Join(
        "ganeti.cmdlib.cluster.verify",
        "LUClusterVerifyConfig.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.jobs.verify:verify_config",
        "gnt-cluster verify reports joins that do not fit",
    ),
    Join(
        "ganeti.storage.bdev",
        "DEV_MAP",
        Kind.EXTEND,
        ("dict with rbd",),
        "ganeti_ceph.disk.device:extend_dev_map",
        "disks in userspace access are never mapped",
    ),
    Join(
        "ganeti.backend",
        "BlockdevRemove",
        Kind.WRAP,
        ("disk",),
        "ganeti_ceph.disk.backend:remove",
        "removing a disk fails while the storage cluster does not answer",
    ),
    Join(
        "ganeti.backend",
        "BlockdevShutdown",
        Kind.WRAP,
        ("disk",),
        "ganeti_ceph.disk.backend:shutdown",
        "an instance stops while the storage cluster does not answer",
    ),
    Join(
        "ganeti.backend",
        "BlockdevWipe",
        Kind.WRAP,
        ("disk, offset, size",),
        "ganeti_ceph.disk.backend:wipe",
        "disks in userspace access are wiped through librbd",
    ),
    Join(
        "ganeti.backend",
        "BlockdevImage",
        Kind.WRAP,
        ("disk, image, size",),
        "ganeti_ceph.disk.backend:dump",
        "disks in userspace access take an image through librbd",
    ),
    Join(
        "ganeti.backend",
        "_DumpDevice",
        Kind.WRAP,
        ("source_path, target_path, offset, size, truncate",),
        "ganeti_ceph.disk.backend:refuse_no_path",
        "nothing is written to a disk without a path",
    ),
    Join(
        "ganeti.hypervisor.hv_kvm.kvm_utils",
        "ParseStorageUriToBlockdevParam",
        Kind.WRAP,
        ("uri",),
        "ganeti_ceph.disk.guest:parse_uri",
        "QEMU opens images in pools of any name",
        ("3.1",),
    ),
    Join(
        "ganeti.hypervisor.hv_kvm",
        "KVMHypervisor.HotModDevice",
        Kind.WRAP,
        ("self, instance, dev_type, device, _, seq",),
        "ganeti_ceph.disk.resize:modify_device",
        "QEMU is told the new size of a disk",
        ("3.0",),
    ),
    Join(
        "ganeti.cmdlib.instance_storage",
        "LUInstanceGrowDisk.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.disk.resize:grow_disk",
        "a running guest is told that its disk has grown",
        ("3.0",),
    ),
    Join(
        "ganeti.cmdlib.instance_query",
        "LUInstanceQueryData._ComputeDiskStatusInner",
        Kind.WRAP,
        ("self, instance, snode_uuid, node_uuid2name_fn, dev",),
        "ganeti_ceph.disk.info:add_access",
        "the data of an instance tells its disks' access mode",
    ),
    Join(
        "ganeti.client.gnt_instance",
        "_FormatBlockDevInfo",
        Kind.WRAP,
        ("idx, top_level, dev, roman",),
        "ganeti_ceph.disk.info:show_access",
        "gnt-instance info shows its disks' access mode",
    ),
    Join(
        "ganeti.backend",
        "_STORAGE_TYPE_INFO_FN",
        Kind.EXTEND,
        ("dict with rados",),
        "ganeti_ceph.disk.report:extend_info_functions",
        "nodes tell jobs the room in a pool",
    ),
    Join(
        "ganeti.backend",
        "GetNodeInfo",
        Kind.WRAP,
        ("storage_units, hv_specs",),
        "ganeti_ceph.disk.report:node_info",
        "gnt-node list and htools see the room in the pool",
    ),
    Join(
        "ganeti.storage.container",
        "_STORAGE_TYPES",
        Kind.EXTEND,
        ("dict with file",),
        "ganeti_ceph.disk.report:extend_storage_types",
        "nodes list pools",
    ),
    Join(
        "ganeti.cmdlib.node",
        "LUNodeQueryStorage.CheckPrereq",
        Kind.WRAP,
        ("self",),
        "ganeti_ceph.disk.units:choose_storage",
        "gnt-node list-storage lists pools where rbd is the default template",
    ),
    Join(
        "ganeti.cmdlib.node",
        "_GetStorageTypeArgs",
        Kind.WRAP,
        ("cfg, storage_type",),
        "ganeti_ceph.disk.units:storage_arguments",
        "nodes learn which pools gnt-node list-storage lists",
    ),
    Join(
        "ganeti.client.gnt_node",
        "_STORAGE_TYPE_OPT",
        Kind.EXTEND,
        ("CliOption with choices",),
        "ganeti_ceph.disk.units:extend_option",
        "gnt-node list-storage takes -t rados",
    ),
    Join(
        "ganeti.masterd.iallocator",
        "IAllocator._ComputeClusterDataNodeInfo",
        Kind.WRAP,
        ("self, disk_templates, node_list, cluster_info, hypervisor_name",),
        "ganeti_ceph.disk.units:ask_nodes",
        "instance allocators learn the room in the pool of each node",
    ),
    Join(
        "ganeti.masterd.iallocator",
        "IAllocator._ComputeStorageDataFromSpaceInfoByTemplate",
        Kind.WRAP,
        ("space_info, node_name, disk_template",),
        "ganeti_ceph.disk.units:storage_of_node",
        "instance allocators learn the room in the pool of each node",
    ),
)
