"""Rows of the published files: where trails are, whose, their sky, and their samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from virtualobserver.data.table import Table
from virtualobserver.exports.driftscan.exposures import Chip
from virtualobserver.exports.driftscan.pages import Page
from virtualobserver.io.atomic import replacing
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ASTROMETRY", "SAMPLES", "astrometry_rows", "extraction_rows", "write_rows"]

ASTROMETRY: Final = (
    "x_peak", "y_peak", "skycoord_peak.ra", "skycoord_peak.dec", "peak_value", "x_cent", "y_cent", "ra_cent",
    "dec_cent", "x_a", "y_a", "ra_a", "dec_a", "centroid_ID", "neighbour", "pix_sep", "chp",
    "catalogue_reference_x", "catalogue_reference_y", "ref_star_id", "cosmic_ray_affected",
)  # fmt: skip
"""Columns of ``driftastrom``, beside ``index``."""
SAMPLES: Final = 32
"""Of each trail, as many as the published program took from the middle of 38."""
_MASKED: Final = ("n_bad", "n_saturated", "n_bleed", "n_cosmic_ray", "n_streak", "n_no_data")
_FLUX: Final = "flux_5"


def write_rows(folder: Path, number: str, chips: Sequence[Chip], *, brightest: int) -> list[Page]:
    """Write the files of an exposure; return what the PDF files show of it.

    Parameters
    ----------
    brightest
        Stars for the PDF files where there are no targets.
    """
    import pandas as pd

    astrometry = pd.concat([astrometry_rows(chip) for chip in chips], ignore_index=True) if chips else None
    if astrometry is None:
        return []
    sky = astrometry.assign(sky=np.concatenate([_sky(chip) for chip in chips]))
    samples = pd.concat([extraction_rows(chip) for chip in chips], ignore_index=True)
    extraction = pd.concat([sky, samples], axis=1).assign(expnum=number)
    targets = {star: name for chip in chips for star, name in chip.targets.items()}
    names = extraction["ref_star_id"].map(targets)
    _csv(folder / f"driftastrom-exp_{number}.csv", astrometry)
    _csv(folder / f"driftskysub-exp_{number}.csv", sky)
    if targets:
        extraction["star_id"] = names.fillna("no match")
        _csv(folder / f"target-driftextract-exp_{number}.csv", extraction[names.notna()])
    _csv(folder / f"driftextract-exp_{number}.csv", extraction)
    return _pages(chips, extraction, targets, brightest)


def astrometry_rows(chip: Chip) -> pd.DataFrame:
    """Return a row for each trail.

    Peak and centroid are the middle of the trail as the fit has it, the peak's value the mean count of a box of its
    length and the width of stars, sky included; ``x_a, y_a`` are where the star is at the moment that the fitted
    world coordinates hold for, and all positions on the sky are the star's. The place in the catalogue is where the
    pipeline's world coordinates, off by the pointing, have the star. A trail counts as affected by cosmic rays if
    the mask has anything in it, as the published program counts.
    """
    import pandas as pd

    forced, world = chip.tables["forced"], chip.tables["wcs"]
    n, gain = len(forced), float(forced.meta["gain"])
    share = float(world["time"][0]) / float(forced.meta["exptime"])
    start, end = (
        np.stack([forced[f"x_{which}"], forced[f"y_{which}"]], axis=1) for which in ("start", "end")
    )
    anchor = start + share * (end - start)
    box = float(np.hypot(world["trail_x"][0], world["trail_y"][0])) * float(forced.meta["fwhm"])
    neighbour, away = _neighbours(np.stack([forced["x"], forced["y"]], axis=1))
    masked = np.sum([np.asarray(forced[name]) for name in _MASKED], axis=0) > 0
    columns = {
        "x_peak": forced["x"], "y_peak": forced["y"], "skycoord_peak.ra": forced["ra"],
        "skycoord_peak.dec": forced["dec"], "peak_value": (forced["sky"] + forced[_FLUX] / box) / gain,
        "x_cent": forced["x"], "y_cent": forced["y"], "ra_cent": forced["ra"], "dec_cent": forced["dec"],
        "x_a": anchor[:, 0], "y_a": anchor[:, 1], "ra_a": forced["ra"], "dec_a": forced["dec"],
        "centroid_ID": [f"{chip.ccd}-centroid-{row}" for row in range(n)], "neighbour": neighbour, "pix_sep": away,
        "chp": [chip.ccd] * n, "catalogue_reference_x": start[:, 0] - world["offset_x"][0],
        "catalogue_reference_y": start[:, 1] - world["offset_y"][0], "ref_star_id": forced["source_id"],
        "cosmic_ray_affected": masked.astype(int),
    }  # fmt: skip
    return pd.DataFrame(columns, columns=list(ASTROMETRY))


def extraction_rows(chip: Chip) -> pd.DataFrame:
    """Return the samples of each trail: ``extraction_0`` ... without what all stars have in common, over their median.

    Beside them ``time_j`` (s since the beginning of the exposure), ``flux_j`` and ``error_j`` (electron/s) and
    ``flag_j``. What was not measured is empty.
    """
    import pandas as pd

    table = chip.tables.get("detrended", chip.tables["samples"])
    n = len(chip.tables["forced"])
    grids = {name: _grid(table, name, n) for name in ("time", "flux", "flux_error", "flags")}
    relative = _grid(table, "relative", n) if "relative" in table else grids["flux"]
    with np.errstate(all="ignore"):
        scale = _middle(relative)
        extraction = np.where(np.abs(scale) > 0, relative / scale, np.nan)
    columns: RecordDict = {f"extraction_{j}": extraction[:, j] for j in range(SAMPLES)}
    for name in ("time", "flux", "flux_error"):
        columns |= {f"{name.removeprefix('flux_')}_{j}": grids[name][:, j] for j in range(SAMPLES)}
    columns |= {f"flag_{j}": pd.array(grids["flags"][:, j], dtype="Int64") for j in range(SAMPLES)}
    return pd.DataFrame(columns)


# --- inside -----------------------------------------------------------------------------------------------


def _csv(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index_label="index")


def _sky(chip: Chip) -> Array:
    """Return the sky in ADU a pixel."""
    forced = chip.tables["forced"]
    return np.asarray(forced["sky"], float) / float(forced.meta["gain"])


def _middle(values: Array) -> Array:
    """Return the median of each row, NaN for one without a value."""
    out = np.full((len(values), 1), np.nan)
    some = np.isfinite(values).any(axis=1)
    out[some, 0] = np.nanmedian(values[some], axis=1)
    return out


def _neighbours(places: Array) -> tuple[Array, Array]:
    """Return the row of the nearest other trail of a chip, -1 if there is none, and how far it is, in pixels."""
    if len(places) < 2:
        return np.full(len(places), -1), np.full(len(places), np.nan)
    away, row = (np.asarray(part) for part in cKDTree(places).query(places, k=2))
    return row[:, 1], away[:, 1]


def _grid(table: Table, name: str, n: int) -> Array:
    """Return the middle samples of each trail, NaN where one was left out."""
    length = float(table.meta["speed"]) * float(table.meta["exptime"])
    place = np.floor(np.asarray(table["along"], float) - (length - SAMPLES) / 2).astype(int)
    inside = (place >= 0) & (place < SAMPLES)
    out = np.full((n, SAMPLES), np.nan)
    out[np.asarray(table["trail"])[inside], place[inside]] = np.asarray(table[name], float)[inside]
    return out


def _pages(
    chips: Sequence[Chip], extraction: pd.DataFrame, targets: dict[int, str], brightest: int
) -> list[Page]:
    """Return targets, or the brightest trails that are whole."""
    flux, error = (
        np.concatenate([np.asarray(chip.tables["forced"][name], float) for chip in chips])
        for name in (_FLUX, "flux_error_5")
    )
    flags = np.concatenate([np.asarray(chip.tables["forced"]["flags"]) for chip in chips])
    meta = chips[0].tables["forced"].meta
    whole = np.flatnonzero((flags == 0) & np.isfinite(flux))
    rows = whole[np.argsort(-flux[whole], kind="stable")][:brightest]
    if targets:
        rows = np.flatnonzero(extraction["ref_star_id"].isin(list(targets)))
    pages = []
    for row in rows.tolist():
        one = extraction.iloc[row]
        star = int(one["ref_star_id"])
        values, fluxes, errors = (
            np.array([one[f"{name}_{j}"] for j in range(SAMPLES)], float)
            for name in ("extraction", "flux", "error")
        )
        with np.errstate(all="ignore"):
            spread = errors / np.abs(_middle(fluxes[None, :])[0, 0])
        pages.append(
            Page(
                targets.get(star, str(star)), star, str(meta["night"]), int(meta["exposure"]), values, spread,
                float(flux[row]), float(error[row]), 1 / float(meta["speed"]), bool(one["cosmic_ray_affected"]),
            )
        )  # fmt: skip
    return pages
