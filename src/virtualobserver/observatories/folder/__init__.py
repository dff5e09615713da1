"""Light curves that people have: tables of any format we read, a file a star or one table of many.

Columns, units, bands and the time scale are said in the configuration, nothing of them is guessed; files of TESS and
Kepler are known by their presets. Positions come from the target list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.product import Aux, Product, Raw, RawRef, Target
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.io.listing import stamps
from virtualobserver.observatories.folder.curves import curves_of, once, product_of
from virtualobserver.observatories.folder.find import Found, Index
from virtualobserver.observatories.folder.places import place_of
from virtualobserver.observatories.folder.settings import FolderSettings
from virtualobserver.observatories.folder.simulate import table_of
from virtualobserver.observatory import UNPLACED, Client, Landed, VirtualObservatory
from virtualobserver.typing import RecordDict

__all__ = ["FolderSettings", "VirtualFolder"]


class VirtualFolder(VirtualObservatory[TimeSeries, FolderSettings]):
    """Light curves of any origin, one product a season and band."""

    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "5"
    facility: ClassVar[str] = "as the files say"
    batch: ClassVar[int] = 50
    contract: ClassVar[SurveyContract] = SurveyContract(options={"units": {"flux": "mJy"}})

    def __init__(self, settings: FolderSettings | None = None, **options: object) -> None:
        super().__init__(settings, **options)
        self._index: tuple[tuple[Path, ...], Index] | None = None

    def catalogue(self, client: Client) -> list[RecordDict]:
        """List the stars of the folder, with the positions that FITS headers or columns tell.

        Raises
        ------
        ConfigError
            If there is no light curve.
        """
        rows: list[RecordDict] = []
        index = self._indexed(client)
        if not index.names:
            msg = f"catalog.survey: {index.nothing}"
            raise ConfigError(msg)
        for name, found in index.names.items():
            rows.append({"name": name, **_placed(found, name, self.settings)})
        return rows

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Find the light curves of targets in folders; nothing is ever written there.

        Yields
        ------
        (target, Raw)
            A file, or the part of a table that is the star's.
        (target, Missing)
            No star of the folder has its name.
        """
        if client.origin == "simulated":
            for target in targets:
                yield from self.simulate_raw([target], client.rng(target.name))
            return
        if not client.folders:
            msg = (
                "observatories.folder.archive: name the folder of the light curves; there is no live archive"
            )
            raise ConfigError(msg)
        try:
            index = self._indexed(client)
            index.names  # noqa: B018 - reads the tables
        except DataError as error:
            yield from ((target, error) for target in targets)
            return
        for target in targets:
            found = index.of(target)
            yield from ((target, one.raw()) for one in found)
            if not found:
                yield target, index.missing(target)

    def listing(
        self, targets: Sequence[Target], client: Client
    ) -> Iterator[tuple[Target, Mapping[str, str]]]:
        """Say which files are of each target: its own, or all tables of many stars."""
        index = self._indexed(client)
        everything = stamps(path for path, _, _ in index.files) if index.one_table else {}
        for target in targets:
            yield target, everything if index.one_table else stamps(index.paths_of(target))

    def reduce(
        self, raws: Sequence[RawRef], aux: Aux, settings: FolderSettings
    ) -> Sequence[Product[TimeSeries]]:
        """Make a light curve of each season and band, in µJy where the unit can become that.

        Raises
        ------
        InvalidFile, BadKeyword
            With the file, what is wrong with it, and what to say in the configuration.
        """
        parts: dict[tuple[str, str], list[TimeSeries]] = {}
        for raw in raws:
            for series, band, curve in curves_of(raw, aux, settings):
                parts.setdefault((series, band), []).append(curve)
        return [
            product_of(series, band, _joined(curves, band, aux))
            for (series, band), curves in sorted(parts.items())
        ]

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make a CSV table for each target, of two bands, with the columns that the settings name."""
        for target in targets:
            yield target, Raw(f"{target.name}.csv", "csv", table_of(self.settings, rng))

    def _indexed(self, client: Client) -> Index:
        """Return what the folders hold; they are listed again where a file came or went, not for every batch."""
        folders = tuple(client.folders)
        if self._index is None or self._index[0] != folders or not self._index[1].is_current:
            self._index = (folders, Index(folders, self.settings))
        return self._index[1]


def _placed(found: Sequence[Found], name: str, settings: FolderSettings) -> RecordDict:
    """Return where a star is by the first of its files that tells, or why none does: it has to come from a list."""
    why = ""
    for one in found:
        try:
            place = place_of(one, settings)
        except DataError as error:
            why = why or str(error)
            continue
        if place is not None:
            return {"ra": place[0], "dec": place[1]}
    told = f"{found[0].path} tells no position of {name}; list the stars in catalog: {{file: …}}"
    return {UNPLACED: f"{name}: {why}" if why else told}


def _joined(curves: Sequence[TimeSeries], band: str, aux: Aux) -> TimeSeries:
    """Return the light curves of several files as one; epochs that two of them hold are there once."""
    if len(curves) == 1:
        return curves[0]
    units, names = {curve.flux_unit for curve in curves}, [set(curve.columns) for curve in curves]
    if len(units) > 1:
        msg = f"light curves of one band ({band or 'none'}) have the units {', '.join(sorted(units))}; say one in units"
        raise DataError(msg)
    shared = [name for name in curves[0].columns if all(name in there for there in names)]
    columns = {name: np.concatenate([curve[name] for curve in curves]) for name in shared}
    order = np.argsort(columns["mjd"], kind="stable")
    columns = once({name: values[order] for name, values in columns.items()}, aux)
    meta = {**curves[0].meta, "file": [curve.meta["file"] for curve in curves]}
    first = curves[0]
    return TimeSeries(
        columns,
        units={name: unit for name, unit in first.units.items() if name in shared},
        meta=meta, band=band, flux_unit=first.flux_unit,
    )  # fmt: skip
