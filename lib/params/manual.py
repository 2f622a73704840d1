"""The parameters' part of the manual page, made from their declarations.

``python3 -m ganeti_ceph.params.manual`` prints it, to be put into
``man/ganeti-ceph.7.rst`` between its two marks; a unit test compares the two.
"""

import textwrap

from ganeti_ceph.params.declarations import CONF, DECLARATIONS, Declaration

_TITLES = ("Parameter", "Repeats", "May change", "Default")


def text() -> str:
    """Give the table of all parameters, then a paragraph for each."""
    return _table() + "\n" + "\n".join(map(_paragraph, DECLARATIONS))


def _table() -> str:
    rows = [
        _TITLES,
        *(
            (
                declaration.name,
                _repeats(declaration),
                "yes" if declaration.changeable else "no",
                declaration.default_text,
            )
            for declaration in DECLARATIONS
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(
        line.rstrip() for line in [rule, lines[0], rule, *lines[1:], rule, ""]
    )


def _repeats(declaration: Declaration) -> str:
    if declaration.name == CONF:
        return "per NAME"
    return "yes" if declaration.repeatable else "no"


def _paragraph(declaration: Declaration) -> str:
    syntax = declaration.kind.syntax
    sentences = [
        declaration.description,
        f"The value is {syntax}".replace("*", r"\*") + ".",
        f"Default: {declaration.default_text}.",
        "A later change is "
        + ("taken " if declaration.changeable else "refused: ")
        + f"{declaration.why}.",
    ]
    body = textwrap.fill(" ".join(sentences), width=76, break_on_hyphens=False)
    return f"``{declaration.name}``\n{textwrap.indent(body, '    ')}\n"


if __name__ == "__main__":
    print(text(), end="")
