"""Somebody's survey: one NumPy file for each star, with all its spectra."""

from __future__ import annotations

import io

import numpy as np

from virtualobserver.data.product import Product, Raw
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.observatory import ObservatorySettings, VirtualObservatory

WAVE = np.geomspace(6500.0, 6600.0, 64)


class VirtualArcturus(VirtualObservatory[SpectrumSet, ObservatorySettings]):
    """Rows of MJD and 64 pixels."""

    name = "arcturus"
    produces = (("spectrum", "reduced"),)

    def fetch(self, targets, client):
        for target in targets:
            for folder in client.folders:
                path = folder / f"{target.name}.npy"
                if path.is_file():
                    yield target, Raw(path.name, "npy", path=path, in_place=True)

    def reduce(self, raws, aux, settings):
        if not raws:
            return []
        rows = np.concatenate([np.load(io.BytesIO(raw.read())) for raw in raws])
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        flux = rows[:, 1:]
        epochs = Table({"mjd": rows[:, 0]})
        made = SpectrumSet(WAVE, flux, np.full(flux.shape, 0.02), np.zeros(flux.shape, np.uint8), epochs)
        return [Product(made)]

    def simulate_raw(self, targets, rng):
        for target in targets:
            rows = np.column_stack([rng.uniform(58000.0, 58010.0, 4), rng.normal(1.0, 0.02, (4, WAVE.size))])
            stream = io.BytesIO()
            np.save(stream, rows)
            yield target, Raw(f"{target.name}.npy", "npy", content=stream.getvalue())
