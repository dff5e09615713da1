"""Settings of the light curves of stars."""

from __future__ import annotations

from typing import Literal

from virtualobserver.analysis import AnalysisSettings
from virtualobserver.config.settings import setting

__all__ = ["StarCurvesSettings"]


class StarCurvesSettings(AnalysisSettings):
    """Settings of the light curves of stars."""

    aperture: float | None = setting(
        None,
        doc="Radius of the aperture, one of those measured; unset = for each star that in which stars as bright "
        "scatter least, a circle that was measured or one between them that follows the seeing",
        unit="pix",
        step="analyse", gt=0,
    )  # fmt: skip
    min_epochs: int = setting(5, doc="Least number of frames a star is seen in", step="analyse", ge=3)
    min_snr: float = setting(
        5.0, doc="Least signal-to-noise ratio of a star in the median frame", step="analyse", ge=0
    )
    most: int = setting(500, doc="Stars, the brightest", step="analyse", ge=3)
    comparison: int = setting(100, doc="Comparison stars, those with the highest S/N", step="analyse", ge=3)
    false_alarms: float = setting(
        0.01, doc="Constant stars expected to be called variable in a night", step="analyse", gt=0
    )
    unit: Literal["electron", "uJy"] = setting(
        "electron",
        doc="Of the light curves: electron, or uJy by the magnitudes (AB) that the catalogue gives of constant stars",
        step="analyse",
    )
    match_radius: float = setting(
        3.0, doc="Within which sources are one star, where positions on the sky are known", unit="arcsec",
        step="analyse", gt=0,
    )  # fmt: skip
