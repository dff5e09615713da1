"""The DECam drift survey: stars drawn out to trails, so that position along a trail is time.

Inside: files of the Community Pipeline and what they say, catalogues of pointed frames, trails measured, and nights
that are made up. Never: another survey, a row, or a search in what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux, Known, Missing, Product, Raw, RawRef, Target
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.errors import InvalidFile
from virtualobserver.hooks import draw
from virtualobserver.io.listing import files_below, stamps
from virtualobserver.observatories.decam.catalogue import choose_masters, file_raws, make_master, unit_of
from virtualobserver.observatories.decam.detrend import detrend_products
from virtualobserver.observatories.decam.folder import Exposure, find_exposures, near, raws_of
from virtualobserver.observatories.decam.made import files_of, simulated_raws
from virtualobserver.observatories.decam.names import SUFFIXES
from virtualobserver.observatories.decam.noirlab.live import LiveArchive
from virtualobserver.observatories.decam.noirlab.question import ARCHIVE_URL
from virtualobserver.observatories.decam.pictures import trail_panels
from virtualobserver.observatories.decam.reduce import reduce_exposure
from virtualobserver.observatories.decam.settings import DECamSettings
from virtualobserver.observatories.decam.sheets import sheets
from virtualobserver.observatories.decam.tables import OWN_COLUMNS
from virtualobserver.observatory import Client, FiguresOnDemand, Landed, Site, VirtualObservatory

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

__all__ = ["DECamSettings", "VirtualDECam"]

PAGE_URL: Final = f"{ARCHIVE_URL}/api/header/"
"""Page of the headers of one file of the NOIRLab Astro Data Archive, to which its MD5 sum is added."""
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class VirtualDECam(VirtualObservatory[Table, DECamSettings]):
    """Drift exposures of the Dark Energy Camera, and the pointed ones that say which stars there are."""

    name: ClassVar[str] = "decam"
    title: ClassVar[str] = "DECam"
    archive_title: ClassVar[str] = "NOIRLab Astro Data Archive"
    version: ClassVar[str] = "9"
    facility: ClassVar[str] = "Victor M. Blanco 4 m telescope, Cerro Tololo"
    instrument: ClassVar[str] = "DECam"
    site: ClassVar[Site | None] = Site(-70.81489, -30.16606, 2215.0)
    bands: ClassVar[tuple[str, ...]] = ("VR", "g", "r")
    levels: ClassVar[tuple[str, ...]] = ("ccd", "night", "exposure")
    master_kinds: ClassVar[tuple[str, ...]] = ("companion", "reference")
    produces: ClassVar[tuple[tuple[str, str], ...]] = (
        ("table", "wcs"),
        ("table", "samples"),
        ("table", "forced"),
        ("table", "spots"),
        ("lightcurve", "trail"),
    )
    parts: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = {"detrend": (("table", "detrended"),)}
    services: ClassVar[tuple[str, ...]] = ("refcat",)
    batch: ClassVar[int] = 1
    fetch_batch: ClassVar[int] = 1
    http_login: ClassVar[bool] = False
    contract: ClassVar[SurveyContract] = SurveyContract(
        targets=(Target("EB", ra=92.253, dec=-70.7387),),
        options={
            "simulation": {
                "exposures": 1,
                "ccds": ["N24"],
                "size": (260, 300),
                "density": 900.0,
                "mag": (14.5, 19.0),
            },
            "drift_astrom": {"fewest": 5},
            "targets": {"separation_cut": 7200.0},  # the nearest star, wherever it is
        },
        files=files_of,
        own_columns=OWN_COLUMNS,
    )

    def __init__(self, settings: DECamSettings | None = None, **options: object) -> None:
        super().__init__(settings, **options)
        self._folders: tuple[tuple[Path, ...], list[Exposure]] | None = None

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Get exposures, catalogues and lists of targets from folders, or exposures from the live archive.

        Nothing is ever written into folders.

        Yields
        ------
        (target, Raw)
            A plane of a chip: of the target if it is a drift frame, else of the camera, which masters belong to.
            Files that cannot be read come too: their unit fails and says why.
        (target, Missing)
            Why there is nothing.
        (target, error)
            Which exposures the live archive did not give, and why; the others come.
        """
        files = list(file_raws(self.settings, client.cache, fresh=client.fresh))
        if not client.folders:
            archive = LiveArchive(client, self.settings)
            for target in targets:
                yield from _with_files(archive.fetch(target), files)
            return
        for target in targets:
            mine = [one for one in self._exposures(client) if near(one, target, self.settings)]
            raws = [raw for one in mine for raw in raws_of(one, self.settings)]
            if not any(raw.owner is None for raw in raws):
                yield target, Missing("none of the exposures of the archive folder is a drift exposure of it")
                continue
            for raw in [*files, *raws]:
                yield target, raw

    def listing(
        self, targets: Sequence[Target], client: Client
    ) -> Iterator[tuple[Target, Mapping[str, str]]]:
        """Say which FITS files there are, beside the catalogue, the targets and the list of pointed exposures."""
        own = self.settings
        named = (own.reference_catalogue, own.targets.csv_path, own.pointed_images_yaml_path)
        found = stamps(
            [*files_below(client.folders, SUFFIXES), *(Path(one) for one in named if one is not None)]
        )
        for target in targets:
            yield target, found

    def addresses(self) -> Sequence[str]:
        """Return where listings and files of the live archive come from."""
        own = self.settings.targets
        return (self.settings.noirlab.url, *([own.vizier_url] if own.vizier and own.vizier_url else []))

    def archive_page(self, raw: RawRef) -> str | None:
        """Return the page of a file in the NOIRLab Astro Data Archive, by its MD5 sum, where that is known."""
        md5 = str(raw.header.get("md5") or "")
        return f"{PAGE_URL}{md5}/" if _MD5.fullmatch(md5) else None

    def unit(self, raw: RawRef) -> str:
        """Return ``ccd/night/exposure``, such as ``N24/2021-12-11/1058801``, or the key of a master."""
        return unit_of(raw.header)

    def calibrate(
        self, raws: Sequence[RawRef], aux: Aux, settings: DECamSettings
    ) -> Sequence[Product[Table]]:
        """Catalogue the stars of a chip in a pointed exposure; read a catalogue or a list of targets.

        Raises
        ------
        DataError
            If files cannot be read, or there are no stars.
        """
        return make_master(raws, aux, settings)

    def choose(self, masters: Sequence[Handle[Table]], raw: RawRef) -> Mapping[str, Handle[Table]]:
        """Return ``reference, earlier 001 ..., targets`` for a drift frame, ``companion 001 ...`` for a pointed one."""
        return choose_masters(masters, raw.header)

    def reduce(self, raws: Sequence[RawRef], aux: Aux, settings: DECamSettings) -> Sequence[Product[Table]]:
        """Measure all stars of the catalogue in one chip of one exposure; see `reduce_exposure`.

        Raises
        ------
        DataError
            If files cannot be read, there is no catalogue, or the stars cannot be told.
        """
        return reduce_exposure(raws, aux, settings)

    def refine(
        self,
        part: str,  # noqa: ARG002 - there is one
        products: Sequence[Handle[Table]],
        aux: Aux,
        settings: DECamSettings,
    ) -> Sequence[Product[Table]]:
        """Take from the samples what all stars of the chip have in common."""
        made = detrend_products(products, settings.detrend)
        if not made:
            aux.note("chips without a sample of any trail")
        return made

    def event_panels(
        self,
        raws: Sequence[RawRef],
        products: Sequence[Handle[Table]],
        searched: Handle[Table],
        event: Event,
        *,
        told: bool = True,
    ) -> Sequence[Panel]:
        """Show the trail of a star, or a spot, straightened: cut from the raw frame, as no pixels are kept."""
        return trail_panels(raws, products, searched, event, told=told)

    def figures(
        self, raws: Sequence[RawRef], products: Sequence[Handle[Table]], settings: DECamSettings
    ) -> Mapping[str, Figure]:
        """Draw apertures, reference stars, the pointed frame beside the drift frame, residuals of the positions."""
        return FiguresOnDemand(
            {name: partial(_drawn, *sheet) for name, sheet in sheets(raws, products, settings).items()}
        )

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make nights of pointed and drift exposures in the layout of the Community Pipeline."""
        for target in targets:
            for raw in simulated_raws(target, rng, self.settings):
                yield target, raw

    def _exposures(self, client: Client) -> list[Exposure]:
        folders = tuple(client.folders)
        if self._folders is None or self._folders[0] != folders:
            found = find_exposures(folders, self.settings)
            if not found:
                where = ", ".join(map(str, folders))
                msg = f"no file of the Community Pipeline below {where}; check the setting archive"
                raise InvalidFile(msg)
            self._folders = (folders, found)
        return self._folders[1]


def _drawn(title: str, make: Callable[[], list[Panel]]) -> Figure:
    return draw(make(), title=title)


def _with_files(landed: Iterator[Landed], files: Sequence[Raw]) -> Iterator[Landed]:
    """Yield catalogues and lists before the first exposure of a target; without any exposure they serve nothing."""
    told = False
    for target, thing in landed:
        if not told and isinstance(thing, Raw | Known):
            told = True
            for raw in files:
                yield target, raw
        yield target, thing
