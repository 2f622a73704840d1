"""Numbers as people read them."""


def size(count: float) -> str:
    """Return bytes as people read them.

    >>> size(1536 * 2**20)
    '1.5 GiB'
    """
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        # What would be rounded to 1024 is 1 of the next.
        if round(value, 1) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def duration(seconds: int) -> str:
    """Return a time as people read it.

    >>> duration(3700)
    '1 h 1 min'
    """
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
