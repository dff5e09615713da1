"""What a screen shows of an image: means over blocks, and bits that no block loses."""

from __future__ import annotations

import numpy as np

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_HOT, MASK_NAMES
from virtualobserver.data.frame_panels import MOST_MASKS, MOST_PIXELS, frame_stack
from virtualobserver.data.image import Image


def test_a_large_image_is_shown_as_means_and_one_marked_pixel_marks_its_block():
    data = np.ones((2 * MOST_PIXELS, 2 * MOST_PIXELS + 1), np.float32)
    data[0, :2] = 5, np.nan
    mask = np.zeros(data.shape, np.int32)
    mask[7, 11] = MASK_COSMIC_RAY | MASK_HOT
    panel = frame_stack(Image(data, mask=mask))
    assert max(panel.images.shape) <= MOST_PIXELS
    step = -(-data.shape[1] // MOST_PIXELS)
    assert panel.images[0, 0, 0] == np.nanmean(data[:step, :step])
    (row,), (col,) = np.nonzero(panel.masks[f"{MASK_NAMES[MASK_COSMIC_RAY]}: 1"])
    assert (row, col) == (7 // step, 11 // step)
    assert f"{step} x {step} pixels" in panel.note


def test_a_part_keeps_its_pixels_and_its_place_and_only_the_commonest_bits_are_offered():
    data = np.arange(1200.0).reshape(30, 40)
    mask = np.zeros(data.shape, np.int32)
    for n, bit in enumerate(MASK_NAMES):
        mask[10 : 11 + n, 12] |= bit
    panel = frame_stack(Image(data, mask=mask), "part", (slice(10, 30), slice(8, 28)))
    np.testing.assert_array_equal(panel.images[0], data[10:30, 8:28])
    assert panel.extent == (7.5, 27.5, 9.5, 29.5)
    assert (
        list(panel.masks)
        == [f"{name}: {n + 1}" for n, name in enumerate(MASK_NAMES.values())][::-1][:MOST_MASKS]
    )
