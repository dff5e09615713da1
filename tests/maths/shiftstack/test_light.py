"""The light of a mover out of the sums along its path: clouds, and what frames weigh."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.maths.shiftstack.forced import Forced, light_of

N = 40
FLUX = 500.0
NOISE = 60.0


def sums(rng, clear):
    """Return the sums of frames that show a part of a light of 500, with an error of 60 for each."""
    phi = np.full(N, NOISE**-2)
    return Forced(phi * (FLUX * clear + rng.normal(0, NOISE, N)), phi, np.zeros(N))


def light(found, clear=None):
    place = (np.linspace(0, 100, N), np.zeros(N))
    one = np.ones(N)
    return light_of(found, place, sigma=one, part=one, photons=np.zeros(N), held=None, clear=clear)


def test_clouds_make_no_mover_fainter_and_weigh_less():
    rng = np.random.default_rng(4)
    clear = rng.choice([1.0, 0.97, 0.85, 0.6], N)
    tries = [sums(rng, clear) for _ in range(300)]
    told, untold = ([light(one, air) for one in tries] for air in (clear, None))
    mean = np.array([one.mean for one in told])
    assert mean.mean() == pytest.approx(FLUX, rel=0.005)
    assert np.mean([one.mean for one in untold]) == pytest.approx(FLUX * clear.mean(), rel=0.02)
    pulls = (mean - FLUX) / np.array([one.mean_error for one in told])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)
    ideal = FLUX / NOISE * np.sqrt((clear**2).sum())
    assert np.mean([one.likelihood for one in told]) == pytest.approx(ideal, rel=0.01)
    assert np.mean([one.likelihood for one in told]) > np.mean([one.likelihood for one in untold])
    # the light of an image stays that of the image: its own zero point turns it into magnitudes
    assert np.mean([one.flux[clear == 0.6].mean() for one in told]) == pytest.approx(0.6 * FLUX, rel=0.02)


def test_a_frame_that_clouds_explain_is_not_left_out():
    clear = np.where(np.arange(N) % 8, 1.0, 0.1)
    phi = np.full(N, 1.0)
    found = Forced(phi * FLUX * clear, phi, np.zeros(N))
    assert light(found, clear).kept.all()
    assert not light(found).kept.all()


def test_light_less_a_template_that_is_free_of_the_mover_is_whole_and_noisier():
    rng = np.random.default_rng(5)
    found = sums(rng, np.ones(N))
    place, one = (np.linspace(0, 20, N), np.zeros(N)), np.ones(N)
    free, none = (
        light_of(found, place, sigma=one, part=one, photons=np.zeros(N), held=held, free=held is not None)
        for held in (one, None)
    )
    assert free.mean == pytest.approx(none.mean)
    # a sixth of the mover is where it is in each frame, and the mean of the others brings its noise
    assert free.mean_error / none.mean_error == pytest.approx(np.sqrt(1 + 0.17 / 0.83), rel=0.02)
    assert free.likelihood * free.mean_error == pytest.approx(none.likelihood * none.mean_error, rel=0.01)


def test_light_that_scatters_more_than_its_noise_is_known_less_well():
    """What stars leave where the seeing jumps is in no variance."""
    rng = np.random.default_rng(6)
    phi = np.full(N, NOISE**-2)
    calm, wild = (
        light(Forced(phi * (FLUX + rng.normal(0, NOISE * factor, N)), phi, np.zeros(N)))
        for factor in (1.0, 2.5)
    )
    assert calm.mean_error == pytest.approx(NOISE / np.sqrt(N), rel=1e-6)
    assert wild.mean_error == pytest.approx(2.5 * NOISE / np.sqrt(N), rel=0.35)
