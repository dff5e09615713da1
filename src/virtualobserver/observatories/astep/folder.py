"""Nights of frames in a folder: found, told apart by their headers, never written to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import InvalidFile
from virtualobserver.io.fits.files import read_header
from virtualobserver.io.fits.structure import check_structure, first_image
from virtualobserver.maths.astrometry.positions import normal_name
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.astep.header import KINDS, facts_of
from virtualobserver.observatories.astep.settings import ASTEPSettings

__all__ = ["belongs", "camera_of", "folder_raws", "raw_of"]

SUFFIXES: Final = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz", ".fit.fz")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MADE: Final = re.compile(r"_MASTER|_MASK\.|_CAL\.")
_MASTERS: Final = frozenset({"MASTERBIAS", "MASTERDARK", "MASTERFLAT", "MASK"})


def folder_raws(folders: Sequence[Path], settings: ASTEPSettings) -> list[Raw]:
    """Return all frames below the folders, by name; masters and calibrated frames of other programs are left out.

    A file that cannot be read, or lacks what is needed, is there too, and its header says why.

    Raises
    ------
    InvalidFile
        If a folder holds no FITS files in this layout.
    """
    found: list[Raw] = []
    for folder in folders:
        stems: set[tuple[str, str]] = set()
        number = len(found)
        for path in _files(folder, settings.layout):
            raw = _raw_of_file(path, folder, settings)
            key = (path.parent.name, str(raw.header["stem"]))
            # x.fits beside x.fits.gz is one frame
            if raw.header.get("made") or key in stems:
                continue
            stems.add(key)
            found.append(raw)
        if len(found) == number:
            what = "DATE/DATE-CAMS/*.fits" if settings.layout == "dates" else "FITS files"
            msg = f"archive folder {folder} holds no {what}; check the settings archive and layout"
            raise InvalidFile(msg)
    return sorted(found, key=lambda raw: raw.archive_id)


def raw_of(name: str, facts: dict[str, Any], **content: Any) -> Raw:
    """Return a frame as raw data, owned by its camera if it is a calibration frame."""
    obscore: dict[str, Any] = {
        "obs_id": facts["stem"],
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
    return Raw(name, "fits", obscore=obscore, header=facts, owner=owner, **content)


def camera_of(name: str) -> Target:
    """Return the camera as a source."""
    return Target(name, kind="instrument")


def belongs(raw: Raw, target: Target, settings: ASTEPSettings) -> bool:
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


def _files(folder: Path, layout: str) -> Iterator[Path]:
    for where, directories, names in os.walk(folder):
        directories.sort()
        here = Path(where)
        if layout == "dates" and not _is_night(here):
            continue
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not _MADE.search(name):
                yield here / name


def _is_night(folder: Path) -> bool:
    """Whether a folder is DATE/DATE-CAMS or DATE/DATE-CAMS_SKYFLAT."""
    night = folder.parent.name
    return bool(_DATE.fullmatch(night)) and folder.name in {f"{night}-CAMS", f"{night}-CAMS_SKYFLAT"}


def _raw_of_file(path: Path, folder: Path, settings: ASTEPSettings) -> Raw:
    name = path.relative_to(folder.parent if _DATE.fullmatch(folder.name) else folder).as_posix()
    try:
        shapes = check_structure(path, verify=False)
        number = first_image(path, shapes)
        header = read_header(path, number)
        if number:
            header = {**read_header(path, 0), **header}
        rows, cols = shapes[number]
        facts = facts_of(name, header, (rows, cols), settings)
        facts["made"] = str(header.get("ACQTYPE") or "").strip() in _MASTERS
    except (InvalidFile, OSError) as error:
        facts = facts_of(name, {}, (0, 0), settings)
        facts["problem"] = str(error)
    return raw_of(name, facts, path=path, in_place=True)
