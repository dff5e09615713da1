"""What to see of the zero point of one frame: its stars against the catalogue, the fit, and what the fit leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pydantic
from numpy.typing import NDArray

from virtualobserver.ccd.settings import PhotometrySettings
from virtualobserver.ccd.zero import NOT_FOUND, aperture_of, fit_stars, poor_fit, why_left_out
from virtualobserver.conventions import MAG_TO_FLUX
from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.panels import Axis, Curve, Facts, Mark, Panel, Series
from virtualobserver.data.table import Table
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.maths.images.zeropoint import ZeroPoint
from virtualobserver.typing import Record

__all__ = ["calibration_panels", "own_choice"]

_CLIPPED: Final = "clipped"
_MAG: Final = Axis("catalogue magnitude", "mag")
_BEYOND: Final = 8.0
"""Residuals shown, in units of their rms: a star that is another one is magnitudes off and would hide the rest."""
_STORED: Final = (
    ("zero_point", "zero point", "mag"), ("colour_pivot", "at colour", "mag"), ("zero_point_r2", "R²", ""),
    ("zero_point_n", "stars", ""),
)  # fmt: skip
_NAMES: Final = {
    "clip": "zero_clip", "brightest": "brightest", "faintest": "faintest", "max_mag_error": "max_mag_error",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Regression:
    """Stars of a frame, what was made of them, and why those that were left out were."""

    stars: Table
    instrumental: NDArray[np.float64]
    error: NDArray[np.float64]
    reason: NDArray[np.str_]
    fit: ZeroPoint | DataError

    @property
    def mag(self) -> NDArray[np.float64]:
        return np.asarray(self.stars["mag"], dtype=np.float64)

    def of_one_colour(self) -> NDArray[np.float64]:
        """Return instrumental magnitudes as if all stars had the colour of the zero point; unknown ones have it."""
        if isinstance(self.fit, DataError):
            return self.instrumental
        away = np.asarray(self.stars["colour"], dtype=np.float64) - self.fit.colour_pivot
        return np.asarray(self.instrumental + self.fit.colour_term * np.where(np.isfinite(away), away, 0.0))


def own_choice(own: PhotometrySettings, choice: Mapping[str, float]) -> PhotometrySettings:
    """Return the settings with another ``clip``, ``brightest``, ``faintest`` or ``max_mag_error``.

    Raises
    ------
    ConfigError
        If a value is not possible.
    """
    try:
        return PhotometrySettings.model_validate(
            own.model_dump() | {_NAMES[name]: value for name, value in choice.items()}
        )
    except pydantic.ValidationError as error:
        msg = f"stars of a zero point cannot be chosen by {dict(choice)}: {error.errors()[0]['msg']}"
        raise ConfigError(msg) from error


def calibration_panels(
    products: Sequence[Handle], own: PhotometrySettings, choice: Mapping[str, float]
) -> list[Panel]:
    """Return the regression of a frame: magnitudes, residuals over magnitude and over colour, and numbers.

    The stars are those of the tables of the frame, and are fitted as `measure_zero_point` does it.

    Parameters
    ----------
    products
        Tables ``sources``, ``forced`` and ``zeropoint`` of one frame.
    choice
        Other settings, see `own_choice`; empty shows what is stored.

    Returns
    -------
    list of Panel
        None where the frame has no stars of a catalogue.
    """
    tables = {one.info.role: one for one in of_kind(products, Table)}
    if "forced" not in tables or "sources" not in tables:
        return []
    regression = _regression(tables["sources"].load(), tables["forced"].load(), own_choice(own, choice))
    stored = tables["zeropoint"].info.statistics if "zeropoint" in tables else {}
    panels: list[Panel] = [_magnitudes(regression)]
    if isinstance(regression.fit, ZeroPoint):
        panels.append(_residuals(regression, regression.fit))
        if np.isfinite(regression.stars["colour"]).any():
            panels.append(_colours(regression, regression.fit))
    return [*panels, _facts(regression, own_choice(own, choice), stored, chosen=bool(choice))]


def _regression(sources: Table, stars: Table, own: PhotometrySettings) -> _Regression:
    merged = np.isin(stars["source_id"], sources["source_id"][sources["blended"] | sources["truncated"]])
    reason = why_left_out(stars.columns, merged & np.asarray(stars["detected"], bool), own)
    exptime = float(sources.meta["exptime"])
    good = reason == ""
    used = np.zeros(len(good), dtype=bool)
    fit: ZeroPoint | DataError
    try:
        fit = fit_stars(stars.columns, good, exptime, own)
        used[np.flatnonzero(good)[fit.used]] = True
    except DataError as error:
        fit = error
    name = aperture_of(own)
    flux, noise = (np.asarray(stars[f"{what}_{name}"], dtype=np.float64) for what in ("flux", "flux_error"))
    with np.errstate(invalid="ignore", divide="ignore"):
        instrumental = -2.5 * np.log10(np.where(flux > 0, flux / exptime, np.nan)) - own.ab_offset
        error_mag = np.hypot(noise / flux / MAG_TO_FLUX, np.nan_to_num(stars["mag_error"]))
    rest = np.where(good & ~used, _why_not_used(stars, own, fit), "")
    return _Regression(stars, instrumental, np.abs(error_mag), np.where(good, rest, reason), fit)


def _why_not_used(stars: Table, own: PhotometrySettings, fit: ZeroPoint | DataError) -> NDArray[np.str_]:
    """Return why a star that might have been used was not; shape (n,)."""
    mag = np.asarray(stars["mag"], dtype=np.float64) + own.ab_offset
    reasons = {
        "no magnitude in the catalogue": ~np.isfinite(mag),
        "too bright": mag < (-math.inf if own.brightest is None else own.brightest),
        "too faint": mag > (math.inf if own.faintest is None else own.faintest),
        "no colour": ~np.isfinite(stars["colour"]),
    }
    return np.select(
        list(reasons.values()),
        list(reasons),
        default="too few stars" if isinstance(fit, DataError) else _CLIPPED,
    )


def _groups(one: _Regression, y: NDArray[np.float64], *, x: NDArray[np.float64], errors: bool) -> list[Curve]:
    """Return curves of the stars that were not used, were clipped, and were used; the last on top."""
    shown = np.isfinite(x) & np.isfinite(y)
    kinds = {
        "left out": ("context", ~np.isin(one.reason, ("", _CLIPPED, NOT_FOUND))),
        _CLIPPED: ("event", one.reason == _CLIPPED),
        "used": ("data", one.reason == ""),
    }
    curves = []
    for label, (colour, which) in kinds.items():
        rows = np.flatnonzero(shown & which)
        if len(rows):
            said = [_said(one, row) for row in rows.tolist()]
            error = one.error[rows] if errors and colour != "context" else None
            curves.append(Curve(f"{label}: {len(rows)}", x[rows], y[rows], error, colour=colour, text=said))
    return curves


def _said(one: _Regression, row: int) -> str:
    name = int(one.stars["source_id"][row])
    return f"star {name}, {one.mag[row]:.2f} mag{', ' if one.reason[row] else ''}{one.reason[row]}"


def _magnitudes(one: _Regression) -> Series:
    """Return instrumental magnitudes of one colour over those of the catalogue, with the fit, a line of slope 1."""
    instrumental = one.of_one_colour()
    curves = _groups(one, instrumental, x=one.mag, errors=False)
    title = str(one.fit)
    if isinstance(one.fit, ZeroPoint):
        ends = _ends(one.mag[np.isin(one.reason, ("", _CLIPPED))])
        curves.append(Curve("fit", ends, ends - one.fit.zero_point, style="line", colour="model"))
        title = (
            f"zero point {one.fit.zero_point:.4f} ± {one.fit.zero_point_error:.4f} mag, R² {one.fit.r2:.5f}"
        )
    y = Axis("instrumental magnitude", "mag")
    return Series(title, _MAG, y, curves)


def _residuals(one: _Regression, fit: ZeroPoint) -> Series:
    """Return what the fit leaves over magnitude, with its rms."""
    left = one.mag - one.of_one_colour() - fit.zero_point
    y, note = _limited(one, fit, left)
    marks = [Mark("line", y=0.0, colour="model")]
    marks += [Mark("line", y=side * fit.rms, colour="context") for side in (-1, 1)]
    curves = _groups(one, left, x=one.mag, errors=True)
    return Series(f"residuals, rms {fit.rms:.4f} mag", _MAG, y, curves, marks, note=note)


def _colours(one: _Regression, fit: ZeroPoint) -> Series:
    """Return what the zero point alone leaves over colour, with the colour term as a line."""
    colour = np.asarray(one.stars["colour"], dtype=np.float64)
    left = one.mag - one.instrumental - fit.zero_point
    y, note = _limited(one, fit, left)
    ends = _ends(colour[one.reason == ""])
    line = Curve("", ends, fit.colour_term * (ends - fit.colour_pivot), style="line", colour="model")
    title = f"colour term {fit.colour_term:.4f} ± {fit.colour_term_error:.4f}"
    if not math.isfinite(fit.colour_term_error):
        title = f"colour term {fit.colour_term:g}, not fitted"
    curves = [*_groups(one, left, x=colour, errors=True), line]
    return Series(title, Axis("colour in the catalogue", "mag"), y, curves, note=note)


def _limited(one: _Regression, fit: ZeroPoint, left: NDArray[np.float64]) -> tuple[Axis, str]:
    """Return the axis of residuals, which holds all stars that were used, and how many others lie beyond."""
    reach = max(_BEYOND * fit.rms, 1.2 * float(np.max(np.abs(left[one.reason == ""]))), 1e-3)
    beyond = int((np.isfinite(left) & (one.reason != NOT_FOUND) & (np.abs(left) > reach)).sum())
    note = f"{beyond} stars that were not used lie beyond" if beyond else ""
    return Axis("catalogue less fit", "mag", limits=(-reach, reach)), note


def _ends(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = values[np.isfinite(values)]
    return np.array([known.min(), known.max()]) if len(known) else np.zeros(2)


def _facts(one: _Regression, own: PhotometrySettings, stored: Record, *, chosen: bool) -> Facts:
    """Return the numbers of the fit, beside those that are stored if the choice is another."""
    rows: list[tuple[str, str | float | bool | None, str]] = []
    if isinstance(one.fit, ZeroPoint):
        fit = one.fit
        rows += [
            ("zero point", fit.zero_point, "mag"), ("its error", fit.zero_point_error, "mag"),
            ("colour term", fit.colour_term, ""), ("at colour", fit.colour_pivot, "mag"), ("R²", fit.r2, ""),
            ("rms of residuals", fit.rms, "mag"), ("scatter beyond errors", fit.scatter, "mag"),
            ("reduced χ²", fit.chi2_reduced, ""), ("stars", fit.n, ""),
        ]  # fmt: skip
    for reason, number in zip(*np.unique(one.reason, return_counts=True), strict=True):
        if reason:
            rows.append((str(reason), int(number), "stars"))
    rows.append(("clip", own.zero_clip, "robust deviations"))
    if chosen:
        rows += [(f"stored: {words}", stored.get(name), unit) for name, words, unit in _STORED]
    note = str(one.fit) if isinstance(one.fit, DataError) else poor_fit(one.fit, own.r2)
    return Facts("another choice, not stored" if chosen else "as stored", rows, note)
