"""Light curves of all stars of a night: a catalogue's stars under their numbers, others by position. Opens no file."""

from __future__ import annotations

from virtualobserver.analyses.starcurves.search import StarCurves
from virtualobserver.analyses.starcurves.settings import StarCurvesSettings

__all__ = ["StarCurves", "StarCurvesSettings"]
