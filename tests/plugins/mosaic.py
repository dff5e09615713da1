"""A survey of exposures with three chips in one file each: units of chip, night and exposure."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.data.product import Product, Raw
from virtualobserver.data.table import Table
from virtualobserver.observatory import ObservatorySettings, VirtualObservatory

CHIPS = ("N24", "S3", "S30")
EXPOSURES = {"1058801": "2021-12-11", "1058802": "2021-12-11", "1059300": "2021-12-12"}


class MosaicSettings(ObservatorySettings):
    """How files come."""

    way: Literal["bytes", "moved"] = setting("bytes", doc="As bytes, or as a file to move", step="fetch")


class VirtualMosaic(VirtualObservatory[Table, MosaicSettings]):
    """Files that hold a number for each chip."""

    name = "mosaic"
    levels = ("ccd", "night", "exposure")
    produces = (("table", "sources"),)
    batch = 1

    def fetch(self, targets, client):
        for target in targets:
            for exposure, night in EXPOSURES.items():
                content = json.dumps({chip: len(chip) + int(exposure) for chip in CHIPS}).encode()
                how = {"content": content}
                if self.settings.way == "moved":
                    client.scratch.mkdir(parents=True, exist_ok=True)
                    how = {"path": client.scratch / f"{exposure}.json"}
                    how["path"].write_bytes(content)
                for chip in CHIPS:
                    header = {"night": night, "exposure": exposure}
                    yield target, Raw(exposure, "json", key=chip, header=header, **how)

    def unit(self, raw):
        return f"{raw.key}/{raw.header['night']}/{raw.header['exposure']}"

    def reduce(self, raws, aux, settings):
        for raw in raws:
            yield Product(Table({"x": np.array([json.loads(raw.read())[raw.key]])}), role="sources")

    def simulate_raw(self, targets, rng):
        yield from ()
