"""The calibration of one science frame, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_HOT, MASK_NAMES, MASK_UNSTABLE
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, RawRef
from virtualobserver.errors import BadKeyword, DataError, NotEnoughData
from virtualobserver.io.fits.keywords import read_wcs
from virtualobserver.maths.ccd.halos import star_halos
from virtualobserver.maths.ccd.masks import count_bits
from virtualobserver.maths.ccd.science import CalibratedFrame, Detector, apply_cosmic_rays, calibrate_frame
from virtualobserver.maths.images.background import background
from virtualobserver.maths.images.psf import Psf, measure_psf
from virtualobserver.maths.images.sources import find_sources
from virtualobserver.observatories.astep.frames import RawFrame, read_frame
from virtualobserver.observatories.astep.header import detector_of
from virtualobserver.observatories.astep.loaded import LoadedMasters
from virtualobserver.observatories.astep.masters import Picked, master_changes, pick
from virtualobserver.observatories.astep.settings import ASTEPSettings

__all__ = ["reduce_frame"]

_STAR_SIGMA = 10.0
_MIDDLE = 2048
"""Pixels along each axis on which sky and stars are measured: enough of both, and a quarter of the time."""


@dataclass(frozen=True)
class _Seen:
    """What the middle of a calibrated frame shows: sky and its scatter (e-), sources above 10 sigma, PSF or None."""

    sky: float
    noise: float
    n_sources: int
    psf: Psf | None


def reduce_frame(
    raw: RawRef, aux: Aux, settings: ASTEPSettings, loaded: LoadedMasters | None = None
) -> Product:
    """Calibrate one science frame.

    Overscan off and trimmed (while reading); bias or dark subtracted, in its exposure time or scaled about the
    bias; divided by the flat; times the gain; variance of every pixel; mask of saturated, hot, bad and vignetted
    pixels; cosmic rays; halos of saturated stars. The header keeps the raw one's keywords and says what was done,
    with which masters.

    Raises
    ------
    BadKeyword
        If gain, read noise, time or exposure are missing or impossible.
    DataError
        If the file is not whole, or no masters suit and `without_dark` is ``refuse``.
    """
    if problem := raw.header.get("problem"):
        raise BadKeyword(str(problem))
    frame = read_frame(raw, settings)
    detector, defaults = detector_of(frame.header, raw.archive_id, settings)
    loaded = loaded or LoadedMasters()
    masters = pick(aux.masters, raw.header, settings, loaded)
    changes = master_changes(aux.masters, loaded)
    flagged = [*_flags(masters, raw, settings), *_changed(changes, settings)]
    done = calibrate_frame(frame.data, detector, bias=masters.bias, dark=masters.dark, flat=masters.flat)
    done = apply_cosmic_rays(done, cosmic_rays=settings.cosmic_rays)
    seen = _look(done)
    done = _mask_halos(done, frame, seen, detector, settings)
    header = _header(raw, frame, done, masters, seen)
    flagged += _check_world(header, raw.archive_id)
    defaults = [*raw.header.get("defaults", ()), *defaults]
    header |= {"GAIN-USE": detector.gain, "RDN-USE": detector.read_noise, "CALFLAG": bool(flagged)}
    header["HISTORY"] += [f"not fully calibrated: {reason}" for reason in flagged]
    header["HISTORY"] += [f"{key}: value of the configuration" for key in defaults]
    header["HISTORY"] += [
        f"master {name} differs from the one before in {100 * part:.2f} % of pixels"
        for name, part in changes.items()
    ]
    image = Image(done.data, done.variance, done.mask, header, unit="electron")
    return Product(
        image, role="calibrated", band=str(raw.header["band"]),
        statistics={
            **_statistics(done, masters, seen, flagged, defaults), "master_changes": dict(changes),
        },
    )  # fmt: skip


def _flags(masters: Picked, raw: RawRef, settings: ASTEPSettings) -> list[str]:
    """Return why the frame is not fully calibrated, or refuse it."""
    choice = masters.choice
    if not choice.flagged:
        return []
    # a camera of which no dark was ever taken is used with its bias alone
    only_bias = choice.how == "bias" and "no master dark of this camera" in choice.reason
    if settings.without_dark == "refuse" and not only_bias:
        msg = f"{raw.archive_id}: {choice.reason}; take darks, or set without_dark: flag"
        raise DataError(msg)
    return [choice.reason]


def _changed(changes: Mapping[str, float], settings: ASTEPSettings) -> list[str]:
    """Return which masters are too unlike those of the night before."""
    return [
        f"the master {name} differs from the one before by more than 6 sigma in {100 * part:.1f} % of pixels"
        for name, part in changes.items()
        if part > settings.master_change
    ]


def _mask_halos(
    done: CalibratedFrame, frame: RawFrame, seen: _Seen, detector: Detector, settings: ASTEPSettings
) -> CalibratedFrame:
    """Mask the light of saturated stars."""
    if not settings.halo_sigma or not np.isfinite(seen.noise):
        return done
    counts = detector.saturation if settings.halo_counts is None else settings.halo_counts
    bright = frame.data >= counts
    if not bright.any():
        return done
    bright &= (done.mask & (MASK_HOT | MASK_UNSTABLE | MASK_COSMIC_RAY)) == 0
    halos = star_halos(
        done.data, bright, limit=settings.halo_sigma * seen.noise, largest=settings.halo_radius
    )
    return replace(done, mask=done.mask | halos)


def _check_world(header: dict[str, Any], name: str) -> list[str]:
    """Take impossible world coordinates out of a header, and return why they are."""
    if header.get("CTYPE1") is None and header.get("CTYPE2") is None:
        return []
    try:
        read_wcs(header, name)
    except BadKeyword as error:
        for key in ("CTYPE1", "CTYPE2"):
            header.pop(key, None)
        return [str(error)]
    return []


def _look(done: CalibratedFrame) -> _Seen:
    """Measure sky and width of stars in the middle of the frame; a frame without stars has none."""
    middle = tuple(slice(max(size - _MIDDLE, 0) // 2, (size + _MIDDLE) // 2) for size in done.data.shape)
    data, variance, mask = (plane[middle] for plane in (done.data, done.variance, done.mask))
    try:
        sky = background(data, mask=mask)
    except DataError:
        return _Seen(float("nan"), float("nan"), 0, None)
    sources = find_sources(data, variance, mask=mask, threshold=_STAR_SIGMA, sky=sky)
    try:
        psf = measure_psf(data, sources, sky=sky.median_level)
    except NotEnoughData:
        psf = None
    return _Seen(sky.median_level, sky.median_scatter, len(sources), psf)


def _header(
    raw: RawRef, frame: RawFrame, done: CalibratedFrame, masters: Picked, seen: _Seen
) -> dict[str, Any]:
    header = {key: value for key, value in frame.header.items() if key not in {"BUNIT", "HISTORY"}}
    facts = raw.header
    header |= {
        "ORIGFILE": facts["origin"], "NIGHT": facts["night"], "MJD-MID": facts["mjd"], "TIMESYS": "UTC",
        "EXPTIME": facts["exposure"], "SKY": seen.sky, "SKYNOISE": seen.noise, "NSOURCES": seen.n_sources,
        "RAWHASH": frame.sha256, "NOSTARS": seen.psf is None,
    }  # fmt: skip
    if seen.psf is not None:
        header |= {"FWHM": seen.psf.fwhm, "FWHMSTD": seen.psf.scatter, "ELONGAT": seen.psf.elongation}
    past = frame.header.get("HISTORY") or []
    history = [
        *([past] if isinstance(past, str) else past),
        f"input {raw.archive_id} sha256 {frame.sha256[:16]}",
    ]
    history += [*frame.history, *masters.history]
    if masters.choice.how == "scaled":
        history.append(masters.choice.reason)
    history += done.history
    if masters.flat is None:
        history.append("no flat")
    bits = {bit: int(np.count_nonzero(done.mask & bit)) for bit in MASK_NAMES}
    history.append("mask bits: " + ", ".join(f"{bit} {MASK_NAMES[bit]}: {n}" for bit, n in bits.items() if n))
    return {**header, "HISTORY": history}


def _statistics(
    done: CalibratedFrame,
    masters: Picked,
    seen: _Seen,
    flagged: list[str],
    defaults: list[str],
) -> Mapping[str, Any]:
    def plain(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "sky": plain(seen.sky), "sky_noise": plain(seen.noise), "n_sources": seen.n_sources,
        "fwhm": None if seen.psf is None else seen.psf.fwhm,
        "elongation": None if seen.psf is None else seen.psf.elongation,
        "dark": masters.choice.how, "dark_factor": masters.choice.factor, "flat": masters.flat is not None,
        "flagged": flagged, "defaults": defaults,
        "mask": {name: n for name, n in count_bits(done.mask).items() if n},
    }  # fmt: skip
