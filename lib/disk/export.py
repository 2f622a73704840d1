"""Exports keep where a disk was, and arrive where Ganeti 3.1 refuses its own key."""

import configparser
from collections.abc import Callable
from typing import Any

from ganeti import constants

from ganeti_ceph.disk import options


def _name(index: int, option: str) -> str:
    """Return the name under which an export's ``config.ini`` has a disk's parameter."""
    return f"disk{index}_rbd_{option}"


def finalize(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Write the parameters of rbd disks into an export's ``config.ini``."""
    from ganeti import pathutils, utils

    guest, disks = args
    result = wrapped(*args, **kwargs)
    path = utils.PathJoin(pathutils.EXPORT_DIR, guest.name, constants.EXPORT_CONF_FILE)
    # Snapshots and disks that could not be exported stand here as False.
    found = [
        (index, disk)
        for index, disk in enumerate(disks)
        if disk and disk.dev_type == constants.DT_RBD
    ]
    if not found:
        return result
    config = configparser.ConfigParser(interpolation=None)
    # Ganeti's own reader tells upper from lower case no more than this one.
    config.read_string(utils.ReadFile(path))
    for index, disk in found:
        for option, value in options.given(disk.params).items():
            config.set(constants.INISECT_INS, _name(index, option), value)
    with open(path, "w", encoding="utf-8") as file:
        config.write(file)
    return result


def read_params(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Give the disks of an import the parameters that they had."""
    unit = instance
    (config,) = args
    given = bool(unit.op.disks)
    result = wrapped(*args, **kwargs)
    if given or unit.op.disk_template != constants.DT_RBD:
        return result
    # The reader's get() takes the text "none" for no value at all.
    texts = dict(config.items(constants.INISECT_INS, raw=True))
    for index, disk in enumerate(unit.op.disks):
        for option in options.OPTIONS:
            name = _name(index, option.name)
            if name in texts:
                disk[option.name] = texts[name]
    return result


def name_certificate(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Expect the name that Ganeti's own certificate has.

    3.1.0~rc2 expects the host's name, which only the certificates of moves between
    clusters have (https://github.com/ganeti/ganeti/issues/1839).
    """
    from ganeti import pathutils

    command: list[str] = wrapped(*args, **kwargs)
    if instance._opts.cert != pathutils.NODED_CERT_FILE:
        return command
    option = "openssl-commonname="
    return [
        ",".join(
            f"{option}{constants.X509_CERT_CN}" if part.startswith(option) else part
            for part in word.split(",")
        )
        for word in command
    ]
