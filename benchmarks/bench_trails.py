"""Trails of a drifting telescope: a chip from pixels to detrended samples, a loop over stars, direct convolution.

Usage: python benchmarks/bench_trails.py [stars] [most]
Growth goes up to `most` stars. Memory is the highest of the process above that after imports and the frame.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import convolve
from scipy.special import ndtr

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import background
from virtualobserver.maths.trails.columns import Columns, Frame
from virtualobserver.maths.trails.detect import _filtered, _Form, _odd, _profile, find_trails
from virtualobserver.maths.trails.detrend import detrend
from virtualobserver.maths.trails.extract import TrailSamples, extract_trails, model_image
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.sky import good_pixels, trail_sky
from virtualobserver.maths.trails.track import TrackModel, line_spread

SHAPE = (4094, 2046)
TRACK = TrackModel(0.5, 20.0, 0.2633, 0.14)
SIGMA = 1.7
PROFILE = TransverseProfile(SIGMA * 2.35482)
LOOPED = 100
TURNS = 5
"""Of the loop and of ours, one after the other, of which the median counts: others use the cores as well."""


def chip(stars: int) -> tuple[Array, Array, Array, Array]:
    """Return electrons, variance and places of stars from 15 to 22 mag."""
    rng = np.random.default_rng(1)
    light = np.full(SHAPE, 400.0, np.float32)
    x, y = rng.uniform(10, SHAPE[1] - 60, stars), rng.uniform(20, SHAPE[0] - 20, stars)
    mag = 22 + np.log10(rng.uniform(10 ** (-0.3 * 7), 1, stars)) / 0.3
    flux = 10 ** (-0.4 * (mag - 27.43))
    for k in range(stars):
        rows, cols = slice(int(y[k]) - 10, int(y[k]) + 12), slice(max(int(x[k]) - 9, 0), int(x[k]) + 50)
        row, col = np.mgrid[rows, cols]
        q, s = TRACK.across(col - x[k], row - y[k]), TRACK.along(col - x[k], row - y[k])
        share = ndtr((q + 0.5) / SIGMA) - ndtr((q - 0.5) / SIGMA)
        light[rows, cols] += (flux[k] * 20 * share * line_spread(s, TRACK.length, SIGMA)).astype(np.float32)
    image = (light + rng.normal(0, 1, SHAPE) * np.sqrt(light + 36)).astype(np.float32)
    return image, np.maximum(image, 1) + np.float32(36), x, y


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def memory() -> float:
    """Return the highest memory of the process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ring(image: Array, lit: Array, x: float, y: float) -> tuple[float, Array]:
    """Return the level at a place and the slopes of the sky about a trail, clipped."""
    row, col = np.mgrid[max(int(y) - 20, 0) : int(y) + 21, max(int(x) - 20, 0) : int(x) + 60]
    inside = (row < SHAPE[0]) & (col < SHAPE[1])
    row, col = row[inside], col[inside]
    s = np.clip(TRACK.along(col - x, row - y), 0, TRACK.length)
    (vx, vy), speed = TRACK.vector, TRACK.speed
    away = np.hypot(col - x - s * vx / speed, row - y - s * vy / speed)
    use = (away > 10) & (away <= 18) & ~lit[row, col]
    row, col = row[use], col[use]
    value = image[row, col].astype(float)
    design = np.stack([np.ones(len(row)), col - x, row - y], axis=1)
    keep, fit = np.ones(len(row), bool), np.zeros(3)
    for _ in range(10):
        fit = np.linalg.lstsq(design[keep], value[keep], rcond=None)[0]
        rest = value - design @ fit
        middle = np.median(rest[keep])
        now = np.abs(rest - middle) < 3 * np.std(rest[keep])
        if np.array_equal(now, keep):
            break
        keep = now
    return float(fit[0] + middle), fit[1:]


def loop(image: Array, samples: TrailSamples, stars: int) -> Array:
    """Fit columns of trails as one writes it down: star by star, ring and columns."""
    out = np.full((stars, samples.flux.shape[1]), np.nan)
    lit = (
        model_image(SHAPE, samples, flux=np.maximum(samples.flux, 0)) > 2
    )  # neighbours: a tenth of the noise
    for k in range(stars):
        x, y = samples.totals.x_start[k], samples.totals.y_start[k]
        level, tilt = ring(image, lit, x, y)
        for j, along in enumerate(samples.along[k]):
            col = round(x + along)
            middle = y + along * np.tan(np.radians(TRACK.angle))
            rows = np.arange(round(middle) - 6, round(middle) + 7)
            sky = level + tilt[0] * (col - x) + tilt[1] * (rows - y)
            p = ndtr((rows - middle + 0.5) / SIGMA) - ndtr((rows - middle - 0.5) / SIGMA)
            v = samples.background.variance[k] + p * max(samples.totals.flux[k] / TRACK.speed, 0)
            out[k, j] = np.sum(p * (image[rows, col] - sky) / v) / np.sum(p * p / v) * TRACK.speed
    return out


