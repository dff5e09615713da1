"""Axes of histograms: how values become bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["FIRST_BIN", "NAN_BIN", "OVERFLOW_BIN", "UNDERFLOW_BIN", "Axis", "Traits"]

NAN_BIN = 0
"""Code of values that are no numbers; stored, never to be changed."""
UNDERFLOW_BIN = 1
"""Code of values below a fixed axis; stored, never to be changed."""
OVERFLOW_BIN = 2
"""Code of values above; stored, never to be changed."""
FIRST_BIN = 3
"""The first code after those three."""
GROWTH_LIMIT = 1 << 20
"""Bins a growing axis may have on each side of its start; values beyond count as under- or overflow."""
MAX_FIXED_BINS = 1 << 24
"""No picture shows as many; a step too small by mistake is refused before memory is gone."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What plotting libraries ask of an axis (the protocol of ``uhi``)."""

    discrete: bool
    circular: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a histogram; make it with `fixed`, `growing` or `text`.

    Every axis has three bins before its regular ones: 0 for values that are missing or not a number, 1 for
    underflow, 2 for overflow. As a sequence, an axis is its regular bins: pairs of edges, or labels.
    """

    name: str
    kind: Literal["fixed", "growing", "text"]
    start: float = 0.0
    stop: float = 0.0
    step: float = 1.0
    unit: str = ""
    labels: tuple[str, ...] = ()
    span: tuple[int, int] = field(default=(FIRST_BIN, FIRST_BIN), compare=False)
    """Codes of the first and beyond the last bin that a histogram uses, of a growing axis."""

    def __post_init__(self) -> None:
        numbers_fine = bool(np.isfinite([self.start, self.stop, self.step]).all()) and self.step > 0
        if self.kind not in {"fixed", "growing", "text"} or not self.name or not numbers_fine:
            msg = f"axis {self.name!r}: needs a name, a known kind, finite start and stop and a positive step"
            raise DataError(msg)
        if self.kind == "fixed" and not 0 <= (self.stop - self.start) / self.step < MAX_FIXED_BINS:
            msg = (
                f"axis {self.name!r}: stop {self.stop} must not lie below start {self.start}, "
                f"nor more than {MAX_FIXED_BINS} steps above"
            )
            raise DataError(msg)
        if tuple(sorted(set(self.labels))) != self.labels:
            msg = f"axis {self.name!r}: labels must be sorted and different from each other"
            raise DataError(msg)

    @classmethod
    def fixed(cls, name: str, start: float, stop: float, step: float, unit: str = "") -> Axis:
        """Numbers, with bin centres ``start, start + step, ... stop``."""
        return cls(name, "fixed", float(start), float(stop), float(step), unit)

    @classmethod
    def growing(cls, name: str, start: float, step: float, unit: str = "") -> Axis:
        """Numbers, with bin centres at whole steps from start, as far as the data go."""
        return cls(name, "growing", float(start), float(start), float(step), unit)

    @classmethod
    def text(cls, name: str, labels: tuple[str, ...] = ()) -> Axis:
        """Texts, with one bin for each text met."""
        return cls(name, "text", labels=tuple(sorted(set(labels))))

    @property
    def n_codes(self) -> int:
        """Number of bins a code can name, the three special ones included."""
        if self.kind == "text":
            return FIRST_BIN + len(self.labels)
        if self.kind == "growing":
            return FIRST_BIN + 2 * GROWTH_LIMIT + 1
        return FIRST_BIN + round((self.stop - self.start) / self.step) + 1

    @property
    def codes(self) -> range:
        """Codes of the regular bins: all, or of a growing axis those in use."""
        return range(*self.span) if self.kind == "growing" else range(FIRST_BIN, self.n_codes)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the regular bins, one more than bins; those of texts are whole numbers."""
        if self.kind == "text":
            return np.arange(len(self.labels) + 1, dtype=np.float64)
        zero = FIRST_BIN + (GROWTH_LIMIT if self.kind == "growing" else 0)
        first, last = self.codes.start, self.codes.stop
        steps = np.arange(first, last + 1, dtype=np.float64) - (zero + 0.5)
        return np.asarray(self.start + self.step * steps)

    @property
    def traits(self) -> Traits:
        """Whether bins are discrete: those of texts are."""
        return Traits(discrete=self.kind == "text")

    def __len__(self) -> int:
        return len(self.codes)

    def __bool__(self) -> bool:
        return True  # also without bins

    def __getitem__(self, place: int) -> Value:
        if not -len(self) <= place < len(self):
            msg = f"axis {self.name!r} has {len(self)} bins, none of them number {place}"
            raise IndexError(msg)
        if self.kind == "text":
            return self.labels[place]
        low = place % len(self)
        return tuple(self.edges[low : low + 2].tolist())

    def __iter__(self) -> Iterator[Value]:
        return (self[place] for place in range(len(self)))

    def centers(self, codes: ArrayLike) -> Array:
        """Coordinates of bins: centres or labels; NaN, -inf, +inf (text: empty) for the special bins."""
        code = np.asarray(codes, dtype=np.int64)
        if self.kind == "text":
            return np.array(["", "", "", *self.labels], dtype=object)[code]
        zero = FIRST_BIN + (GROWTH_LIMIT if self.kind == "growing" else 0)
        special = np.array([np.nan, -np.inf, np.inf, 0.0])[np.minimum(code, FIRST_BIN)]
        return np.where(code < FIRST_BIN, special, self.start + self.step * (code - zero))

    def encode(self, values: ArrayLike) -> tuple[Axis, NDArray[np.int64]]:
        """Bin codes of values (0-d or 1-d), and the axis with the labels they brought.

        Raises
        ------
        DataError
            Values that are not numbers on a numeric axis.
        """
        if self.kind == "text":
            return self._encode_text(values)
        try:
            number = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as exc:
            msg = f"axis {self.name!r} takes numbers, got {values!r}"
            raise DataError(msg) from exc
        with np.errstate(all="ignore"):
            position = np.floor((number - self.start) / self.step + 0.5)
        low, zero, high = 0, FIRST_BIN, self.n_codes - FIRST_BIN - 1
        if self.kind == "growing":
            low, zero, high = -GROWTH_LIMIT, FIRST_BIN + GROWTH_LIMIT, GROWTH_LIMIT
        # comparisons with NaN are false, so it is never all inside
        if position.size and position.min() >= low and position.max() <= high:
            return self, np.asarray(position.astype(np.int64) + zero)
        above, below = position > high, position < low
        inside = (position >= low) & ~above
        code = np.asarray(np.where(inside, position, -zero).astype(np.int64) + zero)
        code[below], code[above] = UNDERFLOW_BIN, OVERFLOW_BIN
        return self, code

    def _encode_text(self, values: ArrayLike) -> tuple[Axis, NDArray[np.int64]]:
        cells = np.asarray(values, dtype=object)
        plain = ["" if _is_missing(cell) else str(cell) for cell in cells.ravel().tolist()]
        texts = np.array(plain, dtype=str)
        names, inverse = np.unique(texts, return_inverse=True)
        axis = self.with_labels(tuple(name for name in names.tolist() if name))
        place = {label: FIRST_BIN + number for number, label in enumerate(axis.labels)}
        code = np.array([place.get(name, NAN_BIN) for name in names.tolist()], dtype=np.int64)
        return axis, code[inverse].reshape(cells.shape)

    def with_labels(self, labels: tuple[str, ...]) -> Axis:
        """Give the text axis these further labels."""
        if set(labels) <= set(self.labels):
            return self
        return replace(self, labels=tuple(sorted({*self.labels, *labels})))

    def recode(self, codes: NDArray[np.int64], target: Axis) -> NDArray[np.int64]:
        """Codes of this axis as codes of a merged one."""
        if self.labels == target.labels:
            return codes
        place = [target.labels.index(label) + FIRST_BIN for label in self.labels]
        return np.array([NAN_BIN, UNDERFLOW_BIN, OVERFLOW_BIN, *place], dtype=np.int64)[codes]

    def merged(self, other: Axis) -> Axis:
        """Give the axis that holds the bins of both.

        Raises
        ------
        DataError
            The bins differ.
        """
        if replace(self, labels=()) != replace(other, labels=()):
            msg = (
                f"histograms with unequal bins cannot be added: axis {self.describe()} against "
                f"{other.describe()}; make both with the same settings"
            )
            raise DataError(msg)
        return self.with_labels(other.labels)

    def describe(self) -> str:
        """Short text for messages."""
        if self.kind == "text":
            return f"{self.name!r} (text)"
        stop = f", stop {self.stop:g}" if self.kind == "fixed" else ""
        return f"{self.name!r} ({self.kind}, start {self.start:g}{stop}, step {self.step:g} {self.unit})"

    def as_dict(self) -> RecordDict:
        """Plain values that JSON can hold; `from_dict` turns them back."""
        shared: RecordDict = {"name": self.name, "kind": self.kind, "unit": self.unit}
        if self.kind == "text":
            return shared | {"labels": list(self.labels)}
        return shared | {"start": self.start, "stop": self.stop, "step": self.step}

    @classmethod
    def from_dict(cls, values: Record) -> Axis:
        """Axis of the values `as_dict` gave."""
        try:
            return cls(**{**values, "labels": tuple(values.get("labels", ()))})
        except TypeError as exc:
            msg = f"these are not the values of a histogram axis: {dict(values)!r}"
            raise DataError(msg) from exc


def _is_missing(cell: object) -> bool:
    # NaN is the missing text of data frames
    return cell is None or (isinstance(cell, (float, np.floating)) and bool(np.isnan(cell)))
