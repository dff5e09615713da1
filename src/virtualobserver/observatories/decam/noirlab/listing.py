"""What the archive answers: rows, the files they list, and exposures joined of files."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virtualobserver.errors import ArchiveAnswerError
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.decam.noirlab.question import PRODUCTS
from virtualobserver.secrets import scrub
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "ArchiveFile",
    "ExposureFiles",
    "file_of",
    "join_exposures",
    "parse_rows",
    "reaches",
    "whole_number",
]

_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")
_VERSION: Final = re.compile(r"_v(\d+)\.")


@dataclass(frozen=True)
class ArchiveFile:
    """A file as the archive lists it.

    Parameters
    ----------
    md5
        Its name in the archive, and sum of its bytes.
    name
        Last part of its path.
    product
        ``image``, ``dqmask`` or ``wtmap``; other kinds as the archive calls them.
    expnum
        Number of the exposure; None if it is not listed.
    size
        Bytes; None if not listed.
    release
        Date from which it is public, YYYY-MM-DD.
    facts
        All that is listed, under bare names.
    """

    md5: str
    name: str
    product: str
    expnum: int | None
    size: int | None
    release: str
    facts: Record

    @property
    def version(self) -> int:
        """Number after ``_v`` in the name, 0 without."""
        found = _VERSION.search(self.name)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class ExposureFiles:
    """The files of one exposure, each in its highest version; mask and weight may be missing."""

    expnum: int
    image: ArchiveFile
    dqmask: ArchiveFile | None = None
    wtmap: ArchiveFile | None = None

    @property
    def caldat(self) -> str:
        """Night of the exposure, as a local date."""
        return str(self.image.facts.get("caldat") or "")[:10]

    @property
    def exptime(self) -> float:
        """Exposure time, s; 0 if it is not listed."""
        seconds = self.image.facts.get("exposure")
        return float(seconds) if isinstance(seconds, int | float) else 0.0

    @property
    def files(self) -> tuple[ArchiveFile, ...]:
        """Those that are there, the image first."""
        return tuple(one for one in (self.image, self.dqmask, self.wtmap) if one is not None)


def parse_rows(content: bytes, where: str) -> list[RecordDict]:
    """Return the rows of an answer under bare names, whatever the version of the interface.

    Raises
    ------
    ArchiveAnswerError
        If it is no list of rows with its head, or an error of the archive, whose words are given.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        words = scrub(content[:200].decode("utf-8", errors="replace"))
        msg = f"{where}: no JSON, but {words!r}"
        raise ArchiveAnswerError(msg) from None
    if isinstance(found, dict):
        said = found.get("errorMessage") or found.get("message") or found.get("detail") or sorted(found)
        msg = f"{where}: the archive says {scrub(str(said))[:300]!r}"
        raise ArchiveAnswerError(msg)
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        msg = f"{where}: not a list of rows"
        raise ArchiveAnswerError(msg)
    if "META" not in found[0] and "HEADER" not in found[0]:
        msg = f"{where}: the list of rows has no head (META, PARAMETERS, HEADER), but {sorted(found[0])[:5]}"
        raise ArchiveAnswerError(msg)
    return [
        {str(name).partition(":")[2] or str(name): value for name, value in row.items()} for row in found[1:]
    ]


def file_of(row: Record, where: str) -> ArchiveFile:
    """Return the file that a row lists.

    Raises
    ------
    ArchiveAnswerError
        If it has no MD5 sum, by which files are asked for.
    """
    md5, path = str(row.get("md5sum") or ""), str(row.get("archive_filename") or "")
    if not _MD5.fullmatch(md5):
        msg = f"{where}: a row without an md5sum: {sorted(row)[:8]}"
        raise ArchiveAnswerError(msg)
    product = str(row.get("prod_type") or "")
    return ArchiveFile(
        md5.lower(),
        path.rpartition("/")[2] or f"{md5}.fits.fz",
        PRODUCTS.get(product, product),
        whole_number(row.get("EXPNUM")),
        whole_number(row.get("filesize")),
        str(row.get("release_date") or "")[:10],
        dict(row),
    )


def join_exposures(files: Sequence[ArchiveFile]) -> list[ExposureFiles]:
    """Return exposures by rising number: image, mask and weight joined by EXPNUM, each in its highest version.

    The mask and weight are those of the image's version if there are, so that planes of one processing stay
    together. What has no number or no image is left out.
    """
    by_number: dict[int, dict[str, list[ArchiveFile]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        if file.expnum is not None and file.product in PRODUCTS.values():
            by_number[file.expnum][file.product].append(file)
    joined = []
    for number, products in sorted(by_number.items()):
        if not products["image"]:
            continue
        image = max(products["image"], key=lambda one: (one.version, one.name))
        planes = [_plane_of(image, products[name]) for name in ("dqmask", "wtmap")]
        joined.append(ExposureFiles(number, image, *planes))
    return joined


def reaches(facts: Record, ra: float, dec: float, radius: float) -> bool:
    """Say whether the middle of the camera lies within a cone (degrees); where it is not listed, it may."""
    east, north = facts.get("ra_center"), facts.get("dec_center")
    if not (isinstance(east, int | float) and isinstance(north, int | float)):
        return True  # not listed: better looked at than missed
    return bool(separation(east, north, ra, dec) <= radius)


def whole_number(value: object) -> int | None:
    """Return a number, also one that came as text; None for what is no whole one."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


# --- inside -----------------------------------------------------------------------------------------------


def _plane_of(image: ArchiveFile, planes: Sequence[ArchiveFile]) -> ArchiveFile | None:
    same = [one for one in planes if one.version == image.version]
    return max(same or planes, key=lambda one: (one.version, one.name), default=None)
