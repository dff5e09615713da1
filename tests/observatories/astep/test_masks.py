"""Halos of bright stars, flats of two levels, masters unlike those of the night before."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits
from support.astep import change, drive, frames, write_night

from virtualobserver.conventions import MASK_BAD, MASK_HALO, MASK_SATURATED
from virtualobserver.maths.ccd.halos import bright_stars, halo_radii, star_halos
from virtualobserver.maths.ccd.masters import level_groups

NIGHT, BEFORE = "2010-03-01", "2010-02-27"


def with_halo(shape=(240, 260), at=(110.3, 90.6), slope=3.0):
    """A star whose light falls with a power of the distance, on a sloping sky with noise of 10."""
    rng = np.random.default_rng(3)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    r = np.hypot(cols - at[0], rows - at[1])
    return rng.normal(500 + 0.01 * cols, 10.0) + 4e6 / np.maximum(r, 2) ** slope


# --- halos


def test_a_halo_reaches_to_where_its_light_falls_below_the_noise():
    image = with_halo()
    bright = image > 60000
    x, y, extent = bright_stars(bright)
    assert (x[0], y[0]) == pytest.approx((110.3, 90.6), abs=0.7)
    assert extent[0] < 6
    # 4e6 / r^3 = 10 at 74 pixels, and a tenth of that in the ring that tells the sky
    assert halo_radii(image, x, y, limit=10.0, largest=160.0)[0] == pytest.approx(72, abs=5)
    assert halo_radii(image, x, y, limit=80.0, largest=100.0)[0] == pytest.approx(37, abs=4)
    mask = star_halos(image, bright, limit=10.0, largest=100.0)
    assert mask[90, 165] == MASK_HALO
    assert mask[90, 200] == 0
    assert star_halos(image, bright, limit=10.0, largest=30.0).sum() / MASK_HALO < np.pi * 31**2 + 10


def test_a_frame_without_bright_stars_has_no_halo():
    image = np.random.default_rng(4).normal(500, 10, (60, 60))
    assert not star_halos(image, image > 60000, limit=10.0, largest=50.0).any()


def test_the_halo_of_a_saturated_star_is_in_the_mask_of_the_frame_and_that_of_a_hot_pixel_is_not(tmp_path):
    folder = write_night(tmp_path / "data", size=(160, 180), stars=6, cosmics=0.0)
    star = with_halo((160, 180), (60.0, 70.0)) - 500
    for path in frames(folder, "SCIENCE"):
        with fits.open(path, mode="update") as units:
            units[0].data = np.clip(units[0].data + np.maximum(star, 0), 0, 65535).astype(np.uint16)
        change([path])
    made = drive(folder)
    assert not made.errors
    (mask, *_) = (product.data.mask for product in made.frames.values())
    assert mask[70, 60] & MASK_SATURATED
    halo = (mask & MASK_HALO) > 0
    reach = np.sqrt(halo.sum() / np.pi)
    assert 40 < reach < 75
    assert halo[70, 95]
    assert not halo[150, 170]
    plain = drive(folder, halo_sigma=0.0)
    assert not any((product.data.mask & MASK_HALO).any() for product in plain.frames.values())


# --- flats


def test_flats_are_sorted_into_faint_and_bright_ones_where_their_levels_differ():
    assert level_groups([20000, 5000, 21000, 5200, 19000, 5100]) == [[1, 5, 3], [4, 0, 2]]
    assert len(level_groups([20000, 20500, 20900, 20200, 20800, 20100])) == 1
    assert len(level_groups([5000, 20000, 20100, 20200])) == 1  # one faint flat makes no master
    assert level_groups([]) == [[]]


def test_a_pixel_that_does_not_respond_linearly_is_found_in_the_ratio_of_flats_alone(tmp_path):
    folder = write_night(tmp_path / "data", flats=12)
    paths = frames(folder, "SKYFLAT")
    levels = []
    for path in paths:
        with fits.open(path, mode="update") as units:
            level = float(np.median(units[0].data))
            levels.append(level)
            # 3 % too much at low and 3 % too little at high levels
            around = float(np.median(units[0].data[27:34, 37:44]))
            units[0].data[30, 40] = np.uint16(around * (1.03 if level < 9600 else 0.97))
        change([path])
    assert min(levels) < 9600 < max(levels)
    masks = {}
    for test in ("both", "ratio", "flat"):
        made = drive(folder, flat_test=test)
        assert not made.errors
        flat = next(handle for unit, handle in made.masters.items() if unit.startswith("flat"))
        masks[test] = flat.load().mask & MASK_BAD
        assert ("ratio" in " ".join(flat.info.statistics["notes"])) == (test != "flat")
    assert masks["ratio"][30, 40]
    assert masks["both"][30, 40]
    assert not masks["flat"][30, 40]
    assert np.count_nonzero(masks["ratio"]) < 12


# --- the night before


@pytest.fixture
def two_nights(tmp_path):
    """The night, and one two days before with other noise and the same camera."""
    folder = write_night(tmp_path / "data", frames=1, darks=9)
    for path in sorted((folder / NIGHT).rglob("*.fits")):
        if "SCIENCE" in path.name:
            continue
        new = folder / BEFORE / path.parent.name.replace(NIGHT, BEFORE)
        new.mkdir(parents=True, exist_ok=True)
        copy = new / path.name.replace(NIGHT, BEFORE)
        shutil.copy(path, copy)
        rng = np.random.default_rng(len(list(new.iterdir())))
        with fits.open(copy, mode="update") as units:
            noisy = units[0].data + rng.normal(0, 4.5, units[0].data.shape)
            units[0].data = np.clip(np.round(noisy), 0, 65535).astype(np.uint16)
            moment = units[0].header["DATE-OBS"].replace(NIGHT, BEFORE)
        change([copy], DATE_OBS=moment)
    return folder


def test_a_master_like_that_of_the_night_before_is_noted_and_one_unlike_it_flags_the_frame(two_nights):
    (product,) = drive(two_nights).frames.values()
    assert set(product.statistics["master_changes"]) == {"dark", "flat"}
    assert product.statistics["master_changes"]["dark"] < 0.01
    assert not product.data.header["CALFLAG"]
    for path in sorted((two_nights / BEFORE / f"{BEFORE}-CAMS").glob("*_DARK.fits")):
        with fits.open(path, mode="update") as units:
            units[0].data[:, :20] += 100
        change([path])
    (flagged,) = drive(two_nights).frames.values()
    assert flagged.statistics["master_changes"]["dark"] == pytest.approx(20 / 72, abs=0.03)
    assert flagged.data.header["CALFLAG"]
    assert "the master dark differs from the one before" in " ".join(flagged.statistics["flagged"])
    (quiet,) = drive(two_nights, master_change=1.0).frames.values()
    assert not quiet.statistics["master_changes"]
    assert not quiet.data.header["CALFLAG"]


def test_the_first_night_has_no_master_to_be_compared_with(tmp_path):
    folder = write_night(tmp_path / "data", frames=1)
    (product,) = drive(folder).frames.values()
    assert product.statistics["master_changes"] == {}
