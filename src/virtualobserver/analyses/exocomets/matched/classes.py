"""The class of an event, from its numbers: every rule in one place."""

from __future__ import annotations

from typing import Final

from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.typing import Record

__all__ = ["CLASSES", "event_class", "is_active", "is_binary", "star_class"]

CANDIDATE: Final = "exocomet_candidate"
CLASSES: Final = (CANDIDATE, "activity", "binary", "instrument", "unclear")

_BALANCE: Final = 0.25
"""Emission features over all features, from which on a star varies both ways."""
_CHANCE: Final = 0.01
"""Probability that hits and noise alone make so many emission features, above which they are no evidence."""
_SHAPE: Final = 0.001
"""Of (S/N)^2, by which `misfit` may be larger: no cloud is a Gaussian to better than 3 % of its depth."""
_WIDE: Final = 75.0
"""km/s; ripples of the continuum are wider than this, as slower ones are taken out and faster ones not seen."""
_RIPPLE: Final = 0.5
"""Of an event's S/N, that a feature upwards beside it must have to be the other half of a ripple."""
_PC_CORRELATION: Final = 0.6
"""An event this like the first principal component of the other nights is part of the star's own variation, if that
goes both ways."""
_SHIFT_SHARE: Final = 0.5
"""Part of all variability that shifts of the lines explain in a binary: most of it."""
_PIXEL_SHARE: Final = 0.6
"""A hit of which one pixel carries more is a defect: the middle pixel of HARPS has 0.4 of the narrowest template's."""
_WEAK_CORE: Final = 0.1
"""A core so far above its wings shines, if weakly. Where half of the nights or more are darker there than the others,
it is the shining that varies. Of inactive stars the core does not rise at all."""
_MISFIT: Final = 12.0
"""Gain in chi^2 that a depth in H outside what any gas can have would bring: 3.5 sigma for one parameter."""


def is_binary(star: Record, settings: ExocometsSettings) -> bool:
    """Whether lines move by more than half the resolution, and that explains the variability."""
    moves = _number(star, "rv_scatter") > 0.5 * settings.resolution
    return moves and _number(star, "shift_share") >= _SHIFT_SHARE and _number(star, "variability") > 10.0


def is_active(star: Record, settings: ExocometsSettings) -> bool:
    """Whether the core is in emission, or features go up about as often as down."""
    return _shines(star, settings) or _varies_both_ways(star)


def _shines(star: Record, settings: ExocometsSettings) -> bool:
    """Whether the core is in emission; a weak one is enough where the star is darker in half of its nights or more."""
    often = star.get("hypothesis") in ("half", "most")
    least = min(_WEAK_CORE, settings.emission_contrast) if often else settings.emission_contrast
    return _number(star, "emission_core") >= least


def _varies_both_ways(star: Record) -> bool:
    often = int(star.get("n_emission", 0)) >= 3 and not _number(star, "emission_chance") > _CHANCE
    return often and _number(star, "emission_fraction") >= _BALANCE


def event_class(event: Record, star: Record, settings: ExocometsSettings) -> tuple[str, str]:
    """Return class and reason of an event; the first rule that applies decides.

    Parameters
    ----------
    event, star
        Features as stored, see the documentation page; what is missing (None) decides nothing.
    """
    if is_binary(star, settings):
        return "binary", "lines shift by more than half the resolution"
    defect = _defect(event)
    if defect:
        return "instrument", defect
    active = _activity(event, star, settings)
    if active:
        return "activity", active
    # chosen: two resolution elements, and a twentieth for the steps of widths
    if event.get("missing_in_burst") and _number(event, "fwhm") <= 2.1 * settings.resolution:
        return "instrument", "as narrow as the resolution and in one spectrum of a burst only"
    return _candidate(event, settings)


def _activity(event: Record, star: Record, settings: ExocometsSettings) -> str:
    reach = star.get("vsini")
    reach = settings.activity_core if reach is None else float(reach) + 20.0
    inside = abs(_number(event, "velocity")) <= reach + 0.5 * _number(event, "fwhm")
    if inside and _shines(star, settings):
        return "within the emission core of an active star"
    if not _varies_both_ways(star):
        return ""
    if inside:
        return "features go up about as often as down"
    like = _number(event, "pc_correlation") >= _PC_CORRELATION
    if like and _number(star, "pc_significance") > 2.0:
        return "like the first principal component of the other nights"
    return ""


def _defect(event: Record) -> str:
    if _number(event, "pixel_share") > _PIXEL_SHARE:
        return "one pixel carries it"
    own, earth = _number(event, "scatter_star"), _number(event, "scatter_earth")
    nights = int(event.get("n_nights_earth") or 0)
    often = nights >= 3 and nights >= 2.5 * int(event.get("n_nights") or 1)
    if often and own > 2.0 and earth < 0.5 * own:
        return "stays put in the frame of the observatory"
    return ""


def _candidate(event: Record, settings: ExocometsSettings) -> tuple[str, str]:
    if not _number(event, "fap") <= settings.max_fap:
        return "unclear", "the star's own noise may make it"
    if _number(event, "misfit") > _MISFIT + _SHAPE * float(event.get("peak_snr") or 0.0) ** 2:
        return "unclear", "depths in K and H are those of no gas"
    if event.get("missing_in_burst"):
        return "unclear", "in one spectrum of a burst only"
    if _number(event, "fwhm") >= _WIDE and _number(event, "emission_beside") >= _RIPPLE:
        return "unclear", "the spectrum goes up as much beside it"
    return CANDIDATE, "absorption that nothing else explains"


def star_class(kinds: list[str], star: Record, settings: ExocometsSettings) -> str:
    """Return the class of a star: binary, candidate, activity, or that of its events; ``quiet`` without any."""
    if is_binary(star, settings):
        return "binary"
    if CANDIDATE in kinds:
        return CANDIDATE
    if is_active(star, settings):
        return "activity"
    for kind in ("activity", "unclear", "instrument"):
        if kind in kinds:
            return kind
    return "quiet"


def _number(values: Record, name: str) -> float:
    value = values.get(name)
    return float("nan") if value is None else float(value)
