"""Settings of the search for exocomets."""

from __future__ import annotations

from typing import Literal

import pydantic

from virtualobserver.analysis import AnalysisSettings, SimulateSettings
from virtualobserver.config.settings import Bins, PositiveRange, Range, setting

__all__ = ["CometInjection", "ExocometsSettings"]


class CometInjection(SimulateSettings):
    """Which comets are injected to measure what the search finds."""

    profiles: tuple[Literal["gaussian", "optical_depth"], ...] = setting(
        ("gaussian", "optical_depth"),
        doc="Gaussians in velocity, or clouds of gas over part of the star",
        step="simulate",
        min_length=1,
    )
    depth: PositiveRange = setting(
        (0.01, 0.6), doc="Fraction of the star's light missing in K, even in the logarithm", step="simulate"
    )
    fwhm: PositiveRange = setting(
        (3.0, 150.0), doc="Full width at half maximum, even in the logarithm", unit="km/s", step="simulate"
    )
    velocity_mean: float = setting(
        20.0, doc="Mean velocity in the star's frame", unit="km/s", step="simulate"
    )
    velocity_scatter: float = setting(
        50.0, doc="Standard deviation of the velocities", unit="km/s", gt=0, step="simulate"
    )
    duration: PositiveRange = setting(
        (1.0, 72.0), doc="Duration of the transit, even in the logarithm", unit="h", step="simulate"
    )
    acceleration: PositiveRange = setting(
        (0.003, 20.0),
        doc="Change of velocity, even in the logarithm, either sign; at most 60 km/s in all",
        unit="km/s/h",
        step="simulate",
    )
    ratio: PositiveRange = setting(
        (0.5, 1.0), doc="Depth in H over that in K, for Gaussians", step="simulate"
    )
    tau: PositiveRange = setting(
        (0.1, 10.0), doc="Optical depth in K, even in the logarithm", step="simulate"
    )

    @pydantic.field_validator("depth")
    @classmethod
    def _not_more_than_all(cls, value: PositiveRange) -> PositiveRange:
        if value[1] > 0.99:
            msg = f"a comet takes at most 0.99 of the light, not {value[1]}"
            raise ValueError(msg)
        return value


class ExocometsSettings(AnalysisSettings):
    """Settings of the search for exocomets."""

    method: Literal["matched", "published"] = setting(
        "matched",
        doc="Matched filter with a false-alarm rate of each star's own, or the published statistic as it is",
        step="analyse",
    )
    line: Literal["K", "H", "both"] = setting(
        "both", doc="Lines to search; the matched filter takes both jointly", step="analyse"
    )
    snr_cut: float = setting(
        0.0,
        doc="Leave out spectra whose signal-to-noise ratio beside the line is lower",
        step="analyse",
        ge=0,
        aliases=("SNR_cut",),
    )
    snr_threshold: float = setting(
        5.0, doc="Least signal-to-noise ratio of an event in its best spectrum", step="analyse", gt=0
    )
    max_fap: float = setting(
        0.002,
        doc="Largest probability that noise makes such an event anywhere in the star's data",
        step="analyse",
        gt=0,
        le=1,
    )
    member_snr: float = setting(
        3.0, doc="From this on a spectrum of the same night belongs to an event", step="analyse", gt=0
    )
    velocity_range: Range = setting(
        (-300.0, 300.0), doc="Velocities in the star's frame that are searched", unit="km/s", step="analyse"
    )
    side_bands: Range = setting(
        (200.0, 700.0), doc="Where continuum and noise are measured", unit="km/s", step="analyse"
    )
    resolution: float = setting(
        2.61,
        doc="Width of the instrument's line spread: the narrowest template",
        unit="km/s",
        step="analyse",
        gt=0,
    )
    widest: float = setting(150.0, doc="Width of the widest template", unit="km/s", step="analyse", gt=0)
    continuum_degree: int = setting(
        2, doc="Degree of the polynomial that takes slope and blaze out", step="analyse", ge=0, le=4
    )
    reference: Literal["auto", "mean", "quantile"] = setting(
        "auto",
        doc="What spectra are compared with: mean of the other nights, or upper envelope for a star that "
        "absorbs in most nights; auto takes the second where events are frequent",
        step="analyse",
    )
    frequent: float = setting(
        0.2,
        doc="Share of nights with events from which on auto takes the envelope",
        step="analyse",
        gt=0,
        le=1,
    )
    max_events_per_spectrum: int = setting(
        5, doc="Look for so many events in one spectrum", step="analyse", ge=1, le=50
    )
    max_events_per_star: int = setting(
        1000, doc="Keep so many events of one star, the strongest", step="analyse", ge=1
    )
    hepsilon: float = setting(
        40.0,
        doc="Half-width of the gap in H around the hydrogen line epsilon at 3970.07 Angstrom",
        unit="km/s",
        step="analyse",
        ge=0,
    )
    emission_contrast: float = setting(
        0.3, doc="A core so far above its wings makes a star active", step="analyse", gt=0
    )
    activity_core: float = setting(
        150.0,
        doc="Reach of activity where v sin i is unknown; else v sin i + 20",
        unit="km/s",
        step="analyse",
        ge=0,
    )
    burst_gap: float = setting(
        0.5,
        doc="Spectra nearer in time than this ought to show the same event",
        unit="h",
        step="analyse",
        ge=0,
    )
    save_processed: bool = setting(
        False, doc="Keep signal-to-noise by time and velocity as a product", step="analyse"
    )
    threshold: float | None = setting(
        None,
        doc="Published statistic: threshold of the deepest pixel; unset = -4 in K and -2 in H",
        step="analyse",
        lt=0,
    )
    median_pixels: int = setting(
        3,
        doc="Published statistic: pixels of the running median, odd",
        step="analyse",
        ge=1,
        aliases=("med_filter_bin",),
    )
    rv_min: float = setting(
        -200.0, doc="Published statistic: start of the window", unit="km/s", step="analyse"
    )
    rv_max: float = setting(
        200.0, doc="Published statistic: end of the window", unit="km/s", step="analyse", above="rv_min"
    )
    activity_cutoff: float = setting(
        2.0,
        doc="Published statistic: a median spectrum above this is masked around its core",
        step="analyse",
        aliases=("cutoff",),
    )
    min_width: int = setting(
        3,
        doc="Published statistic: contiguous pixels at or below -3 of a detection",
        step="analyse",
        ge=1,
        aliases=("width_filt",),
    )
    cores: int = setting(
        1, doc="Understood and without effect: `run.workers` says how many processes run", run_only=True, ge=1
    )
    dataset: str | None = setting(
        None, doc="Understood and without effect: `archive` of the survey says where data lie", run_only=True
    )
    velocity_bins: Bins = setting(
        (-300.0, 300.0, 50.0), doc="First, last centre and step of velocity bins", unit="km/s", step="analyse"
    )
    snr_bins: Bins = setting(
        (-15.0, 30.0, 0.25), doc="First, last centre and step of signal-to-noise bins", step="analyse"
    )
    depth_bins: Bins = setting(
        (-3.0, 0.5, 0.1),
        doc="First, last centre and step of bins of the logarithm of the smallest depth that would be seen",
        step="analyse",
    )
    simulate: CometInjection = setting(CometInjection(), doc="Injection and recovery", step="simulate")

    @pydantic.field_validator("median_pixels")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            msg = f"a running median needs an odd number of pixels, not {value}"
            raise ValueError(msg)
        return value
