"""Secrets that do not print themselves, and Ceph's way of writing a key."""

import base64
import os
import struct
import time


class Secret:
    """A text nobody but its reader sees: not in logs, errors or ``repr``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; call this only where it is written or sent."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def make_key() -> Secret:
    """Return a new CephX key.

    The format is that of Ceph's ``CryptoKey`` (src/auth/Crypto.cc): type 1 (AES),
    the time of creation in seconds and nanoseconds, the length, 16 random bytes.
    """
    secret = os.urandom(16)
    head = struct.pack("<HIIH", 1, int(time.time()), 0, len(secret))
    return Secret(base64.b64encode(head + secret).decode("ascii"))
