from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from virtualobserver.errors import InvalidFile, UnsafePath
from virtualobserver.io.archives import safe_unpack

BAD_NAMES = ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "C:evil", "line\nbreak", "x" * 300]


def make_zip(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def make_tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_good_archive_is_unpacked_in_order(tmp_path: Path, make: object) -> None:
    assert callable(make)
    packed = make(tmp_path / "good", {"b.txt": b"two", "deep/a.txt": b"one"})
    out = tmp_path / "out"
    assert safe_unpack(packed, out) == [out / "b.txt", out / "deep/a.txt"]
    assert everything(out) == {"b.txt": b"two", "deep/a.txt": b"one"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_fault_19_member_that_leaves_the_folder_stops_all(tmp_path: Path, make: object, name: str) -> None:
    assert callable(make)
    packed = make(tmp_path / "bad", {"good.txt": b"ok", name: b"evil"})
    before = everything(tmp_path)
    with pytest.raises(UnsafePath, match="nothing unpacked") as caught:
        safe_unpack(packed, tmp_path / "in" / "out")
    assert str(packed) in str(caught.value)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"),
    ],
)
def test_fault_19_tar_links_and_devices_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    packed = make_tar(tmp_path / "bad.tar.gz", {"innocent": b""}, kind=kind, link="/etc/passwd")
    with pytest.raises(UnsafePath, match=f"'innocent' is a {word}"):
        safe_unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("mode", "word"), [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "device")])
def test_fault_19_zip_links_and_devices_are_refused(tmp_path: Path, mode: int, word: str) -> None:
    packed = make_zip(tmp_path / "bad.zip", {"innocent": b"/etc/passwd"}, mode=mode | 0o777)
    with pytest.raises(UnsafePath, match=f"'innocent' is a {word}"):
        safe_unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_fault_19_bomb_of_zeros_is_refused_by_its_ratio(tmp_path: Path, make: object) -> None:
    assert callable(make)
    packed = make(tmp_path / "bomb", {"zeros": bytes(20 * 2**20)})
    assert packed.stat().st_size < 2**17
    with pytest.raises(InvalidFile, match="unpacks to 20971520 bytes"):
        safe_unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fault_19_limits_on_size_and_count_hold(tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "many.zip", {f"{i}": b"12345" for i in range(20)})
    with pytest.raises(InvalidFile, match="more than 19 members"):
        safe_unpack(packed, tmp_path / "out", max_members=19)
    with pytest.raises(InvalidFile, match="unpacks to 100 bytes"):
        safe_unpack(packed, tmp_path / "out", max_bytes=99)
    assert not (tmp_path / "out").exists()
    assert len(safe_unpack(packed, tmp_path / "out", max_members=20, max_bytes=100)) == 20


def test_fault_19_body_longer_than_its_index_says_leaves_nothing(tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "liar.zip", {"zeros": bytes(100_000)})
    raw = packed.read_bytes()
    true, false = (100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert raw.count(true) == 2
    packed.write_bytes(raw.replace(true, false))
    with pytest.raises(InvalidFile):
        safe_unpack(packed, tmp_path / "out")
    assert everything(tmp_path / "out") == {}


def test_fault_19_archives_inside_stay_packed(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"../evil": b"x"}).read_bytes()
    packed = make_zip(tmp_path / "outer.zip", {"inner.zip": inner})
    assert safe_unpack(packed, tmp_path / "out") == [tmp_path / "out" / "inner.zip"]
    assert everything(tmp_path / "out") == {"inner.zip": inner}


def test_fault_19_link_inside_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / "door").symlink_to(outside)
    packed = make_zip(tmp_path / "door.zip", {"door/evil": b"x"})
    with pytest.raises(UnsafePath, match="leads out of it"):
        safe_unpack(packed, out)
    assert list(outside.iterdir()) == []


def test_fault_19_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    packed = tmp_path / "twice.tar"
    with tarfile.open(packed, "w") as archive:
        for name in ("a", "./a"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(InvalidFile, match="two members are named 'a'"):
        safe_unpack(packed, tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_fault_19_cut_archive_is_invalid_and_leaves_nothing(tmp_path: Path, make: object) -> None:
    assert callable(make)
    packed = make(tmp_path / "cut", {"a": bytes(range(256)) * 40, "b": b"b" * 3000})
    packed.write_bytes(packed.read_bytes()[:150])
    with pytest.raises(InvalidFile, match="cut"):
        safe_unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists() or everything(tmp_path / "out") == {}


def test_a_page_is_no_archive(tmp_path: Path) -> None:
    packed = tmp_path / "page.zip"
    packed.write_bytes(b"<html>down</html>")
    with pytest.raises(InvalidFile, match="not a readable zip or tar"):
        safe_unpack(packed, tmp_path / "out")
