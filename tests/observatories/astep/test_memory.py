"""Combining frames stays within the memory it may use, however many frames there are."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest
from support.astep import drive, frames, write_night

from virtualobserver.data import Image, RawRef, Target
from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.errors import DataError
from virtualobserver.maths.ccd.masks import unstable_pixels
from virtualobserver.observatories.astep import VirtualASTEP
from virtualobserver.observatories.astep.folder import folder_raws
from virtualobserver.observatories.astep.frames import opened, sections
from virtualobserver.observatories.astep.loaded import LoadedMasters
from virtualobserver.observatory import Aux

SHAPE = (320, 400)


@pytest.fixture(scope="module")
def biases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    write_night(folder, size=SHAPE, frames=1, darks=0, flats=0, biases=24, stars=0, movers=0)
    return folder


def combined(folder, number, limit):
    """Return the master of so many biases, and the memory (bytes) that making it took at most."""
    survey = VirtualASTEP(memory_limit=limit)
    raws = [RawRef.of(raw) for raw in folder_raws([folder], survey.settings)]
    raws = [raw for raw in raws if raw.header["kind"] == "bias"][:number]
    aux = Aux(Target("camera"))
    survey.calibrate(raws[:2], aux, survey.settings)
    tracemalloc.start()
    (product,) = survey.calibrate(raws, aux, survey.settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return product.data, peak


def test_memory_does_not_grow_with_the_number_of_frames(biases):
    some, few = combined(biases, 8, 0.004)
    many, lot = combined(biases, 24, 0.004)
    stack = 24 * SHAPE[0] * SHAPE[1] * 4
    assert lot < stack
    assert lot < 1.3 * few
    assert some.data.shape == many.data.shape == SHAPE


def test_the_limit_does_not_change_the_result_and_one_too_small_says_what_is_needed(biases):
    np.testing.assert_array_equal(combined(biases, 12, 0.004)[0].data, combined(biases, 12, 2.0)[0].data)
    with pytest.raises(DataError, match="memory_limit"):
        combined(biases, 12, 0.0005)


def test_compressed_frames_beyond_the_limit_go_through_a_temporary_file(tmp_path):
    folder = write_night(tmp_path / "data")
    plain = drive(folder)
    for path in frames(folder, "DARK"):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    survey = VirtualASTEP(memory_limit=0.0002)
    raws = [RawRef.of(raw) for raw in folder_raws([folder], survey.settings)]
    raws = [raw for raw in raws if raw.header["kind"] == "dark"]
    with opened(raws, survey.settings) as (stack, refused):
        assert not refused
        assert any(isinstance(frame.array, np.memmap) for frame in stack)
    spooled = drive(folder, memory_limit=0.0002)
    for unit, handle in plain.masters.items():
        np.testing.assert_array_equal(spooled.masters[unit].load().data, handle.load().data)


def test_unstable_pixels_are_found_within_the_limit(biases):
    survey = VirtualASTEP()
    raws = [RawRef.of(raw) for raw in folder_raws([biases], survey.settings)]
    raws = [raw for raw in raws if raw.header["kind"] == "bias"]
    with opened(raws, survey.settings) as (stack, _):
        whole = unstable_pixels(sections(stack))
        tracemalloc.start()
        banded = unstable_pixels(sections(stack), memory_limit=4e6)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(stack) == 24
        assert peak < 4.5e6 < 24 * SHAPE[0] * SHAPE[1] * 2
        np.testing.assert_array_equal(banded, whole)
        with pytest.raises(DataError, match="memory_limit"):
            unstable_pixels(sections(stack), memory_limit=1e6)


def test_masters_of_a_night_are_read_once_and_no_more_than_three_are_kept():
    reads = []

    class Counted(MemoryHandle):
        def load(self):
            reads.append(self.info.product_id)
            return super().load()

    def handle(number):
        plane = np.full((4, 5), float(number), np.float32)
        image = Image(plane, plane, np.zeros((4, 5), np.uint16))
        facts = {"hash": f"{number:x}", "n_combine": 3}
        return Counted(image, ProductInfo("image", "master", product_id=number, statistics=facts))

    loaded = LoadedMasters()
    night = [handle(number) for number in (1, 2, 3)]
    for _ in range(5):
        assert [loaded(one).data[0, 0] for one in night] == [1.0, 2.0, 3.0]
    assert reads == [1, 2, 3]
    assert loaded(handle(4)).data[0, 0] == 4.0
    assert loaded(night[2]).data[0, 0] == 3.0
    assert reads == [1, 2, 3, 4]
    loaded(night[0])
    assert reads == [1, 2, 3, 4, 1]
    assert loaded(None) is None
