import dataclasses

import pytest
from labkit.errors import LabError
from labkit.image import DEFAULT_MIRROR, apt_options, mirror_from
from labkit.releases import RELEASES, find_release


def test_the_mirror_of_debian_proper_is_taken():
    listing = (
        "Google|cloud|main|https://other/apt/\n"
        "Debian|Debian-Security|main|http://near/debian-security/\n"
        "Debian|Debian|main|http://near/debian/\n"
    )
    assert mirror_from(listing) == "http://near/debian"


@pytest.mark.parametrize("listing", ["", "nonsense\n", "Debian|Debian|contrib|x\n"])
def test_without_a_mirror_of_its_own_the_host_gets_the_default(listing):
    assert mirror_from(listing) == DEFAULT_MIRROR


def test_what_apt_needs_to_reach_a_mirror_is_passed_on_and_nothing_else():
    dump = 'APT::X "1";\nAcquire::http::Proxy "http://p:1";\nAcquire::Languages "de";\n'
    assert apt_options(dump) == ['Acquire::http::Proxy "http://p:1";']


def test_another_package_list_is_another_image():
    trixie = RELEASES["trixie"]
    more = dataclasses.replace(trixie, extra_packages=(*trixie.extra_packages, "vim"))
    assert more.image_key != trixie.image_key


def test_an_unknown_release_is_refused_with_those_there_are():
    with pytest.raises(LabError, match="trixie, bookworm"):
        find_release("sid")
