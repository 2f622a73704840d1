"""The calls between the job and the nodes: names, arguments, answers, time limits."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from ganeti_ceph import wire
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.facts import (
    ClusterFacts,
    DiskFacts,
    ImagesFacts,
    NodeFacts,
    Report,
    TrashedImage,
)
from ganeti_ceph.steps import KINDS, Keys, Step

Answer = TypeVar("Answer")

#: Both daemons' versions of the calls; a node that speaks another one is refused.
PROTOCOL = 1


@dataclasses.dataclass(frozen=True)
class Call(Generic[Answer]):
    """A call to the node daemons: its name, its limit in seconds, its answer's type."""

    name: str
    timeout: int
    answer: Any


@dataclasses.dataclass(frozen=True)
class Look:
    """What a node is asked to look at."""

    disks: tuple[str, ...]
    db_devices: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Grant:
    """A Ceph user, and the pools whose images it shall be able to use."""

    user: str
    pools: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DefaultPool:
    """Where new disks are made."""

    pool: str
    #: Where their data lies; "" for the pool itself.
    data_pool: str


@dataclasses.dataclass(frozen=True)
class AskLeave:
    """OSDs that are to stop, or to go for ever."""

    osds: tuple[int, ...]
    for_ever: bool


@dataclasses.dataclass(frozen=True)
class Objections:
    """What Ceph has against that; None for nothing."""

    reason: str | None


@dataclasses.dataclass(frozen=True)
class LookAtDisks:
    """The disks of an instance that a node is asked about."""

    instance: str
    #: UUIDs of the disks in Ganeti's configuration, and their images.
    disks: tuple[tuple[str, Volume], ...]
    #: Whether to look into the images; if not, Ceph is not asked.
    images: bool = True


@dataclasses.dataclass(frozen=True)
class DisksFacts:
    """What a node knows of the disks that it was asked about, in their order."""

    disks: tuple[DiskFacts, ...]


@dataclasses.dataclass(frozen=True)
class MapImages:
    """Images that a node is asked to make block devices of, and how."""

    images: tuple[tuple[Volume, Mapper], ...]


@dataclasses.dataclass(frozen=True)
class Mapped:
    """The paths of block devices, in the order in which they were asked for."""

    paths: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class LimitDisk:
    """The new limits of a disk, which a running guest shall feel at once."""

    instance: str
    #: The disk's UUID in Ganeti's configuration.
    disk: str
    #: Per second; 0 for no limit.
    iops: int
    bandwidth: int


@dataclasses.dataclass(frozen=True)
class LookAtPlace:
    """The images in a pool or namespace that a node is asked about."""

    place: Place
    #: Images of instances' disks.
    disks: tuple[str, ...]
    #: All images that are known; None where nobody asks for unknown ones.
    known: tuple[str, ...] | None
    #: Whether to tell which OSDs are up; one node that does is enough.
    osds: bool = False


class Watched(enum.Enum):
    """How to find out where the images of disks are open."""

    NOT = "not"
    #: By asking the OSDs of all nodes.
    BY_OSDS = "osds"
    #: By a look into each image.
    BY_LOOK = "look"


@dataclasses.dataclass(frozen=True)
class LookAtImages:
    """The images that a node is asked about."""

    places: tuple[LookAtPlace, ...]
    watched: Watched


@dataclasses.dataclass(frozen=True)
class ReleaseImages:
    """Images that are to be removed, and that a node may have mapped.

    While their instance is ``running`` it has them open, and they stay mapped.
    """

    images: tuple[Volume, ...]
    running: bool


@dataclasses.dataclass(frozen=True)
class RenameCluster:
    """The places whose images shall tell the Ganeti cluster's new name."""

    places: tuple[Place, ...]
    old: str
    new: str


@dataclasses.dataclass(frozen=True)
class Told:
    """What is wrong, a sentence each."""

    errors: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CopyImage:
    """An image to copy to another place."""

    source: Volume
    target: Volume
    #: Where the copy's data lies; "" for the target's own pool.
    data_pool: str


@dataclasses.dataclass(frozen=True)
class RenameImages:
    """Images that nobody uses, and the names that they shall have in their places."""

    images: tuple[tuple[Volume, str], ...]


@dataclasses.dataclass(frozen=True)
class CloneImages:
    """An instance's images to clone, and the names of the clones."""

    instance: str
    #: With the UUIDs of the disks in Ganeti's configuration.
    images: tuple[tuple[str, Volume, str], ...]


@dataclasses.dataclass(frozen=True)
class LookInTrash:
    """The places whose trash a node is asked about.

    One that our own user opens stands for all that it may look into: a pool whose last
    disk is removed is no disk's any more.
    """

    places: tuple[Place, ...]


@dataclasses.dataclass(frozen=True)
class Trash:
    """What is in the trash, and a sentence for each place that cannot be seen."""

    images: tuple[TrashedImage, ...]
    errors: tuple[str, ...]
    #: Whether no place could be seen.
    blind: bool


@dataclasses.dataclass(frozen=True)
class Restore:
    """An image to bring back from the trash, and its name then."""

    place: Place
    id: str
    name: str


@dataclasses.dataclass(frozen=True)
class Purge:
    """Images in the trash to delete; by force also before their time is over."""

    place: Place
    ids: tuple[str, ...]
    force: bool


