"""Combining frames: outliers go whatever their number, memory stays bounded, the kernel does as its definition says."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.ccd.combine import (
    ArraySections,
    Clipping,
    NoiseModel,
    _excess,
    _small_sample,
    combine,
    rows_per_band,
    stack_noise,
)
from virtualobserver.maths.kernels import sorting_network

MODEL = NoiseModel(read_noise=9.0, gain=2.0, zero=100.0)
SIGMA = np.hypot(9.0 / 2.0, np.sqrt(1 / 12))


def stack(count, shape=(40, 50), seed=1):
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(100.0, 4.5, (count, *shape))).astype(np.uint16)


def sections(frames):
    return [ArraySections(frame) for frame in frames]


@pytest.mark.parametrize("count", [3, 5, 10, 11, 300])
def test_one_hit_is_rejected_in_a_stack_of_any_size(count):
    frames = stack(count)
    frames[count // 2, 7, 9] = 60000  # a mean and standard deviation cannot reject it below 11 frames
    found = combine(sections(frames), noise=MODEL)
    assert found.data[7, 9] == pytest.approx(100, abs=4 * SIGMA / np.sqrt(count - 1))
    assert found.n_used[7, 9] < count
    assert found.n_combine == count
    assert found.n_reject == int(count * frames[0].size - found.n_used.sum())
    assert found.n_reject / (count * frames[0].size) < 0.02


def test_whole_numbers_whose_mad_is_zero_are_not_all_rejected():
    frames = np.full((9, 4, 4), 100, np.uint16)
    frames[0] = 101
    found = combine(sections(frames), noise=NoiseModel(minimum=0.5))
    assert (found.n_used == 9).all()
    assert found.data == pytest.approx(100 + 1 / 9, abs=1e-5)


def test_frames_are_scaled_before_they_are_clipped():
    levels = np.linspace(1000, 4000, 9)
    rng = np.random.default_rng(2)
    frames = rng.poisson(np.broadcast_to(levels[:, None, None], (9, 60, 60))).astype(np.float32)
    frames[4, 30, 30] *= 1.6  # stars
    frames[2, 10, 10] *= 3
    found = combine(sections(frames), scales=1 / levels, noise=NoiseModel(gain=1.0))
    assert found.data[30, 30] == pytest.approx(1, abs=0.03)
    assert found.data[10, 10] == pytest.approx(1, abs=0.03)
    assert 0 < found.n_reject / frames.size < 0.05


def test_minmax_leaves_out_the_given_numbers():
    frames = np.arange(7, dtype=np.uint16)[:, None, None] * np.ones((1, 3, 3), np.uint16)
    found = combine(sections(frames), clip=Clipping("minmax", n_low=1, n_high=2))
    assert (found.data == 2.5).all()
    assert (found.n_used == 4).all()
    assert found.n_reject == 27


def test_missing_and_saturated_values_do_not_count():
    frames = stack(5).astype(np.float32)
    frames[:, 0, 0] = np.nan
    frames[1, 1, 1] = np.nan
    frames[2, 2, 2] = 65535
    found = combine(sections(frames), noise=MODEL, limits=(0, 60000), clip=Clipping("none"))
    assert np.isnan(found.data[0, 0])
    assert found.n_used[0, 0] == 0
    assert found.n_used[1, 1] == found.n_used[2, 2] == 4
    assert found.data[2, 2] == pytest.approx(np.delete(frames[:, 2, 2], 2).mean(), rel=1e-6)
    assert found.n_reject == 0


@pytest.mark.parametrize("method", ["average", "median"])
def test_the_variance_is_that_of_the_result(method):
    results, variances = [], []
    for seed in range(60):
        found = combine(sections(stack(9, seed=seed)), method=method, noise=MODEL)
        results.append(found.data)
        variances.append(found.variance.mean())
    ratio = np.var(results, axis=0, ddof=1).mean() / np.mean(variances)
    assert ratio == pytest.approx(1, abs=0.12)


def test_without_a_gain_the_noise_is_measured_for_few_frames_as_for_many():
    for count in (2, 3, 30):
        assert stack_noise(sections(stack(count, (200, 200)))) == pytest.approx(SIGMA, rel=0.08)
    found = combine(sections(stack(3)))
    assert found.n_reject / (3 * 2000) < 0.02


CASES = [
    {"noise": MODEL},
    {},
    {"method": "median"},
    {"clip": Clipping("none")},
    {"clip": Clipping("minmax")},
    {"clip": Clipping(low=2, high=4, rounds=5)},
    {"minus": ArraySections(np.full((7, 50), 3.25))},
    {"limits": (90, 108)},
]


def middle(values):
    return 0.5 * (float(values[(len(values) - 1) // 2]) + float(values[len(values) // 2]))


def expected(level, noise, scale, least):
    if not noise.gain:
        return least
    light = max(level / scale - noise.zero, 0.0)
    return max(scale * np.sqrt(noise.read_noise**2 + noise.gain * light) / noise.gain, least)


def clipped(values, clip, sigma_of):
    """Return the sorted values of one pixel that are kept."""
    if clip.method == "minmax":
        enough = len(values) > clip.n_low + clip.n_high
        return values[clip.n_low : len(values) - clip.n_high] if enough else values
    small = _small_sample(len(values))
    for _ in range(clip.rounds if clip.method == "sigma" else 0):
        if len(values) < 2:
            break
        centre = middle(values)
        away = np.sort(np.abs(values.astype(float) - centre).astype(np.float32))
        sigma = max(small[len(values)] * middle(away), sigma_of(centre))
        kept = values[(values >= centre - clip.low * sigma) & (values <= centre + clip.high * sigma)]
        if len(kept) == len(values):
            break
        values = kept
    return values


def plain_combine(
    frames, scales, offsets, *, method="average", clip=None, noise=None, minus=None, limits=(-np.inf, np.inf)
):
    """Combine pixel by pixel as `combine` is defined; return data, variance and number kept."""
    clip, noise = clip or Clipping(), noise or NoiseModel()
    scales, offsets = scales.astype(np.float32), offsets.astype(np.float32)
    scale = float(np.median(scales))
    dark = None if minus is None else minus.array.astype(np.float32)
    spread = 0.0
    if noise.gain is None:
        spread = stack_noise(sections(frames), minus=minus, scales=scales, offsets=offsets)
    least = max(noise.minimum * scale, spread)
    excess = _excess(len(frames))
    out = np.full((3, *frames[0].shape), np.nan)
    for place in np.ndindex(frames[0].shape):
        raw = frames[(slice(None), *place)]
        values = raw.astype(np.float32) - (np.float32(0) if dark is None else dark[place])
        values = (values - offsets) * scales
        values = np.sort(values[(raw >= limits[0]) & (raw <= limits[1]) & np.isfinite(values)])
        values = clipped(values, clip, lambda level: expected(level, noise, scale, least))
        count = out[(2, *place)] = len(values)
        if not count:
            continue
        total = np.cumsum(values, dtype=float)[-1]  # one after the other, as the kernel adds them
        mean = total / count
        square = np.cumsum((values.astype(float) - mean) ** 2)[-1]
        centre = middle(values) if method == "median" else mean
        sigma, sample = expected(centre, noise, scale, least), square / max(count - 1, 1)
        measured = count > 1 and (not noise.gain or sample > excess[count] * sigma**2)
        loss = 0.5 * np.pi if method == "median" and count > 2 else 1.0
        out[(0, *place)], out[(1, *place)] = centre, loss * (sample if measured else sigma**2) / count
    return out.astype(np.float32)


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("count", [1, 2, 3, 8, 65])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_kernel_gives_the_numbers_of_the_definition(options, count, dtype):
    frames = stack(count, (7, 50)).astype(dtype)
    if dtype is np.float32:
        frames[0, :3] = np.nan
    frames[-1, 5, 5] = 60000
    scales, offsets = np.linspace(0.5, 1.5, count), np.arange(count)
    found = combine(sections(frames), **options, scales=scales, offsets=offsets)
    data, variance, used = plain_combine(frames, scales, offsets, **options)
    assert_array_equal(found.n_used, used)
    assert_array_equal(found.data, data)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6)


@dataclass(frozen=True)
class Generated:
    """A frame made when its rows are read, so that only what `combine` holds is in memory."""

    number: int
    shape: tuple[int, int] = (256, 512)

    def section(self, rows):
        height = len(range(*rows.indices(self.shape[0])))
        return np.full((height, self.shape[1]), 100 + self.number % 7, np.uint16)


@pytest.mark.parametrize("count", [5, 60])
def test_memory_stays_below_the_limit_whatever_the_number_of_frames(count):
    limit = 6e6
    frames = [Generated(number) for number in range(count)]
    combine(frames[:2])  # compiles
    tracemalloc.start()
    found = combine(frames, noise=MODEL, memory_limit=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit
    assert found.data[100, 100] == pytest.approx(np.mean([100 + n % 7 for n in range(count)]), abs=0.01)


def test_bands_and_threads_do_not_change_the_result():
    frames = sections(stack(12, (64, 64)))
    whole = combine(frames, noise=MODEL)
    small = 64 * 64 * 10 + 64 * 12 * 16 * 12
    banded = combine(frames, noise=MODEL, memory_limit=small, threads=2)
    assert rows_per_band(12, (64, 64), 2, small, 2) < 10
    assert_array_equal(whole.data, banded.data)
    assert whole.n_reject == banded.n_reject


def test_impossible_stacks_are_refused_by_name():
    with pytest.raises(NotEnoughData, match="no frames"):
        combine([])
    with pytest.raises(DataError, match=r"frame 1 .* \(3, 4\)"):
        combine(sections([np.zeros((4, 4)), np.zeros((3, 4))]))
    with pytest.raises(DataError, match=r"memory_limit .* at least"):
        combine(sections(stack(3)), memory_limit=1000)
    with pytest.raises(DataError, match="scales"):
        combine(sections(stack(3)), scales=[1, 2])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 49, 300])
def test_sorting_network_sorts(n):
    values = np.random.default_rng(n).integers(0, 50, (n, 40))
    full, middle = values.copy(), values.copy()
    for array, network in ((full, sorting_network(n)), (middle, sorting_network(n, (n // 2,)))):
        for low, high in network:
            array[low], array[high] = np.minimum(array[low], array[high]), np.maximum(array[low], array[high])
    assert_array_equal(full, np.sort(values, axis=0))
    assert_array_equal(middle[n // 2], full[n // 2])
    assert len(sorting_network(n, (n // 2,))) <= len(sorting_network(n))
