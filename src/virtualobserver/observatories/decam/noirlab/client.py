"""A client of the archive: its version, its listings page by page, its files with their sums, its login."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from virtualobserver.config.credentials import Credentials
from virtualobserver.errors import ArchiveAnswerError, ArchiveOverflow, ArchiveRefused
from virtualobserver.io.http.answers import not_html
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.token import TokenAuth
from virtualobserver.io.names import safe_name
from virtualobserver.observatories.decam.noirlab.checks import Proprietary, expect_file, expect_rows, is_whole
from virtualobserver.observatories.decam.noirlab.listing import (
    ArchiveFile,
    ExposureFiles,
    file_of,
    join_exposures,
    parse_rows,
    reaches,
    whole_number,
)
from virtualobserver.observatories.decam.noirlab.question import ArchiveSettings, build_search

__all__ = ["NOIRLabArchive"]

NEWEST_API: Final = 7
"""Version of the interface whose answers are understood."""


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
        self._numbers: dict[str, dict[str, int]] = {}

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

    def find(
        self, *, cone: tuple[float, float, float] | None = None, pointed: str | None = None
    ) -> list[ArchiveFile]:
        """Return all files that the settings ask for, by pages; see `build_search`.

        Raises
        ------
        ArchiveError
            If the archive does not answer, or with an error.
        ArchiveOverflow
            If there are more than ``most_rows``.
        """
        self.version()
        question, own = build_search(self._settings, cone=cone, pointed=pointed), self._settings
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
                f"{self._url}/api/adv_search/find/", json=question, params=params, check=expect_rows
            )
            rows = parse_rows(answer.content, answer.url)
            before = len(found)
            found |= {file.md5: file for file in (file_of(row, answer.url) for row in rows)}
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

    def exposures(
        self, *, cone: tuple[float, float, float] | None = None, pointed: str | None = None
    ) -> list[ExposureFiles]:
        """Return the exposures that the settings ask for; with a cone, those whose middle lies within it."""
        files = join_exposures(self.find(cone=cone, pointed=pointed))
        return files if cone is None else [one for one in files if reaches(one.image.facts, *cone)]

    def hdus(self, file: ArchiveFile) -> dict[str, int]:
        """Return the number of each CCD's HDU in a file by EXTNAME, as the archive lists it; asked once a file.

        Raises
        ------
        ArchiveAnswerError
            If the archive lists none with a name.
        """
        if (kept := self._numbers.get(file.md5)) is not None:
            return kept
        question = {
            "outfields": ["md5sum", "hdu:hdu_idx", "hdu:EXTNAME"],
            "search": [
                ["instrument", self._settings.instrument], ["proc_type", self._settings.proc_type],
                ["md5sum", file.md5],
            ],
        }  # fmt: skip
        answer = self._http.post(
            f"{self._url}/api/adv_search/find/", json=question,
            params={"rectype": "hdu", "limit": 200, "format": "json"}, check=expect_rows,
        )  # fmt: skip
        numbers: dict[str, int] = {}
        for row in parse_rows(answer.content, answer.url):
            number, name = whole_number(row.get("hdu_idx")), str(row.get("EXTNAME") or "").strip()
            if number is not None and name:
                numbers[name] = number
        if not numbers:
            msg = f"{answer.url}: no HDU of {file.name} is listed with a name"
            raise ArchiveAnswerError(msg)
        self._numbers[file.md5] = numbers
        return numbers

    def download(self, file: ArchiveFile, folder: Path, *, hdus: Sequence[int] | None = None) -> Path:
        """Download a file, or its primary header and some HDUs; return where it stands.

        A whole file is compared with its MD5 sum; a part has none, and is read to its end instead. What stands in the
        folder already and is whole is not asked for again.

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
        if is_whole(target, file, len(parts)):
            return target
        url = f"{self._url}/api/retrieve/{file.md5}/"
        params = {"hdus": ",".join(map(str, (0, *parts)))} if parts else None
        check = expect_file(file, len(parts))
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

    def _login(self) -> TokenAuth:
        """Return a token: the one that is given, or a new one for name and password."""
        known = self._credentials if self._credentials is not None else Credentials.find("decam")
        if known.token:
            return TokenAuth(known.token)
        if not (known.username and known.password):
            msg = (
                "files that are not public need a login: set VO_DECAM_USERNAME and VO_DECAM_PASSWORD, or write "
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
