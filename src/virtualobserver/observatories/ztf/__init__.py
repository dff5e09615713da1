"""ZTF, the Zwicky Transient Facility: optical light curves of the northern sky in g, r and i.

Raw data come from the public light-curve releases (objects table, then light curves by object id), from the
forced photometry service, or from folders a user has; see `virtualobserver.observatories.ztf.folder` for
their layout. References: Bellm et al. 2019, PASP 131, 018002; Masci et al. 2019, PASP 131, 018003.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlencode

from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.product import Product, Raw, RawRef, Target
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.observatories.ztf import forced
from virtualobserver.observatories.ztf.bulk import columns_of
from virtualobserver.observatories.ztf.folder import FolderArchive
from virtualobserver.observatories.ztf.live import LiveArchive
from virtualobserver.observatories.ztf.query import LIGHTCURVE_URL
from virtualobserver.observatories.ztf.reduce import PALOMAR, join, lightcurves
from virtualobserver.observatories.ztf.service import ForcedService
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatories.ztf.simulate import simulate
from virtualobserver.observatories.ztf.table import Columns, parse
from virtualobserver.observatory import Aux, Client, Landed, Site, VirtualObservatory

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

__all__ = ["VirtualZTF", "ZTFSettings"]

_MOST_OBJECTS: Final = 10
"""Objects asked for by one link: a star has one for each filter, field and quadrant."""


class VirtualZTF(VirtualObservatory[TimeSeries, ZTFSettings]):
    """The Zwicky Transient Facility."""

    name: ClassVar[str] = "ztf"
    title: ClassVar[str] = "ZTF"
    archive_title: ClassVar[str] = "ZTF archive at IRSA"
    version: ClassVar[str] = "5"
    facility: ClassVar[str] = "Palomar Samuel Oschin 48-inch telescope"
    instrument: ClassVar[str] = "ZTF camera"
    site: ClassVar[Site | None] = PALOMAR
    bands: ClassVar[tuple[str, ...]] = ("zg", "zr", "zi")
    batch: ClassVar[int] = 200
    fetch_batch: ClassVar[int] = 20
    http_login: ClassVar[bool] = False
    contract: ClassVar[SurveyContract] = SurveyContract(
        files=lambda target, raws: {f"{target.name}.{raw.format}": raw.read() for raw in raws}
    )

    def __init__(self, settings: ZTFSettings | None = None, **options: object) -> None:
        super().__init__(settings, **options)
        self._folders: tuple[tuple[Path, ...], FolderArchive] | None = None

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Get the light curves of a batch of targets from folders, the simulator or the live archive.

        Yields
        ------
        (target, Raw)
            An answer of the service, a bulk file with the object as key, or a forced photometry file.
        (target, error)
            What is wrong with this target's data; the other targets go on.
        (target, Missing)
            Why there are no data.
        """
        if client.folders:
            folder = self._folder(client)
            for target in targets:
                yield from folder.fetch(target, self.settings)
        elif client.origin == "simulated":
            for target in targets:
                yield from simulate([target], client.rng(target.name), self.settings.filters)
        elif self.settings.mode == "forced":
            yield from ForcedService(client, self.settings).fetch(targets)
        else:
            archive = LiveArchive(client, self.settings)
            for target in targets:
                yield from archive.fetch(target)

    def listing(
        self, targets: Sequence[Target], client: Client
    ) -> Iterator[tuple[Target, Mapping[str, str]]]:
        """Say which files of the folders are of each target: its own, or the bulk files of its object id."""
        folder = self._folder(client)
        for target in targets:
            yield target, folder.listing(target, self.settings)

    def addresses(self) -> Sequence[str]:
        """Return where the tables, the light curves and the forced photometry come from."""
        own = self.settings
        return (own.forced_url,) if own.mode == "forced" else (own.tap_url, own.lightcurve_url)

    def archive_page(self, raw: RawRef) -> str | None:
        """Return the question that the light-curve service of IRSA answers with the curves of the same objects."""
        oids = [oid for oid in raw.header.get("oids") or () if isinstance(oid, int)][:_MOST_OBJECTS]
        if not oids:
            return None
        return f"{LIGHTCURVE_URL}?{urlencode([('ID', oid) for oid in oids] + [('FORMAT', 'ipac_table')])}"

    def _folder(self, client: Client) -> FolderArchive:
        folders = tuple(client.folders)
        if self._folders is None or self._folders[0] != folders:
            self._folders = (folders, FolderArchive(folders))
        return self._folders[1]

    def reduce(
        self, raws: Sequence[RawRef], aux: Aux, settings: ZTFSettings
    ) -> Sequence[Product[TimeSeries]]:
        """Turn the answers for one source into one light curve for each season and filter.

        Parameters
        ----------
        raws
            All raw data of the source.
        aux
            The source, for the cuts in position and magnitude.
        settings
            A `ZTFSettings`.
        """
        photometry = [raw for raw in raws if raw.format != forced.FORMAT]
        tables = [self._table(raw, settings) for raw in photometry]
        products = lightcurves(join(tables), aux, settings)
        files = [forced.parse(raw.read(), raw.archive_id) for raw in raws if raw.format == forced.FORMAT]
        return [*products, *forced.lightcurves(files, aux, settings)]

    def _table(self, raw: RawRef, settings: ZTFSettings) -> Columns:
        if raw.format != "parquet":
            return parse(raw.read(), raw.archive_id)
        return columns_of(
            raw,
            time_resolution=settings.time_resolution,
            allow_coarse=settings.allow_coarse_times,
            corrected=settings.exposure_effects,
        )

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make CSV answers as the light-curve service would give them."""
        yield from simulate(targets, rng, self.settings.filters)
