"""The NOIRLab Astro Data Archive: find exposures, and get their files or single CCDs of them.

Questions are lists of conditions, ``POST /api/adv_search/find/``; files are named by their MD5 sum,
``GET /api/retrieve/<md5>/``. Keys of answers are bare up to version 6 of the interface and carry ``file:`` or ``hdu:``
before them in version 7; a newer one is refused. What is listed is public, files may be not: they need a login,
``VO_NOIRLAB_USERNAME`` (the e-mail address) and ``VO_NOIRLAB_PASSWORD``, or ``VO_NOIRLAB_TOKEN``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
from requests.auth import AuthBase

from virtualobserver.config.credentials import Credentials
from virtualobserver.config.settings import Settings, address, setting
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveError,
    ArchiveOverflow,
    ArchiveRefused,
    ConfigError,
    IncompleteDownload,
)
from virtualobserver.io.http.answers import Answer, expect_fits, not_html
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.names import safe_name
from virtualobserver.secrets import scrub
from virtualobserver.typing import Record, RecordDict, Value

__all__ = [
    "ARCHIVE_URL",
    "ArchiveFile",
    "ArchiveSettings",
    "ExposureFiles",
    "NOIRLabArchive",
    "Proprietary",
    "build_search",
    "join_exposures",
    "parse_rows",
]

ARCHIVE_URL: Final = "https://astroarchive.noirlab.edu"
NEWEST_API: Final = 7
"""Version of the interface whose answers are understood."""
FIELDS: Final = (
    "md5sum", "archive_filename", "caldat", "dateobs_min", "exposure", "ifilter", "instrument", "proc_type",
    "prod_type", "proposal", "release_date", "filesize", "ra_center", "dec_center",
)  # fmt: skip
AUX_FIELDS: Final = ("EXPNUM",)
"""Header keywords; the archive wants instrument and proc_type among the conditions of a question with one."""
PRODUCTS: Final = {"image": "image", "dqmask": "dqmask", "wtmap": "wtmap", "weight": "wtmap"}
"""Files of an exposure by prod_type."""
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")
_VERSION: Final = re.compile(r"_v(\d+)\.")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIELD_HALF: Final = 1.1
"""Degrees from the middle of the camera to its edge."""


_Ends = TypeVar("_Ends", int, float, str)


class Proprietary(ArchiveRefused):
    """A file that is not public yet, to somebody who may not have it."""


class ArchiveSettings(Settings):
    """What is asked of the NOIRLab Astro Data Archive."""

    url: str = address(ARCHIVE_URL, doc="the archive")
    instrument: str = setting("decam", doc="Instrument", step="fetch", min_length=1)
    proc_type: str = setting("instcal", doc="Kind of processing", step="fetch", min_length=1)
    band: str | None = setting("VR", doc="What the name of the filter contains; unset = any", step="fetch")
    exptime: tuple[float, float] | None = setting(
        (20.0, 20.0), doc="Shortest and longest exposure; unset = any", unit="s", step="fetch"
    )
    caldat: tuple[str, str] | None = setting(
        None, doc="First and last night, as local dates YYYY-MM-DD; unset = any", step="fetch"
    )
    proposal: str | None = setting(None, doc="Programme, e.g. 2021B-0023; unset = any", step="fetch")
    expnum: tuple[int, int] | None = setting(
        None, doc="First and last number of exposures; unset = any", step="fetch"
    )
    page_rows: int = setting(1000, doc="Rows of one answer", run_only=True, ge=1)
    most_rows: int = setting(
        100_000, doc="Rows of a question; more are an error, the question too wide", run_only=True, ge=1
    )
    proprietary: bool = setting(False, doc="Ask also for files that need a login", run_only=True)


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

    def is_public(self, today: str) -> bool:
        """Say whether it is public on a date (YYYY-MM-DD); so is what has no release date."""
        return not self.release or self.release <= today


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
    def files(self) -> tuple[ArchiveFile, ...]:
        """Those that are there, the image first."""
        return tuple(one for one in (self.image, self.dqmask, self.wtmap) if one is not None)


class TokenAuth(AuthBase):
    """Send a token as it is, without the name of a scheme; its value shows nowhere."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = self.token
        return request

    def __repr__(self) -> str:
        return "TokenAuth(***)"


