"""Settings of the search for flares and dips."""

from __future__ import annotations

from typing import Literal, Self

import pydantic

from virtualobserver.analysis import AnalysisSettings, SimulateSettings
from virtualobserver.config.settings import Bins, PositiveRange, setting

__all__ = ["InjectionSettings", "TransientsSettings"]

Shape = Literal["box", "gaussian", "fred"]


class InjectionSettings(SimulateSettings):
    """Which events are injected to measure what the search finds."""

    shapes: tuple[Shape, ...] = setting(
        ("box", "gaussian", "fred"),
        doc="Forms: box, Gaussian, fast rise and exponential decay",
        step="simulate",
        min_length=1,
    )
    amplitude: PositiveRange = setting(
        (3.0, 30.0),
        doc="Smallest and largest amplitude, drawn evenly in the logarithm; no dip is deeper than the star is bright",
        step="simulate",
    )
    amplitude_unit: Literal["sigma", "relative"] = setting(
        "sigma",
        doc="Amplitudes count in robust rms of each light curve, or in its mean flux",
        step="simulate",
    )
    width: PositiveRange = setting(
        (0.5, 30.0),
        doc="Smallest and largest width (box), full width at half maximum (gaussian) or decay time (fred), "
        "drawn evenly in the logarithm",
        unit="d",
        step="simulate",
    )
    limit_snr: float = setting(
        5.0,
        doc="Where there is no limiting magnitude, an epoch that fades below so many errors of a faint epoch is "
        "taken to be lost; 0: none is",
        unit="sigma",
        step="simulate",
        ge=0,
    )
    dips: float = setting(
        0.5, doc="Fraction of the injected events that are dips", step="simulate", ge=0, le=1
    )
    errors: Literal["keep", "poisson"] = setting(
        "keep",
        doc="Keep the errors, or scale them with the square root of the flux and add the extra noise",
        step="simulate",
    )


class TransientsSettings(AnalysisSettings):
    """Settings of the search for flares and dips."""

    method: Literal["matched", "published"] = setting(
        "matched",
        doc="matched: windows of all durations in all light curves of a star together, weighed against its quiet level "
        "and its slow variability; published: each epoch of each light curve against mean and scatter of that",
        step="analyse",
    )
    false_alarm: float = setting(
        0.005,
        doc="Chance that a quiet star has an event of several epochs, all positions and durations counted (matched)",
        step="analyse",
        gt=0,
        lt=1,
    )
    min_epochs: int = setting(
        2, doc="Epochs above 2 sigma by which an event counts as confirmed (matched)", step="analyse", ge=1
    )
    min_bands: int = setting(
        1,
        doc="Bands with such an epoch by which an event counts as confirmed (matched)",
        step="analyse",
        ge=1,
    )
    snr_threshold: float = setting(
        5.0,
        doc="The peak of an event exceeds this signal-to-noise ratio; with matched, that of an event of single epochs",
        step="analyse",
        gt=0,
        aliases=("threshold",),
    )
    sidebands: float = setting(
        -2.0,
        doc="All points of an event exceed this; a negative number counts from snr_threshold",
        step="analyse",
        aliases=("snr_threshold_sidebands",),
    )
    max_events_per_lightcurve: int = setting(
        3,
        doc="Keep so many events of one light curve, the strongest",
        step="analyse",
        ge=1,
        aliases=("max_det_per_lc",),
    )
    max_gap: float | None = setting(
        None,
        doc="A longer pause between points ends an event; unset = no limit",
        unit="d",
        step="analyse",
        gt=0,
    )
    dips: bool = setting(True, doc="Look for dips as well as flares", step="analyse", aliases=("abs_snr",))
    drop_flagged_quality: bool = setting(
        False,
        doc="Drop events that hold a point of doubtful quality instead of marking them",
        step="analyse",
        aliases=("remove_failed",),
    )
    offset_threshold: float = setting(
        3.5,
        doc="Astrometric offset, above the usual one, at which a point is doubtful",
        unit="sigma",
        step="analyse",
        gt=0,
    )
    psf_outliers: bool = setting(
        True, doc="Points whose profile is unlike that of the star (chi, sharp) are doubtful", step="analyse"
    )
    matched_filter_widths: tuple[float, ...] = setting(
        (), doc="Also look for events of these widths by a matched filter", unit="d", step="analyse"
    )
    shape: Shape = setting("gaussian", doc="Form of the template of the matched filter", step="analyse")
    min_points: int = setting(
        5, doc="Light curves with fewer good points are not searched", step="analyse", ge=1
    )
    save_processed: bool = setting(
        False, doc="Keep the light curves with S/N, quality and what was detected as products", step="analyse"
    )
    snr_bins: Bins = setting(
        (-20.0, 20.0, 0.1), doc="First, last centre and step of S/N bins", step="analyse"
    )
    offset_bins: Bins = setting(
        (-5.0, 5.0, 0.1),
        doc="First, last centre and step of astrometric offset bins",
        unit="sigma",
        step="analyse",
    )
    dmag_bins: Bins = setting(
        (-3.0, 3.0, 0.1),
        doc="First, last centre and step of magnitude difference bins",
        unit="mag",
        step="analyse",
    )
    mag_bins: Bins = setting(
        (15.0, 21.0, 0.5), doc="First, last centre and step of magnitude bins", unit="mag", step="analyse"
    )
    exptime_bins: tuple[float, float] = setting(
        (30.0, 1.0), doc="One centre and the step of exposure time bins", unit="s", step="analyse"
    )
    simulate: InjectionSettings = setting(InjectionSettings(), doc="Injection and recovery", step="simulate")

    @pydantic.model_validator(mode="after")
    def _sidebands_below_threshold(self) -> Self:
        if self.sidebands > self.snr_threshold:
            msg = (
                f"sidebands = {self.sidebands:g} is above snr_threshold = {self.snr_threshold:g}: no event could have "
                "a side; give a smaller number, or a negative one that counts from snr_threshold"
            )
            raise ValueError(msg)
        return self

    @pydantic.field_validator("matched_filter_widths")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(width <= 0 for width in value):
            msg = f"widths are positive numbers of days, not {list(value)}"
            raise ValueError(msg)
        return value
