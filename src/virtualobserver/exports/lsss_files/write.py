"""From a project to the files of autossos and ssos."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.conventions import ARCSEC_PER_DEGREE, FLAG_ASTROMETRY, HOURS_PER_DAY, SECONDS_PER_DAY
from virtualobserver.data.called import called, last_verdicts
from virtualobserver.data.cards import solved_again, zero_points_again
from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.image import Image
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.export import Export, ExportSettings, View, makers_of
from virtualobserver.exports.lsss_files.frames import (
    APERTURE,
    add_windows,
    match_columns,
    read_sources,
    write_cutouts,
)
from virtualobserver.io.atomic import replacing
from virtualobserver.io.names import safe_name
from virtualobserver.maths.astrometry.tan_sip import project
from virtualobserver.maths.photometry import mag_error_from_flux, mag_from_flux
from virtualobserver.maths.times import julian_year
from virtualobserver.typing import QueryRow, Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LSSSFiles", "LSSSFilesSettings"]

_SSOS: Final = (
    "SOURCE_NUMBER", "CATALOG_NUMBER", "RA", "DEC", "EPOCH", "MAG", "MAGERR", "FLUX", "FLUXERR", "PM", "PMERR", "PMRA",
    "PMRA_ERR", "PMDEC", "PMDEC_ERR", "MID_EXPOSURE_MJD", "MATCHED", "SKYBOT_NUMBER", "SKYBOT_NAME", "SKYBOT_CLASS",
    "SKYBOT_MAG", "SKYBOT_RA", "SKYBOT_DEC", "SKYBOT_PMRA", "SKYBOT_PMDEC", "SKYBOT_DELTARA", "SKYBOT_DELTADEC",
    "DATE-OBS", "EXPTIME", "OBJECT", "FILTER", "RA_IMAGE", "DEC_IMAGE", "IMAGE_FILENAME", "EXTENSION", "XWIN_IMAGE",
    "YWIN_IMAGE", "AWIN_IMAGE", "BWIN_IMAGE", "THETAWIN_IMAGE", "ERRAWIN_IMAGE", "ERRBWIN_IMAGE", "ERRTHETAWIN_IMAGE",
    "ERRA_WORLD", "ERRB_WORLD", "ERRTHETA_WORLD", "FLAGS_EXTRACTION", "FLAGS_SCAMP", "FLAGS_IMA", "FLAGS_SSOS",
    *APERTURE,
)  # fmt: skip
_INSPECTED: Final = ("INSPECTED", "ASTEROID", "UNKNOWN")
_CALIBRATED: Final = ("MAG_CALIB", "MAG_CALIB_ERR", "R2", "PHOT_OUTLIER")
_OUTLIER, _REFERENCE = 1, 2
"""Bits of FLAGS_SSOS: off the motion of its body; the epoch that fixed apertures and colours of a body refer to."""
_STATS: Final = {
    "Name": "frame",
    "Mean": "bkg_mean",
    "SD": "bkg_sd",
    "Median": "bkg_median",
    "MAD": "bkg_mad",
    "Outlier": "outlier",
}


class LSSSFilesSettings(ExportSettings):
    """What is written beside the tables."""

    aperture: float | None = setting(
        None,
        doc="Radius of the fixed aperture of MAG_APER, one of those of the survey; unset = for each field the one "
        "nearest to 1.3 widths of its stars",
        unit="pix", gt=0,
    )  # fmt: skip
    reference_filter: str | None = setting(
        None,
        doc="Filters, separated by commas, as REFERENCE_FILTER of ssos: a body's first epoch in the first of them that "
        "it was seen in has bit 2 of FLAGS_SSOS; unset = its first epoch",
    )
    cutouts: bool = setting(False, doc="Write a box about each body in each epoch, as FITS")
    cutout_size: int = setting(256, doc="Side of a box", unit="pix", ge=1)


class LSSSFiles(Export[LSSSFilesSettings]):
    """Folder of bodies, images and periods in the files of autossos and ssos."""

    name: ClassVar[str] = "lsss_files"
    needs: ClassVar[str] = "the analysis asteroids"
    counts: ClassVar[str] = "rows of bodies"

    def offers(self, view: View) -> bool:
        """Whether an analysis of the project puts bodies together."""
        return bool(makers_of(view, "lightcurve", "asteroid"))

    def write(self, view: View, path: Path, options: LSSSFilesSettings) -> int:
        """Write the files; return the number of rows of bodies. Without bodies and images there is no folder."""
        fields = {
            group.source for maker in view.makers if maker.kind == "survey" for group in view.groups(maker)
        }
        epochs = view.table("detections")
        epochs = epochs[(epochs["kind"] == "asteroid") & (epochs["source_kind"] == "moving")]
        spots = _spots(epochs)
        images = [one for field in sorted(fields) for one in _images(field, view.products(field), spots)]
        rows = _bodies(view, epochs, images)
        if not rows and not images:
            return 0
        path.mkdir(parents=True, exist_ok=True)
        add_windows(rows, images, options.aperture)
        _mark_references(rows, options.reference_filter)
        totals = _matches(path, sorted(fields), images)
        name = safe_name(view.project)
        _csv(path / f"ssos_{name}.csv", (*_SSOS, *_INSPECTED), rows)
        whole = (*_SSOS, *_INSPECTED, *_CALIBRATED)
        _csv(path / f"calib_ssos_{name}.csv", whole, rows)
        good = [row for row in rows if row["PHOT_OUTLIER"] is False]
        _csv(path / f"validcalib_ssos_{name}.csv", whole, good)
        of_images(path, images, totals)
        _periods(path, view)
        if options.cutouts:
            write_cutouts(path / "cutouts", rows, images, options.cutout_size)
        return len(rows)


# --- inside -----------------------------------------------------------------------------------------------


def _csv(path: Path, columns: Sequence[str], rows: Sequence[Record]) -> None:
    import pandas as pd

    with replacing(path) as temporary:
        pd.DataFrame(list(rows), columns=list(columns)).to_csv(temporary, index=False)


def _images(
    field: str, products: Sequence[Handle], spots: Mapping[float, Sequence[tuple[float, float]]]
) -> list[RecordDict]:
    """Return what is known of each image of a field, in order of time; `spots` is where bodies are."""
    tables, zeros = of_kind(products, Table), zero_points_again(products)
    found: dict[str, RecordDict] = {}
    for handle in tables:
        if handle.info.role == "sources":
            unit = handle.info.unit
            found[unit] = {
                "field": field, "unit": unit, "night": unit.partition("/")[0], "name": unit.rpartition("/")[2],
                "fit": {}, "flagged": "", "unsolved": False, "quality": {}, "sources": handle, "forced": None,
                "image": None, "again": None, "zero": None,
            }  # fmt: skip
    for picture in of_kind(products, Image):
        if picture.info.role == "calibrated" and picture.info.unit in found:
            found[picture.info.unit]["image"] = picture
    for handle in tables:
        for unit, told in _told_by(handle).items():
            if unit in found:
                found[unit] |= told
    for unit, cards in solved_again(products).items():
        if unit in found:
            found[unit] |= _anew(cards, zeros.get(unit))
    images = [one | read_sources(one, spots) for one in found.values()]
    return sorted(images, key=lambda one: (one["mjd"] or 0.0, one["unit"]))


def _told_by(handle: Handle[Table]) -> dict[str, RecordDict]:
    """Return what a table says of images, by unit."""
    role, unit = handle.info.role, handle.info.unit
    if role == "quality":
        table = handle.load()
        rows = [{name: table[name][n].item() for name in table} for n in range(len(table))]
        return {row["unit"]: {"quality": row} for row in rows}
    if role == "forced":
        return {unit: {"forced": handle}}
    if role == "zeropoint":
        table = handle.load()
        fit = {name: float(table[name][0]) for name in table}
        return {unit: {"fit": fit, "flagged": table.meta.get("flagged") or ""}}
    return {unit: {"unsolved": not handle.info.statistics.get("solved", False)}} if role == "wcs" else {}


def _anew(cards: Record, zero: Record | None) -> RecordDict:
    """Return what is known of an image that was solved anew: its zero point is that of the new solution, or none."""
    changed: RecordDict = {"unsolved": False, "again": cards, "zero": zero}
    if zero is not None:
        changed |= {"fit": zero if "zero_point" in zero else {}, "flagged": zero.get("flagged", "")}
    return changed


def _spots(table: pd.DataFrame) -> dict[float, list[tuple[float, float]]]:
    """Return the pixels of bodies by time, as `_at` has it."""
    spots: dict[float, list[tuple[float, float]]] = {}
    for mjd, said in zip(table["peak_mjd"].tolist(), table["parameters"].tolist(), strict=True):
        facts = _facts_of(said)
        if facts.get("x") is not None and facts.get("y") is not None:
            spots.setdefault(_at(mjd), []).append((facts["x"], facts["y"]))
    return spots


def _at(mjd: float) -> float:
    """Return a time by which an image is known: to a tenth of a second."""
    return round(mjd, 6)


def _facts_of(said: str | Record) -> RecordDict:
    return json.loads(said) if isinstance(said, str) else dict(said)


def _bodies(view: View, table: pd.DataFrame, images: Sequence[RecordDict]) -> list[RecordDict]:
    """Return a row for each body and epoch, body by body; the names of the chain, beside what it has no name for."""
    judged = last_verdicts(table, view.verdicts())
    at = {_at(one["mjd"]): (number, one) for number, one in enumerate(images, 1) if one["mjd"] is not None}
    rows: list[RecordDict] = []
    for number, (name, some) in enumerate(table.groupby("source", sort=True), 1):
        light = _light(view.products(str(name)))
        begin = len(rows)
        epochs: list[QueryRow] = list(some.sort_values("peak_mjd").itertuples(index=False))
        for one in epochs:
            catalogue, image = at.get(_at(one.peak_mjd), (None, {}))
            facts = _facts_of(one.parameters)
            verdict = judged.get(str(name))
            facts["label"] = called(facts, verdict)
            flux = light.get(_at(one.peak_mjd), {})
            rows.append(
                {
                    "SOURCE_NUMBER": number,
                    "CATALOG_NUMBER": catalogue,
                    **_row(one, facts, image),
                    **_mags(flux, image),
                    "INSPECTED": verdict is not None,
                    "ASTEROID": facts["label"].startswith("AST_"),
                    "UNKNOWN": facts["label"].startswith("UNK_"),
                    "x": facts.get("x"),
                    "y": facts.get("y"),
                }
            )
        _rates(rows[begin:])
    return rows


def _row(one: QueryRow, facts: RecordDict, image: RecordDict) -> RecordDict:
    """Return place, motion and name of a body in one epoch; proper motions are arcsec/h."""
    seconds = float(image.get("exptime") or 0.0)
    known = one.known_as if isinstance(one.known_as, str) else ""
    numbered, _, name = known.partition(") ") if known.startswith("(") else ("", "", known)
    rate, pa = (math.nan if facts.get(key) is None else float(facts[key]) for key in ("rate", "pa"))
    return {
        "RA": one.ra, "DEC": one.dec, "night": facts.get("night"), **_predicted(one, facts),
        "PMRA_ERR": facts.get("rate_error"), "PMDEC_ERR": facts.get("rate_error"),
        "DATE-OBS": _iso(one.peak_mjd - 0.5 * seconds / SECONDS_PER_DAY), "EXTENSION": 0,
        "FLAGS_SCAMP": 0, "FLAGS_IMA": 0, "FLAGS_SSOS": _OUTLIER * bool(int(one.quality) & FLAG_ASTROMETRY),
        "EPOCH": julian_year(one.peak_mjd - 0.5 * seconds / SECONDS_PER_DAY),
        "PM": rate, "PMERR": facts.get("rate_error"), "PMRA": rate * math.sin(math.radians(pa)),
        "PMDEC": rate * math.cos(math.radians(pa)), "MID_EXPOSURE_MJD": one.peak_mjd, "MATCHED": bool(known),
        "SKYBOT_NUMBER": numbered.removeprefix("("), "SKYBOT_NAME": name or facts.get("label"),
        "SKYBOT_CLASS": facts.get("orbit_class"), "SKYBOT_MAG": facts.get("predicted_mag"),
        "SKYBOT_DELTARA": facts.get("residual_east"),
        "SKYBOT_DELTADEC": facts.get("residual_north"), "EXPTIME": seconds or None, "OBJECT": image.get("field"),
        "FILTER": one.band, "IMAGE_FILENAME": image.get("name"), "XWIN_IMAGE": _from_one(facts.get("x")),
        "YWIN_IMAGE": _from_one(facts.get("y")),
    }  # fmt: skip


def _iso(mjd: float) -> str:
    """Return a time as headers have it, to a millisecond."""
    return (datetime(1858, 11, 17) + timedelta(days=mjd)).isoformat(timespec="milliseconds")  # noqa: DTZ001 - UTC


def _from_one(pixel: float | None) -> float | None:
    """Return a pixel counted from 1, as FITS and the chain count."""
    return None if pixel is None else pixel + 1


def _predicted(one: QueryRow, facts: RecordDict) -> RecordDict:
    """Return where a known body should be, degrees."""
    east, north = facts.get("residual_east"), facts.get("residual_north")
    if east is None or north is None:
        return {}
    across = math.cos(math.radians(one.dec)) * ARCSEC_PER_DEGREE
    return {"SKYBOT_RA": (one.ra - east / across) % 360.0, "SKYBOT_DEC": one.dec - north / ARCSEC_PER_DEGREE}


def _mark_references(rows: Sequence[RecordDict], filters: str | None) -> None:
    """Set bit 2 of FLAGS_SSOS in the reference epoch of each body: the first one in the first filter it was seen in."""
    wanted = None if filters is None else [one.strip() for one in filters.split(",")]
    for body in {row["SOURCE_NUMBER"] for row in rows}:
        mine = [row for row in rows if row["SOURCE_NUMBER"] == body]  # in order of time
        some = mine if wanted is None else [row for name in wanted for row in mine if row["FILTER"] == name]
        if some:
            some[0]["FLAGS_SSOS"] |= _REFERENCE


def _rates(rows: Sequence[RecordDict]) -> None:
    """Write into the rows of a body how fast it should be in each night, arcsec/h."""
    for night in {row["night"] for row in rows}:
        mine = [row for row in rows if row["night"] == night and "SKYBOT_RA" in row]
        if len({row["MID_EXPOSURE_MJD"] for row in mine}) < 2:
            continue
        hours = np.array([row["MID_EXPOSURE_MJD"] for row in mine]) * HOURS_PER_DAY
        places = [row["SKYBOT_RA"] for row in mine], [row["SKYBOT_DEC"] for row in mine]
        plane = project(*places, places[0][0], places[1][0])
        east, north = (
            float(np.polyfit(hours - hours.mean(), axis, 1)[0]) * ARCSEC_PER_DEGREE for axis in plane
        )
        for row in mine:
            row.update({"SKYBOT_PMRA": east, "SKYBOT_PMDEC": north})


def _mags(flux: RecordDict, image: RecordDict) -> RecordDict:
    """Return magnitudes: calibrated ones where the flux is in microjansky, those of the instrument else."""
    value, error, unit = flux.get("flux", math.nan), flux.get("flux_error", math.nan), flux.get("unit", "")
    calibrated = unit == "uJy"
    mag = mag_error = math.nan
    if value > 0:
        seconds = float(image.get("exptime") or 1.0)
        mag = float(mag_from_flux(value)) if calibrated else -2.5 * math.log10(value / seconds)
        mag_error = float(mag_error_from_flux(value, error))
    fit = image.get("fit") or {}
    return {
        "FLUX": value, "FLUXERR": error, "MAG": math.nan if calibrated else mag, "MAGERR": mag_error,
        "MAG_CALIB": mag if calibrated else math.nan, "MAG_CALIB_ERR": mag_error if calibrated else math.nan,
        "R2": fit.get("zero_point_r2"),
        "PHOT_OUTLIER": not calibrated or bool(image.get("flagged") or (image.get("quality") or {}).get("outlier")),
    }  # fmt: skip


def _light(products: Sequence[Handle]) -> dict[float, RecordDict]:
    found: dict[float, RecordDict] = {}
    for handle in of_kind(products, TimeSeries):
        if handle.info.role == "asteroid":
            curve = handle.load()
            for mjd, flux, error in zip(
                *(curve[key].tolist() for key in ("mjd", "flux", "flux_error")), strict=True
            ):
                found[_at(mjd)] = {"flux": flux, "flux_error": error, "unit": curve.flux_unit}
    return found


def _matches(path: Path, fields: Sequence[str], images: Sequence[RecordDict]) -> dict[int, int]:
    """Write the stars of the catalogue of each field; return how many each image shows, by its number."""
    from astropy.table import Table as AstropyTable

    totals: dict[int, int] = {}
    for number, field in enumerate(fields, 1):
        columns, counts = match_columns(images, field)  # numbers of images are those of all fields
        totals |= counts
        if columns:
            with replacing(path / f"match_full_{number}.cat") as temporary:
                AstropyTable(columns).write(temporary, format="fits", overwrite=True)
    return totals


def of_images(path: Path, images: Sequence[RecordDict], totals: Mapping[int, int]) -> None:
    """Write what the chain said of each image; `totals` are the stars of the catalogue that it shows, by number."""
    judged = [one for one in images if one["quality"]]
    stats = [
        {ours: one["quality"][key] for ours, key in _STATS.items()} | {"Night": one["night"]}
        for one in judged
    ]
    _csv(path / "Stats.dat", (*_STATS, "Night"), stats)
    fits = [
        {
            "Catalog Number": number, "Intercept": one["fit"]["zero_point"], "Int_err": one["fit"]["zero_point_error"],
            "Slope": 1.0, "Slope_err": 0.0, "R2": one["fit"]["zero_point_r2"], "N tot": totals.get(number),
            "N fit": one["fit"]["zero_point_n"],
            "Epoch": one["mjd"],
        }
        for number, one in enumerate(images, 1)
        if "zero_point_r2" in one["fit"]
    ]  # fmt: skip
    names = ("Catalog Number", "Intercept", "Int_err", "Slope", "Slope_err", "R2", "N tot", "N fit", "Epoch")
    _csv(path / "coeff_fit.csv", names, fits)
    for file, bad in (
        ("list_outliers.csv", [one for one in judged if one["quality"]["outlier"]]),
        ("list_notsolved.csv", [one for one in images if one["unsolved"]]),
    ):
        nights = {
            one["night"]: [same["name"] for same in bad if same["night"] == one["night"]] for one in bad
        }
        if nights:
            _csv(
                path / file, ("Night", "Images"), [{"Night": k, "Images": str(v)} for k, v in nights.items()]
            )


def _periods(path: Path, view: View) -> None:
    """Write the periods of bodies, in hours; the number before FAP is a per cent."""
    table: pd.DataFrame = view.table("detections")
    bodies = set(table.loc[table["kind"] == "asteroid", "source"])
    judged = last_verdicts(table[table["kind"] == "asteroid"], view.verdicts())
    labels = {
        row.source: called(json.loads(row.parameters), judged.get(row.source))
        for row in _first(table, "asteroid")
    }
    for row in _first(table, "period"):
        if row.source in bodies:
            facts = json.loads(row.parameters)
            error = facts.get("period_days_error")
            told = "nan" if error is None else f"{error * HOURS_PER_DAY:.6f}"
            name = safe_name(labels[row.source])
            with replacing(path / f"{name}_period.txt") as temporary:
                line = f"Iteration 1: period {facts['period_hours']:.6f} +- {told} h, FAP {100 * facts['fap']:.4g} %\n"
                temporary.write_text(line, encoding="utf-8")


def _first(table: pd.DataFrame, kind: str) -> list[QueryRow]:
    """Return the first detection of a kind of each source."""
    return list(table[table["kind"] == kind].drop_duplicates("source").itertuples(index=False))
