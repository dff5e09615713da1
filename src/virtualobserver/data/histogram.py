"""Counts over several axes that add up, whoever counted them.

A histogram is immutable and sparse: only bins that hold something take room. ``+`` is associative and
commutative, so parts counted by different workers can be added in any order. Counts are unsigned 64-bit
integers that refuse to overflow, and every value lands somewhere: missing and NaN, underflow and overflow
have bins of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.data.axis import FIRST_BIN, NAN_BIN, OVERFLOW_BIN, UNDERFLOW_BIN, Axis
from virtualobserver.data.bins import MAX_COUNT, Codes, Counts, collect, no_wrap
from virtualobserver.data.packing import axes_of, packed, unpacked
from virtualobserver.data.show import facts_html, picture_html
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict
from virtualobserver.words import counted

if TYPE_CHECKING:
    import xarray

__all__ = ["Axis", "Histogram", "SparseCounts"]

DENSE_LIMIT = 1 << 27
"""Cells (1 GB of counts) beyond which a dense array is refused: keep it sparse."""
_SMALL: Final = (6.0, 3.0)
"""Inches of the picture in a notebook."""
CF: Final = "CF-1.11"
"""Conventions that datasets of counts keep."""


@dataclass(frozen=True, slots=True)
class SparseCounts:
    """Occupied bins: axes as plain values, bin codes (n_bins, n_axes) in rising order, counts (n_bins)."""

    axes: tuple[RecordDict, ...]
    index: Codes
    count: Counts


@dataclass(frozen=True, eq=False, repr=False)
class Histogram:
    """Immutable counts over named axes.

    Parameters
    ----------
    axes : tuple of Axis
        At least one, with different names.
    index : ndarray of int64, shape (n_bins, n_axes), optional
        Codes of the occupied bins (see `Axis`), in rising order.
    count : ndarray of uint64, shape (n_bins,), optional
        Their counts.
    """

    axes: tuple[Axis, ...]
    index: Codes | None = None
    count: Counts | None = None

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if not names or len(set(names)) != len(names) or "weight" in names:
            msg = f"a histogram needs axes with different names, none of them 'weight'; got {names}"
            raise DataError(msg)
        if self.index is None:
            object.__setattr__(self, "index", np.zeros((0, len(names)), np.int64))
        if self.count is None:
            object.__setattr__(self, "count", np.zeros(0, np.uint64))
        for array in self._filled:
            array.setflags(write=False)
        if any(axis.kind == "growing" for axis in self.axes):
            object.__setattr__(self, "axes", tuple(self._spanned(i) for i in range(len(self.axes))))

    def _spanned(self, place: int) -> Axis:
        """Return an axis that, if it grows, knows which of its bins are in use."""
        axis, codes = self.axes[place], self._filled[0][:, place]
        if axis.kind != "growing":
            return axis
        used = codes[codes >= FIRST_BIN]
        span = (int(used.min()), int(used.max()) + 1) if used.size else (FIRST_BIN, FIRST_BIN)
        return axis if axis.span == span else replace(axis, span=span)

    @property
    def _filled(self) -> tuple[Codes, Counts]:
        assert self.index is not None
        assert self.count is not None
        return self.index, self.count

    # ------------------------------------------------------------------------------------------ filling
    def fill(self, *, weight: ArrayLike | None = None, **values: ArrayLike | None) -> Histogram:
        """Histogram with more values counted; this one stays as it is.

        Parameters
        ----------
        weight : array_like of non-negative int, optional
            Count of each value, default 1.
        **values : array_like or scalar or None
            Values for each axis by its name, arrays of one length; a scalar holds for all of them. None and
            NaN go to the bin for missing values.

        Raises
        ------
        DataError
            An axis has no values, a name is no axis, lengths differ, a weight is negative or a fraction, or
            a count would pass 2**64 - 1.
        """
        names = [axis.name for axis in self.axes]
        if set(values) != set(names):
            missing, extra = sorted(set(names) - set(values)), sorted(set(values) - set(names))
            msg = f"could not find values for axis {missing}; unknown axis {extra}; axes are {names}"
            raise DataError(msg)
        coded = [
            axis.encode(np.nan if values[axis.name] is None else np.asarray(values[axis.name]))
            for axis in self.axes
        ]
        axes = tuple(axis for axis, _ in coded)
        codes = [code for _, code in coded]
        lengths = {code.size for code in codes if code.ndim}
        if len(lengths) > 1 or any(code.ndim > 1 for code in codes):
            shapes = {axis.name: code.shape for axis, code in zip(axes, codes, strict=True)}
            msg = f"values of a histogram must be scalars or 1-d arrays of one length, got shapes {shapes}"
            raise DataError(msg)
        n = lengths.pop() if lengths else 1
        index, count = collect(codes, n, _checked_weight(weight, n))
        return self + Histogram(axes, index, count)

    def __add__(self, other: object) -> Histogram:
        """Sum of two histograms over the same axes; growing and text axes take the bins of both."""
        if not isinstance(other, Histogram):
            return NotImplemented
        if [axis.name for axis in self.axes] != [axis.name for axis in other.axes]:
            msg = (
                f"histograms with unequal axes cannot be added: {[axis.name for axis in self.axes]} "
                f"against {[axis.name for axis in other.axes]}"
            )
            raise DataError(msg)
        axes = tuple(mine.merged(theirs) for mine, theirs in zip(self.axes, other.axes, strict=True))
        if self.total + other.total > MAX_COUNT:
            msg = f"the sum of histograms would hold more than {MAX_COUNT} counts, all that 64 bits can hold"
            raise DataError(msg)
        parts = [part for part in (self, other) if part.n_bins]
        if len(parts) < 2:
            return Histogram(axes, *_recoded(parts[0], axes)) if parts else Histogram(axes)
        index, count = zip(*(_recoded(part, axes) for part in parts), strict=True)
        codes = np.concatenate(index)
        return Histogram(axes, *collect(list(codes.T), len(codes), np.concatenate(count)))

    @classmethod
    def sum(cls, parts: Iterable[Histogram]) -> Histogram:
        """Sum of one or more histograms.

        Raises
        ------
        DataError
            There is none, or their bins differ.
        """
        pending = list(parts)
        if not pending:
            msg = "the sum of no histograms has no axes: give at least one"
            raise DataError(msg)
        if all(part.axes == pending[0].axes for part in pending):
            filled = [part._filled for part in pending]  # noqa: SLF001 - of this class
            codes = np.concatenate([index for index, _ in filled])
            total = sum(part.total for part in pending)
            if total <= MAX_COUNT and len(codes):
                count = np.concatenate([count for _, count in filled])
                return cls(pending[0].axes, *collect(list(codes.T), len(codes), count))
        while len(pending) > 1:
            # pairs of about equal size: each bin is sorted log(n) times instead of n
            pending = [reduce(cls.__add__, pending[i : i + 2]) for i in range(0, len(pending), 2)]
        return pending[0]

    # ------------------------------------------------------------------------------------------ reading
    def __eq__(self, other: object) -> bool:
        """Whether axes, bins and counts are the same."""
        if not isinstance(other, Histogram):
            return NotImplemented
        mine, theirs = self.to_sparse(), other.to_sparse()
        same = np.array_equal(mine.index, theirs.index) and np.array_equal(mine.count, theirs.count)
        return self.axes == other.axes and same

    __hash__ = None  # type: ignore[assignment] # equal by content, like the arrays it holds

    @property
    def n_bins(self) -> int:
        """Number of occupied bins."""
        return self._filled[1].size

    @property
    def total(self) -> int:
        """Sum of all counts, special bins included."""
        return int(self._filled[1].sum(dtype=np.uint64))

    def axis(self, name: str) -> Axis:
        """Axis of that name."""
        return self.axes[self._place(name)]

    def _place(self, name: str) -> int:
        names = [axis.name for axis in self.axes]
        if name not in names:
            msg = f"the histogram has no axis {name!r}; axes are {names}"
            raise DataError(msg)
        return names.index(name)

    def _special(self, name: str, code: int) -> int:
        index, count = self._filled
        return int(count[index[:, self._place(name)] == code].sum(dtype=np.uint64))

    def missing(self, name: str) -> int:
        """Return the number of counts whose value on that axis was missing or NaN."""
        return self._special(name, NAN_BIN)

    def underflow(self, name: str) -> int:
        """Return the number of counts below the first bin of that axis."""
        return self._special(name, UNDERFLOW_BIN)

    def overflow(self, name: str) -> int:
        """Return the number of counts above the last bin of that axis."""
        return self._special(name, OVERFLOW_BIN)

    def project(self, *names: str) -> Histogram:
        """Histogram over some of the axes, summed over the others."""
        place = [self._place(name) for name in names]
        index, count = self._filled
        axes = tuple(self.axes[i] for i in place)
        return Histogram(axes, *collect([index[:, i] for i in place], count.size, count))

    def dense(self) -> tuple[Counts, tuple[Codes, ...]]:
        """Give the counts as an array with one dimension per axis, and the bin codes along each.

        Every dimension runs NaN, underflow, overflow, then the regular bins: all of a fixed axis, from the
        first to the last occupied bin of a growing one, all labels of a text axis.

        Raises
        ------
        DataError
            The array would take more than 1 GB.
        """
        index, count = self._filled
        special = np.array([NAN_BIN, UNDERFLOW_BIN, OVERFLOW_BIN])
        codes = [np.concatenate((special, np.array(axis.codes, dtype=np.int64))) for axis in self.axes]
        shape = tuple(code.size for code in codes)
        if np.prod([float(size) for size in shape]) > DENSE_LIMIT:
            msg = f"a dense histogram of shape {shape} is too large: project() it on fewer axes first"
            raise DataError(msg)
        array = np.zeros(shape, dtype=np.uint64)
        places = [
            np.where(index[:, i] < FIRST_BIN, index[:, i], index[:, i] - code[-1] + code.size - 1)
            for i, code in enumerate(codes)
        ]
        array[tuple(places)] = count
        return array, tuple(codes)

    # ------------------------------------------------------------------------------------------- storing
    def to_sparse(self) -> SparseCounts:
        """Occupied bins only, as plain arrays."""
        return SparseCounts(tuple(axis.as_dict() for axis in self.axes), *self._filled)

    @classmethod
    def from_sparse(cls, sparse: SparseCounts) -> Histogram:
        """Histogram of what `to_sparse` gave.

        Raises
        ------
        DataError
            Shapes do not fit together, or a bin lies outside its axis.
        """
        axes = tuple(Axis.from_dict(values) for values in sparse.axes)
        index, count = np.asarray(sparse.index, np.int64), np.asarray(sparse.count, np.uint64)
        return cls(axes, *_checked_bins(axes, index, count))

    def to_bytes(self) -> bytes:
        """Compact form for a database column; equal histograms give equal bytes."""
        return packed(self.axes, *self._filled)

    @classmethod
    def from_bytes(cls, data: bytes) -> Histogram:
        """Histogram of the bytes `to_bytes` gave.

        Raises
        ------
        InvalidFile
            The bytes are something else, or were cut.
        """
        return cls.sum_bytes([data])

    @classmethod
    def sum_bytes(cls, parts: Iterable[bytes]) -> Histogram:
        """Sum of one or more histograms in the form of `to_bytes`: many times faster than one by one.

        Raises
        ------
        InvalidFile
            Bytes are something else, or were cut.
        DataError
            There are none, or their bins differ.
        """
        alike: dict[bytes, list[tuple[Codes, Counts]]] = {}
        for data in parts:
            header, index, count = unpacked(data)
            alike.setdefault(header, []).append((index, count))
        sums = []
        for header, found in alike.items():
            try:
                axes = axes_of(header)
                index = np.concatenate([index for index, _ in found])
                count = np.concatenate([count for _, count in found])
                sums.append(cls(axes, *_checked_bins(axes, index, count)))
            except (ValueError, TypeError, AttributeError) as exc:
                msg = f"these bytes hold no histogram: {exc}"
                raise InvalidFile(msg) from exc
        return sums[0] if len(sums) == 1 else cls.sum(sums)

    # ------------------------------------------------------------------------------- other people's objects
    kind: ClassVar[str] = "COUNT"
    """For plotting libraries (``mplhep``): the bins are counts."""

    def values(self, flow: bool = False) -> NDArray[np.float64]:
        """Return the counts of the regular bins; with `flow`, also those below and above on numeric axes."""
        dense, _ = self.dense()
        return dense[self._flow_places(flow=flow)].astype(np.float64)

    def variances(self, flow: bool = False) -> NDArray[np.float64]:
        """Return the Poisson variances of the bins: the counts themselves."""
        return self.values(flow)

    def counts(self, flow: bool = False) -> NDArray[np.float64]:
        """Return the same as `values`."""
        return self.values(flow)

    def _flow_places(self, *, flow: bool) -> tuple[NDArray[np.int64], ...]:
        places = []
        for axis in self.axes:
            regular = np.arange(FIRST_BIN, FIRST_BIN + len(axis))
            around = flow and axis.kind != "text"
            places.append(np.concatenate(([UNDERFLOW_BIN], regular, [OVERFLOW_BIN])) if around else regular)
        return np.ix_(*places)

    def to_numpy(self) -> tuple[Array, ...]:
        """Return the counts of the regular bins, and of each axis the edges (labels of texts), as numpy does.

        What is missing, below or above, is not among them; see `missing`, `underflow` and `overflow`.
        """
        dense, _ = self.dense()
        sides = [
            np.array(axis.labels, dtype=str) if axis.kind == "text" else axis.edges for axis in self.axes
        ]
        return (dense[self._flow_places(flow=False)], *sides)

    def _to_uhi_(self) -> RecordDict:
        """Return what ``hist.Hist`` is built from."""
        from virtualobserver.data.foreign.counts import to_uhi

        return to_uhi(self)

    def _to_boost_histogram_(self) -> Any:
        """Return what ``boost_histogram.Histogram`` is built from."""
        import boost_histogram

        return boost_histogram.Histogram(self._to_uhi_())

    def __repr__(self) -> str:
        axes = " x ".join(axis.describe().split(",")[0].rstrip(")") + ")" for axis in self.axes)
        return f"<Histogram of {self.total} counts in {self.n_bins} bins: {axes}>"

    def _repr_html_(self) -> str:
        facts = {
            axis.name: f"{counted(len(axis), 'bin')}, {self.missing(axis.name)} missing, "
            f"{self.underflow(axis.name)} below, {self.overflow(axis.name)} above" for axis in self.axes
        }  # fmt: skip
        return facts_html(repr(self), facts) + picture_html(self, figsize=_SMALL)

    def to_xarray(self, *, attrs: Record | None = None) -> xarray.Dataset:
        """`xarray.Dataset` with variable ``counts`` over the regular bins, see `variables`; `from_xarray` reads it.

        Parameters
        ----------
        attrs
            Where the counts come from: attributes of the dataset.
        """
        import xarray

        found = self.variables()
        coords = {name: found.pop(name) for name in [axis.name for axis in self.axes]}
        return xarray.Dataset(found, coords=coords, attrs={"Conventions": CF, **(attrs or {})})

    @classmethod
    def from_xarray(cls, dataset: xarray.Dataset) -> Histogram:
        """Histogram of the dataset `to_xarray` gave, also after it was a netCDF file.

        Raises
        ------
        DataError
            The dataset is something else, or a part of one.
        """
        from virtualobserver.data.foreign.counts import from_xarray

        return cls.from_sparse(SparseCounts(*from_xarray(dataset)))

    def variables(self) -> dict[str, tuple[tuple[str, ...], Array, RecordDict]]:
        """Return counts of the regular bins and coordinates: name to dimensions, array and attributes.

        Numeric coordinates are bin centres, those of texts labels; they can be an index. Counts with a value that is
        missing, below or above on any axis are in ``special_counts``, and their bin codes (see `Axis`) in
        ``special_bins``, over the axes in the order of ``counts``.
        """
        from virtualobserver.data.foreign.counts import variables_of

        return variables_of(self)

    def emptied(self) -> Histogram:
        """Histogram with the same axes and no counts."""
        return Histogram(tuple(replace(axis, labels=()) for axis in self.axes))


def _checked_bins(axes: tuple[Axis, ...], index: Codes, count: Counts) -> tuple[Codes, Counts]:
    """Sort and add up bins of which nothing is known."""
    fits = index.shape == (count.size, len(axes)) and count.ndim == 1
    if not fits or bool(((index < 0) | (index >= [axis.n_codes for axis in axes])).any()):
        msg = f"bins of shape {index.shape} and counts of shape {count.shape} do not fit {len(axes)} axes"
        raise DataError(msg)
    return collect(list(index.T), count.size, no_wrap(count))


def _recoded(part: Histogram, axes: tuple[Axis, ...]) -> tuple[Codes, Counts]:
    sparse = part.to_sparse()
    columns = [mine.recode(sparse.index[:, i], axes[i]) for i, mine in enumerate(part.axes)]
    return np.stack(columns, axis=1), sparse.count


def _checked_weight(weight: ArrayLike | None, n: int) -> Counts | None:
    if weight is None:
        return None
    number = np.broadcast_to(np.asarray(weight), (n,)) if np.ndim(weight) == 0 else np.asarray(weight).ravel()
    fine = number.size == n and number.dtype.kind in "uib"
    if not fine or bool((number < 0).any()):
        msg = f"weights of a histogram must be {n} whole numbers of at least 0"
        raise DataError(msg)
    return no_wrap(number.astype(np.uint64))