def build_search(settings: ArchiveSettings, *, cone: tuple[float, float, float] | None = None) -> RecordDict:
    """Return the question for the files of exposures, as the archive wants it.

    Parameters
    ----------
    cone
        Right ascension, declination and radius (degrees) that the middle of the camera lies within; the archive
        knows boxes only, so that the corners are asked for as well.

    Raises
    ------
    ConfigError
        If a night is no date, a range is the wrong way round, or the cone is none.
    """
    conditions: list[list[Value]] = [["instrument", settings.instrument], ["proc_type", settings.proc_type]]
    conditions.append(["prod_type", *PRODUCTS])
    if settings.band is not None:
        conditions.append(["ifilter", settings.band, "contains"])
    if settings.exptime is not None:
        conditions.append(["exposure", *_rising(settings.exptime, "exptime")])
    if settings.caldat is not None:
        if wrong := [date for date in settings.caldat if not _DATE.fullmatch(date)]:
            msg = f"caldat: {wrong[0]!r} is no date; write YYYY-MM-DD"
            raise ConfigError(msg)
        conditions.append(["caldat", *_rising(settings.caldat, "caldat")])
    if settings.proposal is not None:
        conditions.append(["proposal", settings.proposal])
    if settings.expnum is not None:
        conditions.append(["EXPNUM", *_rising(settings.expnum, "expnum")])
    if cone is not None:
        conditions += _box(*cone)
    return {"outfields": [*FIELDS, *AUX_FIELDS], "search": conditions}


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


