"""Light curves of all stars of a night: of a catalogue's stars under their numbers, of the others by position."""

from __future__ import annotations

from virtualobserver.analyses.starcurves.search import StarCurves
from virtualobserver.analyses.starcurves.settings import StarCurvesSettings

__all__ = ["StarCurves", "StarCurvesSettings"]
