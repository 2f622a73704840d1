"""HTML that is put together from parts, of which every text is escaped.

Only :class:`Html` goes into a page as it is, and only :func:`tag` and :func:`join` make
it, so that a name somebody chose cannot become markup by being forgotten.
"""

import html
import re
from collections.abc import Iterable

#: Names have no use for them, and HTML has no way to say them.
_UNSPEAKABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)

#: Elements that have no content and no end.
_VOID = frozenset({"br", "link", "meta"})


class Html(str):
    """Markup, in contrast to text."""

    __slots__ = ()


Part = str | None


def escape(text: Part) -> Html:
    """Return what shows a text; markup stays as it is, and None is nothing."""
    if text is None:
        return Html()
    if isinstance(text, Html):
        return text
    return Html(html.escape(_UNSPEAKABLE.sub("\N{REPLACEMENT CHARACTER}", text)))


def join(parts: Iterable[Part], between: str = "") -> Html:
    """Return parts one after the other, with a text between them."""
    return Html(escape(between).join(escape(one) for one in parts))


def tag(element: str, *parts: Part, **attributes: str | bool | float | None) -> Html:
    """Return an element.

    Attributes that are None or False are left out, and of one that is True only the
    name is written.  ``class_`` is ``class``; other underscores are hyphens.
    """
    written = [element]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(name)
        elif value is not None and value is not False:
            written.append(f'{name}="{escape(str(value))}"')
    start = f"<{' '.join(written)}>"
    if element in _VOID:
        return Html(start)
    return Html(f"{start}{join(parts)}</{element}>")
