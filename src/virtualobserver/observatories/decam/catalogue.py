"""Masters of this survey: catalogues of pointed frames, a catalogue that was published, the list of targets.

Keys of masters are ``companion/N24/2021-12-12/12923`` and ``reference/N24/2021-12-12/13253``; of files that are no
frames ``reference/N24/file`` and ``reference/targets/list``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog import read_catalog
from virtualobserver.catalog.columns import read_names
from virtualobserver.catalog.units import in_our_units
from virtualobserver.columns import out_of_range
from virtualobserver.config import CatalogSettings, ColumnSettings
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Aux, Product, Raw, RawRef
from virtualobserver.data.table import Table
from virtualobserver.errors import CatalogError, InvalidFile
from virtualobserver.io.csv_text import frame_of_csv
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.decam.folder import CAMERA, KINDS
from virtualobserver.observatories.decam.identity import NO_GAIA, numbered
from virtualobserver.observatories.decam.reader import read_frame
from virtualobserver.observatories.decam.reference import build_reference
from virtualobserver.observatories.decam.settings import DECamSettings, TargetSettings
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LIST", "PUBLISHED", "choose_masters", "file_raws", "make_master", "reference_stars", "unit_of"]

FloatArray = NDArray[np.float64]

PUBLISHED: Final = ("chp", "ref_star_id", "x", "y", "flux", "ra", "dec")
"""Columns of a catalogue of the published program that are needed."""
LIST: Final = "reference/targets/list"
"""Key of the list of targets."""
_OVERLAP: Final = 0.1
"""Degrees between the middles of one chip in two exposures up to which they show the same stars: a third of a chip."""


def unit_of(facts: Record) -> str:
    """Return ``ccd/night/exposure`` of a drift frame, or the key of a master."""
    kind = facts.get("what", "frame")
    if kind == "targets":
        return LIST
    if kind == "catalogue":
        return f"reference/{facts['ccd']}/file"
    number = "no number" if facts["exposure"] is None else facts["exposure"]
    name = f"{facts['ccd']}/{facts['night'] or 'no date'}/{number}"
    return name if facts["drift"] else f"{KINDS.get(str(facts['band']), 'companion')}/{name}"


def file_raws(settings: DECamSettings, cache: Path, *, fresh: bool = False) -> Iterator[Raw]:
    """Yield the published catalogue, a part for each chip, and the list of targets, if settings name them.

    Parameters
    ----------
    cache
        Folder in which a table of VizieR is kept.
    fresh
        Ask VizieR again.

    Raises
    ------
    InvalidFile
        If a file is not there, or lacks columns.
    CatalogError
        If VizieR does not give the table, or it lacks columns.
    """
    if settings.reference_catalogue is not None:
        path = Path(settings.reference_catalogue)
        rows = _read_csv(path, PUBLISHED)
        for ccd in sorted({str(name) for name in rows["chp"]}):
            if settings.ccd is None or ccd in settings.ccd:
                facts = {"what": "catalogue", "ccd": ccd}
                yield Raw(path.name, "csv", path=path, in_place=True, key=ccd, header=facts, owner=CAMERA)
    own = settings.targets
    if settings.read_targets and own.csv_path is not None:
        path = Path(own.csv_path)
        needed = [
            own.ra_col_name,
            own.dec_col_name,
            own.id_col_name,
            *([own.subset.key] if own.subset else []),
        ]
        _read_csv(path, needed)
        yield Raw(path.name, "csv", path=path, in_place=True, header={"what": "targets"}, owner=CAMERA)
    if settings.read_targets and own.vizier is not None:
        name = f"{own.vizier.replace('/', '_')}.csv"
        content = _from_vizier(own, cache, fresh=fresh)
        yield Raw(name, "csv", content=content, header={"what": "targets"}, owner=CAMERA)


def _from_vizier(own: TargetSettings, cache: Path, *, fresh: bool) -> bytes:
    """Return a table of VizieR as a target list: positions in degrees, columns named as settings say."""
    names = {"name": own.id_col_name, "ra": own.ra_col_name, "dec": own.dec_col_name}
    given = {"name": "id_col_name", "ra": "ra_col_name", "dec": "dec_col_name"}
    said = {ours: names[ours] for ours, key in given.items() if key in own.model_fields_set}
    wanted = CatalogSettings(vizier=own.vizier, vizier_url=own.vizier_url, columns=ColumnSettings(**said))
    catalog = read_catalog(wanted, cache=cache, refresh=fresh)
    if own.subset is not None and own.subset.key not in catalog.frame:
        msg = f"{own.vizier}: no column {own.subset.key}; there are {', '.join(map(str, catalog.frame))}"
        raise CatalogError(msg)
    theirs = {catalog.columns[ours]: name for ours, name in names.items()}
    return catalog.frame.rename(columns=theirs).to_csv(index=False).encode()


def make_master(raws: Sequence[RawRef], aux: Aux, settings: DECamSettings) -> list[Product[Table]]:
    """Return the catalogue of a chip in a pointed frame, of a published file, or the list of targets.

    Raises
    ------
    DataError
        If a frame or a file cannot be read, or has no stars.
    """
    facts = raws[0].header
    if facts.get("what") == "targets":
        return [_master(_targets(raws[0], settings), "targets", {})]
    if facts.get("what") == "catalogue":
        table = _published(raws[0])
        return [
            _master(
                table, "reference", {"ccd": facts["ccd"], "n_stars": len(table), "from": raws[0].archive_id}
            )
        ]
    frame = read_frame(raws)
    companions = [
        handle.load() for name, handle in sorted(aux.masters.items()) if name.startswith("companion")
    ]
    # colours are of the companions in g; numbers of stars of all of them stay
    table = build_reference(
        frame.image, settings=settings.reference, gaia=aux.services.get("refcat"), companions=companions,
        known=companions,
    )  # fmt: skip
    aux.note("keywords that were missing or strange in pointed frames", len(frame.facts["notes"]))
    about = {
        key: frame.facts[key] for key in ("ccd", "night", "exposure", "ra", "dec", "exptime", "mjd_start")
    }
    kind = KINDS.get(str(facts["band"]), "companion")
    return [_master(table, kind, {**about, "n_stars": len(table)}, band=str(facts["band"]))]


def choose_masters(masters: Sequence[Handle[Table]], facts: Record) -> dict[str, Handle[Table]]:
    """Return ``reference`` and ``targets`` for a drift frame, ``companion 001`` ... for a pointed one in r.

    Of several catalogues the published one is taken, else the deepest of the chip at that place; those of earlier
    nights come as ``earlier 001`` ... for the numbers of their stars. Companions and they come in the order of their
    nights, so that the same one names a star for all that see it.
    """
    if facts.get("what") or facts.get("problem"):
        return {}
    near = [one for one in masters if _same_place(one, facts)]
    if not facts["drift"]:
        mates = [one for one in near if one.info.series == "companion"]
        return {
            f"companion {n:03d}": one for n, one in enumerate(sorted(mates, key=lambda m: m.info.unit), 1)
        }
    found = (
        {"targets": lists[-1]} if (lists := [one for one in masters if one.info.series == "targets"]) else {}
    )
    mine = [one for one in near if one.info.series == "reference"]
    if mine:
        found["reference"] = best = max(mine, key=_rank)
        before = [one for one in mine if one.info.unit < best.info.unit and "from" not in one.info.statistics]
        if "from" not in best.info.statistics:
            ordered = sorted(before, key=lambda one: one.info.unit)
            found |= {f"earlier {n:03d}": one for n, one in enumerate(ordered, 1)}
    return found


def reference_stars(masters: Mapping[str, Handle[Table]]) -> Table:
    """Return the catalogue that was chosen for a drift frame, its stars numbered as earlier ones have them.

    Raises
    ------
    KeyError
        If there is none.
    """
    earlier = [handle.load() for name, handle in sorted(masters.items()) if name.startswith("earlier")]
    return numbered(masters["reference"].load(), earlier)


# --- inside -----------------------------------------------------------------------------------------------


def _master(table: Table, series: str, about: RecordDict, *, band: str = "") -> Product[Table]:
    return Product(table, role="master", series=series, band=band, statistics=about)


def _same_place(master: Handle[Table], facts: Record) -> bool:
    about = master.info.statistics
    if about.get("ccd") != facts["ccd"]:
        return False
    ra, dec, here, there = about.get("ra"), about.get("dec"), facts.get("ra"), facts.get("dec")
    if ra is None or dec is None or here is None or there is None:
        return True  # the catalogue of a file is of all places
    return bool(separation(ra, dec, here, there) <= _OVERLAP)


def _rank(master: Handle[Table]) -> tuple[bool, int, str]:
    about = master.info.statistics
    return "from" in about, int(about.get("n_stars") or 0), master.info.unit


def _read_csv(source: Path | RawRef, needed: Sequence[str]) -> pd.DataFrame:
    """Return a table of which each value keeps all its digits or stays text."""
    name = str(source) if isinstance(source, Path) else source.archive_id
    try:
        content = source.read_bytes() if isinstance(source, Path) else source.read()
    except OSError as error:
        msg = f"{name}: cannot be read ({error})"
        raise InvalidFile(msg) from error
    frame = frame_of_csv(content, name)
    if missing := [column for column in needed if column not in frame.columns]:
        there = ", ".join(map(str, frame.columns))
        msg = f"{name}: no column {', '.join(missing)}; there are {there}"
        raise InvalidFile(msg)
    return frame


def _places(rows: pd.DataFrame, ra: str, dec: str, where: str) -> tuple[FloatArray, FloatArray]:
    """Return degrees of two columns: of numbers in the unit that ends their names, or of sexagesimal text."""
    found = in_our_units(rows, {"ra": ra, "dec": dec}, where)
    return _numbers(found, ra, where), _numbers(found, dec, where)


def _targets(raw: RawRef, settings: DECamSettings) -> Table:
    """Return name, ra and dec of the targets that are wanted."""
    own = settings.targets
    rows = _read_csv(raw, [own.ra_col_name, own.dec_col_name, own.id_col_name])
    keep = np.ones(len(rows), bool)
    if own.subset is not None:
        wanted = {str(value) for value in own.subset.values}
        keep &= np.array([str(value) in wanted for value in rows[own.subset.key]], bool)
    try:
        ra, dec = _places(rows, own.ra_col_name, own.dec_col_name, raw.archive_id)
        keep &= np.isfinite(ra) & np.isfinite(dec) & ~out_of_range("ra", ra) & ~out_of_range("dec", dec)
        names, _ = read_names(rows[own.id_col_name][keep], raw.archive_id)
    except CatalogError as error:
        raise InvalidFile(str(error)) from error
    columns = {"name": np.array(names, dtype=np.str_), "ra": ra[keep], "dec": dec[keep]}
    return Table(columns, {"ra": "deg", "dec": "deg"}, {"file": raw.archive_id})


def _published(raw: RawRef) -> Table:
    """Return the rows of one chip of a published catalogue in our columns; its fluxes have no zero point."""
    rows = _read_csv(raw, PUBLISHED)
    rows = rows[rows["chp"].astype(str) == raw.key].reset_index(drop=True)
    n = len(rows)
    flux, ra, dec, x, y = (_numbers(rows, name, raw.archive_id) for name in ("flux", "ra", "dec", "x", "y"))
    mag = np.full(n, np.nan)
    np.log10(flux, out=mag, where=flux > 0)
    names = [str(name) for name in rows["ref_star_id"]]
    nothing = np.full(n, np.nan)
    columns: RecordDict = {
        "star_id": np.array([_number(name) for name in names], np.int64), "name": np.array(names, dtype=np.str_),
        "ra": ra, "dec": dec, "x": x, "y": y,
        "flux": flux, "flux_error": nothing, "mag": -2.5 * mag, "mag_error": nothing,
        "g_r": nothing, "g_r_error": nothing, "isolation": nothing, "saturated": np.zeros(n, bool),
        "galaxy": np.zeros(n, bool), "cut": np.zeros(n, bool), "gaia": np.full(n, NO_GAIA), "pmra": nothing,
        "pmdec": nothing, "is_reference": np.ones(n, bool),
    }  # fmt: skip
    units = {
        "ra": "deg",
        "dec": "deg",
        "x": "pix",
        "y": "pix",
        "mag": "mag",
        "pmra": "mas / yr",
        "pmdec": "mas / yr",
    }
    return Table(columns, units, {"zero_point_from": "none", "file": raw.archive_id})


def _numbers(rows: pd.DataFrame, name: str, where: str) -> FloatArray:
    try:
        return np.asarray(rows[name].to_numpy(dtype=float, na_value=np.nan), float)
    except (ValueError, TypeError) as error:
        msg = f"{where}: column {name} holds what is no number ({error})"
        raise InvalidFile(msg) from error


def _number(name: str) -> int:
    """Return a number for a name, the same in every run: 62 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 2
