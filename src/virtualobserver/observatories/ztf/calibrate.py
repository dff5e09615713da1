"""Forced difference fluxes on a common scale: cuts, baselines, errors, micro-jansky.

The steps are those of section 6 of the service's manual: difference fluxes of one field, CCD, quadrant and
filter share a baseline, which is subtracted; errors are scaled by the fit quality of its quiet epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f_oneway

from virtualobserver.columns import units_of
from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_BACKGROUND,
    FLAG_BAD_ERROR,
    FLAG_EDGE,
    FLAG_NOT_FINITE,
    FLAG_RANGE,
    LIMITING_MAG,
    MJD_ZERO_JD,
    ZERO_POINT_AB_UJY,
)
from virtualobserver.data.product import Aux, Product
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import BadKeyword
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.statistics import light_curve_statistics
from virtualobserver.maths.photometry import (
    flux_error_from_mag,
    flux_from_mag,
    mag_error_from_flux,
    mag_from_flux,
    upper_limit_mag,
)
from virtualobserver.maths.times import bjd_tdb, mid_exposure
from virtualobserver.observatories.ztf.reduce import PALOMAR
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatories.ztf.table import Columns
from virtualobserver.typing import RecordDict

__all__ = ["lightcurves"]

BAD_INFOBITS = 2**25
"""Bit 25 marks images unfit for science; the survey's guide asks for values below it."""
_STATUS: Final[Mapping[str, int]] = {
    "0": 0,
    "52": 0,  # more epochs than one request may have
    "54": FLAG_BACKGROUND,  # too few pixels for the background
    "57": 0,  # no reference source within 5 arcsec: `forced_total` looks for itself
    "58": 0,  # no catalogue of the reference image
    "61": FLAG_EDGE,  # off the image, or too near to its edge
    "62": 0,  # the request began before the survey
}
"""What the service's status codes say of the flux of an epoch (its manual: Masci et al. 2023, arXiv:2305.16279).

All others flag it: bad pixels under the profile (55, 56), a suspect error (59), a profile of the wrong size (60),
failures of the program (63, 64, 65, 255), and what is not known."""
_BANDS = {"ZTF_g": "zg", "ZTF_r": "zr", "ZTF_i": "zi"}
_GROUP = ("field", "ccdid", "qid")
_AGREES = 3.0  # errors within which an epoch has the flux of the others; leaves 0.3 % of good ones out
_CLIPS = 20  # rounds of that, which settle after a few
_STRETCHES = 8
"""Parts in time that quiet epochs are compared in: enough to see a slope or a hump, with some epochs in each."""
_CHANCE = 1e-3
"""Probability below which stretches of one flux do not differ as they do; one quiet group in a thousand."""
_DRIFT = 1.0
"""Errors of an epoch by which stretches have to differ to matter: the baseline is then off by about half of that."""


def lightcurves(files: Sequence[Columns], aux: Aux, settings: ZTFSettings) -> list[Product[TimeSeries]]:
    """Reduce result files to one light curve for each filter, with flux (difference or total) in µJy.

    Parameters
    ----------
    files
        Columns as the parser of result files returns them.
    aux
        The source, whose position serves the light travel time. It is told what is left out or assumed.
    settings
        Thresholds; ``forced_total`` adds the flux of the reference source.

    Returns
    -------
    products
        Series ``forced-<filter>``; none without epochs.
    """
    files = [columns for columns in files if len(columns["jd"])]
    if not files:
        return []
    names = set.intersection(*(set(columns) for columns in files))
    pooled = {name: np.concatenate([columns[name] for columns in files]) for name in sorted(names)}
    _, first = np.unique(np.char.add(pooled["jd"].astype("U32"), pooled["filter"]), return_index=True)
    # epochs without a time are not the same one
    first = np.union1d(first, np.flatnonzero(~np.isfinite(pooled["jd"])))
    pooled = {name: values[first] for name, values in pooled.items()}
    if unknown := sorted(set(pooled["filter"].tolist()) - set(_BANDS)):
        msg = (
            f"column filter holds {', '.join(map(repr, unknown))}; forced photometry has {', '.join(_BANDS)}"
        )
        raise BadKeyword(msg)
    products = []
    for name, band in _BANDS.items():
        rows = {key: values[pooled["filter"] == name] for key, values in pooled.items()}
        if len(rows["jd"]) and (product := _product(rows, band, aux, settings)) is not None:
            products.append(product)
    return products


