"""Tables, light curves and spectra as datasets of xarray that netCDF can hold, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.data.foreign.columns import plain_text, whole_letters
from virtualobserver.data.foreign.seen import Columns, Spectra
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import xarray

__all__ = ["spectra_from_xarray", "spectra_to_xarray", "table_from_xarray", "table_to_xarray"]

_ROW: Final = "row"
_TIME: Final = "mjd"
_EPOCH: Final = "epoch"
_FIELDS: Final = ("wave_unit", "flux_unit", "frame", "medium")
_PLANES: Final = ("flux", "error", "mask")
_MJD_NOTES: Final = {"units": "d", "long_name": "modified Julian date, UTC, middle of the exposure"}


def table_to_xarray(table: Columns, facts: Record) -> xarray.Dataset:
    """Return columns along ``row``, or along the coordinate ``mjd`` of a light curve; see `Table.to_xarray`."""
    import xarray

    row = _TIME if table.kind == "lightcurve" else _ROW
    if _ROW in table and row == _ROW:
        msg = "the table has a column 'row', the name of the dimension; rename it first"
        raise DataError(msg)
    variables = {
        name: ((row,), whole_letters(name, values, "O"), _units(table, name))
        for name, values in table.columns.items()
    }
    coords = {_TIME: (*variables.pop(_TIME)[:2], _MJD_NOTES)} if row == _TIME else {}
    rest = {name: value for name, value in facts.items() if name != "units"}
    return xarray.Dataset(variables, coords=coords, attrs={"kind": table.kind} | _as_attrs(rest))


def table_from_xarray(dataset: xarray.Dataset) -> tuple[dict[str, Array], RecordDict]:
    """Return columns, and units and facts, of a dataset with one dimension."""
    if len(dataset.dims) > 1:
        msg = f"a table has one dimension, this dataset {', '.join(map(str, dataset.dims))}; select along the others"
        raise DataError(msg)
    columns = {str(name): _values(variable) for name, variable in dataset.variables.items()}
    units = {
        str(name): str(variable.attrs["units"])
        for name, variable in dataset.variables.items()
        if "units" in variable.attrs
    }
    return columns, {"units": units} | _from_attrs(dataset.attrs)


def spectra_to_xarray(spectra: Spectra) -> xarray.Dataset:
    """Return planes over ``epoch`` and ``wave``; see `SpectrumSet.to_xarray`."""
    import xarray

    epochs = spectra.epochs
    if taken := [name for name in epochs.columns if name in {"wave", _EPOCH, *_PLANES}]:
        msg = (
            f"the epochs have columns {', '.join(taken)}, names of the spectra themselves; rename them first"
        )
        raise DataError(msg)
    planes = {
        name: ((_EPOCH, "wave"), getattr(spectra, name).copy(), _unit_note(name, spectra.flux_unit))
        for name in _PLANES
    }
    coords: RecordDict = {
        name: ((_EPOCH,), whole_letters(name, values, "O"), _units(epochs, name))
        for name, values in epochs.columns.items()
    }
    coords["wave"] = (("wave",), spectra.wave.copy(), {"units": spectra.wave_unit})
    facts = {name: getattr(spectra, name) for name in _FIELDS}
    facts |= {"meta": dict(spectra.meta), "epochs_meta": dict(epochs.meta)}
    return xarray.Dataset(planes, coords=coords, attrs={"kind": spectra.kind} | _as_attrs(facts))


def spectra_from_xarray(dataset: xarray.Dataset) -> tuple[RecordDict, RecordDict]:
    """Return the arrays (``epochs`` as columns), and the facts, of a dataset over ``epoch`` and ``wave``."""
    if missing := [name for name in ("wave", *_PLANES) if name not in dataset.variables]:
        msg = f"a dataset of spectra needs wave, flux, error and mask; missing: {', '.join(missing)}"
        raise DataError(msg)
    arrays: RecordDict = {name: _values(dataset[name].transpose(_EPOCH, "wave")) for name in _PLANES}
    arrays["wave"] = _values(dataset["wave"])
    names = [str(name) for name in dataset.variables if name not in arrays]
    arrays["epochs"] = {name: _values(dataset[name]) for name in names}
    facts = _from_attrs(dataset.attrs)
    facts["epochs_units"] = {
        name: str(dataset[name].attrs["units"]) for name in names if "units" in dataset[name].attrs
    }
    return arrays, facts


def _units(table: Columns, name: str) -> dict[str, str]:
    return {"units": table.units[name]} if name in table.units else {}


def _unit_note(name: str, unit: str) -> dict[str, str]:
    return {} if name == "mask" else {"units": unit}


def _values(variable: xarray.Variable) -> Array:
    values = np.array(variable.values)
    if values.dtype.kind != "O":
        return values
    for place, value in enumerate(values):
        if value is not None and value != value:  # noqa: PLR0124 - NaN
            values[place] = None  # xarray tells of missing texts by NaN
    return plain_text(values)


def _as_attrs(facts: Record) -> RecordDict:
    """Return facts as what netCDF holds: nested ones as JSON text."""
    try:
        return {
            name: json.dumps(dict(value), sort_keys=True, default=_number)
            if isinstance(value, Mapping)
            else value
            for name, value in facts.items()
        }
    except (TypeError, ValueError) as error:
        msg = f"the meta must be JSON-like to be an attribute: {error}"
        raise DataError(msg) from error


def _number(value: object) -> object:
    """Return a number of NumPy as one of Python, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    msg = f"{type(value).__name__} is none of text, number, truth, list and mapping"
    raise TypeError(msg)


def _from_attrs(attrs: Mapping[object, object]) -> RecordDict:
    facts: RecordDict = {str(name): value for name, value in attrs.items()}
    for name in ("meta", "epochs_meta"):
        if isinstance(facts.get(name), str):
            try:
                facts[name] = json.loads(facts[name])
            except ValueError as error:
                msg = f"the attribute {name} of the dataset is not JSON: {error}"
                raise DataError(msg) from error
    return facts
