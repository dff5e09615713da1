"""Trails fitted together: the equations are those of the pixels, and solved with their exact errors."""

import numpy as np
import pytest
from scipy.sparse import block_diag, csr_array
from support.drift import photons

from virtualobserver.maths.trails.columns import Columns, Frame
from virtualobserver.maths.trails.joint import _equations, _ordered, _solve
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.sky import good_pixels, trail_sky
from virtualobserver.maths.trails.track import TrackModel

PROFILE = TransverseProfile(4.0)


def system(rng, size, reach):
    """Return a positive definite matrix, its unknowns in any order, of which each touches some others."""
    rows = np.zeros((4 * size, size))
    for row in rows:
        first = rng.integers(0, size)
        row[first : first + reach] = rng.normal(size=len(row[first : first + reach]))
    order = rng.permutation(size)
    return (rows.T @ rows + 0.1 * np.eye(size))[order][:, order]


def test_groups_of_all_sizes_are_solved_with_their_exact_errors():
    rng = np.random.default_rng(1)
    whole = block_diag(
        [system(rng, size, reach) for size, reach in ((1, 1), (2, 2), (7, 3), (300, 6), (40, 40))]
    )
    order = rng.permutation(whole.shape[0])
    whole = csr_array(whole.toarray()[order][:, order])
    right = rng.normal(size=len(order))
    flux, variance = np.full((2, len(right)), np.nan)
    unknowns = _ordered(whole)
    begins = _solve(whole, right, unknowns, (flux, variance))
    dense = whole.toarray()
    answer = np.linalg.solve(dense, right)
    assert flux == pytest.approx(answer, rel=1e-6, abs=1e-9)
    assert variance == pytest.approx(np.diag(np.linalg.inv(dense)), rel=1e-6)

    # some groups alone: all others stay as they are
    sizes = np.diff(np.flatnonzero(np.append(begins, True)))
    assert sorted(sizes) == [1, 2, 7, 40, 300]
    some = unknowns[np.isin(np.repeat(sizes, sizes), (7, 300))]
    flux[:] = np.nan
    assert _solve(whole, right, some, (flux, variance)).sum() == 2
    assert flux[some] == pytest.approx(answer[some], rel=1e-6, abs=1e-9)
    assert np.isfinite(flux).sum() == 307


@pytest.mark.parametrize("angle", [0.14, 25.0, 90.0, -135.0])
def test_the_equations_are_those_of_all_pixels_at_once(angle, monkeypatch):
    """Three stars on one another and one apart, in bands of rows that cut them, against a matrix of whole planes."""
    monkeypatch.setattr("virtualobserver.maths.trails.joint._BAND", 32)
    track = TrackModel(0.5, 20.0, 0.2633, angle)
    x, y = np.array([80.0, 83.3, 76.2, 140.0]), np.array([70.0, 74.1, 66.7, 110.0])
    image, variance = photons(track, list(zip(x, y, strict=True)), [2e4, 6e3, 3e3, 4e3], shape=(150, 190))
    image[71:73, 78:86] = np.nan
    good = good_pixels(image, variance)
    frame = Frame(image.astype(np.float32), good, np.zeros(image.shape, np.uint16), track, x, y, 0.0)
    sky = trail_sky(image, variance, track, x, y, fwhm=4.0)
    columns = Columns(frame, sky, PROFILE, np.zeros((4, 1)))
    names, normal, right = _equations(frame, sky, columns)

    rows, cols = np.mgrid[: image.shape[0], : image.shape[1]]
    n, m = columns.flux.shape
    share, number = np.zeros((n, *image.shape)), np.zeros((n, *image.shape), int)
    for k in range(n):
        q, s = track.across(cols - x[k], rows - y[k]), track.along(cols - x[k], rows - y[k])
        j = np.floor(s - columns.first[k] + 0.5).astype(int)
        there = good & (j >= 0) & (j < m) & (np.abs(q) <= columns.half)
        there[there] = np.isfinite(columns.flux[k, j[there]])
        share[k][there], number[k] = PROFILE.at(q[there]), j
    light = np.zeros(image.shape)
    for k in range(n):
        light += np.where(
            share[k] > 0, np.maximum(columns.flux[k, np.clip(number[k], 0, m - 1)], 0) * share[k], 0
        )
    matrix, data = np.zeros((image.size, n * m)), np.zeros(image.size)
    for k in range(n)[::-1]:
        at = np.flatnonzero(share[k].ravel() > 0)
        noise = np.sqrt(sky.variance[k] + light.ravel()[at])
        matrix[at, k * m + number[k].ravel()[at]] = share[k].ravel()[at] / noise
        data[at] = (image.ravel()[at] - sky.at(k, cols.ravel()[at], rows.ravel()[at])) / noise
    whole = matrix.T @ matrix
    assert sorted(names.tolist()) == np.flatnonzero(np.diag(whole) > 0).tolist()
    whole, expected = whole[names][:, names], (matrix.T @ data)[names]
    assert np.count_nonzero(np.triu(whole, 1)) > 60
    assert normal.toarray() == pytest.approx(whole, abs=2e-3 * np.diag(whole).max())
    assert right == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())