@dataclasses.dataclass(frozen=True)
class Purged:
    """The ids of images that are deleted."""

    ids: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Misfits:
    """The version of a node's extension, and the joins that do not fit there."""

    version: str
    ganeti: str
    places: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one step: a sentence, or why it failed."""

    step: str
    seconds: float
    done: str
    error: str | None


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What came of the steps of one call, in their order."""

    steps: tuple[Outcome, ...]


LOOK = Call[NodeFacts]("ceph_look", 60, NodeFacts)
STATUS = Call[ClusterFacts]("ceph_status", 30, ClusterFacts)
REPORT = Call[Report]("ceph_report", 30, Report)
KEYS = Call[Keys]("ceph_keys", 30, Keys)
LEAVE = Call[Objections]("ceph_leave", 60, Objections)
GRANT = Call[None]("ceph_grant", 30, type(None))
#: What it may use beyond the named pools is taken away, if nobody can miss it.
TAKE_BACK = Call[None]("ceph_take_back", 60, type(None))
DEFAULT_POOL = Call[None]("ceph_default_pool", 30, type(None))
DISKS = Call[DisksFacts]("ceph_disks", 60, DisksFacts)
MAP = Call[Mapped]("ceph_map", 120, Mapped)
LIMIT = Call[None]("ceph_limit", 30, type(None))
IMAGES = Call[ImagesFacts]("ceph_images", 120, ImagesFacts)
RELEASE = Call[Told]("ceph_release", 120, Told)
CLUSTER_NAME = Call[Told]("ceph_cluster_name", 300, Told)
#: As long as Ganeti gives the conversion of a disk.
COPY = Call[None]("ceph_copy", 86400, type(None))
RENAME = Call[None]("ceph_rename", 60, type(None))
CLONE = Call[Told]("ceph_clone", 120, Told)
TRASH = Call[Trash]("ceph_trash", 60, Trash)
RESTORE = Call[None]("ceph_restore", 60, type(None))
PURGE = Call[Purged]("ceph_purge", 600, Purged)
MISFITS = Call[Misfits]("ceph_misfits", 60, Misfits)
DO = Call[Outcomes]("ceph_do", 600, Outcomes)

CALLS = (
    LOOK,
    STATUS,
    REPORT,
    KEYS,
    LEAVE,
    GRANT,
    TAKE_BACK,
    DEFAULT_POOL,
    DISKS,
    MAP,
    LIMIT,
    IMAGES,
    RELEASE,
    CLUSTER_NAME,
    COPY,
    RENAME,
    CLONE,
    TRASH,
    RESTORE,
    PURGE,
    MISFITS,
    DO,
)


@dataclasses.dataclass(frozen=True)
class Reply(Generic[Answer]):
    """A node's answer, or the reason why there is none."""

    answer: Answer | None
    error: str | None


def encode_steps(steps: Sequence[Step]) -> list[Any]:
    """Return steps as they travel."""
    return [[step.name, wire.encode(step)] for step in steps]


def decode_steps(data: Any) -> tuple[Step, ...]:
    """Return the steps that arrived, or raise :class:`wire.WireError`."""
    steps: list[Step] = []
    if not isinstance(data, list):
        raise wire.WireError("the steps are no list")
    for item in data:
        if not isinstance(item, list) or len(item) != 2 or item[0] not in list(KINDS):
            raise wire.WireError(
                "a step that this node does not know: do all nodes run the same"
                " version of ganeti-ceph?"
            )
        steps.append(wire.decode(KINDS[item[0]], item[1], f"step {item[0]}"))
    return tuple(steps)


def call(
    runner: Any,
    call: Call[Answer],
    arguments: Mapping[str, Any],
    limit: int | None = None,
) -> dict[str, Reply[Answer]]:
    """Call nodes in parallel through Ganeti's RPC runner.

    ``arguments`` maps each node's UUID to what it is sent (JSON values).  A node
    that cannot be reached or fails gives a reply with an error, never an exception.
    ``limit`` is in seconds, where the call's own is too long.
    """
    if not arguments:
        return {}
    # Name, kind of client, resolver options, time limit, arguments, preparing and
    # finishing functions, description: what Ganeti's generated clients pass.
    definition = (
        call.name,
        None,
        None,
        limit or call.timeout,
        [("arguments", None, "what each node is sent")],
        lambda node, sent: [PROTOCOL, sent[0][node]],
        None,
        "",
    )
    results = runner._Call(definition, list(arguments), [dict(arguments)])
    replies: dict[str, Reply[Answer]] = {}
    for uuid, result in results.items():
        if result.fail_msg:
            replies[uuid] = Reply(None, _reason(str(result.fail_msg)))
            continue
        try:
            answer = wire.decode(call.answer, result.payload, call.name)
        except wire.WireError as err:
            replies[uuid] = Reply(None, str(err))
        else:
            replies[uuid] = Reply(answer, None)
    return replies


def _reason(message: str) -> str:
    # What a node daemon answers to a call that nobody added to it: Ganeti 3.0 says
    # "not found", 3.1 closes the connection.
    if "Error code 404." in message:
        return (
            "its node daemon has no ganeti-ceph: install it there and restart"
            " ganeti-noded"
        )
    if "Empty reply from server" in message:
        return (
            f"its node daemon did not answer ({message}): is ganeti-ceph installed"
            " there, and ganeti-noded restarted since?"
        )
    if "Connection timed out" in message and "Recv failure" in message:
        return f"it was lost while it worked: {message}"
    if "Failed to connect" in message:
        return f"is its node daemon running? {message}"
    return message
