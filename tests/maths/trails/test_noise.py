"""The noise of a sample is that of the tables it was made after."""

import numpy as np
import pytest

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.noise import sample_noise, scintillation


@pytest.mark.parametrize(
    ("airmass", "young", "osborn"), [(1.0, 0.13, 0.19), (1.4, 0.22, 0.31), (1.8, 0.32, 0.45)]
)
def test_scintillation_of_a_four_metre_telescope(airmass, young, osborn):
    percent = 100 * np.array(
        [scintillation(4.0, airmass, 0.5265, c_y=1.0), scintillation(4.0, airmass, 0.5265)]
    )
    assert percent == pytest.approx([young, osborn], abs=0.006)


@pytest.mark.parametrize(("mag", "percent"), [(16, 0.72), (18, 2.3), (20, 10.9)])
def test_noise_of_a_column_of_eleven_rows(mag, percent):
    electrons = 10 ** (-0.4 * (mag - 27.55)) * 0.5265
    noise = sample_noise(electrons, n_pix=11, sky=240, read_noise=6)
    assert 100 * noise / electrons == pytest.approx(percent, rel=0.12)


def test_the_parts_add_in_squares_and_no_light_is_negative():
    assert sample_noise([-50.0, 0.0], n_pix=4, sky=20, read_noise=2) == pytest.approx([96**0.5] * 2)
    bright = sample_noise(1e6, n_pix=1, sky=0, read_noise=0, scintillation=0.003, model=0.004)
    assert bright == pytest.approx(np.hypot(1e3, 5e3))
    with pytest.raises(DataError, match="above 0"):
        scintillation(4.0, 0.0, 1.0)
