"""Which images of a night are unlike the others, by their stars, their background and their light."""

from virtualobserver.analyses.image_quality.search import ImageQuality
from virtualobserver.analyses.image_quality.settings import OutlierSettings, QualitySettings

__all__ = ["ImageQuality", "OutlierSettings", "QualitySettings"]