def _flags(rows: Columns, settings: ZTFSettings) -> NDArray[np.int64]:
    bad = ~(rows["infobitssci"] < BAD_INFOBITS)
    noise, seeing = rows["scisigpix"], rows["sciinpseeing"]
    # a noise or a seeing of 0 stands for one that is not known
    noisy = ~((noise > 0) & (noise <= settings.forced_max_sigma))
    noisy |= ~((seeing > 0) & (seeing <= settings.forced_max_seeing))
    finite = np.isfinite(rows["forcediffimflux"]) & np.isfinite(rows["zpdiff"])
    flags = np.where(bad, FLAG_ARCHIVE, 0) | np.where(noisy, FLAG_BACKGROUND, 0)
    flags |= np.where(finite, 0, FLAG_NOT_FINITE)
    flags |= np.where(rows["forcediffimfluxunc"] > 0, 0, FLAG_BAD_ERROR)
    flags |= np.where(rows["out_of_range"] != 0, FLAG_RANGE, 0)
    return np.asarray(flags | _status(rows["procstatus"]), dtype=np.int64)


def _status(codes: Array) -> NDArray[np.int64]:
    """Return the flags that status codes ask for; an epoch may have several with commas between them."""
    words, place = np.unique(codes, return_inverse=True)
    said = [[one.strip().removesuffix(".0") for one in word.split(",")] for word in words.tolist()]
    flags = [np.bitwise_or.reduce([_STATUS.get(one, FLAG_ARCHIVE) for one in each]) for each in said]
    return np.array(flags, np.int64)[place]


def _baselined(
    rows: Columns, flags: NDArray[np.int64], settings: ZTFSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[RecordDict]]:
    """Return difference fluxes and errors in µJy, the baselines subtracted from each (NaN = none), and all facts.

    A group without enough epochs that agree within their errors gets no baseline: an event that fills the window
    would otherwise be subtracted from itself.
    """
    to_ujy = flux_from_mag(rows["zpdiff"], zero_point=ZERO_POINT_AB_UJY)
    flux, error = rows["forcediffimflux"] * to_ujy, rows["forcediffimfluxunc"] * to_ujy
    baseline = np.full(len(flux), np.nan)
    usable = (flags == 0) & _may_be_quiet(rows, settings)
    groups = np.column_stack([rows[name] for name in _GROUP])
    report = []
    for group in np.unique(groups, axis=0):
        member = (groups == group).all(axis=1)
        factor = _error_factor(rows["forcediffimchisq"][member & usable])
        quiet = _quiet(flux, error * factor, member & usable)
        if quiet.sum() >= max(settings.forced_baseline, 3 * _STRETCHES):
            quiet = _at_one_level(rows["jd"], flux, error, quiet)
            below = member & usable & ~quiet & (flux < np.median(flux[quiet])) if quiet.any() else quiet
            # where so many are lower, the level may be that of the event
            quiet &= np.count_nonzero(below) < settings.forced_baseline
        facts: RecordDict = dict(zip(_GROUP, (int(part) for part in group), strict=True))
        facts |= {"epochs": int(member.sum()), "quiet": int(quiet.sum())}
        facts |= {"baseline": None, "error_factor": 1.0}
        if facts["quiet"] >= settings.forced_baseline:
            facts["baseline"] = float(np.median(flux[quiet]))
            facts["error_factor"] = _error_factor(rows["forcediffimchisq"][quiet])
            baseline[member] = facts["baseline"]
            error[member] *= facts["error_factor"]
        report.append(facts)
    return flux - np.nan_to_num(baseline), error, baseline, report


def _may_be_quiet(rows: Columns, settings: ZTFSettings) -> NDArray[np.bool_]:
    """Say which epochs may serve a baseline: those outside of the reference image, and in the quiet time if known."""
    mjd = rows["jd"] - MJD_ZERO_JD
    free = ~((rows["jd"] >= rows["refjdstart"]) & (rows["jd"] <= rows["refjdend"]))
    before, after = settings.forced_quiet_before, settings.forced_quiet_after
    if before is None and after is None:
        return np.asarray(free)
    known = np.zeros(len(mjd), dtype=bool)
    known |= mjd < before if before is not None else False
    known |= mjd > after if after is not None else False
    return np.asarray(free & known)


def _error_factor(chi: NDArray[np.float64]) -> float:
    """Return the factor that brings errors to the quality of the fits, as the manual has it; 1 if none is known."""
    known = chi[np.isfinite(chi) & (chi > 0)]
    return float(np.sqrt(np.median(known))) if len(known) else 1.0


