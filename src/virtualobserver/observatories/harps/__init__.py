"""HARPS, the spectrograph at the 3.6 m telescope on La Silla: Ca II K and H of bright stars.

Raw data are phase-3 spectra (ADP) of the ESO archive, asked for by TAP on ObsCore; folders of such files, of
DRS ``s1d`` images and of other instruments that follow the same rules; or the tree of the published scripts.
Reduction cuts windows around lines, in air and at the solar-system barycentre. References: Mayor et al. 2003,
The Messenger 114, 20; Romaniello et al. 2023, The Messenger 191.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.product import Product, Raw, RawRef, Target
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.errors import InvalidFile
from virtualobserver.maths.spectra import flags
from virtualobserver.observatories.harps import live, tree
from virtualobserver.observatories.harps.folder import FolderArchive, catalogue_of
from virtualobserver.observatories.harps.header import LA_SILLA, Facts
from virtualobserver.observatories.harps.reader import Exposure, read_exposure
from virtualobserver.observatories.harps.reduce import build_products
from virtualobserver.observatories.harps.rows import Star, star_velocity, start_rows, windows_of
from virtualobserver.observatories.harps.settings import HARPSSettings
from virtualobserver.observatories.harps.simulate import simulate
from virtualobserver.observatories.harps.star import Patience, identify_star, with_star
from virtualobserver.observatories.harps.strangers import mark_foreign
from virtualobserver.observatory import (
    Aux,
    Client,
    Landed,
    Site,
    VirtualObservatory,
)
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HARPSSettings", "VirtualHARPS"]

DATASET_URL: Final = "https://archive.eso.org/dataset/"
"""Page of one product or raw file of the ESO Science Archive, to which its number is added."""
_DATASET: Final = re.compile(r"([A-Z0-9_]{2,12}\.\d{4}-\d\d-\d\d)T(\d\d[:_]\d\d[:_]\d\d\.\d{3})(?![\d.])")
"""A number; names of files may have no colons."""


class VirtualHARPS(VirtualObservatory[SpectrumSet, HARPSSettings]):
    """HARPS at the ESO 3.6 m telescope, and other spectrographs of the same archive."""

    name: ClassVar[str] = "harps"
    title: ClassVar[str] = "HARPS"
    archive_title: ClassVar[str] = "ESO Science Archive"
    version: ClassVar[str] = "6"
    facility: ClassVar[str] = "ESO 3.6 m telescope, La Silla"
    instrument: ClassVar[str] = "HARPS"
    site: ClassVar[Site | None] = LA_SILLA
    bands: ClassVar[tuple[str, ...]] = ("K", "H")
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("spectrum", "reduced"),)
    batch: ClassVar[int] = 8
    fetch_batch: ClassVar[int] = 8

    contract: ClassVar[SurveyContract] = SurveyContract(
        files=lambda _, raws: {f"{raw.archive_id}.fits": raw.read() for raw in raws if raw.format == "fits"}
    )

    def __init__(self, settings: HARPSSettings | None = None, **options: object) -> None:
        super().__init__(settings, **options)
        self._folders: tuple[tuple[Path, ...], FolderArchive] | None = None
        self._patience = Patience()

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Get the spectra of a batch of targets, and what Gaia and SIMBAD know of their stars.

        Yields
        ------
        (target, Raw)
            A phase-3 file, a part of the published tree, or the answer of Gaia or of SIMBAD.
        (target, error)
            What is wrong with this target's data; the other targets go on.
        (target, Missing)
            Why there are no spectra.
        """
        if client.folders:
            archive = self._folder(client)
            for target in targets:
                found = partial(archive.fetch, settings=self.settings)
                yield from with_star(target, found, client, self.settings, patience=self._patience)
        elif client.origin == "simulated":
            for target in targets:
                yield from simulate([target], client.rng(target.name), self.settings)
        else:
            service = live.LiveArchive(client, self.settings)
            for target in targets:
                yield from with_star(target, service.fetch, client, self.settings, patience=self._patience)

    def listing(
        self, targets: Sequence[Target], client: Client
    ) -> Iterator[tuple[Target, Mapping[str, str]]]:
        """Say which files of the folders are of each target, by position or by name."""
        archive = self._folder(client)
        for target in targets:
            yield target, archive.listing(target, self.settings)

    def addresses(self) -> Sequence[str]:
        """Return where the lists and the files come from."""
        return (self.settings.tap_url, self.settings.file_url)

    def archive_page(self, raw: RawRef) -> str | None:
        """Return the page of a data set in the ESO Science Archive, by its number (of a product, or of a raw file)."""
        found = _DATASET.match(raw.archive_id)
        return None if found is None else f"{DATASET_URL}{found[1]}T{found[2].replace('_', ':')}"

    def catalogue(self, client: Client) -> list[RecordDict]:
        """Make a target list of everything the archive has: rows for the section ``catalog``.

        Spectra are grouped by position with proper motion; every spelling of OBJECT is an alias; lamps, sky and
        moving objects are left out.
        """
        if client.folders:
            return catalogue_of(self._folder(client).facts)
        return live.LiveArchive(client, self.settings).catalogue()

    def _folder(self, client: Client) -> FolderArchive:
        folders = tuple(client.folders)
        if self._folders is None or self._folders[0] != folders:
            self._folders = (folders, FolderArchive(folders, client.cache))
        return self._folders[1]

    def reduce(
        self, raws: Sequence[RawRef], aux: Aux, settings: HARPSSettings
    ) -> Sequence[Product[SpectrumSet]]:
        """Turn all exposures of a star into one set of spectra for each line.

        Parameters
        ----------
        raws
            All raw data of the star, in any order.
        aux
            The source, for its velocity.
        settings
            A `HARPSSettings`.
        """
        lines = start_rows(settings)
        windows = windows_of(settings)
        reach = settings.side_outer + 100.0
        found: list[Exposure] = []
        ids: list[str] = []

        def keep(exposure: Exposure, archive_id: str) -> None:
            for line in lines:
                line.add(exposure, reach)
            # a slice would keep the whole spectrum in memory
            exposure.wave, exposure.flux = np.empty(0), np.empty(0)
            exposure.mask = np.empty(0, dtype=np.uint16)
            found.append(exposure)
            ids.append(archive_id)

        for raw in raws:
            if raw.format == "fits":
                keep(_read(raw, windows), raw.archive_id)
        for star in sorted({str(raw.header["tree"]) for raw in raws if "tree" in raw.header}):
            for exposure in tree.exposures([raw for raw in raws if raw.header.get("tree") == star]):
                keep(exposure, f"{star}/{exposure.name}")
        if not found:
            return []
        years = [exposure.facts.year for exposure in found if exposure.facts.mjd == exposure.facts.mjd]
        known, gaia = identify_star(raws, aux.target, years)
        mark_foreign(found, aux.target, known.get("aliases") or ())
        v_star, source = star_velocity(found, aux.target, settings, gaia, known)
        facts: RecordDict = {"aliases": sorted({exposure.facts.object for exposure in found} - {""})}
        facts |= {name: value for name, value in (("gaia", gaia), ("simbad", known)) if value}
        made = build_products(found, ids, lines, Star(v_star, source, facts), settings)
        _tell(aux, found)
        return made

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make phase-3 files of stars that do not exist; the row of each says what was put in."""
        yield from simulate(targets, rng, self.settings)


def _tell(aux: Aux, exposures: Sequence[Exposure]) -> None:
    """Note how many spectra are masked as a whole, each under the first of its reasons."""
    bad = [bit for bit in flags.QUALITY_NAMES if bit & flags.QUALITY_BAD]
    for exposure in exposures:
        if (why := next((bit for bit in bad if exposure.quality & bit), None)) is not None:
            aux.note(f"spectra left out: {flags.QUALITY_NAMES[why]}")


def _read(raw: RawRef, windows: Sequence[tuple[float, float]]) -> Exposure:
    """Read a file; one that cannot be read becomes an exposure without pixels that says why."""
    try:
        return read_exposure(raw.read(), raw.archive_id, windows)
    except InvalidFile as error:
        facts = Facts(instrument="HARPS")
        start, end = raw.obscore.get("t_min"), raw.obscore.get("t_max")
        if start is not None and end is not None:
            facts.mjd = (float(start) + float(end)) / 2
        exposure = Exposure(raw.archive_id, facts)
        exposure.note(flags.QUALITY_UNREADABLE, str(error))
        return exposure
