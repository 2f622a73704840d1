"""What a change makes of the parameters that there are."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from ganeti_ceph.errors import PrereqError, UsageError
from ganeti_ceph.params.change import Change, Setting
from ganeti_ceph.params.declarations import (
    CONF,
    CONF_PREFIX,
    Declaration,
    StorageParameters,
    find,
)
from ganeti_ceph.params.values import OsdLayout, Value


def apply(
    current: StorageParameters, change: Change, *, initialised: bool
) -> StorageParameters:
    """Give the parameters after a change.

    Repeated values replace the former ones as a whole.  Raises ``UsageError`` where
    values contradict each other (a ``ParameterError`` where the change holds one of
    them), and ``PrereqError`` where one cannot change while a storage cluster is
    ``initialised``; setting a parameter to the value that it has is no change.
    """
    merged = current
    refused: list[str] = []
    for setting in change.settings:
        declaration = find(setting.name)
        if declaration is None:
            raise change.error(setting.name, f"unknown parameter {setting.name!r}")
        former = merged
        merged = _merge(former, setting, declaration)
        if initialised and not declaration.changeable and merged != former:
            refused.append(f"{setting.name} ({declaration.why})")
    validate(merged, change)
    if refused:
        raise PrereqError(
            "while a storage cluster is initialised these parameters cannot change: "
            + ", ".join(refused)
        )
    return merged


def validate(parameters: StorageParameters, change: Change | None = None) -> None:
    """Refuse values that contradict each other, pointing into ``change`` if given."""
    for problem, names, value in _contradictions(parameters):
        given = [name for name in names if change and name in change.values]
        if change and given:
            raise change.error(given[0], problem, value)
        raise UsageError(problem)


def _contradictions(
    parameters: StorageParameters,
) -> Iterator[tuple[str, tuple[str, ...], Value]]:
    """Give what is wrong, with its parameters, the likely culprit first.

    The value is one that stands among the culprit's, where it can have several.
    """
    if parameters.effective_min_size > parameters.pool_size:
        yield (
            f"pool-min-size {parameters.pool_min_size} is more than pool-size "
            f"{parameters.pool_size}: the pool would never serve",
            ("pool-min-size", "pool-size"),
            None,
        )
    for both in sorted(set(parameters.disks) & set(parameters.db_devices)):
        yield (
            f"{both} is both a disk and a db-device: leave out one of them",
            ("db-device", "disk"),
            both,
        )
    public, cluster = parameters.public_network, parameters.cluster_network
    if public and cluster and public.version != cluster.version:
        yield (
            f"public-network {public} and cluster-network {cluster} differ in IP "
            "version: Ceph's daemons use one on both",
            ("cluster-network", "public-network"),
            None,
        )
    if parameters.encrypt and parameters.osd_layout is OsdLayout.RAW:
        yield (
            "encrypted OSDs need logical volumes: use osd-layout lvm or auto",
            ("encrypt", "osd-layout"),
            None,
        )


def _merge(
    current: StorageParameters, setting: Setting, declaration: Declaration
) -> StorageParameters:
    value: Any
    if declaration.name == CONF:
        options: dict[str, Value] = dict(current.conf)
        option = setting.name.removeprefix(CONF_PREFIX)
        options.pop(option, None)
        if not setting.is_reset:
            options[option] = setting.values[0]
        value = tuple(sorted(options.items()))
    elif setting.is_reset:
        value = declaration.default
    elif declaration.repeatable:
        value = tuple(sorted(map(declaration.kind.format, setting.values)))
    else:
        value = setting.values[0]
    return dataclasses.replace(current, **{declaration.field: value})
