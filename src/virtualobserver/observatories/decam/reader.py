"""One chip of one exposure from its Community Pipeline planes: electrons, variance, mask, world coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MASK_NO_DATA
from virtualobserver.data.image import Image
from virtualobserver.data.product import RawRef
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.fits.files import read_header, read_image, read_section
from virtualobserver.io.fits.structure import MemoryFile, read_cards
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import background
from virtualobserver.observatories.decam.header import (
    AMPLIFIERS,
    SHAPE,
    chip_facts,
    chip_name,
    exposure_facts,
)
from virtualobserver.observatories.decam.masks import has_codes, read_mask
from virtualobserver.observatories.decam.names import IMAGE, MASK, WEIGHT
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["Frame", "read_box", "read_frame"]

FloatPlane = NDArray[np.float32]
_FIRST: Final = frozenset({"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM", "NEXTEND"})


@dataclass(frozen=True, eq=False)
class Frame:
    """A chip in one exposure.

    Parameters
    ----------
    image
        Electrons, sky included; variance in electrons squared, infinite where the weight is 0; mask of this package.
    facts
        What headers say, see `exposure_facts` and `chip_facts`; ``notes`` of both.
    """

    image: Image
    facts: Record

    @property
    def data(self) -> Array:
        """Electrons, shape (ny, nx)."""
        return self.image.data

    @property
    def variance(self) -> Array:
        """Electrons squared, shape (ny, nx)."""
        assert self.image.variance is not None
        return self.image.variance

    @property
    def mask(self) -> Array:
        """Bits, shape (ny, nx)."""
        assert self.image.mask is not None
        return self.image.mask

    @property
    def header(self) -> Record:
        """Keywords of the chip, and those of the exposure that it lacks."""
        return self.image.header

    @property
    def wcs(self) -> WCS:
        """World coordinates of the pipeline, distortion (TPV) included; of a trailed frame often the pointing only."""
        return self.image.wcs

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.data.shape[0]), int(self.data.shape[1])


def read_frame(raws: Sequence[RawRef]) -> Frame:
    """Read the planes of one chip of one exposure.

    Parameters
    ----------
    raws
        Image, and mask and weight where there are some; ``key`` is the name of the chip in each file. Of several
        versions the highest is taken.

    Raises
    ------
    DataError
        If there is no image, a plane cannot be read or does not lie on the image, or there are no world coordinates.
    """
    planes = _planes_of(raws)
    raw = planes[IMAGE]
    file = _file(raw)
    found = _read(raw)
    first = {key: value for key, value in read_header(file, 0).items() if key not in _FIRST}
    exposure = exposure_facts(first)
    header = {**first, **found.header, "EXTNAME": raw.key}
    ny, nx = found.data.shape
    chip = chip_facts({**header, "NAXIS1": nx, "NAXIS2": ny, "ZIMAGE": None})
    notes = [*exposure.pop("notes"), *chip.pop("notes")]
    gain, noise = _amplifiers((ny, nx), chip)
    adu = np.asarray(found.data, np.float32)
    mask, said = _mask(planes, (ny, nx), exposure["plver"])
    notes += said
    notes += [note for note in raw.header.get("notes") or () if note not in notes]  # of the whole file
    mask[~np.isfinite(adu)] |= np.uint16(MASK_NO_DATA)
    if chip["avsky"] is None:
        chip["avsky"] = _median(adu, mask)
    variance = _variance(planes, adu, (gain, noise), mask)
    image = Image(adu * gain, variance, mask, header, unit="electron")
    if not image.wcs.has_celestial:
        msg = f"{raw.archive_id}, {raw.key}: no world coordinates in its header; fetch the file again"
        raise DataError(msg)
    return Frame(image, {**exposure, **chip, "notes": notes})


def read_box(raws: Sequence[RawRef], rows: slice, cols: slice, gain: float) -> tuple[Array, Array]:
    """Return electrons and mask bits of a box of a chip; of the image nothing else is read.

    Of the mask whole columns are, by which a bleed is told from a halo.

    Raises
    ------
    DataError
        If there is no image among the raw data, or a file cannot be read.
    """
    planes = _planes_of(raws)
    raw = planes[IMAGE]
    data = np.asarray(_section(raw, rows, cols), np.float32) * np.float32(gain)
    mask = np.zeros(data.shape, np.uint16)
    if MASK in planes:
        other = planes[MASK]
        values = _section(other, slice(None), cols)
        mask = read_mask(values, str(read_header(_file(raw), 0).get("PLVER") or ""))[rows]
    return data, mask


# --- inside -----------------------------------------------------------------------------------------------


def _planes_of(raws: Sequence[RawRef]) -> dict[str, RawRef]:
    """Return image, mask and weight, of each the highest version."""
    planes: dict[str, RawRef] = {}
    for raw in sorted(raws, key=lambda one: (int(one.header.get("version") or 0), one.archive_id)):
        planes[str(raw.header["plane"])] = raw
    for raw in planes.values():  # a file that cannot be read may be the image that is missed
        if raw.header.get("problem"):
            raise InvalidFile(str(raw.header["problem"]))
    if IMAGE not in planes:
        names = ", ".join(sorted(raw.archive_id for raw in raws)) or "nothing"
        msg = f"an exposure without its image: there is {names}"
        raise DataError(msg)
    return planes


def _file(raw: RawRef) -> Path | MemoryFile:
    return raw.path if raw.path is not None else MemoryFile(raw.read(), raw.archive_id)


def _read(raw: RawRef) -> Image:
    try:
        return read_image(_file(raw), raw.key)
    except InvalidFile:
        if (number := _unnamed(raw)) is None:
            raise
        return read_image(_file(raw), number)


def _section(raw: RawRef, rows: slice, cols: slice) -> Array:
    try:
        return read_section(_file(raw), rows, cols, hdu=raw.key)
    except InvalidFile:
        if (number := _unnamed(raw)) is None:
            raise
        return read_section(_file(raw), rows, cols, hdu=number)


def _unnamed(raw: RawRef) -> int | None:
    """Return the number of the HDU without EXTNAME that DETPOS calls so, if there is one."""
    headers = read_cards(_file(raw), {"EXTNAME", "DETPOS"})
    numbers = [
        n for n, one in enumerate(headers) if not one.get("EXTNAME") and chip_name(one) == raw.key != ""
    ]
    return numbers[0] if numbers else None


def _amplifiers(shape: tuple[int, int], chip: RecordDict) -> tuple[FloatPlane, FloatPlane]:
    """Return gain and read noise of each column; of a part of a chip nobody knows where its amplifiers meet."""
    halves = np.asarray(chip["amplifiers"], np.float32)
    if shape != SHAPE:
        halves[:] = [chip["gain"], chip["read_noise"]]
    rows = (np.arange(shape[1]) >= AMPLIFIERS).astype(int)
    return halves[rows, 0], halves[rows, 1]


def _median(adu: FloatPlane, mask: Array) -> float:
    good = adu[mask == 0]
    if not good.size:
        return 0.0
    for _ in range(3):
        middle = float(np.median(good))
        spread = float(np.median(np.abs(good - middle))) * 1.4826
        good = good[np.abs(good - middle) <= 3 * spread + 1e-6]
    return float(np.median(good))


def _plane(raw: RawRef, shape: tuple[int, int]) -> Array:
    """Read mask or weight; some weights have the edge of a pixel that images have not."""
    values = _read(raw).data
    if values.shape == (shape[0] + 2, shape[1] + 2):
        values = values[1:-1, 1:-1]
    if values.shape != shape:
        msg = f"{raw.archive_id}, {raw.key}: of shape {values.shape}, its image of {shape}; fetch both again"
        raise DataError(msg)
    return values


def _mask(
    planes: dict[str, RawRef], shape: tuple[int, int], version: str
) -> tuple[NDArray[np.uint16], list[str]]:
    if MASK not in planes:
        return np.zeros(shape, np.uint16), ["no mask"]
    values = _plane(planes[MASK], shape)
    unknown = has_codes(version) is None
    return read_mask(values, version), [f"PLVER {version!r} is no version"] if unknown else []


def _variance(
    planes: dict[str, RawRef], adu: FloatPlane, amplifiers: tuple[FloatPlane, FloatPlane], mask: Array
) -> FloatPlane:
    """Return the variance of the pixels in electrons squared: of the weights, or of sky and read noise."""
    gain, noise = amplifiers
    out = np.full(adu.shape, np.inf, np.float32)
    if WEIGHT in planes:
        weight = np.asarray(_plane(planes[WEIGHT], (adu.shape[0], adu.shape[1])), np.float32)
        good = np.isfinite(weight) & (weight > 0)
        np.divide(gain**2, weight, out=out, where=good)
        return out
    good = np.isfinite(adu) & (mask == 0)
    if good.any():
        level = background(np.where(good, adu, 0.0), mask=~good).level
        sky = np.maximum(np.asarray(level, np.float32), 0) * gain + noise**2
        np.copyto(out, np.broadcast_to(sky, out.shape), where=good)
    return out
