"""Files as the Community Pipeline writes them: a primary header, and one compressed extension for each CCD."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from astropy.io import fits as afits

from virtualobserver.io.atomic import write_bytes
from virtualobserver.io.fits.headers import fits_header
from virtualobserver.maths.arrays import Array
from virtualobserver.observatories.decam.simulate.headers import moment_of
from virtualobserver.observatories.decam.simulate.night import SimulatedExposure

__all__ = ["PRODUCTS", "exposure_bytes", "exposure_files", "file_name", "write_exposure"]

PRODUCTS: Final = {"image": "ooi", "dqmask": "ood", "wtmap": "oow"}
"""What an exposure consists of, as the archive and as file names call it."""
_QUANTISED: Final = 4
"""Steps of a noise sigma to which the pipeline rounds images and weights; masks are kept as they are."""
_TILE: Final = 30
"""Rows of a compressed tile: the pipeline has one, which takes seconds to write."""


def file_name(exposure: SimulatedExposure, product: str) -> str:
    """Return the name of a file: the pipeline's, or that of a renamed set."""
    sim = exposure.settings
    if sim.renamed:
        return f"c4d_{sim.programme.replace('-', '')}-exp_{exposure.expnum}-{product}.fits.fz"
    return f"c4d_{moment_of(exposure.mjd):%y%m%d_%H%M%S}_{PRODUCTS[product]}_{exposure.band}_v1.fits.fz"


def exposure_bytes(exposure: SimulatedExposure, product: str) -> bytes:
    """Return a file of an exposure: ``image``, ``dqmask`` or ``wtmap``. The same exposure gives the same bytes."""
    primary = afits.PrimaryHDU(header=fits_header(exposure.header | {"PRODTYPE": product}))
    units = afits.HDUList([primary])
    for ccd in exposure.ccds:
        data = {"image": ccd.data, "dqmask": ccd.mask, "wtmap": ccd.weight}[product]
        header = fits_header(ccd.header)
        units.append(_packed(np.ascontiguousarray(data), header, ccd.name, exposure.expnum))
    stream = io.BytesIO()
    units.writeto(stream)
    return stream.getvalue()


def exposure_files(exposure: SimulatedExposure) -> dict[str, tuple[str, bytes]]:
    """Return name and bytes of each file of an exposure by product."""
    return {
        product: (file_name(exposure, product), exposure_bytes(exposure, product)) for product in PRODUCTS
    }


def write_exposure(exposure: SimulatedExposure, folder: Path) -> dict[str, Path]:
    """Write the files of an exposure into the folder of its night, ``folder/<caldat>``; return their paths."""
    place = folder / exposure.night
    place.mkdir(parents=True, exist_ok=True)
    paths = {}
    for product, (name, content) in exposure_files(exposure).items():
        paths[product] = place / name
        write_bytes(paths[product], content)
    return paths


# --- inside -----------------------------------------------------------------------------------------------


def _packed(data: Array, header: afits.Header, name: str, seed: int) -> afits.CompImageHDU:
    tile = (min(_TILE, data.shape[0]), data.shape[1])
    if data.dtype.kind == "f":
        # a seed of its own, so that nothing depends on the clock; the second method keeps weights of 0
        return afits.CompImageHDU(
            data, header, name=name, compression_type="RICE_1", tile_shape=tile, quantize_level=_QUANTISED,
            quantize_method=2 if (data == 0).any() else 1, dither_seed=seed % 10_000 + 1,
        )  # fmt: skip
    return afits.CompImageHDU(data, header, name=name, compression_type="RICE_1", tile_shape=tile)
