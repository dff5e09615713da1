"""Calibrated nights as a folder of FITS files, with the names that the older scripts give them.

::

    DATE/DATE-CAMS_CAL/<stem of ORIGFILE>_CAL.fits      data, VARIANCE and MASK, history in the header
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from virtualobserver.data.cards import cards_by_unit, with_cards
from virtualobserver.data.image import Image
from virtualobserver.io.fits.files import write_image
from virtualobserver.io.names import safe_name
from virtualobserver.observatories.astep.header import stem_of
from virtualobserver.observatory import Group

__all__ = ["write_nights"]


def write_nights(folder: Path, groups: Iterable[Group]) -> int:
    """Write the calibrated frames of nights, one in memory at a time; return how many.

    Where a frame was solved, or has a zero point, these are in its header.
    """
    count = 0
    for _, night, handles in groups:
        place = folder / safe_name(night) / f"{safe_name(night)}-CAMS_CAL"
        cards = cards_by_unit(handles)
        for handle in handles:
            if handle.info.role != "calibrated":
                continue
            place.mkdir(parents=True, exist_ok=True)
            image: Image = handle.load()
            image = replace(image, header=with_cards(image.header, cards.get(handle.info.unit)))
            stem = stem_of(str(image.header.get("ORIGFILE") or count))
            write_image(place / f"{safe_name(stem)}_CAL.fits", image)
            count += 1
    return count
