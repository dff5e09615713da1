"""The motion of the telescope is read off the trails."""

import numpy as np
import pytest
from astropy.io import fits
from support.drift import TRACK, drawn, simulated
from support.real import real_data

from virtualobserver.errors import DataError
from virtualobserver.maths.images.background import background
from virtualobserver.maths.trails.detect import find_trails
from virtualobserver.maths.trails.rate import fit_track
from virtualobserver.maths.trails.track import TrackModel


@pytest.mark.parametrize(("rate", "angle", "direction"), [(0.5, 0.14, 1), (0.51, 0.6, 1), (0.49, -0.4, -1)])
def test_rate_and_angle_come_out_of_the_trails(rate, angle, direction):
    true, nominal = (TrackModel(r, 20.0, 0.2633, a, direction) for r, a in ((rate, angle), (0.5, 0.14)))
    places = [(x + 8.3 * (y % 3), y) for y in range(20, 210, 24) for x in (70.0, 170.0)]
    image = drawn(true, places, [2e4] * len(places))
    trails = find_trails(image, np.ones_like(image), nominal, fwhm=4.0)
    found = fit_track(image, trails, nominal, fwhm=4.0)
    assert found.n_trails >= 10
    assert found.track.rate == pytest.approx(rate, rel=0.005)
    assert found.track.angle == pytest.approx(angle, abs=0.1)
    assert found.track.direction == direction


def test_too_few_trails_are_refused():
    image = drawn(TRACK, [(80.0, 60.0)], [2e4])
    trails = find_trails(image, np.ones_like(image), TRACK, fwhm=4.0)
    with pytest.raises(DataError, match="1 of 1 trails"):
        fit_track(image, trails, TRACK, fwhm=4.0)


@pytest.mark.real
def test_the_motion_of_a_simulated_exposure_is_that_of_the_telescope_and_the_air():
    sky = simulated(1058801)
    trails = find_trails(sky.image, sky.variance, TRACK, fwhm=sky.fwhm, mask=sky.mask)
    found = fit_track(sky.image, trails, TRACK, fwhm=sky.fwhm)
    motion = real_data("decam", "sim", "common_motion_exp_1058801.csv")
    time, dx, dy = np.loadtxt(motion, delimiter=",", skiprows=1).T
    drawn_out = (dx[-5:].mean() - dx[:5].mean()) / 0.2633
    inner = (time > 0.9) & (time < 19.1)
    turned = np.degrees(np.polyfit(time[inner] * TRACK.speed, dy[inner] / 0.2633, 1)[0])
    assert found.track.length == pytest.approx(TRACK.length + drawn_out, abs=0.5)
    assert found.track.angle == pytest.approx(0.14 + turned, abs=0.25)
    assert found.n_trails > 50


@pytest.mark.real
@pytest.mark.parametrize(("length", "angle"), [(319.0, -5.4), (323.0, -5.0)])
def test_a_real_trail_has_the_length_and_the_angle_that_others_measured(length, angle):
    """A satellite of ASTRiDE's sample, 60 s: five times below one another, as motion is not told by less than five."""
    one = fits.getdata(real_data("decam", "astride", "long.fits")).astype(float)
    image = np.tile(one - background(one).level, (5, 1))
    variance = np.full(image.shape, background(one).median_scatter ** 2)
    track = TrackModel(length / 60, 60.0, 1.0, angle)
    trails = find_trails(image, variance, track, fwhm=4.0)
    found = fit_track(image, trails, track, fwhm=4.0)
    assert found.n_trails == 5
    assert found.track.length == pytest.approx(319, abs=4)
    assert found.track.angle == pytest.approx(-5.0, abs=0.15)
