"""The search on the real beta Pic spectrum: what it finds, how sure it is, and what the published one finds."""

import numpy as np
import pytest
from support.exocomets import REST, beta_pic, find, gaussian, grid, noisy, spectra, velocity

from virtualobserver.analyses.exocomets import Exocomets
from virtualobserver.analyses.exocomets.matched.lines import line_spectra
from virtualobserver.analyses.exocomets.matched.search import search_star
from virtualobserver.analyses.exocomets.matched.starline import forced_depth, plain_line
from virtualobserver.analyses.exocomets.settings import ExocometsSettings

pytestmark = pytest.mark.real

CASES = [(30, 10, 0.05), (30, 30, 0.05), (80, 30, 0.05)]
EXPECTED = [7.6, 12.8, 15.7, 5.0, 4.5]
ALL_CASES = [*CASES, (0, 10, 0.05), (30, 10, 0.03)]
AFFECTED = 7


def star(rng, case=None):
    reference = beta_pic()
    flux = noisy(reference, rng)
    if case is not None:
        flux[AFFECTED] -= case[2] * reference * gaussian(velocity(), case[0], case[1])
    return flux


def searched(flux):
    lines = line_spectra(grid(), flux, np.zeros(flux.shape, np.uint8), rest=REST["K"])
    night, era = np.arange(len(flux)), np.zeros(len(flux), np.int64)
    return search_star([lines], night, era, settings=ExocometsSettings())


@pytest.mark.parametrize(("case", "expected"), list(zip(ALL_CASES, EXPECTED, strict=True)))
def test_snr_of_a_known_comet_is_what_an_ideal_filter_has(case, expected):
    rng = np.random.default_rng(11)
    values = []
    for _ in range(40):
        flux = star(rng, case)
        lines = line_spectra(grid(), flux, np.zeros(flux.shape, np.uint8), rest=REST["K"])
        line = plain_line(lines, np.arange(20), np.zeros(20, np.int64), settings=ExocometsSettings())
        depth, error = forced_depth(line, np.array([AFFECTED]), v=case[0], fwhm=case[1])
        values.append(depth / error)
    assert np.mean(values) == pytest.approx(expected, abs=0.4)
    assert np.std(values) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize("case", CASES)
def test_comets_of_five_percent_are_found_with_their_parameters(case):
    rng = np.random.default_rng(12)
    found, published, v, fwhm, depth = 0, 0, [], [], []
    for _ in range(40):
        data = spectra(star(rng, case).astype(np.float32), v_star=0.0)
        result = find(Exocomets(line="K"), data)
        ours = [
            event
            for event in result.detections
            if event.kind == "exocomet_candidate"
            and event.start_mjd <= data.mjd[AFFECTED] <= event.end_mjd
            and abs(event.parameters["velocity"] - case[0]) < case[1]
        ]
        found += bool(ours)
        published += bool(find(Exocomets(method="published", line="K"), data).detections)
        if ours:
            v.append(ours[0].parameters["velocity"])
            fwhm.append(ours[0].parameters["fwhm"])
            depth.append(ours[0].parameters["depth_k"])
    assert found >= 38
    assert published <= 8
    assert np.median(v) == pytest.approx(case[0], abs=2)
    assert np.median(fwhm) == pytest.approx(case[1], rel=0.25)
    assert np.median(depth) == pytest.approx(case[2], rel=0.15)


def test_stars_without_comets_give_no_candidates():
    rng = np.random.default_rng(13)
    stars = [find(Exocomets(line="K"), spectra(star(rng).astype(np.float32))) for _ in range(100)]
    assert sum(bool(result.detections) for result in stars) <= 1
    assert {result.properties["class"] for result in stars} <= {"quiet", "unclear", "exocomet_candidate"}


def test_false_alarm_probability_is_what_it_says():
    rng = np.random.default_rng(14)
    from virtualobserver.analyses.exocomets.matched.tracks import null_tail

    probabilities = []
    for _ in range(60):
        one = searched(star(rng))
        tail = null_tail(one.emission, start=3.0)
        probabilities.append(float(tail.probability(one.hits["snr"].max())) if one.hits.size else 1.0)
    share = np.mean(np.asarray(probabilities) < 0.3)
    assert 0.1 < share < 0.5
