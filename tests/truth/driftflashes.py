"""Flashes in the pixels of a drift frame, reduced as any other, beside those that the search puts into its spots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.driftscan import Driftscan
from virtualobserver.analyses.driftscan.spotevents import tell_spots
from virtualobserver.data.handles import MemoryHandle, as_handle
from virtualobserver.data.product import Aux, Product, RawRef, Target
from virtualobserver.data.table import Table
from virtualobserver.observatories.decam import VirtualDECam
from virtualobserver.observatories.decam.folder import find_exposures, raws_of
from virtualobserver.observatories.decam.simulate import SimulationSettings, simulate, write_exposure
from virtualobserver.observatories.decam.simulate.light import add_light
from virtualobserver.observatories.decam.simulate.night import SimulatedExposure
from virtualobserver.observatories.decam.simulate.sky import SCALE

__all__ = ["FIELD", "GAIN", "SIM", "Became", "Chip"]

FloatArray = NDArray[np.float64]
Became = tuple[NDArray[np.bool_], NDArray[np.bool_], FloatArray]
"""Of each place: whether a spot is there, whether it is told as a flash, and its flux."""
FIELD = Target("LMC", ra=92.253, dec=-70.7387, kind="field")
GAIN = 4.0
# so many bright stars that the wings of their images are measured, which hold a fifth of the light
SIM = SimulationSettings(
    exposures=1, ccds=["N24"], size=(600, 600), density=500.0, mag=(14.5, 21.0), events=0, flashes=0.0,
    cosmic_rays=0.0, satellites=0.0, bad_columns=0,
)  # fmt: skip


class Chip:
    """A chip whose drift frame is reduced anew with whatever is put into its pixels."""

    def __init__(self, folder: Path, sim: SimulationSettings = SIM, seed: int = 3) -> None:
        self.folder, self.sim = folder, sim
        self.survey = VirtualDECam(drift_astrom={"fewest": 5}, detrend={"fewest": 6})
        exposures = {one.band: one for one in simulate(FIELD, np.random.default_rng(seed), sim)}
        self.drift = exposures["VR"]
        raws = self._raws(exposures["r"])
        (product,) = self.survey.calibrate(raws, Aux(FIELD), self.survey.settings)
        handle = as_handle(product)
        unit = self.survey.unit(raws[0])
        self.reference = MemoryHandle(handle.load(), replace(handle.info, unit=unit))
        self.quiet = self.spots()
        told = self.quiet.meta["flash_map"]
        self.x, self.y = (np.array(told[axis]) for axis in "xy")

    def _raws(self, exposure: SimulatedExposure) -> list[RawRef]:
        for path in self.folder.rglob("*.fz"):
            path.unlink()
        write_exposure(exposure, self.folder)
        (one,) = find_exposures([self.folder], self.survey.settings)
        return [RawRef.of(raw) for raw in raws_of(one, self.survey.settings)]

    def spots(self, places: Iterable[int] = (), electrons: float = 0.0, seed: int = 0) -> Table:
        """Return the table of spots with flashes in the pixels of some places."""
        (ccd,), light = self.drift.ccds, np.zeros(self.sim.size)
        for place in places:
            at = (
                np.array([part])
                for part in (self.x[place], self.y[place], electrons, self.sim.seeing / SCALE)
            )
            add_light(light, *at, profile=self.sim.profile)
        data = ccd.data + np.random.default_rng(seed).poisson(light) / GAIN
        raws = self._raws(replace(self.drift, ccds=(replace(ccd, data=data.astype(np.float32)),)))
        aux = Aux(FIELD, masters=self.survey.choose([self.reference], raws[0]))
        products = self.survey.reduce(raws, aux, self.survey.settings)
        return next(one.data for one in products if one.role == "spots")

    def became(self, table: Table, places: NDArray[np.int64]) -> Became:
        """Return what a table has at places."""
        told = tell_spots(table)
        away = np.hypot(told.spots.x - self.x[places][:, None], told.spots.y - self.y[places][:, None])
        row = away.argmin(axis=1)
        flash = np.array(told.classes.label)[row] == "flash"
        there = away.min(axis=1) < 3
        return there, there & flash, told.spots.flux[row]

    def stated(self, places: NDArray[np.int64], electrons: float, rng: np.random.Generator) -> Became:
        """Return what the search states of flashes at places, put into the table of spots."""
        analysis, quiet = Driftscan(), [as_handle(Product(self.quiet, role="spots"))]
        params = [{"kind": "flash", "product": 0, "place": int(one), "fluence": electrons} for one in places]
        return self.became(analysis.inject(quiet, params, rng)[0].load(), places)
