"""Combining frames of a stack into one, with clipping, in memory that does not grow with the stack."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, gammaincinv

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import sorting_network

__all__ = [
    "ArraySections",
    "Clipping",
    "Combined",
    "NoiseModel",
    "Sections",
    "combine",
    "rows_per_band",
    "stack_noise",
]

FloatArray = NDArray[np.float64]
LARGEST_STACK = 4096
"""Largest stack; chosen, not measured: keeps a mistyped folder from being sorted for hours."""
SAMPLE_ROWS = 64
"""Rows, spread over the frame, whose scatter stands for all: thousands of pixels even on a small detector."""
WORK_BYTES_PER_CELL = 12
"""Sorted values, deviations and one temporary, float32, per value of a band."""
COPIES_OF_BAND = 2
"""The band as read, and the part being read into it."""


class Sections(Protocol):
    """A frame that gives some of its rows when asked for: a file, a handle, or an array in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...

    def section(self, rows: slice) -> Array:
        """Return rows of the frame, shape (rows, nx)."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySections:
    """An array in memory as `Sections`."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.array.shape

    def section(self, rows: slice) -> Array:
        """Return a view of some rows."""
        return self.array[rows]


@dataclass(frozen=True)
class Clipping:
    """What to leave out before the average.

    Parameters
    ----------
    method
        ``sigma``: values further than `low` or `high` standard deviations from the median, the deviation
        being the larger of 1.4826 MAD (with the factor for small samples of Croux & Rousseeuw 1992) and what
        the noise model expects; ``minmax``: the `n_low` lowest and `n_high` highest; ``none``.
    rounds
        How often ``sigma`` is repeated on the values left.
    """

    method: Literal["sigma", "minmax", "none"] = "sigma"
    low: float = 3.0  # of normal values 3 of 1000 lie beyond 3 on either side
    high: float = 3.0
    rounds: int = 3  # chosen: later rounds leave out next to nothing
    n_low: int = 1
    n_high: int = 1


@dataclass(frozen=True)
class NoiseModel:
    """Noise one value must have: read noise (e-), gain (e-/ADU), level of zero light (ADU).

    `minimum` (ADU) bounds it from below: in whole numbers the MAD is often 0, and everything but the median
    would be rejected.
    """

    read_noise: float = 0.0
    gain: float | None = None
    zero: float = 0.0
    minimum: float = 0.5  # half a count: rounding to whole ones alone scatters by 0.29


@dataclass(frozen=True, eq=False)
class Combined:
    """A combined frame.

    Parameters
    ----------
    data
        Mean or median of the values kept, shape (ny, nx), float32; NaN where there was none.
    variance
        Variance of `data`, float32.
    n_used
        Values kept per pixel, uint16.
    n_combine
        Frames combined (NCOMBINE).
    n_reject
        Values rejected in all pixels (NREJECT); values that were missing do not count.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    n_used: NDArray[np.uint16]
    n_combine: int
    n_reject: int


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that a block of rows needs to know; made once per stack."""

    clip: Clipping
    median: bool
    offsets: NDArray[np.float32]
    scales: NDArray[np.float32]
    limits: tuple[float, float]
    noise: NDArray[np.float64]
    small: FloatArray
    excess: FloatArray
    network: NDArray[np.int64] = field(repr=False)


