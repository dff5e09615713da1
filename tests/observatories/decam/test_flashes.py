"""What is stated of flashes is what becomes of flashes in pixels, through the whole reduction."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.drift import TRACK
from truth.driftflashes import GAIN, SIM, Chip

from virtualobserver.conventions import MASK_COSMIC_RAY
from virtualobserver.maths.trails.spotclass import classify_spots
from virtualobserver.maths.trails.spots import find_spots
from virtualobserver.observatories.decam.simulate.detector import CODES, read_out
from virtualobserver.observatories.decam.spots import common_light

AT_ONCE, DRAWS = 64, 4


def test_a_flash_on_a_trail_is_no_light_of_its_star():
    n, m = 8, 38
    flux, flags = np.full((n, m), 1000.0), np.zeros((n, m), int)
    flux[:, 20:25] *= 1.1  # what all do
    flux[3, 10:16] += 4000.0  # a flash, as wide as a star
    flux[6, 10:] = np.nan
    flags[6, 10:] = 1
    totals = SimpleNamespace(flux=np.where(np.arange(n) == 6, 900.0, np.nanmean(flux, axis=1)))
    samples = SimpleNamespace(
        flux=flux, flux_error=np.full((n, m), 10.0), flags=flags, flat=np.ones((n, m), bool),
        response=np.ones((n, m)), totals=totals,
    )  # fmt: skip
    light = common_light(samples)
    steady = np.where((np.arange(m) >= 20) & (np.arange(m) < 25), 1100.0, 1000.0)
    assert light[[0, 3]] == pytest.approx(np.stack((steady, steady)), rel=0.01)
    assert np.median(light[6]) == pytest.approx(900.0, rel=0.02)  # too few samples for a level of their own


@pytest.fixture(scope="module")
def chip(tmp_path_factory):
    return Chip(tmp_path_factory.mktemp("chip"))


def agree(one, other, n, m):
    """Assert that shares of n and m tries differ by no more than chance: three standard deviations."""
    mean = (one * n + other * m + 1) / (n + m + 2)
    assert abs(one - other) < 3 * np.sqrt(mean * (1 - mean) * (1 / n + 1 / m)), (one, other)


def test_flashes_are_stated_as_those_in_pixels_are_found(chip):
    assert chip.quiet.meta["beta"] == pytest.approx(3.5, abs=1)
    rng, flux = np.random.default_rng(1), ([], [])
    for electrons in (1000.0, 2500.0, 10_000.0):
        places = rng.permutation(len(chip.x))[:AT_ONCE]
        seen = chip.became(chip.spots(places, electrons, seed=5), places)
        rows = [chip.stated(places, electrons, rng) for _ in range(DRAWS)]
        stated = tuple(np.concatenate(part) for part in zip(*rows, strict=True))
        for put_in, told in zip(seen[:2], stated[:2], strict=True):  # found, and told as a flash
            agree(put_in.mean(), told.mean(), AT_ONCE, AT_ONCE * DRAWS)
        for one, (_, flash, light) in zip(flux, (seen, stated), strict=True):
            one.append(light[flash] / electrons)
    medians = [float(np.median(np.concatenate(one))) for one in flux]
    assert medians[0] / medians[1] == pytest.approx(1, abs=0.05)


def test_few_cosmic_rays_are_told_as_flashes():
    sim = SIM.model_copy(update={"cosmic_rays": 600.0, "size": (1000, 1000)})
    light = np.full(sim.size, sim.sky * sim.exptime)
    none = np.zeros(0, np.int64)
    counts, codes, _, rays = read_out(light, np.full(1000, GAIN), sim, np.random.default_rng(8), 20.0, none)
    mask = np.where(codes == CODES["cosmic_ray"], MASK_COSMIC_RAY, 0)
    spots = find_spots(counts * GAIN - light, light + 36.0, mask, sigma=1.7, track=TRACK)
    found = classify_spots(spots, angle=TRACK.angle, length=TRACK.length, shape=sim.size)
    flash = np.array(found.label) == "flash"
    told = {True: [0, 0], False: [0, 0]}
    for ray in rays:
        near = np.hypot(spots.x - ray["x"], spots.y - ray["y"]) < 5
        told[bool(ray["told"])][0] += bool(near.any())
        told[bool(ray["told"])][1] += bool((near & flash).any())
    assert told[True][0] > 350
    assert told[False][0] > 150
    # what docs/driftscan.md states, of those in the mask and of all others
    assert told[True][1] / told[True][0] < 0.01
    assert told[False][1] / told[False][0] < 0.03
