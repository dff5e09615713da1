"""Small projects over a folder of survey files, for tests of runs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

HEADER = [
    "oid",
    "expid",
    "hjd",
    "mjd",
    "mag",
    "magerr",
    "catflags",
    "filtercode",
    "ra",
    "dec",
    "chi",
    "sharp",
    "filefracday",
    "field",
    "ccdid",
    "qid",
    "limitmag",
    "magzp",
    "magzprms",
    "clrcoeff",
    "clrcounc",
    "exptime",
    "airmass",
    "programid",
]


KILLER = '''
"""An analysis that notes whom it was asked for, and kills its process on one star."""

import os
import signal
from pathlib import Path

from virtualobserver.analysis import Analysis
from virtualobserver.data import Result


class Killer(Analysis):
    """Dies on one star."""

    name = "killer"

    def find(self, products, aux, settings):
        with Path(__file__).with_name("asked").open("a") as stream:
            stream.write(f"{aux.target.name}\\n")
        if aux.target.name == "VICTIM":
            os.kill(os.getpid(), signal.SIGKILL)
        return Result(properties={"seen": len(products)})

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
'''


def write_killer(folder: Path, victim: str) -> Path:
    """Write an analysis whose process dies on the star `victim`; the file ``asked`` names all it saw."""
    path = folder / "killer.py"
    path.write_text(KILLER.replace("VICTIM", victim))
    return path


def write_star(
    folder: Path, name: str, *, ra: float, dec: float, n: int = 60, flare: bool = True, seed: int = 0
) -> Path:
    """Write a light curve in the format of the ZTF service; row n // 2 is a flare of 2 mag."""
    rng = np.random.default_rng(seed)
    mag = 17.0 + rng.normal(0, 0.02, n)
    if flare:
        mag[n // 2] -= 2.0
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        for i in range(n):
            mjd = 58300.0 + i * 1.01
            writer.writerow([
                686103400067717, 1000 + i, f"{mjd + 2400000.5:.7f}", f"{mjd:.7f}", f"{mag[i]:.6f}", 0.02, 0, "zg",
                f"{ra:.7f}", f"{dec:.7f}", 0.9, 0.01, 20180701000000 + i, 686, "0x4", "0x1", 20.5, 26.2, 0.02, -0.05,
                1e-5, 30, 1.2, 1,
            ])  # fmt: skip
    return path


def rows(names: list[str]) -> list[dict[str, Any]]:
    """Return catalogue rows of stars that lie a degree apart."""
    return [{"name": name, "ra": 10.0 + i, "dec": 20.0, "mag": 17.0} for i, name in enumerate(names)]


def mirror(folder: Path, names: list[str]) -> Path:
    """Write the files of all `names` and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(rows(names)):
        write_star(folder, row["name"], ra=row["ra"], dec=row["dec"], seed=i)
    return folder


def settings(folder: Path, names: list[str], **more: Any) -> dict[str, Any]:
    """Return the configuration of a search for transients in `folder`."""
    base: dict[str, Any] = {
        "name": "search",
        "catalog": {"name": "stars", "rows": rows(names)},
        "observatories": {"ztf": {"archive": str(folder), "barycentric": False}},
        "analyses": {"transients": {}},
    }
    return base | more


def dump(project: Any) -> dict[str, Any]:
    """Return everything a run left that does not depend on when and in which order it was done."""
    tables = {
        "task": "SELECT s.name, t.step, t.unit, t.status, t.inputs FROM task t JOIN source s ON s.id = t.source_id",
        "product": (
            "SELECT s.name, p.role, p.series, p.n, p.checksum, f.path FROM product p "
            "JOIN source s ON s.id = p.source_id JOIN file f ON f.id = p.file_id"
        ),
        "detection": "SELECT s.name, d.kind, d.peak_mjd, d.snr FROM detection d JOIN source s ON s.id = d.source_id",
        "raw_data": "SELECT archive_id, sha256 FROM raw_data",
        "injection": "SELECT s.name, i.number, i.found FROM injection i JOIN source s ON s.id = i.source_id",
    }
    content = {name: sorted(map(str, project.sql(query).values.tolist())) for name, query in tables.items()}
    files = {name: project.workspace.store.rehash(name) for name in sorted(project.workspace.store.files())}
    return {**content, "files": files}