def combine(
    frames: Sequence[Sections],
    *,
    method: Literal["average", "median"] = "average",
    clip: Clipping | None = None,
    noise: NoiseModel | None = None,
    minus: Sections | None = None,
    offsets: ArrayLike | None = None,
    scales: ArrayLike | None = None,
    limits: tuple[float, float] = (-np.inf, np.inf),
    memory_limit: float = 1e9,
    threads: int = 1,
) -> Combined:
    """Combine frames into their clipped average or median.

    Every value is first taken to ``(raw - minus - offset) * scale``, so that clipping sees the frames at one
    level: clipping unscaled flats rejects nothing.

    Parameters
    ----------
    frames
        Frames of one shape; only a band of rows of each is in memory at a time. Values that are not finite
        are missing.
    method
        What is made of the values kept.
    clip
        What is left out; 3 sigma, three rounds, by default.
    noise
        Noise expected of one value; without a gain it is measured in the stack.
    minus
        Frame subtracted from each (a master dark for flats), same shape.
    offsets, scales
        One number per frame: ADU subtracted, then factor.
    limits
        Raw values outside are missing (saturated, not linear).
    memory_limit
        Bytes that may be in use, whatever the number of frames.
    threads
        Bands worked on at the same time.

    Raises
    ------
    NotEnoughData
        If there are no frames.
    DataError
        If shapes or numbers of factors differ, or `memory_limit` does not hold the result and one row.
    """
    shape = _shape(frames, minus)
    count = len(frames)
    factors = _factors("offsets", offsets, 0.0, count), _factors("scales", scales, 1.0, count)
    measured = _noise(frames, noise or NoiseModel(), minus, factors)
    recipe = Recipe(
        clip or Clipping(), method == "median", *factors, limits, measured, _small_sample(count), _excess(count),
        sorting_network(count),
    )  # fmt: skip
    rows = rows_per_band(count, shape, _dtype(frames).itemsize, memory_limit, threads)
    result = Combined(
        np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16), count, 0
    )
    return replace(result, n_reject=_bands(frames, minus, recipe, result, (rows, threads)))


