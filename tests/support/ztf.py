"""A client without network, and small answers in the format of ZTF's services."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from virtualobserver.data.product import RawRef, Target
from virtualobserver.io.http.answers import Answer
from virtualobserver.observatory import Aux

HEADER = "oid,expid,hjd,mjd,mag,magerr,catflags,filtercode,ra,dec,chi,sharp,ccdid,qid,exptime"
OID = 686103400067717


class Jobs(dict[str, dict[str, Any]]):
    """Notes on queued requests; all of one age."""

    age = 0.0

    def get(self, job: str) -> Any:  # type: ignore[override]
        return {**self[job], "age": self.age} if job in self else None

    def put(self, job: str, facts: Mapping[str, Any]) -> None:
        self[job] = dict(facts)


class Client:
    """Folders, or an `http` that answers through a function of (url, params) and does the checks."""

    fresh = False

    def __init__(
        self,
        *folders: Path,
        origin: str = "live",
        answer: Callable[[str, Any], bytes] | None = None,
        http: Any = None,
        cache: Path | None = None,
    ) -> None:
        self.folders = folders
        self.origin = "folder" if folders else origin
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.logins: list[Any] = []
        self.jobs = Jobs()
        self.cache = cache
        self._answer = answer
        self._cached: dict[str, Any] = {}
        self.http = http or SimpleNamespace(get=self._get, post=self._post, cached_post=self._cached_post)

    def _get(
        self, url: str, *, params: Any = None, check: Any = None, login: Any = None, repeat: bool = True
    ) -> Any:
        self.asked.append((url, params or {}))
        self.logins.append(login)
        assert self._answer is not None, "no request was expected"
        answer = Answer(status=200, content=self._answer(url, params or {}), url=url)
        return replace(answer, empty=bool(check(answer))) if check else answer

    def _post(self, url: str, *, data: Any = None, **options: Any) -> Any:
        return self._get(url, params=data, **options)

    def _cached_post(self, url: str, *, data: Any, check: Any, folder: Any, max_age: float) -> Any:
        key = repr((url, data))
        if key not in self._cached:
            self._cached[key] = self._post(url, data=data, check=check)
        return self._cached[key]

    def rng(self, *names: str) -> np.random.Generator:
        return np.random.default_rng([7, *"/".join(names).encode()])


def row(n: int, *, oid: int = OID, mag: float = 18.0, flag: int = 0, band: str = "zg", ra: float = 10.0,
        dec: float = 20.0, mjd: float | None = None) -> str:  # fmt: skip
    start = 58300.0 + n if mjd is None else mjd
    return f"{oid},{n},{start + 2400000.5},{start},{mag},0.02,{flag},{band},{ra},{dec},1,0,0xf,0x2,30"


def csv(*rows: str, header: str = HEADER) -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


def reduced(survey: Any, raws: Any, target: Target) -> list[Any]:
    return list(survey.reduce([RawRef.of(raw) for raw in raws], Aux(target), survey.settings))
