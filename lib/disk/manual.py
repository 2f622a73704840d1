"""The disk parameters' part of their manual page, made from their declarations.

``python3 -m ganeti_ceph.disk.manual`` prints it, to be put into
``man/ganeti-ceph-disks.7.rst`` between its two marks; a unit test compares the two.
"""

import textwrap

from ganeti_ceph.disk.options import OPTIONS, Option


def text() -> str:
    """Give a paragraph for each parameter."""
    return "\n".join(map(_paragraph, OPTIONS))


def _paragraph(option: Option) -> str:
    sentences = [option.description]
    sentences.append(f"Default: {option.default}." if option.default else "")
    if option.kept:
        sentences.append("A disk keeps what it was made with; a change moves it.")
    elif not option.changeable:
        sentences.append("It counts when the image is made.")
    body = textwrap.fill(" ".join(filter(None, sentences)), 76, break_on_hyphens=False)
    return f"``{option.name}=``\\ *{option.syntax}*\n{textwrap.indent(body, '    ')}\n"


if __name__ == "__main__":
    print(text(), end="")
