"""Calibrated nights as a folder of FITS files, with the names that the older scripts give them.

::

    DATE/DATE-CAMS_CAL/<stem of ORIGFILE>_CAL.fits      data, VARIANCE and MASK, history in the header
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ClassVar, Final

from virtualobserver.data.cards import cards_by_unit, with_cards
from virtualobserver.data.handles import of_kind
from virtualobserver.data.image import Image
from virtualobserver.export import Export, ExportSettings, Maker, View
from virtualobserver.io.fits.files import write_image
from virtualobserver.io.names import safe_name

if TYPE_CHECKING:
    from virtualobserver.export import Group

__all__ = ["ASTEPNights"]

_CALIBRATED: Final = ("image", "calibrated")
_ENDINGS: Final = frozenset({".fits", ".fit", ".fts", ".fz", ".gz"})


class ASTEPNights(Export[ExportSettings]):
    """Folder of calibrated frames by night, solved coordinates and zero points in their headers."""

    name: ClassVar[str] = "astep_nights"
    needs: ClassVar[str] = "a survey that calibrates frames of nights"
    counts: ClassVar[str] = "frames"

    def offers(self, view: View) -> bool:
        """Whether a survey of the project makes calibrated frames of nights."""
        return bool(_cameras(view))

    def write(self, view: View, path: Path, options: ExportSettings) -> int:  # noqa: ARG002
        """Write the frames of all nights, one in memory at a time; return how many."""
        return sum(_write_night(path, group) for maker in _cameras(view) for group in view.groups(maker))


def _cameras(view: View) -> list[Maker]:
    return [
        one
        for one in view.makers
        if one.kind == "survey" and _CALIBRATED in one.makes and one.levels[:1] == ("night",)
    ]


def _write_night(folder: Path, group: Group) -> int:
    place = folder / safe_name(group.unit) / f"{safe_name(group.unit)}-CAMS_CAL"
    cards = cards_by_unit(group.products)
    frames = [handle for handle in of_kind(group.products, Image) if handle.info.role == "calibrated"]
    for number, handle in enumerate(frames):
        image = handle.load()
        image = replace(image, header=with_cards(image.header, cards.get(handle.info.unit)))
        stem = _stem(str(image.header.get("ORIGFILE") or number))
        place.mkdir(parents=True, exist_ok=True)
        write_image(place / f"{safe_name(stem)}_CAL.fits", image)
    return len(frames)


def _stem(name: str) -> str:
    """Return a file name without folder and without what FITS files and packed ones end in."""
    stem = PurePath(name.strip()).name
    while (suffix := PurePath(stem).suffix).lower() in _ENDINGS:
        stem = stem[: -len(suffix)]
    return stem
