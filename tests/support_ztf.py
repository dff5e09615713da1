"""A client without network, and small answers in the format of ZTF's services."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from virtualobserver.data.product import RawRef, Target
from virtualobserver.observatory import Aux

HEADER = "oid,expid,hjd,mjd,mag,magerr,catflags,filtercode,ra,dec,chi,sharp,ccdid,qid,exptime"
OID = 686103400067717


class Client:
    """Folders, or an `http` that answers through a function of (url, params)."""

    def __init__(
        self, *folders: Path, origin: str = "live", answer: Callable[[str, Any], bytes] | None = None
    ) -> None:
        self.folders = folders
        self.origin = "folder" if folders else origin
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self._answer = answer
        self.http = SimpleNamespace(get=self._get, post=self._post)

    def _get(self, url: str, *, params: Any = None, check: Any = None) -> Any:
        self.asked.append((url, params or {}))
        assert self._answer is not None, "no request was expected"
        content = self._answer(url, params or {})
        return SimpleNamespace(content=content, text=content.decode(), headers={}, status=200)

    def _post(self, url: str, *, data: Any = None, check: Any = None) -> Any:
        return self._get(url, params=data)

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
