"""Spectra divided by what the other nights show, as products."""

from __future__ import annotations

import numpy as np

from virtualobserver.analyses.exocomets.matched.star import StarSearch
from virtualobserver.analyses.exocomets.matched.starline import chunk_of
from virtualobserver.data.product import Product
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table

__all__ = ["processed_products"]


def processed_products(search: StarSearch) -> list[Product[SpectrumSet]]:
    """Return for each line the residuals ``(S - R) / R`` of the searched spectra, by velocity.

    ``flux`` is the residual, ``error`` its noise, ``mask`` 1 where a pixel was not used; ``wave`` is the velocity
    in the star's frame in km/s.
    """
    rows, exposures = search.searched.rows, search.star.exposures
    columns = {
        "mjd": exposures.mjd[rows],
        "night": exposures.night[rows],
        "era": exposures.era[rows],
        "exptime": exposures.exptime[rows],
    }
    products = []
    reach = float(np.abs(search.searched.bank.v).max()) + 100.0
    for name, line in zip(search.names, search.searched.lines, strict=True):
        chunk = chunk_of(line, rows, reach)
        # in the core of a line no division by nearly nothing; chosen
        reference = np.clip(chunk.reference, 0.02, None)
        with np.errstate(divide="ignore"):
            error = np.where(chunk.weight > 0, 1.0 / np.sqrt(chunk.weight), np.inf) / reference
        data = SpectrumSet(
            wave=line.spectra.velocity[np.abs(line.spectra.velocity) <= reach],
            flux=-chunk.residual / reference,
            error=error.astype(np.float32),
            mask=(chunk.weight == 0).astype(np.uint8),
            epochs=Table(columns, {"mjd": "d", "exptime": "s"}),
            wave_unit="km/s",
            frame="stellar",
            meta={"line": name, "rest": line.spectra.rest, "v_star": search.star.v_star},
        )
        products.append(Product(data, role="processed", series=name, band=name))
    return products