def rows_per_band(
    count: int, shape: tuple[int, int], itemsize: int, memory_limit: float, threads: int = 1
) -> int:
    """Return how many rows of `count` frames fit into `memory_limit` bytes beside the result.

    Raises
    ------
    DataError
        If not even one row does; the message says how much is needed.
    """
    ny, nx = shape
    result = ny * nx * (4 + 4 + 2)
    row = nx * (count * (itemsize * COPIES_OF_BAND + WORK_BYTES_PER_CELL) + 64) * threads
    rows = int((memory_limit - result) // row)
    if rows < 1:
        msg = (
            f"memory_limit of {memory_limit:.3g} bytes does not hold the combined frame and one row of"
            f" {count} frames of {ny} x {nx}: at least {result + row:.3g} are needed"
        )
        raise DataError(msg)
    return min(rows, ny)


def stack_noise(
    frames: Sequence[Sections],
    *,
    minus: Sections | None = None,
    offsets: ArrayLike | None = None,
    scales: ArrayLike | None = None,
) -> float:
    """Return the typical standard deviation of one value along the stack, measured in some of the rows.

    The median over pixels of the sample variance, divided by that of chi squared, so that it holds for two
    frames as for three hundred; 0 for a single frame.
    """
    count = len(frames)
    if count < 2:
        return 0.0
    shape = _shape(frames, minus)
    step = max(shape[0] // 8, 1)
    height = max(min(SAMPLE_ROWS // 8, step, (1 << 22) // (count * shape[1]) or 1), 1)
    subtract = np.zeros(count) if offsets is None else np.asarray(offsets, float)
    factors = np.ones(count) if scales is None else np.asarray(scales, float)
    found = []
    for start in range(step // 2, shape[0], step):
        rows = slice(start, start + height)
        block = _read(frames, rows, shape).astype(np.float64)
        if minus is not None:
            block -= minus.section(rows)
        block = (block - subtract[:, None, None]) * factors[:, None, None]
        found.append(block.var(axis=0, ddof=1).ravel())
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0
    return float(np.sqrt(np.median(values) * (count - 1) / (2 * gammaincinv((count - 1) / 2, 0.5))))


# --- inside -----------------------------------------------------------------------------------------------


def _shape(frames: Sequence[Sections], minus: Sections | None) -> tuple[int, int]:
    if not frames:
        msg = "there are no frames to combine"
        raise NotEnoughData(msg)
    if len(frames) > LARGEST_STACK:
        msg = f"{len(frames)} frames are more than the {LARGEST_STACK} one stack may have"
        raise DataError(msg)
    shape = tuple(frames[0].shape)
    for number, frame in enumerate([*frames, *([] if minus is None else [minus])]):
        if tuple(frame.shape) != shape or len(shape) != 2:
            name = f"frame {number}" if number < len(frames) else "the frame to subtract"
            msg = f"{name} of the stack has shape {tuple(frame.shape)}, frame 0 {shape}"
            raise DataError(msg)
    return (shape[0], shape[1])


def _bands(
    frames: Sequence[Sections],
    minus: Sections | None,
    recipe: Recipe,
    result: Combined,
    how: tuple[int, int],
) -> int:
    """Fill the planes of the result, so many rows at a time; return the number of values rejected."""
    rows, threads = how
    shape = (result.data.shape[0], result.data.shape[1])

    def band(start: int) -> int:
        part = slice(start, min(start + rows, shape[0]))
        block = _read(frames, part, shape)
        dark = np.zeros((0, 0), np.float32) if minus is None else minus.section(part)
        out = (result.data[part], result.variance[part], result.n_used[part])
        dark = np.ascontiguousarray(dark, np.float32).view()
        dark.flags.writeable = False  # as a master's is: for each of the two kinds a kernel would be compiled
        return _block(block, dark, recipe, out)

    starts = range(0, shape[0], rows)
    if threads <= 1:
        return sum(map(band, starts))
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(band, starts))


def _dtype(frames: Sequence[Sections]) -> np.dtype:
    kinds = {np.asarray(frame.section(slice(0, 1))).dtype.newbyteorder("=") for frame in frames}
    if len(kinds) == 1 and kinds <= {np.dtype(np.uint16), np.dtype(np.int16), np.dtype(np.float32)}:
        return next(iter(kinds))
    return np.dtype(np.float32)


def _read(frames: Sequence[Sections], rows: slice, shape: tuple[int, int]) -> Array:
    first = np.asarray(frames[0].section(rows))
    native = first.dtype.newbyteorder("=")
    dtype = native if native in {np.dtype(np.uint16), np.dtype(np.int16)} else np.dtype(np.float32)
    block = np.empty((len(frames), first.shape[0], shape[1]), dtype)
    for number, frame in enumerate(frames):
        part = first if number == 0 else np.asarray(frame.section(rows))
        if block.dtype != np.float32 and part.dtype.newbyteorder("=") != block.dtype:
            block = block.astype(np.float32)
        block[number] = part
    return block


def _factors(name: str, given: ArrayLike | None, default: float, count: int) -> NDArray[np.float32]:
    values = np.full(count, default) if given is None else np.asarray(given, dtype=np.float64)
    if values.shape != (count,) or not np.isfinite(values).all():
        msg = f"{name} has to be one finite number for each of {count} frames, not {values}"
        raise DataError(msg)
    return values.astype(np.float32)


def _noise(
    frames: Sequence[Sections], model: NoiseModel, minus: Sections | None, factors: tuple[Any, Any]
) -> FloatArray:
    """Return the noise model as the kernels take it; without a gain the scatter is measured in the stack."""
    offsets, scales = factors
    scale = float(np.median(scales)) or 1.0
    measured = 0.0
    if model.gain is None:
        measured = stack_noise(frames, minus=minus, offsets=offsets, scales=scales)
    least = max(model.minimum * scale, measured)
    return np.array([model.read_noise, model.gain or 0.0, model.zero, least, scale])


def _small_sample(count: int) -> FloatArray:
    """Return 1.4826 times the factor that makes the MAD of n normal values unbiased, for n = 0 ... count."""
    n = np.arange(count + 1, dtype=np.float64)
    factor = np.ones(count + 1)
    factor[10:] = n[10:] / (n[10:] - 0.8)
    # Croux & Rousseeuw (1992), as is n / (n - 0.8) above
    few = np.array([1.0, 1.0, 1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107])
    factor[: len(few)] = few[: count + 1]
    return factor * MAD_TO_SIGMA


def _excess(count: int) -> FloatArray:
    """Return, for n = 0 ... count, the ratio of sample to expected variance that chance gives once in 1000."""
    excess = np.full(count + 1, np.inf)
    degrees = np.arange(1, count)
    excess[2:] = chdtri(degrees, 1e-3) / degrees
    return excess


def _block(
    block: Array,
    minus: NDArray[np.float32],
    recipe: Recipe,
    out: tuple[Array, ...],
) -> int:
    from virtualobserver.maths.ccd.combine_kernel import combine_block

    arguments = (
        recipe.offsets, recipe.scales, recipe.limits[0], recipe.limits[1], recipe.noise, recipe.small,
        recipe.excess, ("none", "sigma", "minmax").index(recipe.clip.method), recipe.clip.low,
        recipe.clip.high, recipe.clip.rounds, recipe.clip.n_low, recipe.clip.n_high, recipe.median,
    )  # fmt: skip
    return int(combine_block(block, minus, *arguments, recipe.network, *out))
