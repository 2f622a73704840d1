"""Storage parameters as Ganeti's tags on the cluster: ``ceph:NAME:VALUE``."""

import re
from collections.abc import Iterable
from typing import Any

from ganeti_ceph.errors import PrereqError
from ganeti_ceph.params.declarations import (
    CONF,
    CONF_PREFIX,
    DECLARATIONS,
    Declaration,
    StorageParameters,
    check_option,
    find,
)
from ganeti_ceph.params.values import DevicePath, RefusedError, Value

PREFIX = "ceph:"

#: Ganeti's ``MAX_TAG_LEN``.
_LONGEST = 128
_REFUSED = re.compile("[^A-Za-z0-9_.+*/:@-]")


def check_storable(name: str, declaration: Declaration, text: str) -> None:
    """Refuse the text of a value that cannot be part of a tag."""
    refused = _REFUSED.search(text)
    if refused:
        on_device = isinstance(declaration.kind, DevicePath)
        raise RefusedError(
            f"a value cannot hold {refused.group()!r}, only letters, digits and "
            ". _ + * / : @ - (Ganeti keeps it in a tag)"
            + (": write * in its place" if on_device else ""),
            refused.start(),
        )
    room = _LONGEST - len(_tag(name, ""))
    if len(text) > room:
        raise RefusedError(
            f"the value is {len(text) - room} characters too long (Ganeti keeps it in "
            f"a tag of at most {_LONGEST})",
            max(room, 0),
        )


def to_tags(parameters: StorageParameters) -> frozenset[str]:
    """Give the tags of all that differs from its default."""
    tags: set[str] = set()
    for declaration in DECLARATIONS:
        value = getattr(parameters, declaration.field)
        if value == declaration.default:
            continue
        if declaration.name == CONF:
            tags.update(_tag(CONF_PREFIX + option, text) for option, text in value)
        else:
            values = value if declaration.repeatable else (value,)
            tags.update(
                _tag(declaration.name, declaration.kind.format(each)) for each in values
            )
    return frozenset(tags)


def from_tags(tags: Iterable[str]) -> StorageParameters:
    """Give the parameters kept in tags; other than ``ceph:`` tags are left alone."""
    fields: dict[str, Any] = {}
    tag_of: dict[str, str] = {}
    for tag in sorted(set(tags)):
        if not tag.startswith(PREFIX):
            continue
        name, declaration, value = _parse(tag)
        if declaration.repeatable:
            fields[declaration.field] = (*fields.get(declaration.field, ()), value)
            continue
        if name in tag_of:
            raise PrereqError(
                f"the cluster's tags {tag_of[name]!r} and {tag!r} contradict each "
                "other: remove one with 'gnt-cluster remove-tags'"
            )
        tag_of[name] = tag
        if declaration.name == CONF:
            option = (name.removeprefix(CONF_PREFIX), value)
            fields["conf"] = tuple(sorted((*fields.get("conf", ()), option)))
        else:
            fields[declaration.field] = value
    return StorageParameters(**fields)


def _tag(name: str, text: str) -> str:
    return f"{PREFIX}{name}:{text}"


def _parse(tag: str) -> tuple[str, Declaration, Value]:
    name, colon, text = tag.removeprefix(PREFIX).partition(":")
    declaration = find(name)
    if declaration is None or not colon:
        raise PrereqError(
            f"the cluster's tag {tag!r} is no storage parameter that this version of "
            "ganeti-ceph knows: upgrade ganeti-ceph on this node, or remove the tag "
            f"with 'gnt-cluster remove-tags {tag}'"
        )
    try:
        if declaration.name == CONF:
            check_option(name.removeprefix(CONF_PREFIX))
        if not text:
            raise RefusedError("the value is missing")
        return name, declaration, declaration.kind.parse(text)
    except RefusedError as error:
        raise PrereqError(
            f"the cluster's tag {tag!r} cannot be used ({error.reason}): remove it "
            f"with 'gnt-cluster remove-tags {tag}'"
        ) from error
