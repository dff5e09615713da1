"""Nights of frames in a folder: found, told apart by their headers, never written to."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from virtualobserver.ccd.header import KINDS, facts_of, is_kind_folder
from virtualobserver.ccd.parts import parts_of
from virtualobserver.ccd.rules import rules_for
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.ccd.values import text
from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import InvalidFile
from virtualobserver.io.fits.files import read_header, read_image
from virtualobserver.io.fits.structure import check_structure
from virtualobserver.io.listing import walk
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.positions import normal_name
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.typing import RecordDict, Value

__all__ = ["belongs", "camera_of", "folder_raws", "level_of", "raw_of"]

SUFFIXES: Final = (
    ".fits",
    ".fit",
    ".fts",
    ".fits.gz",
    ".fit.gz",
    ".fts.gz",
    ".fits.fz",
    ".fit.fz",
    ".fts.fz",
)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MASTERS: Final = frozenset({"MASTERBIAS", "MASTERDARK", "MASTERFLAT", "MASK"})


def folder_raws(folders: Sequence[Path], settings: CCDSettings) -> list[Raw]:
    """Return all frames below the folders, by name; masters and calibrated frames of other programs are left out.

    A file that cannot be read, or lacks what is needed, is there too, and its header says why.

    Raises
    ------
    InvalidFile
        If a folder holds no FITS files in this layout.
    """
    found: list[Raw] = []
    names: set[str] = set()
    seen: set[Path] = set()
    layout = settings.layouts.get(settings.layout)
    for folder in folders:
        packed: set[str] = set()
        number = len(found)
        for path in _files(folder, settings):
            own = (
                path.parent.resolve() / path.name
            )  # links to files are files of their own: masters lent to a night
            if own in seen:  # of a folder within another of the list, or twice in it
                number = min(number, len(found) - 1)
                continue
            seen.add(own)
            plain = str(path).removesuffix(".gz").removesuffix(".fz")
            if plain in packed:  # x.fits beside x.fits.gz is one frame
                continue
            packed.add(plain)
            name = _name(path, folder, names, settings)
            names.add(name)
            if rules_for(settings.ignored, name):
                continue
            found += [raw for raw in _raws_of_file(path, name, settings) if not raw.header.get("made")]
        if len(found) == number:
            what = "FITS files" if layout is None else layout.example
            msg = f"archive folder {folder} holds no {what}; check the settings archive and layout"
            raise InvalidFile(msg)
    if settings.duplicates == "error":
        _refuse_duplicates(found)
    return sorted(found, key=lambda raw: (raw.archive_id, raw.key))


def raw_of(name: str, facts: RecordDict, **content: Value) -> Raw:
    """Return a frame as raw data, owned by its camera if it is a calibration frame.

    Raw data never change, and what is known of a frame depends on how its header is read: the same file read in another
    way is another piece, told by its key.
    """
    obscore: RecordDict = {
        "obs_id": facts["frame"],
        "dataproduct_type": "image",
        "instrument_name": facts["camera"],
        "t_exptime": facts["exposure"],
        "s_ra": facts["ra"] if facts["kind"] == "science" else None,
        "s_dec": facts["dec"] if facts["kind"] == "science" else None,
    }
    if facts["mjd"] is not None:
        half = float(facts["exposure"] or 0.0) / 2 / 86400
        obscore |= {"t_min": facts["mjd"] - half, "t_max": facts["mjd"] + half}
    owner = camera_of(facts["camera"]) if facts["kind"] in KINDS else None
    reading = sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
    key = f"{facts['part']}#{reading}"
    return Raw(name, "fits", obscore=obscore, header=facts, owner=owner, key=key, **content)


def camera_of(name: str) -> Target:
    """Return the camera as a source."""
    return Target(name, kind="instrument")


def belongs(raw: Raw, target: Target, settings: CCDSettings) -> bool:
    """Whether a frame is one of the target's; calibration frames are everybody's."""
    if raw.owner is not None or settings.fields == "all":
        return True
    if settings.fields == "object":
        names = {normal_name(name) for name in (target.name, *target.aliases)}
        return normal_name(str(raw.header["object"])) in names
    ra, dec = raw.header["ra"], raw.header["dec"]
    if None in {ra, dec, target.ra, target.dec}:
        return False
    assert target.ra is not None
    assert target.dec is not None
    return bool(separation(ra, dec, target.ra, target.dec) <= settings.field_radius)


def _files(folder: Path, settings: CCDSettings) -> Iterator[Path]:
    layout, made = settings.layouts.get(settings.layout), re.compile(settings.made)
    for here, _, names in walk(folder):
        if layout is not None and not layout.holds(here):
            continue
        for name in names:
            if name.lower().endswith(SUFFIXES) and not made.search(name):
                yield here / name


def _refuse_duplicates(raws: Sequence[Raw]) -> None:
    """Refuse science frames of one name in several nights.

    Raises
    ------
    InvalidFile
        With the first of them.
    """
    known: dict[str, str] = {}
    for raw in raws:
        name = Path(raw.archive_id).name
        if raw.owner is None and known.setdefault(name, raw.archive_id) != raw.archive_id:
            msg = (
                f"{known[name]} and {raw.archive_id} are frames of one name; rename one, or set duplicates: prefix, "
                "by which each is known by its night too"
            )
            raise InvalidFile(msg)


def _name(path: Path, folder: Path, taken: Collection[str], settings: CCDSettings) -> str:
    """Return a file's path below the archive; a second folder's own name goes before, where the first has it too."""
    below = path.parent.relative_to(folder).parts
    is_night = (
        all(is_kind_folder(one, settings) for one in below)
        if settings.night == "directory"
        else _DATE.fullmatch(folder.name)
    )
    top = folder.parent if is_night else folder
    name = path.relative_to(top).as_posix()
    while name in taken and top != top.parent:
        name, top = f"{top.name}/{name}", top.parent
    return name


def _raws_of_file(path: Path, name: str, settings: CCDSettings) -> Iterator[Raw]:
    """Yield the frames of a file; one that cannot be read is a frame with a problem."""
    try:
        shapes = check_structure(path, verify=False)
        parts, notes = parts_of(
            path, shapes, lambda number: read_header(path, number), wanted=settings.extension
        )
        first = read_header(path, 0) if parts[-1].hdu else {}
        for part in parts:
            header = {**first, **read_header(path, part.hdu)}
            facts = facts_of(
                name,
                header,
                part.shape,
                settings,
                part=part.name,
                hdu=part.hdu,
                level=partial(_level, path, part.hdu),
            )
            facts["made"] = text(header, "ACQTYPE") in _MASTERS
            facts["notes"] = [*facts["notes"], *notes]
            yield raw_of(name, facts, path=path, in_place=True)
    except (InvalidFile, OSError) as error:
        facts = facts_of(name, {}, (0, 0), settings)
        facts["problem"] = str(error)
        yield raw_of(name, facts, path=path, in_place=True)


def _level(path: Path, hdu: int) -> float:
    """Return the counts below which 97.5 % of the pixels of a frame are."""
    return level_of(read_image(path, hdu).data)


def level_of(counts: Array) -> float:
    """Return the counts below which 97.5 % of the pixels of a frame are."""
    return float(np.nanpercentile(counts, 97.5))
