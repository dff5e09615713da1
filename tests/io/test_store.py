import errno
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from support.stored import lightcurve, spectra

from virtualobserver.data import Handle, Image
from virtualobserver.errors import ChecksumMismatch, DiskFull, StoreError, UnsafePath
from virtualobserver.io.store import BlockRef, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "data")


def temporary(store):
    return [*(store.root / "tmp").iterdir(), *store.root.rglob(".vo-*")]


def test_blocks_come_back_through_lazy_handles(store):
    written = store.write_blocks(
        "products/ab", [("a", lightcurve(1)), ("s/b", spectra()), ("r", b"raw" * 500)]
    )
    assert [ref.kind for ref in written.blocks] == ["lightcurve", "spectrum", "raw"]
    assert written.file.path == f"products/ab/{written.file.sha256[:24]}.h5"
    assert store.rehash(written.file.path) == written.file.sha256
    handle = store.open(written.blocks[0])
    assert isinstance(handle, Handle)
    np.testing.assert_array_equal(handle.load().flux, lightcurve(1).flux)
    np.testing.assert_array_equal(handle.section(slice(2, 5)).flux, lightcurve(1).flux[2:5])
    assert store.read_bytes(written.blocks[2]) == b"raw" * 500
    assert list(store.files()) == [written.file.path]
    assert not temporary(store)


def test_fault_02_orphan_of_the_same_content_is_adopted(store):
    first = store.write_blocks("products/ab", [("a", lightcurve())])
    before = store.resolve(first.file.path).stat()
    again = store.write_blocks("products/ab", [("a", lightcurve())])
    assert again == first
    assert store.resolve(first.file.path).stat().st_ino == before.st_ino
    assert len(list(store.files())) == 1


def test_fault_02_damaged_orphan_is_set_aside_and_written_again(store):
    first = store.write_blocks("products/ab", [("a", lightcurve())])
    store.resolve(first.file.path).write_bytes(b"half")
    again = store.write_blocks("products/ab", [("a", lightcurve())])
    assert store.rehash(again.file.path) == first.file.sha256
    assert len(list((store.root / "quarantine").iterdir())) == 1


def test_fault_04_full_disk_on_fsync_leaves_nothing_and_says_how_much(store, monkeypatch):
    kept = store.write_blocks("products/ab", [("a", lightcurve(1))])

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match=r"\d+ bytes needed, \d+ free"):
        store.write_blocks("products/ab", [("a", lightcurve(2))])
    assert not temporary(store)
    assert list(store.files()) == [kept.file.path]
    assert store.rehash(kept.file.path) == kept.file.sha256


def test_fault_04_too_little_free_space_is_seen_before_writing(store, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=100, used=90, free=10))
    with pytest.raises(DiskFull, match="10 free") as caught:
        store.write_image("products/ab", Image(np.zeros((5, 5))), "x")
    assert caught.value.kind == "retryable"
    assert not temporary(store)
    assert not list(store.files())


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_fault_13_any_flipped_bit_of_the_numbers_is_found_on_reading(store):
    written = store.write_blocks("products/ab", [("a", lightcurve())])
    path = store.resolve(written.file.path)
    with h5py.File(path) as file:
        start = file["a"].id.get_offset()
    for place in (start, start + 5000):
        flip(path, place)
        with pytest.raises(ChecksumMismatch, match=r"'a'.*vo verify --repair"):
            store.open(written.blocks[0]).load()
        flip(path, place)
    assert store.open(written.blocks[0]).load().band == "zg"


def test_fault_13_damaged_structure_and_truncation_are_found_on_reading(store):
    written = store.write_blocks("products/ab", [("a", lightcurve())])
    path = store.resolve(written.file.path)
    whole = path.read_bytes()
    for damaged in (b"\0" * 64 + whole[64:], whole[:3000], b"<html>"):
        path.write_bytes(damaged)
        with pytest.raises(ChecksumMismatch):
            store.open(written.blocks[0]).load()


def test_fault_13_replaced_and_deleted_files_are_named(store):
    written = store.write_blocks("products/ab", [("a", lightcurve(1))])
    other = store.write_blocks("products/ab", [("a", lightcurve(2))])
    path = store.resolve(written.file.path)
    shutil.copy(store.resolve(other.file.path), path)
    with pytest.raises(ChecksumMismatch):
        store.open(written.blocks[0]).load()
    moved = store.quarantine(written.file.path)
    assert moved.parent == store.root / "quarantine"
    with pytest.raises(StoreError, match="missing"):
        store.open(written.blocks[0]).load()


def test_fault_13_flipped_bit_of_an_image_is_found(store):
    written = store.write_image("products/ab", Image(np.arange(12.0).reshape(3, 4)), "../m")
    flip(store.resolve(written.file.path), 2890)
    with pytest.raises(ChecksumMismatch):
        store.open(written.blocks[0]).load()


