"""Combining frames: outliers go whatever their number, memory stays bounded, both code paths agree."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.ccd_combine import (
    ArraySections,
    Clipping,
    NoiseModel,
    combine,
    rows_per_band,
    stack_noise,
)
from virtualobserver.maths.kernels import have_numba, sorting_network

MODEL = NoiseModel(read_noise=9.0, gain=2.0, zero=100.0)
SIGMA = np.hypot(9.0 / 2.0, np.sqrt(1 / 12))


def stack(count, shape=(40, 50), seed=1):
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(100.0, 4.5, (count, *shape))).astype(np.uint16)


def sections(frames):
    return [ArraySections(frame) for frame in frames]


@pytest.mark.parametrize("count", [3, 5, 10, 11, 300])
@pytest.mark.parametrize("compiled", [True, False])
def test_one_hit_is_rejected_in_a_stack_of_any_size(count, compiled):
    if compiled and not have_numba():
        pytest.skip("numba is not installed")
    frames = stack(count)
    frames[count // 2, 7, 9] = 60000  # a mean and standard deviation cannot reject it below 11 frames
    found = combine(sections(frames), noise=MODEL, compiled=compiled)
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
    {"minus": ArraySections(np.full((40, 50), 3.25))},
    {"limits": (90, 108)},
]


@pytest.mark.skipif(not have_numba(), reason="numba is not installed")
@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("count", [1, 2, 3, 8, 65])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_compiled_kernel_and_numpy_give_the_same_bits(options, count, dtype):
    frames = stack(count).astype(dtype)
    if dtype is np.float32:
        frames[0, :3] = np.nan
    frames[-1, 5, 5] = 60000
    scales = {"scales": np.linspace(0.5, 1.5, count), "offsets": np.arange(count)}
    fast, slow = (combine(sections(frames), **options, **scales, compiled=flag) for flag in (True, False))
    assert_array_equal(fast.data, slow.data)
    assert_array_equal(fast.variance, slow.variance)
    assert_array_equal(fast.n_used, slow.n_used)
    assert fast.n_reject == slow.n_reject


@dataclass(frozen=True)
class Generated:
    """A frame made when its rows are read, so that only what `combine` holds is in memory."""

    number: int
    shape: tuple[int, int] = (256, 512)

    def section(self, rows):
        height = len(range(*rows.indices(self.shape[0])))
        return np.full((height, self.shape[1]), 100 + self.number % 7, np.uint16)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("count", [5, 60])
def test_memory_stays_below_the_limit_whatever_the_number_of_frames(count, compiled):
    limit = 6e6
    frames = [Generated(number) for number in range(count)]
    combine(frames[:2], compiled=compiled)  # compiles
    tracemalloc.start()
    found = combine(frames, noise=MODEL, memory_limit=limit, compiled=compiled)
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
