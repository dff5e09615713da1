"""Stacks of images as KBMOD reads them: WorkUnits, their ImageCollection, and its table of results."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from virtualobserver.columns import describe
from virtualobserver.config.settings import setting
from virtualobserver.data.image import Image
from virtualobserver.errors import ConfigError
from virtualobserver.export import Export, ExportSettings, Group, Maker, View
from virtualobserver.io.names import safe_name
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.maths.times import Site

__all__ = ["KBMOD", "RESULTS", "KBMODSettings", "kbmod_table"]

RESULTS: Final = "results.ecsv"
"""Name of the table beside the WorkUnits."""

_SITE: Final = ("OBS_LON", "OBS_LAT", "OBS_ELEV")
_COLUMNS: Final = (
    "x y vx vy likelihood flux obs_count uuid global_ra global_dec mjd_first mjd_last rate pa source"
)


class KBMODSettings(ExportSettings):
    """Options of the files for KBMOD."""

    sharded: bool = setting(False, doc="One file for each image beside that of its WorkUnit (folders only)")


class KBMOD(Export[KBMODSettings]):
    """Movers as KBMOD's table of results, or, into a folder, that and the images searched, as WorkUnits."""

    name: ClassVar[str] = "kbmod"
    needs: ClassVar[str] = "an analysis that searches images"

    def offers(self, view: View) -> bool:
        """Whether an analysis of the project searches images."""
        return bool(_searches(view))

    def write(self, view: View, path: Path, options: KBMODSettings) -> int:
        """Write the table of movers to a path with a suffix, else a folder; return rows, or WorkUnits.

        The images are those that the search sees. They are written without loss, each with its own world
        coordinates.

        Raises
        ------
        ConfigError
            If it is not known where a telescope stands.
        DataError
            If images lack what a WorkUnit needs.
        """
        if not path.suffix:
            return _write_folder(view, path, sharded=options.sharded)
        if options.sharded:
            msg = f"{path}: a table has no shards; give a folder, or leave out the option sharded"
            raise ConfigError(msg)
        return _write_table(view, path)


def _searches(view: View) -> list[Maker]:
    return [
        one
        for one in view.makers
        if one.kind == "analysis" and any(kind == "image" for kind, _ in one.works_on)
    ]


def _write_folder(view: View, folder: Path, *, sharded: bool) -> int:
    from virtualobserver.io.kbmod.folder import write_stacks

    stacks = chain.from_iterable(_stacks(view, maker) for maker in _searches(view))
    number = write_stacks(folder, stacks, sharded=sharded)
    if number:
        _write_table(view, folder / RESULTS)
    return number


def _write_table(view: View, path: Path) -> int:
    from virtualobserver.io.tables import write_any

    detections = view.table("detections")
    mine = detections["analysis"].isin([one.name for one in _searches(view)])
    table = kbmod_table(detections[mine])
    columns = {name: describe(name, table=KBMOD.name) for name in map(str, table)}
    meta = {"project": view.project, "table": KBMOD.name, "simulated": view.simulated}
    write_any(table, path, columns=columns, meta=meta)
    return len(table)


def _stacks(view: View, maker: Maker) -> Iterator[tuple[str, Sequence[Image], Site, str]]:
    for group in view.groups(maker):
        images = [one for one in view.prepared(maker, group) if isinstance(one, Image)]
        if images:
            name = "_".join(safe_name(part) for part in (group.source, group.unit) if part)
            yield name, images, _observer(view, group, images[0]), _band(group)


def _observer(view: View, group: Group, image: Image) -> Site:
    """Return where the telescope stands, by the image itself or by the survey that it is of."""
    from virtualobserver.maths.times import Site

    own = [image.header.get(key) for key in _SITE]
    if None not in own:
        return Site(*(float(one) for one in own if one is not None))
    surveys = {handle.info.observatory for handle in group.products if handle.info.kind == "image"}
    for maker in view.makers:
        if maker.name in surveys and maker.kind == "survey" and maker.site is not None:
            return maker.site
    msg = (
        f"neither the images of {group.source} ({', '.join(_SITE)}) nor {', '.join(sorted(surveys)) or 'a survey'} "
        "say where the telescope stands, which KBMOD has to know: set site, in the settings of the survey"
    )
    raise ConfigError(msg)


def _band(group: Group) -> str:
    bands = (one.info.band for one in group.products if one.info.kind == "image" and one.info.band)
    return next(bands, "")


def kbmod_table(detections: pd.DataFrame) -> pd.DataFrame:
    """Turn detections, one per epoch, into one row per mover.

    Returns
    -------
    pandas.DataFrame
        ``x, y`` (whole pixels at the first image), ``vx, vy`` (px/d), ``likelihood, flux, obs_count, uuid``,
        then ``global_ra, global_dec`` (deg, first epoch), ``mjd_first, mjd_last``, ``rate`` (arcsec/h), ``pa``
        (deg) and ``source``. The same mover has the same uuid in every export.
    """
    import pandas as pd

    rows = [
        row
        for source, group in detections.groupby("source", sort=True)
        if (row := _row(str(source), group.sort_values("peak_mjd").iloc[0])) is not None
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS.split())
    return table.sort_values("likelihood", ascending=False, ignore_index=True)


def _row(source: str, first: pd.Series) -> RecordDict | None:
    """Return the row of a mover from its first detection; None if that is of something without a path."""
    facts = _facts(first["parameters"])
    if "x0" not in facts:
        return None
    return {
        "x": int(np.floor(facts["x0"] + 0.5)),
        "y": int(np.floor(facts["y0"] + 0.5)),
        "vx": facts["vx"],
        "vy": facts["vy"],
        "likelihood": facts["likelihood"],
        "flux": facts["flux"],
        "obs_count": int(facts["n_obs"]),
        "uuid": uuid.uuid5(uuid.NAMESPACE_OID, source).hex,
        "global_ra": first["ra"],
        "global_dec": first["dec"],
        "mjd_first": facts["first_mjd"],
        "mjd_last": facts["last_mjd"],
        "rate": facts["rate"],
        "pa": facts["pa"],
        "source": source,
    }


def _facts(value: object) -> RecordDict:
    facts = json.loads(value) if isinstance(value, str) else value
    return facts if isinstance(facts, dict) else {}
