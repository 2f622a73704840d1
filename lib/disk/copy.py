"""A program that moves an image's content: ``copy import|export URI``.

Ganeti runs it in pipes, where it moves a disk to another template or cluster.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ganeti_ceph.disk import image, uri
from ganeti_ceph.errors import Error


def pieces(source: BinaryIO) -> Iterator[bytes]:
    """Give what a file holds in pieces that :func:`image.write` likes."""
    while piece := source.read(image.CHUNK):
        yield piece


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit code."""
    # A reader that goes away ends the export, quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        direction, text = arguments
        volume = uri.parse(text)
        if volume is None:
            raise ValueError(text)
        if direction == "import":
            image.write(volume, pieces(sys.stdin.buffer))
        elif direction == "export":
            for piece in image.read(volume):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            raise ValueError(direction)
    except ValueError:
        print("usage: copy import|export URI", file=sys.stderr)
        return 2
    except Error as err:
        print(err, file=sys.stderr)
        return err.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
