"""Simulated frames of LSSS, calibrated, and the stars in them as a reference catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from virtualobserver.catalog.reference import MemoryReference, ReferenceStars
from virtualobserver.catalog.solver import CatalogueSolver
from virtualobserver.data import Target
from virtualobserver.observatories.lsss.simulate import stars_of
from virtualobserver.observatory import Aux
from virtualobserver.testing.surveys import units

FIELD = Target("field", ra=150.0, dec=20.0, kind="field")
MAG_ERROR = 0.003


def catalogue(survey: Any, seed: int = 1, *, mag_error: float = MAG_ERROR) -> MemoryReference:
    """Return the stars of a simulated field as a catalogue with magnitudes and colours."""
    ra, dec, mag, colour = stars_of(FIELD, survey.settings.simulation, np.random.default_rng(seed)).T
    columns = {
        "source_id": np.arange(len(ra)) + 10**17, "ra": ra, "dec": dec, "mag": mag, "bp_rp": colour,
        "mag_error": np.full(len(ra), mag_error),
    }  # fmt: skip
    return MemoryReference(ReferenceStars.build(columns, epoch=2016.0))


def aux_of(survey: Any, seed: int = 1, **options: Any) -> Aux:
    """Return the services of a frame of the field."""
    stars = catalogue(survey, seed, **options)
    return Aux(FIELD, services={"refcat": stars, "solver": CatalogueSolver(stars)})


def first_frame(survey: Any, seed: int = 1) -> Any:
    """Return the first science frame of a survey's simulated night, calibrated."""
    (raws, aux), *_ = units(survey, seed)
    (product,) = survey.reduce(raws, aux, survey.settings)
    return product
