"""The live archive: list what there is by TAP, download what is new, verify, and keep all of it or windows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from astropy.io import fits as afits

from virtualobserver.config.credentials import Credentials
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import (
    ArchiveError,
    ArchiveOverflow,
    ArchiveRefused,
    ArchiveUnavailable,
    DataError,
    IncompleteDownload,
)
from virtualobserver.io.fits.structure import quiet, wrong_sums
from virtualobserver.io.http.answers import expect_fits, expect_votable
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.tap import tap_request
from virtualobserver.io.names import safe_name
from virtualobserver.observatories.harps import eso, query
from virtualobserver.observatories.harps.adp import cut_windows
from virtualobserver.observatories.harps.folder import catalogue_of
from virtualobserver.observatories.harps.header import Facts
from virtualobserver.observatories.harps.login import TOKEN_URL, Login
from virtualobserver.observatories.harps.rows import windows_of
from virtualobserver.observatories.harps.settings import HARPSSettings
from virtualobserver.observatory import Client, Landed
from virtualobserver.typing import RecordDict

__all__ = ["Addresses", "LiveArchive", "scratch"]

_FIRST_MJD: Final = 51544.0
"""1 January 2000, before the first spectra of HARPS (2003)."""
_SHORTEST: Final = 1e-3  # d; two rows that share their time are not told apart below this
_GIVE_UP: Final = 3  # products in a row that an archive does not give


@dataclass(frozen=True)
class Addresses:
    """Where the services are."""

    tap: str = query.TAP_URL
    file: str = query.FILE_URL
    token: str = TOKEN_URL
    web: str = query.WEB

    @classmethod
    def of(cls, settings: HARPSSettings) -> Addresses:
        """Return what the settings name."""
        return cls(settings.tap_url, settings.file_url, settings.token_url, settings.web_url)


def scratch(client: Client, settings: HARPSSettings) -> Path:
    """Return the folder for downloads: the setting's, or the client's."""
    if settings.downloads is not None:
        return Path(settings.downloads).expanduser().resolve()
    return client.scratch


class LiveArchive:
    """Phase-3 spectra of the ESO archive."""

    def __init__(
        self,
        client: Client,
        settings: HARPSSettings,
        *,
        addresses: Addresses | None = None,
        credentials: Credentials | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        # what is public is asked for without any credentials, so that none can go astray
        self._http: HttpClient = client.http.with_credentials(None)
        self._client, self._settings, self._wall = client, settings, wall
        self._addresses = addresses or Addresses.of(settings)
        known = credentials if credentials is not None else Credentials.find("harps")
        self._login = Login(self._http, known, url=self._addresses.token, wall=wall)
        self._folder = scratch(client, settings)

    # --- listing ------------------------------------------------------------------------------------------

    def find(self, target: Target | None = None) -> list[query.Found]:
        """Return the products of a target, or of the whole sky, in order of time.

        Raises
        ------
        ArchiveError
            If the archive does not answer, or with an error.
        """
        cone = None
        if target is not None:
            if target.ra is None or target.dec is None:
                msg = f"source {target.name} has no position; give ra and dec in the catalogue"
                raise DataError(msg)
            # HARPS began in 2003: the middle of its time, widened by the motion of half of it
            ra, dec = target.position_at(2014.0)
            motion = math.hypot(target.pmra or 0.0, target.pmdec or 0.0) / 1000.0
            cone = (ra, dec, (self._settings.radius + 12.0 * motion) / ARCSEC_PER_DEGREE)
        if self._settings.route == "astroquery":
            client = eso.open_eso(self._http, self._addresses.web)
            found = eso.find_rows(client, cone, self._settings, self._times())
        else:
            found = self._rows(cone, None)
        rows = {row.dp_id: row for row in found}
        return sorted(rows.values(), key=lambda row: (row.t_min, row.dp_id))

    def _times(self) -> tuple[float, float]:
        return _FIRST_MJD, self._wall() / 86400.0 + 40588.0  # the day after today: 1970-01-01 is MJD 40587

    def _rows(
        self, cone: tuple[float, float, float] | None, times: tuple[float, float] | None
    ) -> Iterator[query.Found]:
        """Yield rows; where the archive cut its answer, those of both halves of the time."""
        s = self._settings
        adql = query.build_query(
            cone, collections=s.collections, times=times, archived_before=s.archived_before,
            minimal_snr=s.minimal_snr,
        )  # fmt: skip
        url, params = tap_request(self._addresses.tap, adql, rows=s.page_rows)
        try:
            answer = self._http.get(url, params=params, check=expect_votable())
        except ArchiveOverflow:
            low, high = times or self._times()
            if high - low < _SHORTEST:
                raise
            middle = (low + high) / 2
            yield from self._rows(cone, (low, middle))
            yield from self._rows(cone, (middle, high))
            return
        if not answer.empty:
            yield from query.parse_rows(answer.content, answer.url)

    def catalogue(self) -> list[RecordDict]:
        """Return a target list of all products, grouped by position."""
        return catalogue_of(
            [
                Facts(object=row.target_name, ra=row.ra, dec=row.dec, mjd=row.t_min, instrument="HARPS")
                for row in self.find()
            ]
        )

    # --- downloads ----------------------------------------------------------------------------------------

    def fetch(self, target: Target) -> Iterator[Landed]:
        """Yield the products of a target as they come, and at the end what could not be got, or why there are none."""
        try:
            rows = self.find(target)
        except (ArchiveError, DataError) as error:
            yield target, error
            return
        have = self._client.known([row.dp_id for row in rows])
        failed: list[tuple[str, ArchiveError | DataError]] = []
        in_a_row = hidden = 0
        now = datetime.fromtimestamp(self._wall(), UTC).isoformat()
        for row in rows:
            if row.dp_id in have and have[row.dp_id].header.get("store") in {"full", self._settings.store}:
                yield target, have[row.dp_id]
                continue
            if not (self._settings.proprietary or row.is_public(now)):
                hidden += 1
                continue
            try:
                yield target, self._product(row, public=row.is_public(now))
                in_a_row = 0
            except (ArchiveError, DataError) as error:
                failed.append((row.dp_id, error))
                in_a_row += isinstance(error, ArchiveUnavailable)
                if in_a_row >= _GIVE_UP:
                    break
        if not rows:
            yield target, Missing("the archive lists no product within radius of its position")
        elif hidden == len(rows):
            yield target, Missing("its products are not public yet, and proprietary is off")
        if failed:
            name, first = failed[0]
            msg = f"{len(failed)} of {len(rows)} products of {target.name} missing, first {name}: {first}"
            yield target, type(first)(msg)

    def _product(self, row: query.Found, *, public: bool) -> Raw:
        path = self._folder / f"{safe_name(row.dp_id)}.fits"
        if not (path.is_file() and self._fits_size(path, row)):
            self._download(row, path, public=public)
        header: RecordDict = {
            "store": "full",
            "target_name": row.target_name,
            "snr": finite(row.snr),
            "proposal_id": row.proposal,
            "obs_release_date": row.release,
            "size": path.stat().st_size,
        }
        if wrong := _wrong(path):
            # asked for twice, and twice not what its header promises: kept, and told
            header["problems"] = [f"HDU {hdu}: {key} is wrong" for hdu, key in wrong]
        obscore = {
            "obs_id": row.dp_id, "obs_collection": self._settings.collections[0], "dataproduct_type": "spectrum",
            "s_ra": row.ra, "s_dec": row.dec, "t_min": row.t_min, "t_exptime": row.exptime,
            "t_max": row.t_min + row.exptime / 86400.0, "em_min": row.em_min, "em_max": row.em_max,
            "em_res_power": row.em_res_power,
        }  # fmt: skip
        obscore = {name: finite(value) for name, value in obscore.items()}
        if self._settings.store == "windows" and not wrong:
            content = cut_windows(path.read_bytes(), path.name, windows_of(self._settings))
            if content is not None:
                if self._settings.downloads is None:
                    path.unlink()
                header["store"] = "windows"
                return Raw(row.dp_id, "fits", content=content, obscore=obscore, header=header)
        # a folder the user named is a mirror: it stays as it is, and later runs find it there
        mirror = self._settings.downloads is not None
        return Raw(row.dp_id, "fits", path=path, in_place=mirror, obscore=obscore, header=header)

    def _download(self, row: query.Found, path: Path, *, public: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        url = self._addresses.file + row.dp_id
        for attempt in (1, 2):
            http = self._http if public else self._http.with_credentials(self._login.auth())
            try:
                http.download(url, path, check=expect_fits())
            except ArchiveRefused as error:
                if public or attempt == 2 or "HTTP 401" not in str(error):
                    raise
                self._login.auth(renew=True)
                continue
            if not self._fits_size(path, row):
                size = path.stat().st_size
                path.unlink()
                if attempt == 2:
                    msg = f"{row.dp_id}: {size} bytes came, the archive lists about {row.size:.0f}"
                    raise IncompleteDownload(msg)
            elif attempt == 2 or not _wrong(path):
                return
            else:
                path.unlink()

    @staticmethod
    def _fits_size(path: Path, row: query.Found) -> bool:
        """Say whether a file has the size the archive lists, in kB that may be of 1000 or 1024 bytes."""
        return not row.size > 0 or 0.97 * row.size - 1000 <= path.stat().st_size <= 1.03 * row.size + 2000


def _wrong(path: Path) -> list[tuple[int, str]]:
    with quiet(path, 0), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        return wrong_sums(units)
