"""The calibration of one science frame, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.dates import DAYS, TIMES
from virtualobserver.ccd.detector import detector_of
from virtualobserver.ccd.frames import RawFrame, read_frame
from virtualobserver.ccd.header import place_cards
from virtualobserver.ccd.limits import ceiling_of, fill_holes, saturation_of
from virtualobserver.ccd.loaded import LoadedMasters
from virtualobserver.ccd.masters import Picked, master_changes, pick
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.conventions import (
    MASK_COSMIC_RAY,
    MASK_HOT,
    MASK_NAMES,
    MASK_NO_DATA,
    MASK_UNSTABLE,
    SECONDS_PER_DAY,
)
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, RawRef
from virtualobserver.errors import BadKeyword, DataError, NotEnoughData
from virtualobserver.io.fits.keywords import read_wcs
from virtualobserver.maths.ccd.halos import star_halos
from virtualobserver.maths.ccd.masks import count_bits
from virtualobserver.maths.ccd.science import CalibratedFrame, Detector, apply_cosmic_rays, calibrate_frame
from virtualobserver.maths.images.background import background, source_free
from virtualobserver.maths.images.psf import Psf, measure_psf
from virtualobserver.maths.images.sources import find_sources
from virtualobserver.typing import Record, RecordDict

__all__ = ["background_cards", "reduce_frame"]

_STAR_SIGMA = 10.0
"""Standard deviations of what counts as a star; their width is fitted to bright ones. Chosen, not tuned."""
_BELOW = 0.999
"""Of the ceiling less the mean overscan: its level differs from line to line."""
_MIDDLE = 2048
"""Pixels along each axis on which sky and stars are measured: enough of both, and a quarter of the time."""


@dataclass(frozen=True)
class _Seen:
    """What the middle of a frame shows: sky and its scatter (e-), sources, PSF or None; pixels of each mask bit."""

    sky: float
    noise: float
    n_sources: int
    psf: Psf | None
    bits: Mapping[str, int] = field(default_factory=dict)


def reduce_frame(
    raw: RawRef, aux: Aux, settings: CCDSettings, loaded: LoadedMasters | None = None
) -> Product[Image]:
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
    frame, holes = _without_holes(read_frame(raw, settings))
    detector, defaults, notes = detector_of(frame.header, raw.archive_id, settings)
    # where the counts end is a value of the converter, before an overscan was subtracted; its lines differ by a few
    detector = replace(detector, saturation=_saturation(detector, frame))
    loaded = loaded or LoadedMasters()
    masters = pick(aux.masters, raw.header, settings, loaded)
    changes = master_changes(aux.masters, loaded)
    flagged = [*_flags(masters, raw, settings), *masters.doubts, *_changed(changes, settings)]
    done = calibrate_frame(
        frame.data, detector, bias=masters.bias, dark=masters.dark, flat=masters.flat,
        mask=_known_bad(holes, masters),
    )  # fmt: skip
    done = apply_cosmic_rays(done, cosmic_rays=settings.cosmic_rays)
    seen = _look(done)
    done = _mask_halos(done, frame, seen, detector, settings)
    seen = replace(seen, bits=count_bits(done.mask))
    header = _header(raw, frame, done, masters, seen)
    flagged += _check_world(header, raw.archive_id)
    defaults = [*raw.header.get("defaults", ()), *defaults]
    if settings.background_statistics:
        header |= background_cards(done.data / np.float32(detector.gain))
    header |= {"GAIN-USE": detector.gain, "RDN-USE": detector.read_noise, "CALFLAG": bool(flagged)}
    if np.isfinite(detector.saturation):
        header["SATURUSE"] = detector.saturation
    header["HISTORY"] += _said(flagged, defaults, [*raw.header.get("notes", ()), *notes], changes)
    image = Image(done.data, done.variance, done.mask, header, unit="electron")
    return Product(
        image, role="calibrated", band=str(raw.header["band"]),
        statistics={
            **_statistics(masters, seen, flagged, defaults), "master_changes": dict(changes),
        },
    )  # fmt: skip


def background_cards(counts: NDArray[np.float32]) -> dict[str, float]:
    """Return BKGMEAN, BKGMED, BKGSD and BKGMAD, the background of a whole frame in ADU, see `source_free`."""
    found = source_free(counts)
    values = (found.mean, found.median, found.sd, found.mad)
    return {
        key: value
        for key, value in zip(("BKGMEAN", "BKGMED", "BKGSD", "BKGMAD"), values, strict=True)
        if np.isfinite(value)
    }


def _without_holes(frame: RawFrame) -> tuple[RawFrame, NDArray[np.bool_] | None]:
    data, holes = fill_holes(frame.data)
    return (frame if holes is None else replace(frame, data=data)), holes


def _saturation(detector: Detector, frame: RawFrame) -> float:
    """Return the counts of a frame, less its overscan, from which pixels are saturated."""
    if frame.overscan:
        stated = detector.saturation - frame.overscan
        return (
            stated * _BELOW if np.isfinite(stated) else ceiling_of(np.rint(frame.data + frame.overscan)) - 1
        )
    return saturation_of(detector.saturation, frame.data)


def _known_bad(holes: NDArray[np.bool_] | None, masters: Picked) -> NDArray[np.uint16] | None:
    """Return the bits of pixels without data, and those of a dark that is not subtracted."""
    if holes is None:
        return masters.mask
    bits = np.where(holes, MASK_NO_DATA, 0).astype(np.uint16)
    return bits if masters.mask is None else bits | masters.mask


def _flags(masters: Picked, raw: RawRef, settings: CCDSettings) -> list[str]:
    """Return why the frame is not fully calibrated, or refuse it."""
    choice = masters.choice
    no_flat = masters.flat is None and settings.without_flat == "flag"
    flat = [f"no flat of filter {raw.header['band']!r}"] if no_flat else []
    enough = settings.without_dark == "accept" and choice.how == "bias" and not masters.level
    if not choice.flagged or enough:
        return flat
    # a camera of which no dark was ever taken is used with its bias alone, as is one whose dark would do harm
    only_bias = choice.how == "bias" and (
        "no master dark of this camera" in choice.reason or masters.mask is not None
    )
    if settings.without_dark == "refuse" and not only_bias and not masters.level:
        msg = f"{raw.archive_id}: {choice.reason}; take darks, or set without_dark: flag"
        raise DataError(msg)
    return [choice.reason, *flat]


def _changed(changes: Mapping[str, float], settings: CCDSettings) -> list[str]:
    """Return which masters are too unlike those of the night before."""
    return [
        f"the master {name} differs from the one before by more than 6 sigma in {100 * part:.1f} % of pixels"
        for name, part in changes.items()
        if part > settings.master_change
    ]


def _mask_halos(
    done: CalibratedFrame, frame: RawFrame, seen: _Seen, detector: Detector, settings: CCDSettings
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


def _check_world(header: RecordDict, name: str) -> list[str]:
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


def _header(raw: RawRef, frame: RawFrame, done: CalibratedFrame, masters: Picked, seen: _Seen) -> RecordDict:
    header = {key: value for key, value in frame.header.items() if key not in {"BUNIT", "HISTORY"}}
    facts = raw.header
    header |= {
        "ORIGFILE": facts["origin"], "NIGHT": facts["night"], "MJD-MID": facts["mjd"], "TIMESYS": "UTC",
        "EXPTIME": facts["exposure"], "SKY": seen.sky, "SKYNOISE": seen.noise, "NSOURCES": seen.n_sources,
        "RAWHASH": frame.sha256, "NOSTARS": seen.psf is None, **place_cards(facts), **_times(facts, header),
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
    number = {name: bit for bit, name in MASK_NAMES.items()}
    marked = (f"{number[name]} {name}: {n}" for name, n in seen.bits.items() if n)
    history.append("mask bits: " + ", ".join(marked))
    return {**header, "HISTORY": history}


def _times(facts: Record, header: RecordDict) -> RecordDict:
    """Return DATE-OBS in UTC where the header's times are in another scale, and take these out of it."""
    if facts.get("timesys", "utc") == "utc" or facts["mjd"] is None:
        return {}
    for key in (
        *TIMES,
        *(name for name, _ in DAYS),
        "DATE-BEG",
        "DATE-END",
        "DATE-AVG",
        "MJD-AVG",
        "MJD-END",
    ):
        header.pop(key, None)
    begin = (facts["mjd"] - 40587.0) * SECONDS_PER_DAY - float(facts["exposure"] or 0.0) / 2  # 1970-01-01
    text = datetime.fromtimestamp(begin, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return {"DATE-OBS": text, "TIMEWAS": str(facts["timesys"]).upper()}


def _said(
    flagged: Sequence[str], defaults: Sequence[str], notes: Sequence[str], changes: Mapping[str, float]
) -> list[str]:
    """Return what is odd about a frame as lines of its history."""
    return [
        *(f"not fully calibrated: {reason}" for reason in flagged),
        *(f"{key}: value of the configuration" for key in defaults),
        *(f"note: {note}" for note in notes),
        *(
            f"master {name} differs from the one before in {100 * part:.2f} % of pixels"
            for name, part in changes.items()
        ),
    ]


def _statistics(
    masters: Picked,
    seen: _Seen,
    flagged: list[str],
    defaults: list[str],
) -> Record:
    def plain(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "sky": plain(seen.sky), "sky_noise": plain(seen.noise), "n_sources": seen.n_sources,
        "fwhm": None if seen.psf is None else seen.psf.fwhm,
        "elongation": None if seen.psf is None else seen.psf.elongation,
        "dark": masters.choice.how, "dark_factor": masters.choice.factor, "flat": masters.flat is not None,
        "flagged": flagged, "defaults": defaults,
        "mask": {name: n for name, n in seen.bits.items() if n},
    }  # fmt: skip
