"""The class of an event, from its numbers: every rule in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CLASSES", "ClassRules", "event_class", "is_active", "is_binary", "star_class"]

CANDIDATE: Final = "exocomet_candidate"
CLASSES: Final = (CANDIDATE, "activity", "binary", "instrument", "unclear")


@dataclass(frozen=True, slots=True)
class ClassRules:
    """Limits of the rules; velocities in km/s.

    Parameters
    ----------
    max_fap
        False-alarm probability, over all data of the star, that a candidate may have.
    lsf
        Resolution of the spectrograph (full width at half maximum).
    emission_contrast
        A core that rises so far above its wings is one of an active star.
    core
        Half-width of the region that activity reaches where the rotation is unknown; else v sin i + 20.
    balance
        Emission features over all features, from which on a star varies both ways.
    pc_correlation
        An event this like the first principal component of the other nights is part of the star's own
        variation, if that goes both ways.
    shift_share
        Part of all variability that shifts of the lines explain in a binary.
    pixel_share
        A hit of which one pixel carries more is a defect.
    misfit
        Gain in chi^2 that a depth in H outside what any gas can have would bring.
    """

    max_fap: float = 0.002
    lsf: float = 2.61
    emission_contrast: float = 0.3
    core: float = 150.0
    balance: float = 0.25
    pc_correlation: float = 0.6
    shift_share: float = 0.5
    pixel_share: float = 0.6
    misfit: float = 12.0


def is_binary(star: Mapping[str, Any], rules: ClassRules) -> bool:
    """Whether lines move by more than half the resolution, and that explains the variability."""
    moves = _number(star, "rv_scatter") > 0.5 * rules.lsf
    return moves and _number(star, "shift_share") >= rules.shift_share and _number(star, "variability") > 10.0


def is_active(star: Mapping[str, Any], rules: ClassRules) -> bool:
    """Whether the core is in emission, or features go up about as often as down."""
    return _number(star, "emission_core") >= rules.emission_contrast or _varies_both_ways(star, rules)


def _varies_both_ways(star: Mapping[str, Any], rules: ClassRules) -> bool:
    return int(star.get("n_emission", 0)) >= 3 and _number(star, "emission_fraction") >= rules.balance


def event_class(event: Mapping[str, Any], star: Mapping[str, Any], rules: ClassRules) -> tuple[str, str]:
    """Return class and reason of an event; the first rule that applies decides.

    Parameters
    ----------
    event, star
        Features as stored, see the documentation page; what is missing (None) decides nothing.
    """
    if is_binary(star, rules):
        return "binary", "lines shift by more than half the resolution"
    defect = _defect(event, rules)
    if defect:
        return "instrument", defect
    active = _activity(event, star, rules)
    if active:
        return "activity", active
    if event.get("missing_in_burst") and _number(event, "fwhm") <= 2.1 * rules.lsf:
        return "instrument", "as narrow as the resolution and in one spectrum of a burst only"
    return _candidate(event, rules)


def _activity(event: Mapping[str, Any], star: Mapping[str, Any], rules: ClassRules) -> str:
    reach = star.get("vsini")
    reach = rules.core if reach is None else float(reach) + 20.0
    inside = abs(_number(event, "velocity")) <= reach + 0.5 * _number(event, "fwhm")
    if inside and _number(star, "emission_core") >= rules.emission_contrast:
        return "within the emission core of an active star"
    if not _varies_both_ways(star, rules):
        return ""
    if inside:
        return "features go up about as often as down"
    like = _number(event, "pc_correlation") >= rules.pc_correlation
    if like and _number(star, "pc_significance") > 2.0:
        return "like the first principal component of the other nights"
    return ""


def _defect(event: Mapping[str, Any], rules: ClassRules) -> str:
    if _number(event, "pixel_share") > rules.pixel_share:
        return "one pixel carries it"
    own, earth = _number(event, "scatter_star"), _number(event, "scatter_earth")
    nights = int(event.get("n_nights_earth") or 0)
    often = nights >= 3 and nights >= 2.5 * int(event.get("n_nights") or 1)
    if often and own > 2.0 and earth < 0.5 * own:
        return "stays put in the frame of the observatory"
    return ""


def _candidate(event: Mapping[str, Any], rules: ClassRules) -> tuple[str, str]:
    if not _number(event, "fap") <= rules.max_fap:
        return "unclear", "the star's own noise may make it"
    if _number(event, "misfit") > rules.misfit:
        return "unclear", "depths in K and H are those of no gas"
    if event.get("missing_in_burst"):
        return "unclear", "in one spectrum of a burst only"
    return CANDIDATE, "absorption that nothing else explains"


def star_class(kinds: list[str], star: Mapping[str, Any], rules: ClassRules) -> str:
    """Return the class of a star: binary, candidate, activity, or that of its events; ``quiet`` without any."""
    if is_binary(star, rules):
        return "binary"
    if CANDIDATE in kinds:
        return CANDIDATE
    if is_active(star, rules):
        return "activity"
    for kind in ("activity", "unclear", "instrument"):
        if kind in kinds:
            return kind
    return "quiet"


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    return float("nan") if value is None else float(value)
