"""CCDs of DECam for tests: the shipped simulation, real stamps, and exposures made here, as images with mask bits."""

import numpy as np
from astropy.io import fits

from support.real import real_data
from virtualobserver.conventions import MASK_BAD, MASK_COSMIC_RAY, MASK_NO_DATA, MASK_SATURATED
from virtualobserver.data.image import Image

BITS_OF_CODES = {
    1: MASK_BAD,
    2: MASK_NO_DATA,
    3: MASK_SATURATED,
    4: MASK_SATURATED,
    5: MASK_COSMIC_RAY,
    8: MASK_BAD,
}


def bits_of(codes):
    """Return our mask bits for the pipeline's codes."""
    bits = np.zeros(np.shape(codes), np.uint16)
    for code, bit in BITS_OF_CODES.items():
        bits[np.asarray(codes) == code] = bit
    return bits


def cards_of(header):
    return {key: value for key, value in header.items() if key not in {"", "COMMENT", "HISTORY"}}


def image_of(exposure, ccd):
    """Return one CCD of a simulated exposure as a reader would."""
    variance = np.where(
        ccd.weight > 0, 1 / np.where(ccd.weight > 0, ccd.weight, 1), np.maximum(ccd.data, 0) / 4 + 2.25
    )
    return Image(ccd.data, variance, bits_of(ccd.mask), {**exposure.header, **ccd.header}, "adu")


def shipped(stem):
    """Read one of the shipped simulated exposures, e.g. ``013253-r``."""
    folder = real_data("decam", "sim")
    with fits.open(folder / f"c4d_SIM-exp_{stem}-image.fits.fz") as units:
        header, data = cards_of(units[0].header) | cards_of(units[1].header), units[1].data.astype(float)
    codes = fits.getdata(folder / f"c4d_SIM-exp_{stem}-dqmask.fits.fz", 1)
    return Image(data, np.maximum(data, 0) / 4 + 2.25, bits_of(codes), header, "adu")


def stamp(folder, name):
    """Read a real stamp, e.g. ``testcase8``, ``c4d_171113_060340_ooi_r_ls9.N6``, with its weight as variance."""
    path = real_data("decam", "legacypipe", folder)
    with fits.open(path / f"{name}.fits") as units:
        header, data = cards_of(units[0].header) | cards_of(units[1].header), units[1].data.astype(float)
    codes = fits.getdata(path / f"{name.replace('_ooi_', '_ood_')}.fits", 1)
    weight = fits.getdata(path / f"{name.replace('_ooi_', '_oow_')}.fits", 1).astype(float)
    variance = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), np.maximum(data, 1) / 4)
    return Image(data, variance, bits_of(codes), header, "adu")
