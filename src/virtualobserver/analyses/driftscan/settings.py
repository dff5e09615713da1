"""Settings of the search along trails."""

from __future__ import annotations

from typing import Literal

from virtualobserver.analysis import AnalysisSettings, SimulateSettings
from virtualobserver.config.settings import PositiveRange, setting

__all__ = ["DriftscanSettings", "InjectionSettings"]

Shape = Literal["tophat", "gaussian", "pspl", "finite"]
SpotClass = Literal[
    "flash", "cosmic_ray", "streak", "partial_trail", "moving_object", "artefact", "blend"
]  # fmt: skip


class InjectionSettings(SimulateSettings):
    """Which events are injected to measure what the search finds."""

    shapes: tuple[Shape, ...] = setting(
        ("tophat", "gaussian", "pspl"),
        doc="Forms: top-hat, Gaussian, a lens that passes a point or the middle of a disc",
        step="simulate",
        min_length=1,
    )
    snr: PositiveRange = setting(
        (3.0, 20.0),
        doc="Signal over noise that a search would have that knew form and time, drawn evenly in the logarithm",
        step="simulate",
    )
    duration: PositiveRange = setting(
        (0.1, 4.0), doc="Full width at half maximum, drawn evenly in the logarithm", unit="s", step="simulate"
    )
    dips: float = setting(
        0.3,
        doc="Fraction of dips among events of stars; none is deeper than the star is bright",
        step="simulate",
        ge=0,
        le=1,
    )
    flashes: float = setting(
        0.3,
        doc="Fraction of flashes among all events, where tables of spots say what one would look like",
        step="simulate",
        ge=0,
        le=1,
    )
    fluence: PositiveRange = setting(
        (500.0, 50_000.0),
        doc="Light of a flash, drawn evenly in the logarithm",
        unit="electron",
        step="simulate",
    )


class DriftscanSettings(AnalysisSettings):
    """Settings of the search along trails."""

    false_alarm: float = setting(
        0.01,
        doc="Chance that noise has such a pulse in any trail of the exposure, and as much for dips; all trails, times "
        "and forms counted",
        step="analyse",
        gt=0,
        lt=1,
    )
    dips: bool = setting(True, doc="Look for dips as well as pulses", step="analyse")
    calibrate: bool = setting(
        True, doc="Let 200 trails or more of a CCD say how wide their noise is", step="analyse"
    )
    coincidence: float = setting(
        1.0, doc="Events of two stars within this are coincident", unit="s", step="analyse", gt=0
    )
    most_coincident: int = setting(
        3,
        doc="With so many other stars at the same time an event is what all do (reason `common`); fewer are kept",
        step="analyse",
        ge=1,
    )
    coverage: float = setting(
        0.85,
        doc="Share of an event's form on good samples, below which it has the reason `masked`",
        step="analyse",
        ge=0,
        le=1,
    )
    amplifier_edge: float | None = setting(
        1022.5,
        doc="Pixel x at which the amplifiers of a CCD meet; an event within 3 pixels has the reason `amplifier`",
        unit="pix",
        step="analyse",
    )
    spots: tuple[SpotClass, ...] = setting(
        ("flash", "partial_trail", "moving_object"),
        doc="Classes of spots that are kept as detections; all are counted",
        step="analyse",
    )
    spot_probability: float = setting(
        0.5, doc="Least probability of the class of a spot that is kept", step="analyse", ge=0, le=1
    )
    simulate: InjectionSettings = setting(InjectionSettings(), doc="Injection and recovery", step="simulate")
