"""A tiny survey whose frames are lists of stars, solved and calibrated with a reference catalogue."""

from __future__ import annotations

import json

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product, Raw
from virtualobserver.maths.astrometry.plate import PlateHint
from virtualobserver.observatory import ObservatorySettings, VirtualObservatory


class StarfieldSettings(ObservatorySettings):
    """The catalogue is one."""

    refcat: str = setting("", doc="Reference catalogue, <name>@<version>", step="reduce")


class VirtualStarfield(VirtualObservatory[Image, StarfieldSettings]):
    """Files ``NAME.json`` with x, y, flux, hint and shape."""

    name = "starfield"
    produces = (("image", "solved"),)
    services = ("refcat", "solver")

    def fetch(self, targets, client):
        for target in targets:
            for folder in client.folders:
                path = folder / f"{target.name}.json"
                if path.exists():
                    yield target, Raw(path.name, "json", path=path, in_place=True)

    def reduce(self, raws, aux, settings):
        for raw in raws:
            frame = json.loads(raw.read())
            sources = frame["x"], frame["y"], frame["flux"]
            found = aux.services["solver"].solve(
                sources, hint=PlateHint(**frame["hint"]), shape=tuple(frame["shape"]), epoch=frame["epoch"]
            )
            near = aux.services["refcat"].cone(*found.solution.plate.crval, 0.1, frame["epoch"])
            header = dict(found.solution.wcs) | {"NSTARS": len(near)}
            yield Product(
                Image(np.zeros((2, 2)), header=header), role="solved", statistics=found.solution.statistics()
            )

    def simulate_raw(self, targets, rng):
        yield from ()
