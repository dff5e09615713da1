"""Periods of light curves: sines of stars, rotation of small bodies. Opens no file."""

from __future__ import annotations

from virtualobserver.analyses.periods.search import Periods
from virtualobserver.analyses.periods.settings import PeriodsSettings

__all__ = ["Periods", "PeriodsSettings"]
