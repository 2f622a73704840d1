import os
from pathlib import Path
from unittest import mock

import pytest
from labkit import host
from labkit.errors import LabError


def test_os_release_fields_lose_their_quotes():
    fields = host.os_release('ID=debian\nVERSION_ID="13"\n# comment\n\n')
    assert fields["ID"] == "debian"
    assert fields["VERSION_ID"] == "13"


def test_available_memory_is_in_bytes():
    assert host.available_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n") == 2097152


def test_memory_that_is_not_there_is_refused_in_one_line():
    with pytest.raises(LabError, match="not enough memory") as caught:
        host.require_memory(1 << 60)
    assert "\n" not in str(caught.value)


def test_disk_that_is_not_there_is_refused_even_for_a_folder_yet_to_be_made(tmp_path):
    with pytest.raises(LabError, match="not enough room"):
        host.require_disk(tmp_path / "not" / "there", 1 << 60)


def test_anybody_but_root_is_refused():
    with mock.patch.object(os, "geteuid", return_value=1000):
        with pytest.raises(LabError, match="root"):
            host.require_root()


@pytest.mark.parametrize("text", ["ID=ubuntu\nVERSION_ID=13\n", "ID=debian\n", ""])
def test_other_distributions_are_refused(text):
    with mock.patch.object(Path, "read_text", return_value=text):
        with pytest.raises(LabError, match="needs Debian 12 or 13"):
            host.require_debian()


def test_only_packages_of_files_that_are_missing_are_wanted(tmp_path):
    (tmp_path / "here").touch()
    wanted = {str(tmp_path / "here"): "one", str(tmp_path / "gone"): "two"}
    assert host.missing_packages(wanted) == ["two"]


def test_services_stay_down_while_packages_are_installed(tmp_path):
    policy = tmp_path / "policy-rc.d"
    with mock.patch.object(host, "POLICY", policy):
        with host.services_kept_down():
            assert "exit 101" in policy.read_text()
            assert os.access(policy, os.X_OK)
        assert not policy.exists()


def test_a_policy_of_the_host_is_left_alone(tmp_path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text("of the host")
    with mock.patch.object(host, "POLICY", policy):
        with host.services_kept_down():
            pass
    assert policy.read_text() == "of the host"


def test_a_policy_that_we_left_when_killed_is_taken_away(tmp_path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text(host.POLICY_TEXT)
    with mock.patch.object(host, "POLICY", policy):
        with host.services_kept_down():
            assert policy.exists()
    assert not policy.exists()


def test_a_service_that_comes_with_a_program_does_not_run_from_the_next_boot_on(
    tmp_path,
):
    wanted = {str(tmp_path / "a"): "prometheus", str(tmp_path / "b"): "chromium"}
    with (
        mock.patch.object(host, "POLICY", tmp_path / "policy-rc.d"),
        mock.patch.object(host, "run") as run,
    ):
        run.return_value.returncode = 0
        host.install(wanted)
    apt, systemctl = [call.args[0] for call in run.call_args_list]
    assert apt[-2:] == ["chromium", "prometheus"]
    assert systemctl == ["systemctl", "disable", "--quiet", "prometheus.service"]
