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
        "ganeti.backend",
        "InstanceOsAdd",
        Kind.WRAP,
        ("instance, reinstall, debug",),
        "ganeti_ceph.disk.scripts:run_script",
        "OS scripts get block devices while they run",
    ),
    Join(
        "ganeti.backend",
        "RunRenameInstance",
        Kind.WRAP,
        ("instance, old_name, debug",),
        "ganeti_ceph.disk.scripts:run_script",
        "OS scripts get block devices while they run",
    ),
    Join(
        "ganeti.backend",
        "StartImportExportDaemon",
        Kind.WRAP,
        ("mode, opts, host, port, instance, component, ieio, ieioargs",),
        "ganeti_ceph.disk.scripts:start_transfer",
        "import and export scripts get a block device",
    ),
    Join(
        "ganeti.backend",
        "CleanupImportExport",
        Kind.WRAP,
        ("name",),
        "ganeti_ceph.disk.scripts:end_transfer",
        "the block device of an import or export is gone after it",
    ),
    Join(
        "ganeti.cmdlib.instance_storage",
        "LUInstanceActivateDisks.CheckPrereq",
        Kind.WRAP,
        ("self",),
        "ganeti_ceph.disk.activate:check",
        "disks that a running instance has open are not mapped",
    ),
    Join(
        "ganeti.cmdlib.instance_storage",
        "LUInstanceActivateDisks.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.disk.activate:execute",
        "gnt-instance activate-disks maps the images of a stopped instance",
    ),
    Join(
        "ganeti.backend",
        "FinalizeExport",
        Kind.WRAP,
        ("instance, snap_disks",),
        "ganeti_ceph.disk.export:finalize",
        "an export keeps the parameters of rbd disks",
    ),
    Join(
        "ganeti.cmdlib.instance_create",
        "LUInstanceCreate._ReadExportParams",
        Kind.WRAP,
        ("self, einfo",),
        "ganeti_ceph.disk.export:read_params",
        "an import gives rbd disks the parameters that they had",
    ),
    Join(
        "ganeti.impexpd",
        "CommandBuilder._GetSocatCommand",
        Kind.WRAP,
        ("self",),
        "ganeti_ceph.disk.export:name_certificate",
        "exports arrive on nodes whose addresses have names",
        ("3.1",),
    ),
    Join(
        "ganeti.backend",
        "BlockdevCreate",
        Kind.WRAP,
        ("disk, size, owner, on_primary, info, excl_stor",),
        "ganeti_ceph.disk.describe:create",
        "images tell whose disks they are",
    ),
    Join(
        "ganeti.backend",
        "BlockdevSetInfo",
        Kind.WRAP,
        ("disk, info",),
        "ganeti_ceph.disk.describe:set_info",
        "images tell whose disks they are",
    ),
    Join(
        "ganeti.cmdlib.instance_create",
        "LUInstanceCreate.CheckPrereq",
        Kind.WRAP,
        ("self",),
        "ganeti_ceph.disk.adopt:check",
        "gnt-instance add adopts images",
    ),
    Join(
        "ganeti.cmdlib.instance_create",
        "LUInstanceCreate.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.disk.adopt:finish",
        "adopted images tell whose disks they are",
    ),
    Join(
        "ganeti.cmdlib.instance_set_params",
        "LUInstanceSetParams.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.disk.adopt:renumber",
        "images tell the new numbers of disks",
    ),
    Join(
        "ganeti.cmdlib.group",
        "LUGroupAssignNodes.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.disk.config:keep_places_of_nodes",
        "disks stay where they are when their nodes change to another group",
    ),
    Join(
        "ganeti.utils.mlock",
        "Mlockall",
        Kind.WRAP,
        ("_ctypes",),
        "ganeti_ceph.node.memory:lock",
        "the node daemon answers as fast as without Ceph's libraries",
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
        "ganeti.cmdlib.cluster.verify",
        "LUClusterVerifyGroup._VerifyOrphanVolumes",
        Kind.WRAP,
        ("self, vg_name, node_vol_should, node_image, reserved",),
        "ganeti_ceph.jobs.images:verify_images",
        "gnt-cluster verify reports images that are missing, left over or misplaced",
    ),
    Join(
        "ganeti.cmdlib.group",
        "LUGroupVerifyDisks.Exec",
        Kind.WRAP,
        ("self, feedback_fn",),
        "ganeti_ceph.jobs.images:verify_disks",
        "gnt-cluster verify-disks reports missing images",
    ),
    Join(
        "ganeti.cmdlib.cluster",
        "LUClusterRepairDiskSizes.ExpandNames",
        Kind.WRAP,
        ("self",),
        "ganeti_ceph.jobs.images:lock_one_by_one",
        "gnt-cluster repair-disk-sizes takes names of instances",
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
        "BlockdevGetmirrorstatusMulti",
        Kind.WRAP,
        ("disks",),
        "ganeti_ceph.disk.status:find_all",
        "Ceph is asked once for all disks of a node",
    ),
    Join(
        "ganeti.backend",
        "BlockdevGetdimensions",
        Kind.WRAP,
        ("disks",),
        "ganeti_ceph.disk.status:measure_all",
        "Ceph is asked once for the sizes of all disks of a node",
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
        "ganeti.hypervisor.hv_kvm",
        "KVMHypervisor.ResizeDisk",
        Kind.WRAP,
        ("self, *args, **kwargs",),
        "ganeti_ceph.disk.resize:resize_disk",
        "QEMU never cuts an image that is larger than Ganeti knows",
        ("3.1",),
    ),
    Join(
        "ganeti.hypervisor.hv_kvm.monitor",
        "QmpConnection.HotAddDisk",
        Kind.WRAP,
        ("*args, **kwargs",),
        "ganeti_ceph.disk.guest:plug_drive",
        "QEMU gets what it needs to open a disk that is plugged in",
        ("3.0",),
    ),
    Join(
        "ganeti.hypervisor.hv_kvm.monitor",
        "QmpConnection.HotAddDisk",
        Kind.WRAP,
        ("*args, **kwargs",),
        "ganeti_ceph.disk.guest:plug_node",
        "QEMU gets what it needs to open a disk that is plugged in",
        ("3.1",),
    ),
    Join(
        "ganeti.hypervisor.hv_kvm",
        "KVMHypervisor._CallMonitorCommand",
        Kind.WRAP,
        ("instance_name, command, timeout",),
        "ganeti_ceph.disk.guest:check_answer",
        "a disk that QEMU cannot open is reported in QEMU's words",
        ("3.0",),
    ),
    Join(
        "ganeti.hypervisor.hv_kvm",
        "KVMHypervisor._ExecuteKVMRuntime",
        Kind.WRAP,
        ("self, *args, **kwargs",),
        "ganeti_ceph.disk.limits:start",
        "QEMU starts with the I/O limits of the disks",
    ),
    Join(
        "ganeti.hypervisor.hv_kvm",
        "KVMHypervisor._GenerateKVMBlockDevicesOptions",
        Kind.WRAP,
        ("self, up_hvp, kvm_disks, kvmhelp, devlist",),
        "ganeti_ceph.disk.limits:name_drives",
        "the I/O of IDE disks is limited",
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
        "ganeti_ceph.disk.info:add_image",
        "the data of an instance tells of its disks' images",
    ),
    Join(
        "ganeti.client.gnt_instance",
        "_FormatBlockDevInfo",
        Kind.WRAP,
        ("idx, top_level, dev, roman",),
        "ganeti_ceph.disk.info:show_image",
        "gnt-instance info shows its disks' images",
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
