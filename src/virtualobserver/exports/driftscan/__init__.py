"""Drift exposures as the published program wrote them, by night, with what it did not write beside.

::

    DATE/driftastrom-exp_N.csv            where the trails are, and whose
    DATE/driftskysub-exp_N.csv            the same, with the sky
    DATE/driftextract-exp_N.csv           the same, with 32 samples of each trail
    DATE/target-driftextract-exp_N.csv    the same of targets alone, if there are any
    DATE/driftwcs-exp_N.fits              headers of the chips, with fitted world coordinates and no pixels
    demo-extractions.pdf                  samples of each star, a page for each night
    demo-extractions-median.pdf           its light in each exposure
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from virtualobserver.config.settings import setting
from virtualobserver.export import Export, ExportSettings, View, makers_of
from virtualobserver.exports.driftscan.exposures import exposures_of
from virtualobserver.exports.driftscan.rows import write_rows
from virtualobserver.exports.driftscan.world import write_headers
from virtualobserver.io.names import safe_name

if TYPE_CHECKING:
    from virtualobserver.exports.driftscan.pages import Page

__all__ = ["Driftscan", "DriftscanSettings"]


class DriftscanSettings(ExportSettings):
    """Options of the files of drift exposures."""

    pages: int = setting(
        20, doc="Stars in the PDF files, the brightest whole ones, where the project has no targets", ge=0
    )


class Driftscan(Export[DriftscanSettings]):
    """Folder of drift exposures in the files of the published program, fitted headers, and PDF pages of stars."""

    name: ClassVar[str] = "driftscan"
    needs: ClassVar[str] = "a survey of trails"
    counts: ClassVar[str] = "exposures"

    def offers(self, view: View) -> bool:
        """Whether a survey of the project measures samples along trails."""
        return bool(makers_of(view, "table", "samples"))

    def write(self, view: View, path: Path, options: DriftscanSettings) -> int:
        """Write the files of all exposures, one in memory at a time; return how many exposures there are."""
        pages: list[Page] = []
        number = 0
        for exposure in exposures_of(view):
            folder = path / safe_name(exposure.night)
            folder.mkdir(parents=True, exist_ok=True)
            chips = exposure.load()
            write_headers(folder / f"driftwcs-exp_{exposure.number}.fits", chips)
            pages += write_rows(folder, exposure.number, chips, brightest=options.pages)
            number += 1
        if pages:
            from virtualobserver.exports.driftscan.pages import write_pages

            write_pages(path, pages, most=options.pages)
        return number