def test_images_are_one_file_each_and_equal_for_equal_images(store):
    image = Image(
        np.arange(12.0).reshape(3, 4), np.ones((3, 4)), np.zeros((3, 4), "i4"), {"EXPTIME": 3.0}, "electron"
    )
    written = store.write_image("products/ab", image, "a/b")
    assert store.write_image("products/ab", image, "a/b") == written
    back = store.open(written.blocks[0]).load()
    np.testing.assert_array_equal(back.data, image.data)
    np.testing.assert_array_equal(back.variance, image.variance)
    assert back.mask is not None
    assert (back.unit, back.header["EXPTIME"]) == ("electron", 3.0)
    box = store.open(written.blocks[0]).section(slice(1, 3), slice(0, 2))
    np.testing.assert_array_equal(box.data, image.data[1:3, :2])
    np.testing.assert_array_equal(box.variance, image.variance[1:3, :2])
    assert (box.unit, box.header["EXPTIME"]) == ("electron", 3.0)


def test_many_products_of_one_file_open_it_once(store, monkeypatch):
    written = store.write_blocks("products/ab", [(f"k{i}", lightcurve(i, 5)) for i in range(20)])
    opened = []
    real = h5py.File
    monkeypatch.setattr(
        h5py, "File", lambda *args, **options: opened.append(real(*args, **options)) or opened[-1]
    )
    with store.reading():
        loaded = [handle.load() for handle in store.open_many(written.blocks)]
    assert len(loaded) == 20
    assert len(opened) == 1
    assert not opened[0]  # closed at the end


def test_downloaded_file_is_moved_in_and_archive_file_stays(store, tmp_path):
    (tmp_path / "part").write_bytes(b"body")
    record = store.adopt(tmp_path / "part", "raw/x/12", ".csv")
    assert not (tmp_path / "part").exists()
    assert store.read_bytes(BlockRef(record.path, "", "raw", record.format, record.sha256)) == b"body"
    (tmp_path / "mine.csv").write_bytes(b"mine")
    mine = store.register(tmp_path / "mine.csv")
    ref = BlockRef(mine.path, "", "raw", mine.format, mine.sha256, external=True)
    assert store.read_bytes(ref) == b"mine"
    assert mine.format == "csv"
    assert list(store.files()) == [record.path]


def test_sweep_removes_only_old_temporary_files(store):
    old, new = store.root / "tmp" / "old", store.root / "tmp" / "new"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (time.time() - 9999,) * 2)
    assert store.sweep_temporary(3600) == [old]
    assert temporary(store) == [new]


@pytest.mark.parametrize("place", ["/dev/shm", None], ids=["another-file-system", "same"])
def test_products_may_be_a_link_to_another_place(tmp_path, place):
    if place is not None and not os.access(place, os.W_OK):
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir=place or tmp_path) as other:
        root = tmp_path / "linked"
        root.mkdir()
        for name in ("products", "raw"):
            (Path(other) / name).mkdir()
            (root / name).symlink_to(Path(other) / name)
        store = Store(root)
        written = store.write_blocks("products/d", [("a", b"abc")])
        assert written.file.path.startswith("products/d/")
        assert store.read_bytes(written.blocks[0]) == b"abc"
        (tmp_path / "part").write_bytes(b"body")
        adopted = store.adopt(tmp_path / "part", "raw/x/12", ".csv")
        assert sorted(store.files()) == sorted([written.file.path, adopted.path])
        store.resolve(written.file.path).write_bytes(b"damaged")
        assert store.write_blocks("products/d", [("a", b"abc")]).file.path == written.file.path
        assert store.read_bytes(written.blocks[0]) == b"abc"
        assert len(list((root / "quarantine").iterdir())) == 1
        store.delete(adopted.path)
        assert list(store.files()) == [written.file.path]
        with pytest.raises(UnsafePath):
            store.resolve("products/../../x")


@pytest.mark.parametrize("to", ["outside", "inside", "nothing"])
def test_a_link_in_place_of_a_file_is_set_aside_and_the_file_written_again(store, tmp_path, to):
    first = store.write_blocks("raw/x", [("a", b"abc")])
    other = store.write_blocks("raw/x", [("a", b"other")])
    (tmp_path / "mine").write_bytes(b"mine")
    goal = {
        "outside": tmp_path / "mine",
        "inside": store.root / other.file.path,
        "nothing": tmp_path / "gone",
    }[to]
    path = store.root / first.file.path
    path.unlink()
    path.symlink_to(goal)
    assert store.write_blocks("raw/x", [("a", b"abc")]).file.path == first.file.path
    assert not path.is_symlink()
    assert store.read_bytes(first.blocks[0]) == b"abc"
    assert store.read_bytes(other.blocks[0]) == b"other"
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_rename_is_made_to_last_by_its_folder(store, monkeypatch):
    synced = []
    fsync = os.fsync

    def noted(number):
        synced.append(Path(f"/proc/self/fd/{number}").readlink())
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    record = store.write_blocks("products/d", [("a", b"abc")]).file
    place = store.resolve(record.path)
    # first the content, under its temporary name, then the folder that holds the new name
    assert [path.parent for path in synced[:1]] == [place.parent]
    assert synced[0].name.startswith(".vo-")
    assert synced[-1] == place.parent
