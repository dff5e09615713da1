"""A set of equally long columns with units: the simplest product, and the base of light curves."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from html import escape
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.data.units import same_unit
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd
    import xarray

__all__ = ["Table", "freeze"]

_ABOUT: Final = {"columns": frozenset[str](), "times": frozenset({"scale", "format"})}
"""Keys of the meta under which columns are told of one by one, and what must be told."""


def freeze(array: ArrayLike, name: str = "array") -> Array:
    """Return a read-only view of `array`; the caller's own array stays writeable.

    Raises
    ------
    DataError
        If it is more than numbers or text and would lose it: a unit, hidden values, a time scale.
    """
    lost = "" if type(array) is np.ndarray else _more_than_numbers(array)
    if lost and np.size(array):
        msg = f"{name} {lost}, which plain arrays have not; give its numbers, and say so beside them"
        raise DataError(msg)
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _more_than_numbers(array: object) -> str:
    """Return what an object has that an array of numbers or text cannot hold, in words; empty for nothing."""
    if (unit := getattr(array, "unit", None)) is not None:
        return f"has the unit {unit}"
    if hasattr(array, "mjd") and (scale := getattr(array, "scale", "")):
        return f"has times in the scale {str(scale).upper()}"
    return "hides values" if _hidden(array).any() else ""


def _hidden(values: object) -> NDArray[np.bool_]:
    mask = getattr(values, "mask", False)
    # pandas has a method of that name
    return np.asarray(False if callable(mask) else mask, dtype=bool)


def _bare(name: str, values: ArrayLike, units: dict[str, str]) -> ArrayLike:
    """Return a column without unit and mask: the one is said in `units`, what the other hides is NaN or None."""
    from virtualobserver.data.foreign.columns import unit_text, without_hidden

    if (unit := getattr(values, "unit", None)) is not None:
        if not same_unit(units.setdefault(name, unit_text(unit)), unit_text(unit)):
            msg = (
                f"the column {name!r} is in {unit_text(unit)}, and units say {units[name]!r}; convert the one"
            )
            raise DataError(msg)
        values = getattr(values, "value", values)
    if (hidden := _hidden(values)).any():
        plain = np.asarray(getattr(values, "unmasked", np.asarray(values)))
        return without_hidden(name, plain, np.broadcast_to(hidden, plain.shape))
    return values


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Columns of equal length.

    Parameters
    ----------
    columns
        Name to array of shape (n,), numbers or text; held as read-only views, never copied. The unit of a quantity
        is its entry in `units`; values that are hidden become NaN or, of text, None.
    units
        Name to unit string as astropy reads it; a column without an entry has no unit.
    meta
        JSON-like facts about the whole table.

    Raises
    ------
    DataError
        If the columns differ in length or are not one-dimensional, a quantity is in another unit than `units` say,
        whole numbers are hidden, or a column is one of times of a scale, which `from_astropy` takes.
    """

    kind: ClassVar[str] = "table"

    columns: Mapping[str, Array]
    units: Mapping[str, str] = field(default_factory=dict)
    meta: Record = field(default_factory=dict)

    def __post_init__(self) -> None:
        units = dict(self.units)
        columns = {
            name: freeze(v if type(v) is np.ndarray else _bare(name, v, units), f"the column {name!r}")
            for name, v in self.columns.items()
        }
        lengths = {name: values.shape for name, values in columns.items()}
        if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
            msg = f"columns of one table must be one-dimensional and equally long, not {lengths}"
            raise DataError(msg)
        object.__setattr__(self, "columns", columns)
        # own copies: nobody who holds the originals, or a copy of this table, changes it
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "meta", copy.deepcopy(dict(self.meta)))

    def __len__(self) -> int:
        for values in self.columns.values():
            return len(values)
        return 0

    def __getitem__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            msg = f"no column {name!r}; there are {', '.join(self.columns) or 'none'}"
            raise KeyError(msg) from None

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def with_columns(self, **columns: ArrayLike) -> Self:
        """Return a copy in which `columns` are added or replaced."""
        return replace(self, columns={**self.columns, **{k: np.asarray(v) for k, v in columns.items()}})

    def take(self, rows: ArrayLike | slice) -> Self:
        """Return a copy with the given rows (index, boolean mask or slice)."""
        index: slice | Array = rows if isinstance(rows, slice) else np.asarray(rows)
        return replace(self, columns={name: values[index] for name, values in self.columns.items()})

    def __repr__(self) -> str:
        names = ", ".join(self.columns) or "no columns"
        return f"<{type(self).__name__} of {len(self)} rows: {names}>"

    def to_pandas(self) -> pd.DataFrame:
        """Return the columns as a DataFrame; units, meta and all other facts travel in ``.attrs``."""
        import pandas as pd

        from virtualobserver.data.foreign.columns import whole_letters

        frame = pd.DataFrame({name: whole_letters(name, values) for name, values in self.columns.items()})
        frame.attrs = {name: copy.deepcopy(value) for name, value in self._facts().items()}
        return frame

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, **facts: object) -> Self:
        """Build from a DataFrame; units, meta and other facts are taken from ``.attrs`` unless given.

        An index that has a name becomes a column.

        Raises
        ------
        DataError
            If whole numbers are missing, names occur twice, or a fact without which the columns mean nothing (the
            unit of a flux) is neither in ``.attrs`` nor given.
        """
        from virtualobserver.data.foreign.columns import columns_of_pandas

        found = {name: frame.attrs[name] for name in cls._fact_names() if name in frame.attrs}
        return cls._build(columns_of_pandas(frame), found, facts)

    def to_astropy(self) -> astropy.table.Table:
        """Return an `astropy.table.Table` with units; facts beyond them are in its ``meta``."""
        from astropy.table import Table as AstropyTable
        from astropy.time import Time

        from virtualobserver.data.foreign.columns import masked_column

        table = AstropyTable({name: masked_column(values) for name, values in self.columns.items()})
        meta = copy.deepcopy(dict(self.meta))
        about, times = (_taken(meta, key, self.columns) for key in _ABOUT)
        for name in table.colnames:
            if name in self.units:
                table[name].unit = self.units[name]
            notes = dict(about.get(name, {}))
            table[name].description = notes.pop("description", None)
            table[name].meta.update(notes)
        for name, how in times.items():
            time = Time(self.columns[name], format="mjd", scale=how["scale"])
            time.format = how["format"]
            table[name] = time
        table.meta.update(meta)
        return table

    @classmethod
    def from_astropy(cls, table: astropy.table.Table, **facts: object) -> Self:
        """Build from an `astropy.table.Table`, `QTable` or `TimeSeries`.

        Hidden values become NaN, NaT or, of text, None. Columns of times become MJD in their own scale, which
        ``meta["times"]`` names; descriptions are in ``meta["columns"]``.

        Raises
        ------
        DataError
            If whole numbers are hidden, a column has several dimensions or is of a kind that no column of numbers
            or text can hold, or a fact without which the columns mean nothing is missing.
        """
        from virtualobserver.data.foreign.columns import columns_of_astropy

        columns, units, more = columns_of_astropy(table)
        return cls._build(columns, {"units": units, "meta": {**table.meta, **more}}, facts)

    def to_xarray(self) -> xarray.Dataset:
        """Return an `xarray.Dataset` with one variable a column, and the facts as attributes; see `from_xarray`."""
        from virtualobserver.data.foreign.arrays import table_to_xarray

        return table_to_xarray(self, self._facts())

    @classmethod
    def from_xarray(cls, dataset: xarray.Dataset, **facts: object) -> Self:
        """Build from a dataset with one dimension; units and facts are its attributes unless given.

        Raises
        ------
        DataError
            If there is not one dimension, or a fact is missing, as for `from_pandas`.
        """
        from virtualobserver.data.foreign.arrays import table_from_xarray

        columns, found = table_from_xarray(dataset)
        return cls._build(columns, {n: v for n, v in found.items() if n in cls._fact_names()}, facts)

    @classmethod
    def _fact_names(cls) -> list[str]:
        return [one.name for one in fields(cls) if one.name != "columns"]

    def _facts(self) -> RecordDict:
        """Return all that is known beside the columns."""
        return {name: getattr(self, name) for name in self._fact_names()}

    @classmethod
    def _build(cls, columns: Record, found: RecordDict, given: RecordDict) -> Self:
        """Build from columns, the facts a foreign object holds, and those the caller gives."""
        return cls(columns=columns, **(found | given))

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.to_pandas().head(20).to_html()}"


def _taken(meta: RecordDict, key: str, columns: Mapping[str, Array]) -> RecordDict:
    """Take out of the meta what is told of columns that are there; all else under that key stays."""
    value = meta.get(key)
    if not isinstance(value, Mapping):
        return {}
    told = {
        name: how
        for name, how in value.items()
        if name in columns and isinstance(how, Mapping) and _ABOUT[key] <= set(how)
    }
    if rest := {name: how for name, how in value.items() if name not in told}:
        meta[key] = rest
    else:
        del meta[key]
    return told
