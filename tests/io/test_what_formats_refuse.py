"""Planes of images as observatories write them, and what netCDF and HDF5 have no place for."""

import numpy as np
import pytest
from astropy.io import fits

from virtualobserver.data.image import Image
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.io.blocks import encode
from virtualobserver.io.fits.cut import read_cut
from virtualobserver.io.fits.files import read_image
from virtualobserver.io.netcdf import write_netcdf

ONES = np.ones((2, 3), "f4")


def written(path, *extensions):
    units = [fits.PrimaryHDU(), fits.ImageHDU(ONES, name="SCI")]
    units += [fits.ImageHDU(values, name=name, ver=ver) for name, ver, values in extensions]
    fits.HDUList(units).writeto(path)
    return path


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("ERR", 16), ("ERROR", 16), ("SIGMA", 16), ("STDDEV", 16), ("VAR", 4), ("IVAR", 0.25), ("INVVAR", 0.25)],
)
def test_errors_of_observatories_are_variances_of_their_kind(name, wanted, tmp_path):
    image = read_image(written(tmp_path / "a.fits", (name, 1, 4 * ONES)))
    np.testing.assert_array_equal(image.variance, wanted * ONES)
    np.testing.assert_array_equal(read_cut(tmp_path / "a.fits", slice(0, 1)).variance, wanted * ONES[:1])


@pytest.mark.parametrize("name", ["DQ", "BPM", "QUALITY"])
def test_quality_planes_of_observatories_are_masks(name, tmp_path):
    bits = np.array([[0, 4, 0], [0, 0, 1]], "i2")
    assert read_image(written(tmp_path / "a.fits", (name, 1, bits))).mask.tolist() == bits.tolist()


def test_planes_of_another_chip_or_another_size_are_not_this_images(tmp_path):
    others = [
        ("ERR", 1, np.ones((5, 5), "f4")),
        ("ERR", 2, ONES),
        ("DQ", 2, ONES.astype("i2")),
        ("WHT", 1, ONES),
    ]
    image = read_image(written(tmp_path / "a.fits", *others))
    assert (image.variance, image.mask) == (None, None)


def test_each_chip_has_its_own_planes(tmp_path):
    units = [fits.PrimaryHDU()]
    for chip in (1, 2):
        units += [
            fits.ImageHDU(chip * ONES, name="SCI", ver=chip),
            fits.ImageHDU(chip * ONES, name="ERR", ver=chip),
        ]
    fits.HDUList(units).writeto(tmp_path / "a.fits")
    second = read_image(tmp_path / "a.fits", 3)
    assert (second.data.max(), second.variance.max()) == (2, 4)
    assert read_cut(tmp_path / "a.fits", slice(None), hdu=3).variance.max() == 4


def test_a_mask_is_of_whole_numbers():
    with pytest.raises(DataError, match="mask holds bits"):
        Image(ONES, mask=np.where(ONES > 0, np.nan, 0))


@pytest.mark.parametrize("name", ["a/b", ".", "", "a\0", " a"])
def test_names_that_netcdf_does_not_know_are_refused(name, tmp_path):
    with pytest.raises(DataError, match="name that netCDF"):
        write_netcdf(Table({name: np.arange(2)}).to_xarray(), tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([1 + 1j]), "complex128"),
        (np.array([1], "f2"), "float16"),
        (np.array([1], "longdouble"), "float128|longdouble"),
        (np.array(["a\0b"]), "keeps a part"),
        (np.array([None], dtype=object), "Python objects"),
    ],
    ids=["complex", "half", "long", "nul", "none"],
)
def test_values_that_netcdf_does_not_hold_are_refused(values, words, tmp_path):
    with pytest.raises(DataError, match=f"'c'.*({words})"):
        write_netcdf(Table({"c": values}).to_xarray(), tmp_path / "a.nc")


def test_half_a_letter_is_refused_by_name():
    with pytest.raises(DataError, match="'c' holds half a letter"):
        encode(Table({"c": np.array(["\ud800"], dtype=object)}))
