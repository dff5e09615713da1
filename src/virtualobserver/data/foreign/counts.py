"""Histograms as datasets of xarray and in the form that ``hist`` and ``boost_histogram`` read."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.axis import FIRST_BIN, GROWTH_LIMIT, Axis
from virtualobserver.data.foreign.seen import Counts
from virtualobserver.errors import DataError, LostFact
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import xarray

__all__ = ["from_xarray", "to_uhi", "variables_of"]

_SPECIAL: Final = ("special_bins", "special_counts")
Variables = dict[str, tuple[tuple[str, ...], Array, RecordDict]]


def variables_of(histogram: Counts) -> Variables:
    """Return counts and coordinates as plain arrays; see `Histogram.variables`."""
    names = tuple(axis.name for axis in histogram.axes)
    if taken := {"counts", *_SPECIAL, "special_bin", "axis"} & set(names):
        msg = f"an axis called {', '.join(sorted(taken))} has the name of a variable; rename it first"
        raise DataError(msg)
    counts, *_ = histogram.to_numpy()
    sparse = histogram.to_sparse()
    special = (sparse.index < FIRST_BIN).any(axis=1)
    found: Variables = {"counts": (names, counts, {"long_name": "number of values", "units": "1"})}
    for axis in histogram.axes:
        notes: RecordDict = {"long_name": axis.name, "type": axis.kind}
        if axis.unit:
            notes["units"] = axis.unit
        if axis.kind != "text":
            notes |= {"start": axis.start, "stop": axis.stop, "step": axis.step}
        for side in ("missing", "underflow", "overflow"):
            notes[side] = np.uint64(getattr(histogram, side)(axis.name))
        labels = (
            np.array(axis.labels, dtype=str) if axis.kind == "text" else axis.centers(np.array(axis.codes))
        )
        found[axis.name] = ((axis.name,), labels, notes)
    about = "bin codes along each axis: 0 missing, 1 underflow, 2 overflow, 3 the first regular bin"
    codes = [_from_first(axis, sparse.index[special, i]) for i, axis in enumerate(histogram.axes)]
    found[_SPECIAL[0]] = (("special_bin", "axis"), np.stack(codes, axis=1), {"long_name": about})
    found[_SPECIAL[1]] = (
        ("special_bin",),
        sparse.count[special],
        {"long_name": "number of values", "units": "1"},
    )
    return found


def _from_first(axis: Axis, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return codes that count the regular bins from the first coordinate."""
    return np.where(codes < FIRST_BIN, codes, codes - axis.codes.start + FIRST_BIN)


def from_xarray(
    dataset: xarray.Dataset,
) -> tuple[tuple[RecordDict, ...], NDArray[np.int64], NDArray[np.uint64]]:
    """Return axes, codes of the occupied bins and their counts: the fields of `SparseCounts`."""
    if "counts" not in dataset or any(name not in dataset for name in _SPECIAL):
        msg = f"a dataset of a histogram has the variables counts, {' and '.join(_SPECIAL)}; this one has not"
        raise DataError(msg)
    dense = np.asarray(dataset["counts"].values).astype(np.uint64)
    axes, firsts = [], []
    for name in dataset["counts"].dims:
        coordinate = dataset[name]
        notes = coordinate.attrs
        facts = {"name": str(name), "kind": notes.get("type"), "unit": notes.get("units", "")}
        if facts["kind"] == "text":
            facts["labels"] = [str(label) for label in coordinate.values]
        else:
            facts |= {key: float(notes[key]) for key in ("start", "stop", "step") if key in notes}
        axis = Axis.from_dict(facts)
        axes.append(axis)
        firsts.append(_first_code(axis, coordinate.values))
    regular = np.argwhere(dense) + np.array(firsts, dtype=np.int64)
    special = np.asarray(dataset[_SPECIAL[0]].values).astype(np.int64).reshape(-1, len(axes))
    moved = np.where(special < FIRST_BIN, special, special - FIRST_BIN + np.array(firsts, dtype=np.int64))
    count = np.concatenate((dense[dense > 0], np.asarray(dataset[_SPECIAL[1]].values).astype(np.uint64)))
    return tuple(axis.as_dict() for axis in axes), np.concatenate((regular, moved)), count


def _first_code(axis: Axis, centers: Array) -> int:
    if axis.kind == "text" or not len(centers):
        return FIRST_BIN
    zero = FIRST_BIN + (GROWTH_LIMIT if axis.kind == "growing" else 0)
    return zero + round((float(centers[0]) - axis.start) / axis.step)


def to_uhi(histogram: Counts) -> RecordDict:
    """Return the plain form of the ``uhi`` schema; texts have no flow, and nothing has a bin for what is missing."""
    lost = {axis.name: n for axis in histogram.axes if (n := histogram.missing(axis.name))}
    if lost:
        msg = f"other histograms have no bins for missing values; left out are {lost}"
        warnings.warn(msg, LostFact, stacklevel=4)
    axes: list[RecordDict] = []
    for axis in histogram.axes:
        about = {
            "metadata": {"name": axis.name, "label": f"{axis.name} [{axis.unit}]" if axis.unit else axis.name}
        }
        if axis.kind == "text":
            axes.append({"type": "category_str", "categories": list(axis.labels), "flow": False} | about)
            continue
        if not len(axis):
            msg = f"axis {axis.name!r} has no bins yet, which other histograms need; fill it first"
            raise DataError(msg)
        low, high = axis.edges[[0, -1]].tolist()
        flow = {"underflow": True, "overflow": True, "circular": False}
        axes.append({"type": "regular", "lower": low, "upper": high, "bins": len(axis)} | flow | about)
    values = histogram.values(flow=True)
    return {"uhi_schema": 1, "writer_info": {}, "axes": axes, "storage": {"type": "double", "values": values}}
