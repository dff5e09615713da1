"""Compiled functions: what several processes keep on disk at once."""

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from virtualobserver.maths.images.filter_kernel import filtered_noise
from virtualobserver.maths.kernel_files import FilesBySignature


def two_that_compile_at_once(kind, folder):
    """Two processes read the index, then both write: what each of them made is read by a third."""
    folder.mkdir(exist_ok=True)
    place = {"cache_path": str(folder), "filename_base": "kernel", "source_stamp": (1.0, 10)}
    first, second = kind(**place), kind(**place)
    before = second._load_index()
    first.save("for doubles", "code for doubles")
    second._load_index = lambda: before  # it had read it a moment earlier
    file, second._save_data = second._save_data, lambda *what: None
    second.save("for whole numbers", "code for whole numbers")
    second._save_data = file
    return kind(**place)


def test_code_for_other_arguments_is_never_run(tmp_path):
    ours = two_that_compile_at_once(FilesBySignature, tmp_path / "ours")
    assert ours.load("for whole numbers") is None  # not there yet: to be compiled again
    assert ours.load("for doubles") is None


def test_what_is_kept_is_found_and_follows_the_source(tmp_path):
    place = {"cache_path": str(tmp_path), "filename_base": "kernel"}
    FilesBySignature(**place, source_stamp=(1.0, 10)).save("for doubles", "code")
    FilesBySignature(**place, source_stamp=(1.0, 10)).save("for singles", "other code")
    again = FilesBySignature(**place, source_stamp=(1.0, 10))
    assert (again.load("for doubles"), again.load("for singles")) == ("code", "other code")
    assert FilesBySignature(**place, source_stamp=(2.0, 10)).load("for doubles") is None


def test_kernels_keep_their_code_by_signature():
    plane = np.ones((5, 5), np.float32)
    filtered_noise(plane, np.zeros((5, 5), bool), np.ones(3, np.float32) / 3)
    assert isinstance(filtered_noise._cache._cache_file, FilesBySignature)
    assert filtered_noise._cache._cache_file._load_index()


def test_the_race_is_there_without(tmp_path):
    """Should this fail, numba has mended it, and `kernel_files` can go."""
    theirs = two_that_compile_at_once(IndexDataCacheFile, tmp_path)
    if theirs.load("for whole numbers") is None:
        pytest.fail("numba keeps signatures apart by itself")
    assert theirs.load("for whole numbers") == "code for doubles"
