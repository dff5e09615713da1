"""The motion of the telescope is read off the trails."""

import numpy as np
import pytest
from support.drift import TRACK, drawn, simulated
from support.real import real_data

from virtualobserver.errors import DataError
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
