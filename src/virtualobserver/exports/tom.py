"""Light curves of a source as photometry for the TOM Toolkit: one row a point, with telescope and instrument.

CSV has the columns ``time`` (MJD, UTC), ``filter``, ``magnitude`` and ``error`` (AB) that its upload reads, and
``limit, telescope, instrument`` besides. JSON is a list of reduced data as its REST interface takes them, without the
number of the target, which only the TOM knows: ``data_type, source_name, timestamp`` (ISO 8601, UTC) and ``value``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.conventions import MAG_TO_FLUX, UNIT_FLUX, ZERO_POINT_AB_UJY
from virtualobserver.data.handles import of_kind
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.data.units import unit_of
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.export import Export, ExportSettings, Maker, View
from virtualobserver.io.atomic import write_bytes
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.data.handles import Handle

__all__ = ["TOM", "TOMSettings"]

_COLUMNS: Final = ("time", "filter", "magnitude", "error", "limit", "telescope", "instrument")
_SUFFIXES: Final = (".csv", ".json")


class TOMSettings(ExportSettings):
    """Options of photometry for the TOM Toolkit."""

    source: str = setting(doc="Source whose light curves to write, by name or alias", min_length=1)
    telescope: str = setting("", doc="Name of the telescope; empty = that of each survey")
    instrument: str = setting("", doc="Name of the instrument; empty = that of each survey")
    snr: float = setting(3.0, doc="S/N below which a point is no magnitude", gt=0)
    limits: bool = setting(True, doc="Such points as upper limits at that S/N; else they are left out")


class TOM(Export[TOMSettings]):
    """Photometry of one source for the TOM Toolkit, CSV or JSON, with telescope and instrument of each point."""

    name: ClassVar[str] = "tom"
    needs: ClassVar[str] = "a survey of light curves"
    counts: ClassVar[str] = "points"

    def offers(self, view: View) -> bool:
        """Whether a survey of the project makes light curves."""
        return bool(_surveys(view))

    def write(self, view: View, path: Path, options: TOMSettings) -> int:
        """Write the reduced light curves of one source; return the number of points.

        Flagged epochs, and those without flux or error, are left out.

        Raises
        ------
        DataError
            If the suffix is neither .csv nor .json, there is no light curve, or its unit cannot become a magnitude.
        """
        suffix = path.suffix.lower()
        if suffix not in _SUFFIXES:
            msg = f"{path}: photometry for the TOM Toolkit ends in {' or '.join(_SUFFIXES)}"
            raise DataError(msg)
        makers = _surveys(view)
        curves = [
            one for one in of_kind(view.products(options.source), TimeSeries) if one.info.role == "reduced"
        ]
        if not curves:
            msg = f"source {options.source} has no light curve in project {view.project}; see `vo status`"
            raise DataError(msg)
        points = sorted((point for one in curves for point in _points(one, makers, options)), key=_when)
        write_bytes(path, _as_csv(points) if suffix == ".csv" else _as_json(points))
        return len(points)


def _surveys(view: View) -> dict[str, Maker]:
    return {
        one.name: one
        for one in view.makers
        if one.kind == "survey" and ("lightcurve", "reduced") in one.makes
    }


def _when(point: RecordDict) -> tuple[float, str]:
    return float(point["time"]), str(point["filter"])


def _points(
    handle: Handle[TimeSeries], makers: Mapping[str, Maker], options: TOMSettings
) -> Iterator[RecordDict]:
    curve = handle.load()
    scale = _scale(curve.flux_unit)
    survey = handle.info.observatory
    maker = makers.get(survey)
    where = {
        "telescope": options.telescope or (maker.facility if maker else "") or survey,
        "instrument": options.instrument or (maker.instrument if maker else "") or survey,
        "survey": survey,
    }
    if not handle.info.band:
        msg = f"a light curve of {options.source} has no band, and the TOM Toolkit wants a filter; say band_names"
        raise ConfigError(msg)
    good = (
        np.isfinite(curve.flux) & (curve.flux_error > 0) & np.isfinite(curve.flux_error) & (curve.flags == 0)
    )
    for row in np.flatnonzero(good).tolist():
        flux, error = float(curve.flux[row]) * scale, float(curve.flux_error[row]) * scale
        told: RecordDict = {"time": float(curve.mjd[row]), "filter": handle.info.band, **where}
        if flux >= options.snr * error:
            yield told | {"magnitude": _mag(flux), "error": error / flux / MAG_TO_FLUX}
        elif options.limits:
            yield told | {"limit": _mag(options.snr * error)}


def _mag(flux: float) -> float:
    return round(ZERO_POINT_AB_UJY - 2.5 * float(np.log10(flux)), 5)


def _scale(unit: str) -> float:
    from astropy.units import UnitConversionError

    try:
        return float(unit_of(unit).to(unit_of(UNIT_FLUX)))
    except UnitConversionError:
        msg = f"a light curve in {unit or 'no unit'} has no magnitudes, which the TOM Toolkit wants"
        raise DataError(msg) from None


def _as_csv(points: Sequence[RecordDict]) -> bytes:
    text = io.StringIO()
    limits = any("limit" in point for point in points)
    names = [name for name in _COLUMNS if name != "limit" or limits]
    table = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(_rounded(point) for point in points)
    return text.getvalue().encode()


def _as_json(points: Sequence[RecordDict]) -> bytes:
    from astropy.time import Time

    found = []
    for point in points:
        plain = _rounded(point)
        value = {name: plain[name] for name in _COLUMNS if name in plain and name != "time"}
        when = Time(point["time"], format="mjd", scale="utc").isot
        found.append(
            {
                "data_type": "photometry",
                "source_name": point["survey"],
                "timestamp": f"{when}Z",
                "value": value,
            }
        )
    return (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode()


def _rounded(point: RecordDict) -> RecordDict:
    """Return a point with times to a microsecond and errors to what they are worth."""
    found = {**point, "time": f"{point['time']:.11f}"}
    return found | ({"error": round(point["error"], 5)} if "error" in point else {})