class NOIRLabArchive:
    """The live archive.

    Parameters
    ----------
    http
        What is public is asked for without any credentials.
    settings
        Of the question.
    credentials
        In place of those of the environment or the private file.
    """

    def __init__(
        self,
        http: HttpClient,
        settings: ArchiveSettings | None = None,
        *,
        credentials: Credentials | None = None,
    ) -> None:
        self._http = http.with_credentials(None)
        self._settings = settings or ArchiveSettings()
        self._url = self._settings.url.rstrip("/")
        self._credentials = credentials
        self._auth: TokenAuth | None = None
        self._version: float | None = None

    def version(self) -> float:
        """Return the version of the interface; asked once.

        Raises
        ------
        ArchiveAnswerError
            If it is newer than what is understood, or no number.
        """
        if self._version is None:
            answer = self._http.get(f"{self._url}/api/version/", check=not_html)
            try:
                self._version = float(json.loads(answer.content))
            except (ValueError, TypeError):
                msg = f"{answer.url}: {answer.text[:50]!r} is no version of the archive's interface"
                raise ArchiveAnswerError(msg) from None
        if not math.isfinite(self._version) or math.floor(self._version) > NEWEST_API:
            msg = (
                f"{self._url}: version {self._version:g} of its interface is newer than {NEWEST_API}, the last one "
                "that is understood; look for a newer version of this package"
            )
            raise ArchiveAnswerError(msg)
        return self._version

    def find(self, *, cone: tuple[float, float, float] | None = None) -> list[ArchiveFile]:
        """Return all files that the settings ask for, by pages.

        Raises
        ------
        ArchiveError
            If the archive does not answer, or with an error.
        ArchiveOverflow
            If there are more than ``most_rows``.
        """
        self.version()
        question, own = build_search(self._settings, cone=cone), self._settings
        found: dict[str, ArchiveFile] = {}
        offset = 0
        while True:
            params = {
                "rectype": "file",
                "limit": own.page_rows,
                "offset": offset,
                "sort": "md5sum",
                "format": "json",
            }
            answer = self._http.post(
                f"{self._url}/api/adv_search/find/", json=question, params=params, check=_expect_rows
            )
            rows = parse_rows(answer.content, answer.url)
            before = len(found)
            found |= {file.md5: file for row in rows if (file := _file_of(row, answer.url))}
            offset += len(rows)
            if len(rows) < own.page_rows:
                return list(found.values())
            if len(found) == before:
                msg = (
                    f"{answer.url}: the page at row {offset} repeats an earlier one; the listing would be cut"
                )
                raise ArchiveAnswerError(msg)
            if offset >= own.most_rows:
                msg = (
                    f"more than {own.most_rows} files; narrow caldat, proposal or expnum, or raise most_rows"
                )
                raise ArchiveOverflow(msg)

    def exposures(self, *, cone: tuple[float, float, float] | None = None) -> list[ExposureFiles]:
        """Return the exposures that the settings ask for; with a cone, those whose camera reaches into it."""
        if cone is None:
            return join_exposures(self.find())
        ra, dec, radius = cone
        files = self.find(cone=(ra, dec, radius + _FIELD_HALF))
        return [
            one for one in join_exposures(files) if _reaches(one.image.facts, ra, dec, radius + _FIELD_HALF)
        ]

    def hdus(self, file: ArchiveFile) -> dict[str, int]:
        """Return the number of each CCD's HDU in a file by EXTNAME, as the archive lists it.

        Raises
        ------
        ArchiveAnswerError
            If the archive lists none with a name.
        """
        question = {
            "outfields": ["md5sum", "hdu:hdu_idx", "hdu:EXTNAME"],
            "search": [
                ["instrument", self._settings.instrument], ["proc_type", self._settings.proc_type],
                ["md5sum", file.md5],
            ],
        }  # fmt: skip
        answer = self._http.post(
            f"{self._url}/api/adv_search/find/", json=question,
            params={"rectype": "hdu", "limit": 200, "format": "json"}, check=_expect_rows,
        )  # fmt: skip
        numbers = {}
        for row in parse_rows(answer.content, answer.url):
            number, name = _whole(row.get("hdu_idx")), str(row.get("EXTNAME") or "").strip()
            if number is not None and name:
                numbers[name] = number
        if not numbers:
            msg = f"{answer.url}: no HDU of {file.name} is listed with a name"
            raise ArchiveAnswerError(msg)
        return numbers

    def download(self, file: ArchiveFile, folder: Path, *, hdus: Sequence[int] | None = None) -> Path:
        """Download a file, or its primary header and some HDUs; return where it stands.

        A whole file is compared with its MD5 sum; a part has none, and is read to its end instead.

        Parameters
        ----------
        folder
            Is made. The file has the archive's name, a part of one the numbers of its HDUs before the ending.
        hdus
            Numbers from 1; the primary header, 0, always comes along.

        Raises
        ------
        Proprietary
            If it is not public yet and there is no login, or the login may not have it; says when it will be.
        IncompleteDownload
            If what came is not what is listed.
        ArchiveError
            As for any download.
        """
        parts = sorted({number for number in hdus or () if number > 0})
        name = safe_name(file.name)
        if parts:
            stem, dot, ending = name.partition(".")
            name = f"{stem}-hdu{'-'.join(map(str, parts))}{dot}{ending}"
        target = folder / name
        url = f"{self._url}/api/retrieve/{file.md5}/"
        params = {"hdus": ",".join(map(str, (0, *parts)))} if parts else None
        check = _expect_file(file, len(parts))
        for attempt in (1, 2):
            http = self._http if self._auth is None else self._http.with_credentials(self._auth)
            try:
                return http.download(url, target, params=params, check=check)
            except ArchiveRefused as error:
                closed = (
                    isinstance(error, Proprietary) or "HTTP 401" in str(error) or "HTTP 403" in str(error)
                )
                if not closed:
                    raise
                until = f" until {file.release}" if file.release else ""
                if not self._settings.proprietary:
                    msg = f"{file.name} is not public{until}; set proprietary and give a login to get it"
                    raise Proprietary(msg) from None
                if attempt == 2:
                    msg = f"{file.name} is not public{until}, and this login may not have it"
                    raise Proprietary(msg) from None
            # a token that was refused may have run out
            self._auth = self._login()
        raise AssertionError  # the second attempt returns or raises

    def fetch_exposure(
        self, exposure: ExposureFiles, folder: Path, *, ccds: Sequence[str] | None = None
    ) -> Iterator[tuple[ArchiveFile, Path | ArchiveError]]:
        """Yield the files of an exposure as they come, each with its path or what went wrong.

        Parameters
        ----------
        ccds
            Names of the CCDs wanted (EXTNAME); those that the file lacks are left out. None = whole files.
        """
        for file in exposure.files:
            try:
                numbers = None
                if ccds is not None:
                    listed = self.hdus(file)
                    numbers = [listed[name] for name in ccds if name in listed]
                    if not numbers:
                        msg = f"{file.name} has none of the CCDs {', '.join(ccds)}"
                        raise ArchiveAnswerError(msg)
                yield file, self.download(file, folder / exposure.caldat, hdus=numbers)
            except ArchiveError as error:
                yield file, error

    def _login(self) -> TokenAuth:
        """Return a token: the one that is given, or a new one for name and password."""
        known = self._credentials if self._credentials is not None else Credentials.find("noirlab")
        if known.token:
            return TokenAuth(known.token)
        if not (known.username and known.password):
            msg = (
                "files that are not public need a login: set VO_NOIRLAB_USERNAME and VO_NOIRLAB_PASSWORD, or write "
                "them to ~/.config/virtualobserver/credentials.yaml"
            )
            raise Proprietary(msg)
        form = {"email": known.username, "password": known.password}
        answer = self._http.post(f"{self._url}/api/get_token/", json=form, check=not_html)
        try:
            token = json.loads(answer.content)
        except ValueError:
            token = None
        if not isinstance(token, str) or not token or " " in token:
            # what came instead of a token is the archive's reason, unless it is one in another form
            msg = f"{answer.url}: the answer to the login is no token; check name and password"
            raise ArchiveRefused(msg)
        return TokenAuth(token)


