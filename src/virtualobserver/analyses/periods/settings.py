"""Settings of the search for periods."""

from __future__ import annotations

from typing import Final, Literal

from virtualobserver.analysis import AnalysisSettings, SimulateSettings
from virtualobserver.config.settings import PositiveRange, setting

__all__ = ["LONGEST", "SHORTEST", "InjectionSettings", "PeriodsSettings"]

SHORTEST: Final = 1.5
"""Hours: bodies held together by gravity alone fly apart below 2.2 h."""
LONGEST: Final = 60.0
"""Hours: of longer rotations a few nights see too little."""


class InjectionSettings(SimulateSettings):
    """Which periods are injected to measure what the search finds."""

    amplitude: PositiveRange = setting(
        (0.01, 0.5),
        doc="From the highest to the lowest point, drawn evenly in the logarithm",
        unit="mag",
        step="simulate",
    )
    period: PositiveRange | None = setting(
        None,
        doc="Shortest and longest, drawn evenly in the logarithm; unset = those that are searched",
        unit="h",
        step="simulate",
    )


class PeriodsSettings(AnalysisSettings):
    """Settings of the search for periods."""

    method: Literal["gls", "asteroid"] = setting(
        "gls",
        doc="gls: sines, one after the other; asteroid: rotation, by series of harmonics with own offsets of sessions",
        step="analyse",
    )
    role: Literal["any", "reduced", "mover", "asteroid"] = setting(
        "any",
        doc="Which light curves: those of a survey, of movers of one night, of asteroids with all their nights, or any",
        step="analyse",
    )
    band: str | None = setting(
        None, doc="Only this band; unset = all, each with a mean of its own", step="analyse"
    )
    min_epochs: int = setting(10, doc="Least number of good epochs", step="analyse", ge=5)
    shortest: float | None = setting(
        None,
        doc="Shortest period; unset = gls: as the number of epochs bears, asteroid: 1.5 h",
        unit="h",
        step="analyse",
        gt=0,
    )
    longest: float | None = setting(
        None,
        doc="Longest period; unset = gls: ten times the span, asteroid: 60 h",
        unit="h",
        step="analyse",
        gt=0,
    )
    oversampling: float = setting(
        10.0, doc="gls: frequencies per 1 / span", step="analyse", ge=1, aliases=("ofac",)
    )
    nyquist: float = setting(
        1.0,
        doc="gls: highest frequency, in half the number of epochs per span",
        step="analyse",
        gt=0,
        aliases=("hifac",),
    )
    iterations: int = setting(
        1,
        doc="gls: sines taken away one after the other, each a detection if significant",
        step="analyse",
        ge=1,
    )
    harmonics: int = setting(
        6,
        doc="asteroid: largest number of harmonics; how many are used says the BIC",
        step="analyse",
        ge=2,
        le=12,
    )
    sessions: Literal["auto", "night", "curve"] = setting(
        "auto",
        doc="asteroid: what shares a zero point: each light curve in each night, or each light curve; auto: nights if "
        "they have five epochs or more in the median",
        step="analyse",
    )
    permutations: int = setting(
        199,
        doc="asteroid: light curves of random order within sessions for the false-alarm probability",
        step="analyse",
        ge=99,
    )
    false_alarm: float = setting(
        0.01,
        doc="A period is a detection if chance alone gives one with this probability",
        step="analyse",
        gt=0,
        lt=1,
    )
    save_processed: bool = setting(
        False, doc="Keep the periodogram and the folded light curve as products", step="analyse"
    )
    simulate: InjectionSettings = setting(InjectionSettings(), step="simulate", doc="Injected periods")
