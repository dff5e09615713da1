"""Light curves of stars scatter little more than photons and scintillation ask for."""

from dataclasses import replace

import numpy as np

from truth.measure_stars import PLAN, measure_stars


def test_stars_scatter_by_their_photons_and_less_than_in_one_wide_aperture():
    found = measure_stars(replace(PLAN, frames=24, side=220, stars=26), seed=2)
    assert len(found.light) >= 4
    ours, simple = (np.median(s / found.least) for s in (found.ours, found.simple))
    assert ours < 1.4  # of 24 frames the scatter of one star is known to 15 %
    assert ours < simple