# --- inside -----------------------------------------------------------------------------------------------


def _rising(values: tuple[_Ends, _Ends], name: str) -> tuple[_Ends, _Ends]:
    if values[0] > values[1]:
        msg = f"{name}: the first of {list(values)} is larger than the second"
        raise ConfigError(msg)
    return values


def _box(ra: float, dec: float, radius: float) -> list[list[Value]]:
    """Return the conditions of a box around a cone; at a pole or across 0 h, right ascension is left open."""
    if not (math.isfinite(ra) and abs(dec) <= 90 and 0 < radius <= 30):
        msg = f"a cone needs ra, dec (-90 to 90) and a radius (0 to 30) in degrees, not {ra}, {dec}, {radius}"
        raise ConfigError(msg)
    conditions: list[list[Value]] = [["dec_center", max(dec - radius, -90.0), min(dec + radius, 90.0)]]
    highest = abs(dec) + radius
    if highest < 89.0:
        half = radius / math.cos(math.radians(highest))
        low, high = ra % 360 - half, ra % 360 + half
        if low >= 0 and high <= 360:
            conditions.append(["ra_center", low, high])
    return conditions


def _reaches(facts: Record, ra: float, dec: float, radius: float) -> bool:
    from virtualobserver.maths.astrometry.sphere import separation

    east, north = facts.get("ra_center"), facts.get("dec_center")
    if not (isinstance(east, int | float) and isinstance(north, int | float)):
        return True  # not listed: better looked at than missed
    return bool(separation(east, north, ra, dec) <= radius)


def _whole(value: object) -> int | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


def _file_of(row: Record, where: str) -> ArchiveFile | None:
    md5, path = str(row.get("md5sum") or ""), str(row.get("archive_filename") or "")
    if not _MD5.fullmatch(md5):
        msg = f"{where}: a row without an md5sum: {sorted(row)[:8]}"
        raise ArchiveAnswerError(msg)
    product = str(row.get("prod_type") or "")
    return ArchiveFile(
        md5.lower(), path.rpartition("/")[2] or f"{md5}.fits.fz", PRODUCTS.get(product, product),
        _whole(row.get("EXPNUM")), _whole(row.get("filesize")), str(row.get("release_date") or "")[:10], dict(row),
    )  # fmt: skip


def _plane_of(image: ArchiveFile, planes: Sequence[ArchiveFile]) -> ArchiveFile | None:
    same = [one for one in planes if one.version == image.version]
    return max(same or planes, key=lambda one: (one.version, one.name), default=None)


def _expect_rows(answer: Answer) -> bool:
    if not_html(answer) or not answer.content.strip():
        msg = f"{answer.url}: an empty body, not even the head of a list"
        raise IncompleteDownload(msg)
    text = answer.content.lstrip()
    if text[:1] == b"[" and not text.rstrip().endswith(b"]"):
        msg = f"{answer.url}: the list of rows does not end; it was cut"
        raise IncompleteDownload(msg)
    return len(parse_rows(answer.content, answer.url)) == 0


def _expect_file(file: ArchiveFile, parts: int) -> Any:
    """Return a check that tells a FITS file from the archive's word that it is not public."""
    fits = expect_fits()

    def check(answer: Answer) -> bool | None:
        head = answer.content[:2000].lstrip()
        if head.startswith(b"{") and b"not available to the public" in head:
            said = re.search(rb"until ([0-9]{4}-[0-9]{2}-[0-9]{2})", head)
            until = f" until {said[1].decode()}" if said else ""
            msg = f"{file.name} is not public{until}"
            raise Proprietary(msg)
        fits(answer)
        if answer.path is None:
            return None
        if parts:
            _read_to_end(answer, parts)
            return None
        # here and not by the client: what is not public has another sum, and the reason is worth more
        with answer.path.open("rb") as stream:
            found = hashlib.file_digest(stream, "md5").hexdigest()
        if found != file.md5:
            msg = f"{answer.url}: md5 is {found}, {file.md5} was promised"
            raise IncompleteDownload(msg)
        return None

    return check


def _read_to_end(answer: Answer, parts: int) -> None:
    """Refuse a part of a file that is cut, or does not hold the HDUs that were asked for."""
    from virtualobserver.errors import InvalidFile
    from virtualobserver.io.fits.structure import check_structure

    assert answer.path is not None
    try:
        shapes = check_structure(answer.path)
    except InvalidFile as error:
        msg = f"{answer.url}: {error}"
        raise IncompleteDownload(msg) from error
    if len(shapes) != parts + 1:
        msg = f"{answer.url}: {len(shapes)} HDUs came, the primary one and {parts} were asked for"
        raise IncompleteDownload(msg)