def _quiet(
    flux: NDArray[np.float64], error: NDArray[np.float64], candidates: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the candidates that have one flux within their errors; none, if that is not most of them.

    Half of them or fewer would leave open which of two states is the quiet one.
    """
    quiet = candidates.copy()
    for _ in range(_CLIPS):
        if not quiet.any():
            return quiet
        with np.errstate(divide="ignore", invalid="ignore"):  # others than the candidates have errors of 0
            pull = np.abs(flux - np.median(flux[quiet])) / error
        kept = candidates & (pull <= _AGREES)
        if (kept == quiet).all():
            break
        quiet = kept
    return quiet if 2 * quiet.sum() > candidates.sum() else np.zeros_like(quiet)


def _at_one_level(
    jd: NDArray[np.float64],
    flux: NDArray[np.float64],
    error: NDArray[np.float64],
    quiet: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return the quiet epochs without stretches of time at another level; none, if that is not most stretches.

    Errors of epochs hide what is long and faint, so means of stretches are compared (analysis of variance, which
    asks for no right errors).
    """
    rows = np.flatnonzero(quiet)
    rows = rows[np.argsort(jd[rows], kind="stable")]
    parts = np.array_split(rows, _STRETCHES)
    # about the level that all have: an offset of the reference is no drift, whatever the errors do
    level = float(np.median(flux[rows]))
    pulls = [(flux[part] - level) / error[part] for part in parts]
    while _drifts(pulls):
        levels = np.array([pull.mean() for pull in pulls])
        far = int(np.argmax(np.abs(levels - np.median(levels))))
        del parts[far], pulls[far]
        if 2 * len(parts) <= _STRETCHES:
            return np.zeros_like(quiet)
    kept = np.zeros_like(quiet)
    kept[np.concatenate(parts)] = True
    return kept


def _drifts(pulls: list[NDArray[np.float64]]) -> bool:
    levels = [float(pull.mean()) for pull in pulls]
    return max(levels) - min(levels) >= _DRIFT and bool(f_oneway(*pulls).pvalue < _CHANCE)


def _total(
    rows: Columns, flux: NDArray[np.float64], error: NDArray[np.float64], flags: NDArray[np.int64]
) -> None:
    """Add the reference source, in place; epochs without a star within 1 arcsec are flagged and NaN."""
    star = (rows["dnearestrefsrc"] < 1.0) & (np.abs(rows["nearestrefsharp"]) < 0.5)
    flux += np.where(star, flux_from_mag(rows["nearestrefmag"]), np.nan)
    reference = flux_error_from_mag(rows["nearestrefmag"], rows["nearestrefmagunc"])
    error[:] = np.hypot(error, reference)
    flags |= np.where(np.isfinite(flux), 0, FLAG_NOT_FINITE)


def _tell(aux: Aux, rows: Columns, flags: NDArray[np.int64], baseline: NDArray[np.float64]) -> None:
    """Note what of the file is not used as it is."""
    aux.note("epochs without a time", int((~np.isfinite(rows["jd"])).sum()))
    aux.note("epochs flagged as bad by the service", int((flags & FLAG_ARCHIVE != 0).sum()))
    aux.note("epochs of bad seeing or much noise", int((flags & FLAG_BACKGROUND != 0).sum()))
    aux.note("epochs without a flux", int((flags & FLAG_NOT_FINITE != 0).sum()))
    blank = np.isfinite(rows["jd"]) & ~np.isfinite(rows["exptime"])
    aux.note("epochs without an exposure time, whose start is taken for their middle", int(blank.sum()))
    missing = "epochs without a baseline, for want of quiet ones, whose flux is as the service gives it"
    aux.note(missing, int(np.isnan(baseline).sum()))


def _product(rows: Columns, band: str, aux: Aux, settings: ZTFSettings) -> Product[TimeSeries] | None:
    flags = _flags(rows, settings)
    target = aux.target
    flux, error, baseline, baselines = _baselined(rows, flags, settings)
    _tell(aux, rows, flags, baseline)
    limit = upper_limit_mag(flux, error)
    if settings.forced_total:
        _total(rows, flux, error, flags)
    start = rows["jd"] - MJD_ZERO_JD
    detected = np.where(flux > 3.0 * error, flux, np.nan)
    columns: Columns = {"mjd": mid_exposure(start, np.nan_to_num(rows["exptime"])), "mjd_start": start}
    if settings.barycentric and target.ra is not None and target.dec is not None:
        columns["bjd_tdb"] = bjd_tdb(columns["mjd"], target.ra, target.dec, PALOMAR)
    columns |= {
        "flux": flux, "flux_error": error, "mag": mag_from_flux(detected),
        "mag_error": mag_error_from_flux(detected, error), LIMITING_MAG: limit, "flags": flags,
        "exptime": rows["exptime"], "chi": rows["forcediffimchisq"], "baseline": baseline,
    }  # fmt: skip
    columns |= {name: rows[name].astype(np.int64) for name in _GROUP}
    keep = np.isfinite(columns["mjd"]) & ((flags == 0) | (not settings.drop_flagged))
    order = np.argsort(np.where(keep, columns["mjd"], np.inf), kind="stable")[: int(keep.sum())]
    if not len(order):
        return None
    columns = {name: values[order] for name, values in columns.items()}
    meta: RecordDict = {"flux": "total" if settings.forced_total else "difference"}
    meta["baselines"] = baselines
    if settings.forced_total:
        meta["total_error"] = "difference and reference errors added in quadrature"
    units = units_of(columns) | {"baseline": "uJy"}
    data = TimeSeries(columns, units=units, meta=meta, band=band)
    statistics = light_curve_statistics(data.mjd, flux[order], error[order], flags=flags[order])
    return Product(data, series=f"forced-{band}", band=band, statistics=statistics.as_columns())
