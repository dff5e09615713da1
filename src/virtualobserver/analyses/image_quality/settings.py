"""Settings of the quality of images."""

from __future__ import annotations

from typing import Literal

from virtualobserver.analysis import AnalysisSettings
from virtualobserver.config.settings import Settings, setting

__all__ = ["OutlierSettings", "QualitySettings"]


class OutlierSettings(Settings):
    """What an outlier is, and what becomes of it."""

    rule: Literal["robust", "boxplot"] = setting(
        "robust",
        doc="robust: separations beyond the third quartile by 1.5 quartile ranges, and other numbers more than `limit` "
        "robust deviations off, by more than nights differ anyway; boxplot: beyond the quartiles by 1.5 of their range",
        step="analyse",
    )
    limit: float = setting(4.0, doc="Of the robust rule", unit="sigma", step="analyse", gt=0)
    action: Literal["drop", "keep", "stop"] = setting(
        "drop",
        doc="Outliers are left out of searches, or only marked, or the night fails until somebody has looked",
        step="analyse",
    )
    fewest: int = setting(4, doc="Images of one filter that are compared", step="analyse", ge=3)


class QualitySettings(AnalysisSettings):
    """Settings of the quality of images."""

    outliers: OutlierSettings = setting(
        OutlierSettings(), doc="Images unlike the others of their night", step="analyse"
    )