def compare_filters(image: Array, variance: Array, found: float) -> None:
    """Compare the filter of trails, and all of `find_trails`, with direct convolution of the same two planes."""
    form, part = _Form(TRACK.length, SIGMA), np.s_[:256, :256]
    weight = (1 / variance).astype(np.float32)
    signal = image * weight
    line, size = _profile(SIGMA), _odd(TRACK.length)
    kernels = [np.repeat(one[:, None], size, axis=1) for one in (line / size, line**2 / size**2)]

    def direct() -> list[Array]:
        both = zip((signal, weight), kernels, strict=True)
        return [convolve(plane[part], kernel, mode="constant") for plane, kernel in both]

    works = (lambda: _filtered(signal, weight, form, 0.0), direct)
    turns = [[timed(work) for work in works] for _ in range(TURNS)]
    filtered, slow = np.median([[spent for spent, _ in turn] for turn in turns], axis=0)
    ours, planes = turns[0][0][1], turns[0][1][1]
    slow *= image.size / image[part].size
    inner = np.s_[20:-20, 40:-40]
    off = np.abs(ours[0][part][inner] / (planes[0] / planes[1])[inner] - 1).max()
    print(f"{'filter, both planes':34} {filtered:7.2f} s")
    print(
        f"{'direct, both planes':34} {slow:7.2f} s   {slow / filtered:.1f} x the filter; off by {off:.0e} at most"
    )
    published, _ = timed(lambda: convolve(image[part], np.ones((73, 73)), mode="constant"))
    published *= image.size / image[part].size
    print(f"{'direct, 73 x 73, as published':34} {published:7.2f} s   {published / found:.1f} x find_trails")


def compare_extraction(image: Array, variance: Array, x: Array, y: Array, samples: TrailSamples) -> None:
    """Compare one round of sky and fit, and the two of an extraction, with the loop over stars, in turns."""
    frame = Frame(image, good_pixels(image, variance), np.zeros(SHAPE, np.int32), TRACK, x, y, 0.0)
    light = np.maximum(np.nan_to_num(samples.totals.flux), 0) * TRACK.exptime

    def once() -> Columns:
        sky = trail_sky(image, variance, TRACK, x, y, fwhm=4.0, good=frame.good, expected=light)
        return Columns(frame, sky, PROFILE, np.zeros((len(x), 1)))

    works: tuple[Callable[[], Any], ...] = (
        partial(loop, image, samples, LOOPED),
        once,
        partial(extract_trails, image, variance, TRACK, x, y, fwhm=4.0, profile=PROFILE),
    )
    turns = [[timed(work) for work in works] for _ in range(TURNS)]
    slow, same, whole = np.median([[spent for spent, _ in turn] for turn in turns], axis=0)
    slow, looped = slow * len(x) / LOOPED, turns[0][0][1]
    inner = samples.flat[:LOOPED] & np.isfinite(looped)
    off = np.nanmedian(np.abs(looped - samples.flux[:LOOPED])[inner] / samples.flux_error[:LOOPED][inner])
    print(f"{'loop over stars, one round':34} {slow:7.2f} s   {off:.3f} sigma from ours in the median")
    print(f"{'ours, one round':34} {same:7.2f} s   {slow / same:.1f} x")
    print(f"{'extract, two rounds, width given':34} {whole:7.2f} s   {slow / whole:.1f} x")


def main() -> None:
    stars = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 50000
    small = chip(50)
    extract_trails(*small[:2], TRACK, *small[2:], fwhm=4.0)  # compiled
    image, variance, x, y = chip(stars)
    before = memory()

    sky, plane = timed(lambda: image - background(image).level)
    found, trails = timed(lambda: find_trails(plane, variance, TRACK, fwhm=4.0))
    print(f"{'sky of the frame':34} {sky:7.2f} s")
    print(f"{'find_trails':34} {found:7.2f} s   {len(trails)} trails")
    first, samples = timed(lambda: extract_trails(image, variance, TRACK, x, y, fwhm=4.2))
    print(f"{'extract, width measured':34} {first:7.2f} s   width {samples.profile.fwhm:.3f} px")
    joint, _ = timed(
        lambda: extract_trails(image, variance, TRACK, x, y, fwhm=4.0, profile=PROFILE, mode="joint")
    )
    print(f"{'extract, joint':34} {joint:7.2f} s")
    for mode in ("median", "pca"):
        spent, out = timed(lambda mode=mode: detrend(samples, mode=mode))
        print(f"{'detrend ' + mode:34} {spent:7.2f} s   {len(out.references)} references, rank {out.rank}")
    spent, _ = timed(lambda: model_image(SHAPE, samples))
    print(f"{'model image':34} {spent:7.2f} s")
    print(f"{'memory above inputs':34} {memory() - before:7.0f} MB")

    compare_filters(image, variance, found)
    compare_extraction(image, variance, x, y, samples)

    for mode, count in ((mode, 500 * 10**power) for power in range(3) for mode in ("psf", "joint")):
        if count > most:
            break
        image, variance, x, y = chip(count)
        work = partial(extract_trails, image, variance, TRACK, x, y, fwhm=4.0, profile=PROFILE, mode=mode)
        spent, _ = timed(work)
        print(
            f"{count:6d} stars, {mode}: extract {spent:7.2f} s, {1e3 * spent / count:.3f} ms a star; {memory():.0f} MB"
        )


if __name__ == "__main__":
    main()
