"""Small phase-3 files, and a client between a survey and a server on the loopback interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from virtualobserver.data.product import Known, Raw, RawRef, Target
from virtualobserver.io.http.client import HttpClient
from virtualobserver.observatories.harps import VirtualHARPS
from virtualobserver.observatories.harps.adp import adp_bytes
from virtualobserver.observatory import Aux

WAVE = np.arange(391000, 399001) / 100.0
STAR = Target("star", ra=86.8212, dec=-51.0665, epoch=2016.0, pmra=0.0, pmdec=0.0)
ROWS = [
    "target_name", "dp_id", "s_ra", "s_dec", "t_min", "t_exptime", "snr", "em_min", "em_max", "em_res_power",
    "access_url", "access_estsize", "obs_release_date", "proposal_id",
]  # fmt: skip


def header(n: int = 0, **more: Any) -> dict[str, Any]:
    """Return a primary header of exposure `n`; None takes a keyword away."""
    mjd = 56000.1 + n
    base = {
        "OBJECT": "star", "RA": 86.8212, "DEC": -51.0665, "MJD-OBS": mjd, "MJD-END": mjd + 0.002,
        "EXPTIME": 172.8, "INSTRUME": "HARPS", "SPECSYS": "BARYCENT", "SNR": 100.0, "ESO INS MODE": "HARPS",
        "ESO DPR TYPE": "STAR,DARK,A5", "ESO DRS BERV": 3.0, "ESO DRS CCF RVC": 20.0,
    }  # fmt: skip
    return {key: value for key, value in (base | more).items() if value is not None}


def spectrum(n: int = 0, *, snr: float = 100.0, wave: Any = WAVE) -> Any:
    """Return a star with a broad and a narrow line in K and H, and white noise."""
    rng = np.random.default_rng(n)
    flux = np.ones(wave.size)
    for rest, depth in ((3933.661, 0.6), (3968.467, 0.5)):
        v = 299792.458 * (wave / rest - 1) - 20.0
        flux *= (1 - depth * np.exp(-0.5 * (v / 80) ** 2)) * (1 - 0.8 * depth * np.exp(-0.5 * (v / 4) ** 2))
    return 1000.0 * (flux + rng.normal(0, 1 / snr, wave.size))


def adp(n: int = 0, flux: Any = None, **more: Any) -> bytes:
    """Return a phase-3 file of exposure `n`."""
    return adp_bytes(WAVE, spectrum(n) if flux is None else flux, header(n, **more))


def reduced(contents: dict[str, bytes] | list[Raw], **options: Any) -> list[Any]:
    """Reduce files given by name and content."""
    survey = VirtualHARPS(**options)
    raws = (
        contents if isinstance(contents, list) else [Raw(k, "fits", content=v) for k, v in contents.items()]
    )
    return list(survey.reduce([RawRef.of(raw) for raw in raws], Aux(STAR), survey.settings))


class Client:
    """A folder archive, or a live one through a real `HttpClient`."""

    fresh = False

    def __init__(
        self,
        *folders: Path,
        http: HttpClient | None = None,
        scratch: Path | None = None,
        known: Mapping[str, Known] | None = None,
    ) -> None:
        self.folders = folders
        self.origin = "folder" if folders else "live"
        self._http = http
        self.scratch = scratch
        self.cache = scratch
        self._known = known or {}

    def known(self, archive_ids: Sequence[str]) -> Mapping[str, Known]:
        return {name: self._known[name] for name in archive_ids if name in self._known}

    @property
    def http(self) -> HttpClient:
        assert self._http is not None, "no request was expected"
        return self._http

    def rng(self, *names: str) -> np.random.Generator:
        return np.random.default_rng([7, *"/".join(names).encode()])


def votable(rows: list[dict[str, Any]], *, status: str = "OK") -> bytes:
    """Return the answer of the ObsCore service."""
    text = {"target_name", "dp_id", "access_url", "obs_release_date", "proposal_id"}
    fields = "".join(
        f'<FIELD name="{name}" datatype="char" arraysize="*"/>'
        if name in text
        else f'<FIELD name="{name}" datatype="double"/>'
        for name in ROWS
    )
    cells = "".join(
        "<TR>" + "".join(f"<TD>{row.get(name, '')}</TD>" for name in ROWS) + "</TR>" for row in rows
    )
    return (
        '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="{status}"/><TABLE>{fields}'
        f"<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    ).encode()


def row(n: int, content: bytes, **more: Any) -> dict[str, Any]:
    """Return what ObsCore says of exposure `n`."""
    return {
        "target_name": "star", "dp_id": f"ADP.2014-09-16T11:04:45.{n:03d}", "s_ra": 86.8212, "s_dec": -51.0665,
        "t_min": 56000.1 + n, "t_exptime": 172.8, "snr": 100.0, "em_min": 3.78e-7, "em_max": 6.91e-7,
        "em_res_power": 115000.0, "access_url": "", "access_estsize": len(content) / 1000,
        "obs_release_date": "2015-01-01T00:00:00", "proposal_id": "092.C-0001(A)",
    } | more  # fmt: skip
