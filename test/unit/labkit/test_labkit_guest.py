import lzma
import subprocess

import pytest
from labkit.guest import S_DIR, S_FILE, Entry, cpio, find_module


def test_cpio_reads_the_archive(tmp_path):
    archive = cpio(
        [
            Entry("bin", S_DIR | 0o755),
            Entry("bin/odd", S_FILE | 0o644, b"12345"),
            Entry("bin/empty", S_FILE | 0o755),
        ]
    )
    subprocess.run(["cpio", "-idm"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "bin/odd").read_bytes() == b"12345"
    assert (tmp_path / "bin/empty").stat().st_mode & 0o777 == 0o755


def test_a_compressed_module_is_found_under_its_other_spelling(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/virtio-net.ko.xz").write_bytes(lzma.compress(b"module"))
    assert find_module(tmp_path, "virtio_net") == b"module"


def test_a_module_that_is_built_in_needs_no_file(tmp_path):
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    assert find_module(tmp_path, "virtio") is None


def test_a_module_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nonsense"):
        find_module(tmp_path, "nonsense")
