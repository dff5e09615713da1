"""What is sent of movers: their detections, with magnitudes and errors from their light curves."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualobserver.conventions import NO_FILTER
from virtualobserver.data.handles import of_kind
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import ConfigError
from virtualobserver.io.mpc.names import UNKNOWN, Designation, designation_of, temporary_names
from virtualobserver.io.mpc.records import Observation
from virtualobserver.maths.photometry import mag_error_from_flux, mag_from_flux

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.data.handles import Handle

__all__ = ["ROLES", "catalogue_name", "observations_of", "one_code"]

Products = Callable[[str], "Sequence[Handle]"]

_BANDS: Final[Mapping[str, str]] = {
    "zg": "g",
    "zr": "r",
    "zi": "i",
    NO_FILTER: "",
    "none": "",
    "clear": "C",
    "Clear": "C",
}
"""Bands of surveys that are called otherwise at the Minor Planet Center."""
_RELEASES: Final[Mapping[str, str]] = {"dr1": "Gaia1", "dr2": "Gaia2", "dr3": "Gaia3", "edr3": "Gaia3E"}
ROLES: Final = ("mover", "asteroid")
"""Kinds of detections, and roles of light curves: of movers of one night, and of bodies that were put together."""
_BRIGHTEST, _FAINTEST = -5.0, 35.0
"""Magnitudes beyond are not taken."""


def one_code(given: str, known: Sequence[str]) -> str:
    """Return the code of the observatory: the one given, else that of the surveys, if they have one.

    Raises
    ------
    ConfigError
        If there is none, or more than one.
    """
    codes = {given} if given else {code for code in known if code}
    if len(codes) != 1:
        what = (
            f"it is one of {', '.join(sorted(codes))}"
            if codes
            else "no survey of the project says it (mpc_code)"
        )
        msg = f"the Minor Planet Center wants the code of the observatory, and {what}: --option code=..."
        raise ConfigError(msg)
    return codes.pop()


def catalogue_name(given: str, known: Sequence[str]) -> str:
    """Return what the catalogue of reference stars is called in ADES; ``UNK`` where it is not known."""
    names = {_catalogue(name) for name in known if name}
    return given or (names.pop() if len(names) == 1 else "UNK")


def _catalogue(name: str) -> str:
    body, _, version = name.lower().partition("@")
    if body.startswith("gaia"):
        return _RELEASES.get(version, "UNK")
    return "Tyc2" if body.startswith("tycho2") else "UNK"


def observations_of(
    detections: pd.DataFrame, products: Products, *, band: str | None, flagged: bool, longest_band: int
) -> list[Observation]:
    """Return the detections of movers, body by body, in the order of time.

    Where a mover is part of a body of several nights, or has got a name as such, the body counts.

    Parameters
    ----------
    detections
        Rows ``source, source_kind, known_as, kind, peak_mjd, ra, dec, band, quality, parameters``; what was injected,
        and so is found at the field and no source of its own, and movers without a position are left out.
    products
        Gives the products of a source, its light curves ``mover`` or ``asteroid`` among them.
    band
        What all bands are called instead; None = the names of the survey.
    flagged
        Take epochs with bits in ``quality`` too.
    longest_band
        Letters that a band may have.

    Raises
    ------
    ConfigError
        If a band is no name of the Minor Planet Center.
    """
    good = detections["kind"].isin(ROLES) & (detections["source_kind"] == "moving")
    good &= detections["ra"].notna() & detections["dec"].notna()
    good &= flagged | (detections["quality"] == 0)
    rows: list[Any] = list(detections[good].drop_duplicates(["source", "peak_mjd"]).itertuples(index=False))
    bodies = {(row.peak_mjd, row.ra, row.dec) for row in rows if row.kind != "mover"}
    rows = [row for row in rows if row.kind != "mover" or (row.peak_mjd, row.ra, row.dec) not in bodies]
    rows.sort(key=lambda row: (row.source, row.peak_mjd))
    known = {row.source: _known(row.known_as) for row in rows}
    short = temporary_names(name for name, body in known.items() if body == UNKNOWN)
    light = {name: _light(products(name)) for name in known}
    found = []
    for row in rows:
        ra_error, dec_error, mag, mag_error = light[row.source].get(row.peak_mjd, (math.nan,) * 4)
        if not math.isfinite(ra_error):  # one number for both axes
            ra_error = dec_error = _position_error(row.parameters) / math.sqrt(2.0)
        called = _band(row.band, band, longest_band) if math.isfinite(mag) else ""
        found.append(
            Observation(
                row.peak_mjd, row.ra, row.dec, known[row.source], short.get(row.source, ""),
                ra_error, dec_error, mag, mag_error, called,
            )
        )  # fmt: skip
    return found


def _known(name: object) -> Designation:
    return (designation_of(name) if isinstance(name, str) else None) or UNKNOWN


def _position_error(parameters: object) -> float:
    facts = json.loads(parameters) if isinstance(parameters, str) else parameters
    value = facts.get("position_error") if isinstance(facts, dict) else None
    return math.nan if value is None else float(value)


def _light(products: Sequence[Handle]) -> dict[float, tuple[float, float, float, float]]:
    """Return errors of places (arcsec), magnitude and its error of each epoch of a body."""
    found: dict[float, tuple[float, float, float, float]] = {}
    for handle in of_kind(products, TimeSeries):
        if handle.info.role not in ROLES:
            continue
        curve = handle.load()
        mag, error = np.full((2, len(curve)), np.nan)
        if curve.flux_unit == "uJy":  # else there was no zero point
            mag, error = mag_from_flux(curve.flux), mag_error_from_flux(curve.flux, curve.flux_error)
            mag = np.where((mag >= _BRIGHTEST) & (mag <= _FAINTEST), mag, np.nan)
        for n, mjd in enumerate(curve.mjd.tolist()):
            places = [
                float(curve[name][n]) if name in curve else math.nan for name in ("ra_error", "dec_error")
            ]
            found[mjd] = (places[0], places[1], float(mag[n]), float(error[n]))
    return found


def _band(name: str, given: str | None, longest: int) -> str:
    called = _BANDS.get(name, name) if given is None else given
    if not re.fullmatch(rf"[A-Za-z0-9]{{1,{longest}}}", called):
        msg = f"{name or 'nothing'!r} is no band of the Minor Planet Center: --option band=G, or as it is called"
        raise ConfigError(msg)
    return called
