"""Units as instruments write them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units

from virtualobserver.data.image import Image
from virtualobserver.data.units import same_unit, unit_of


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("e-", units.electron), ("e-/s", units.electron / units.s), ("e/s", units.electron / units.s),
        ("e- / pix", units.electron / units.pix), ("ELECTRONS", units.electron), ("days", units.day),
        ("erg", units.erg), ("eV", units.eV),
    ],
)  # fmt: skip
def test_units_are_those_of_astropy_however_they_are_written(said, right):
    assert unit_of(said) == right


def test_an_image_in_electrons_goes_out_and_comes_back_however_they_are_written():
    there = Image(np.ones((3, 4), np.float32), unit="e-").to_ccddata()
    assert there.unit == units.electron
    assert same_unit(Image.from_ccddata(there).unit, "electron")
