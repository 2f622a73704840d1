"""How numbers are said."""

import pytest

from ganeti_ceph import words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 2**20, "1.5 GiB"),
        (2**40, "1.0 TiB"),
        (2**50, "1.0 PiB"),
        (5000 * 2**50, "5000.0 PiB"),
        # Rounded to the unit's end, it is one of the next.
        (2**20 - 1, "1.0 MiB"),
        (2**50 - 1, "1.0 PiB"),
    ],
)
def test_bytes_have_the_unit_that_fits(count, text):
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (3700, "1 h 1 min"),
        (48 * 3600 - 1, "47 h 59 min"),
        (48 * 3600, "2 days"),
        (10 * 86400 - 1, "9 days"),
    ],
)
def test_times_have_the_unit_that_fits(seconds, text):
    assert words.duration(seconds) == text
