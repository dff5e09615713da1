"""A survey whose third frame is solved 3 arcsec off, as a first solution may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from virtualobserver.observatories.lsss import LSSSSettings, VirtualLSSS
from virtualobserver.observatories.lsss.simulate import simulate

OFF = 3.0 / 3600
SEED = 13
"""Of a field in which no star is near the path of a mover, so that magnitudes can be compared with the truth."""


class Askew(VirtualLSSS):
    """LSSS, one field, always the same night; the stars are those of `support.lsss.catalogue` with the same seed."""

    name = "askew"
    version = "1"
    Settings = LSSSSettings

    def simulate_raw(self, targets, rng):
        for target in targets:
            for raw in simulate(target, np.random.default_rng(SEED), self):
                yield target, raw

    def refine(self, part, products, aux, settings):
        made = super().refine(part, products, aux, settings)
        if part != "solve" or not products[0].info.unit.endswith("field.00002"):
            return made
        (one,) = made
        cards = dict(one.data.meta["wcs"])
        cards["CRVAL2"] += OFF
        return [replace(one, data=replace(one.data, meta={**one.data.meta, "wcs": cards}))]
