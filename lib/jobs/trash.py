"""The images of removed disks in Ceph's trash: listed, brought back, deleted."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any

from ganeti import constants

from ganeti_ceph import rpc, state, wire
from ganeti_ceph.disk import options, uri
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.errors import ExecError, PrereqError, UsageError
from ganeti_ceph.facts import TrashedImage
from ganeti_ceph.jobs.base import StorageUnit
from ganeti_ceph.rpc import Call, LookInTrash, Purge, Restore, Trash

ACTIONS = ("list", "restore", "purge")

#: How many nodes are asked before a failure is believed.
_TRIES = 3


class LUTrash(StorageUnit):
    """Work on the trash of all pools that instances' disks may be in.

    Options: ``action``; ``images``, ids with commas between them, each also as
    ``POOL/ID``; ``name`` of a restored image; ``force=yes`` to purge images whose time
    of grace is not over.
    """

    def ExpandNames(self) -> None:
        """Lock nothing: no disk of an instance is in the trash."""
        self.needed_locks = {}

    def check(self) -> None:
        """Look into the trash, and find what was asked for."""
        self.action = self.options.get("action", "")
        if self.action not in ACTIONS:
            raise UsageError(
                f"unknown action '{self.action}', there is: {', '.join(ACTIONS)}"
            )
        wanted = [one for one in self.options.get("images", "").split(",") if one]
        if self.action == "restore" and len(wanted) != 1:
            raise UsageError("name the one image to restore")
        places = self._places()
        if not places:
            raise PrereqError("no disk is in a storage cluster, and so no image")
        trash = self._look(LookInTrash(tuple(sorted(places))))
        self.warnings = trash.errors
        if trash.blind:
            # An empty list would say that nothing is there.
            raise PrereqError(f"no trash can be seen: {'; '.join(self.warnings)}")
        self.images = choose(trash.images, wanted)
        if self.action == "restore":
            (found,) = self.images
            # Before anything is done: of another name no disk could be made.
            self.back = found.place.volume(self.options.get("name") or found.name)
        self.foreign = 0
        if self.action == "purge" and not wanted:
            ours = tuple(filter(self._is_ours, self.images))
            self.foreign = len(self.images) - len(ours)
            self.images = ours

    def execute(self, feedback: Callable[[str], None]) -> str:
        """Do it; a list is given as JSON."""
        for warning in self.warnings:
            feedback(f"* not looked into: {warning}")
        if self.action == "list":
            return json.dumps([wire.encode(self._shown(one)) for one in self.images])
        if self.action == "restore":
            return self._restore(self.images[0])
        return self._purge(feedback)

    def _restore(self, found: TrashedImage) -> str:
        sent = Restore(found.place, found.id, self.back.image)
        self._ask(rpc.RESTORE, wire.encode(sent))
        return (
            f"{self.back} is back; 'gnt-instance add -t rbd -n NODE --disk"
            f" 0:{self._adoption(self.back)}' makes an instance of it"
        )

    def _adoption(self, volume: Volume) -> str:
        """Return what ``--disk`` takes to adopt an image, in whatever node group."""
        place, defaults = volume.place, self._new_places()
        words = [f"adopt={volume.image}", f"pool={place.pool}"]
        if any(one.namespace != place.namespace for one in defaults):
            words.append(f"namespace={place.namespace or 'none'}")
        if any(one.user != place.user for one in defaults):
            words.append(f"user-id={place.user}")
        if any(one.conf != place.conf for one in defaults):
            words.append(f"ceph-conf={place.conf}")
        return ",".join(words)

    def _purge(self, feedback: Callable[[str], None]) -> str:
        force = self.options.get("force") == "yes"
        gone = 0
        for place in sorted({one.place for one in self.images}):
            ids = tuple(one.id for one in self.images if one.place == place)
            answer = self._ask(rpc.PURGE, wire.encode(Purge(place, ids, force)))
            for one in self.images:
                if one.place == place and one.id in answer.ids:
                    feedback(f"* deleted {place}/{one.name} ({one.id})")
            gone += len(answer.ids)
        left = len(self.images) - gone
        kept = (
            f", {left} are kept: their time is not over (--force deletes them, too), or"
            " they are in use or have snapshots"
            if left
            else ""
        )
        foreign = (
            f"; {self.foreign} of no disk of this cluster are left alone (named by id,"
            " they are deleted, too)"
            if self.foreign
            else ""
        )
        return f"{gone} images are deleted{kept}{foreign}"

    def _is_ours(self, one: TrashedImage) -> bool:
        """Tell whether it was this cluster's disk; half deleted, it does not tell."""
        return one.size is None or one.cluster == self.cfg.GetClusterName()

    def _shown(self, one: TrashedImage) -> TrashedImage:
        if one.cluster in ("", self.cfg.GetClusterName()):
            return one
        return dataclasses.replace(one, owner=f"{one.owner} of {one.cluster}")

    def _places(self) -> set[Place]:
        """Return where disks are, and where new ones would be.

        And the storage cluster's own pool, even if neither is there.
        """
        cluster = self.cfg.GetClusterInfo()
        if constants.DT_RBD not in cluster.enabled_disk_templates:
            return set()
        found = self._new_places()
        if self.initialised():
            found.add(Place(self.parameters().pool, user=uri.DISK_USER))
        for guest in self.cfg.GetAllInstancesInfo().values():
            defaults = self.cfg.GetInstanceDiskParams(guest)[constants.DT_RBD]
            for disk in self.cfg.GetInstanceDisks(guest.uuid):
                if disk.dev_type == constants.DT_RBD:
                    found.add(options.place(options.read({**defaults, **disk.params})))
        return found

    def _new_places(self) -> set[Place]:
        """Return where the disks of new instances would be, by their node group."""
        return {
            options.place(
                options.read(self.cfg.GetGroupDiskParams(group)[constants.DT_RBD])
            )
            for group in self.cfg.GetAllNodeGroupsInfo().values()
        }

    def _look(self, asked: LookInTrash) -> Trash:
        """Ask a node that surely knows the storage cluster, or another one."""
        nodes = [
            node
            for node in self.cfg.GetAllNodesInfo().values()
            if node.vm_capable and not node.offline
        ]
        nodes.sort(key=lambda node: (state.NODE_READY not in node.GetTags(), node.name))
        failure = ExecError("no node is online")
        for node in nodes[:_TRIES]:
            self.node = node
            try:
                found: Trash = self._ask(rpc.TRASH, wire.encode(asked))
            except ExecError as err:
                failure = err
            else:
                return found
        raise failure

    def _ask(self, call: Call[Any], sent: Any) -> Any:
        """Ask the node that could look; another might do again what it has begun."""
        reply = rpc.call(self.rpc, call, {self.node.uuid: sent})[self.node.uuid]
        if reply.error is not None:
            raise ExecError(f"{self.node.name}: {reply.error}")
        return reply.answer


def choose(
    images: Iterable[TrashedImage], wanted: Iterable[str]
) -> tuple[TrashedImage, ...]:
    """Return the images with these ids (``ID`` or ``POOL/ID``), all if none is named.

    Raises :class:`PrereqError` where an id is no image's, or that of several.
    """
    there = tuple(images)
    chosen: list[TrashedImage] = []
    for text in wanted:
        where, _, image_id = text.rpartition("/")
        found = [
            one
            for one in there
            if one.id == image_id and (not where or str(one.place) == where)
        ]
        if not found:
            raise PrereqError(
                f"there is no image {text} in the trash; 'gnt-storage trash list' shows"
                " what is there"
            )
        if len(found) > 1:
            raise PrereqError(
                f"several images have the id {text}; use one of "
                + ", ".join(f"{one.place}/{one.id}" for one in found)
            )
        chosen += found
    return tuple(chosen) if chosen else there
