"""Search for moving objects in images of one night. Knows no survey and opens no file."""

from virtualobserver.analyses.moving_objects.search import MovingObjects
from virtualobserver.analyses.moving_objects.settings import (
    ImageCuts,
    MoverInjection,
    MovingObjectsSettings,
    StackSettings,
)

__all__ = ["ImageCuts", "MoverInjection", "MovingObjects", "MovingObjectsSettings", "StackSettings"]
