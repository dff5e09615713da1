"""A set of equally long columns with units: the simplest product, and the base of light curves."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd

__all__ = ["Table", "freeze"]


def freeze(array: ArrayLike) -> NDArray[Any]:
    """Return a read-only view of `array`; the caller's own array stays writeable."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length.

    Parameters
    ----------
    columns
        Name to array of shape (n,), numbers or text; held as read-only views, never copied.
    units
        Name to unit string as astropy reads it; a column without an entry has no unit.
    meta
        JSON-like facts about the whole table.

    Raises
    ------
    DataError
        If the columns differ in length or are not one-dimensional.
    """

    kind: ClassVar[str] = "table"

    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = {name: freeze(values) for name, values in self.columns.items()}
        lengths = {name: values.shape for name, values in columns.items()}
        if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
            msg = f"columns of one table must be one-dimensional and equally long, not {lengths}"
            raise DataError(msg)
        object.__setattr__(self, "columns", columns)
        # own copies: nobody who holds the originals, or a copy of this table, changes it
        object.__setattr__(self, "units", dict(self.units))
        object.__setattr__(self, "meta", copy.deepcopy(dict(self.meta)))

    def __len__(self) -> int:
        for values in self.columns.values():
            return len(values)
        return 0

    def __getitem__(self, name: str) -> NDArray[Any]:
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
        index: Any = rows if isinstance(rows, slice) else np.asarray(rows)
        return replace(self, columns={name: values[index] for name, values in self.columns.items()})

    def to_pandas(self) -> pd.DataFrame:
        """Return the columns as a DataFrame; units and meta travel in ``.attrs``."""
        import pandas as pd

        frame = pd.DataFrame({name: values.copy() for name, values in self.columns.items()})
        frame.attrs = {"units": dict(self.units), "meta": dict(self.meta)}
        return frame

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, **fields: Any) -> Self:
        """Build from a DataFrame; units and meta are taken from ``.attrs`` unless given."""
        fields = {"units": frame.attrs.get("units", {}), "meta": frame.attrs.get("meta", {})} | fields
        return cls(columns={str(name): frame[name].to_numpy() for name in frame}, **fields)

    def to_astropy(self) -> astropy.table.Table:
        """Return an `astropy.table.Table` with units."""
        from astropy.table import Table as AstropyTable

        table = AstropyTable({name: values.copy() for name, values in self.columns.items()})
        for name, unit in self.units.items():
            if name in table.colnames:
                table[name].unit = unit
        table.meta.update(self.meta)
        return table

    @classmethod
    def from_astropy(cls, table: astropy.table.Table, **fields: Any) -> Self:
        """Build from an `astropy.table.Table`."""
        units = {name: str(table[name].unit) for name in table.colnames if table[name].unit is not None}
        columns = {name: np.asarray(table[name]) for name in table.colnames}
        return cls(columns=columns, **({"units": units, "meta": dict(table.meta)} | fields))

    def _repr_html_(self) -> str:
        return str(self.to_pandas().head(20).to_html())
