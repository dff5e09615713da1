"""Nights that never were: pointed and drift exposures of a field in the Community Pipeline's layout, with their truth.

Inside: what is in the sky, how its light falls on the pixels, files as the pipeline writes them, and pointed images
turned into drifting ones. Never: rows, folders of a project, or anything of another survey.
"""

from __future__ import annotations

from virtualobserver.observatories.decam.simulate.driftify import driftify
from virtualobserver.observatories.decam.simulate.files import exposure_bytes, exposure_files, write_exposure
from virtualobserver.observatories.decam.simulate.light import Event
from virtualobserver.observatories.decam.simulate.night import (
    SimulatedCCD,
    SimulatedExposure,
    expose,
    simulate,
)
from virtualobserver.observatories.decam.simulate.settings import SimulationSettings
from virtualobserver.observatories.decam.simulate.sky import Field, field_of

__all__ = [
    "Event",
    "Field",
    "SimulatedCCD",
    "SimulatedExposure",
    "SimulationSettings",
    "driftify",
    "expose",
    "exposure_bytes",
    "exposure_files",
    "field_of",
    "simulate",
    "write_exposure",
]
