"""Folders of KBMOD's WorkUnits as an archive: their images, and the tables of results beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import SIGMA_TO_FWHM
from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, Raw, RawRef, Target
from virtualobserver.data.table import Table
from virtualobserver.data.world import sky_of
from virtualobserver.errors import InvalidFile
from virtualobserver.io.fits.structure import MemoryFile
from virtualobserver.io.kbmod.folder import FoundUnit, find_results, find_units, unit_of, write_stack
from virtualobserver.io.kbmod.images import images_of
from virtualobserver.io.kbmod.tables import KbmodResults, read_results, write_results
from virtualobserver.io.kbmod.workunit import read_workunit_image, shard_bytes
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.maths.times import Site
from virtualobserver.observatory import Client, Landed, ObservatorySettings, VirtualObservatory
from virtualobserver.typing import RecordDict

__all__ = ["VirtualKBMOD"]

_SIGMA: Final = 1.4
"""Pixels; a profile that is sampled well. Chosen."""
_SIDE: Final = 72
"""Pixels; small, so that a simulated project takes seconds."""
_SITE: Final = Site(lon=123.35, lat=-75.1, height=3233.0)
"""Dome C, as that of ASTEP, whose nights the simulation resembles."""
_IMAGES: Final = 8
"""Likewise."""


class VirtualKBMOD(VirtualObservatory[Image | Table, ObservatorySettings]):
    """Stacks of images as KBMOD keeps them, whole or sharded.

    Each image of a WorkUnit is a unit ``name of the WorkUnit/number`` and becomes a difference image, so that
    ``moving_objects`` searches a WorkUnit as it searches a night. An ImageCollection beside it adds filter and
    visit. Tables of results become products of role ``results``. A target with the name of a WorkUnit gets that
    one; any other gets all.
    """

    name: ClassVar[str] = "kbmod"
    version: ClassVar[str] = "1"
    facility: ClassVar[str] = "as the WorkUnit says"
    levels: ClassVar[tuple[str, ...]] = ("night", "frame")
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("image", "difference"), ("table", "results"))
    batch: ClassVar[int] = 4
    fetch_batch: ClassVar[int] = 1
    contract: ClassVar[SurveyContract] = SurveyContract(
        targets=(Target("stack", ra=75.0, dec=-65.0, kind="field"),),
        files=lambda _, raws: _sharded(raws),
        indexes=("simulated.fits",),
    )

    def catalogue(self, client: Client) -> list[RecordDict]:
        """List the WorkUnits of the folder as fields, at the centre of their first image."""
        rows = []
        for found in _all(client.folders):
            image = images_of(read_workunit_image(found.file_of(0), 0))[0]
            row: RecordDict = {"name": found.path.stem, "kind": "field"}
            if "CTYPE1" in image.header:
                ny, nx = image.data.shape
                ra, dec = sky_of(image.header).all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
                row |= {"ra": float(ra), "dec": float(dec)}
            rows.append(row)
        return rows

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Find the WorkUnits of a folder, and tables of results; nothing is ever written there.

        Yields
        ------
        (target, Raw)
            One image, or one table.
        """
        found = list(_all(client.folders))
        tables = [(folder, path) for folder in client.folders for path in find_results(folder)]
        names = {one.path.stem for one in found}
        for target in targets:
            for one in found:
                if target.name in names and target.name != one.path.stem:
                    continue
                for number in range(one.head.number):
                    yield target, _raw(one, number)
            for folder, path in tables:
                name = path.relative_to(folder).as_posix()
                header = {"stack": path.stem, "part": "results", "suffix": path.suffix}
                yield target, Raw(name, path.suffix[1:], path=path, in_place=True, header=header)

    def unit(self, raw: RawRef) -> str:
        """Return ``name of the WorkUnit/number of the image``, or ``name of the table/results``."""
        if raw.header["part"] == "results":
            return f"{raw.header['stack']}/results"
        return f"{raw.header['stack']}/{raw.header['number']:04d}"

    def reduce(
        self,
        raws: Sequence[RawRef],
        aux: Aux,  # noqa: ARG002
        settings: ObservatorySettings,  # noqa: ARG002
    ) -> Sequence[Product[Image | Table]]:
        """Read an image with variance, mask, time, width and world coordinates, or a table of results.

        Raises
        ------
        InvalidFile
            If the file is damaged.
        """
        return [_table(raw) if raw.header["part"] == "results" else _image(raw) for raw in raws]

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make a sharded WorkUnit with one mover in noise, and the table of results that tells of it."""
        for target in targets:
            start, velocity = rng.uniform(20, _SIDE - 20, 2), rng.uniform(-60, 60, 2)
            images = _simulated(target, start, velocity, rng)
            unit = unit_of(images, observer=_SITE, band="R")
            for number in range(_IMAGES):
                header = {"stack": "simulated", "part": "image", "number": number, "filter": "R"}
                content = shard_bytes(unit, number)
                yield target, Raw(f"{number}_simulated.fits", "fits", content, header=header)
            columns = {
                "x": np.array([round(start[0])]), "y": np.array([round(start[1])]), "vx": velocity[:1],
                "vy": velocity[1:], "likelihood": np.array([20.0]), "flux": np.array([60.0]),
                "obs_count": np.array([_IMAGES]),
            }  # fmt: skip
            content = _results_bytes(KbmodResults(columns, {"num_img": _IMAGES}))
            header = {"stack": "simulated", "part": "results", "suffix": ".ecsv"}
            yield target, Raw("results.ecsv", "ecsv", content, header=header)


def _sharded(raws: Sequence[RawRef]) -> dict[str, bytes]:
    """Return the files of a sharded WorkUnit of simulated images, and of the table of results."""
    images = [_image(raw).data for raw in raws if raw.header["part"] == "image"]
    with tempfile.TemporaryDirectory() as folder:
        write_stack(Path(folder) / "simulated.fits", images, observer=_SITE, band="R", sharded=True)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return files | {raw.archive_id: raw.read() for raw in raws if raw.header["part"] == "results"}


def _all(folders: Sequence[Path]) -> Iterator[FoundUnit]:
    for folder in folders:
        found = list(find_units(folder))
        if not found:
            msg = f"archive folder {folder} holds no WorkUnit (a FITS file with NUMIMG); check the setting archive"
            raise InvalidFile(msg)
        yield from found


def _raw(found: FoundUnit, number: int) -> Raw:
    facts = found.facts[number]
    path = found.file_of(number)
    psf = found.head.config.get("psf_val")
    header = {
        "stack": found.path.stem, "part": "image", "number": number, "psf_val": psf,
        "filter": str(facts.get("filter") or facts.get("band") or ""), "visit": facts.get("visit"),
    }  # fmt: skip
    mjd = found.mjd[number]
    return Raw(
        f"{found.path.name}/{number}", "fits", path=path, in_place=True, key="" if found.head.sharded else str(number),
        header=header, obscore={"obs_id": found.path.stem, "dataproduct_type": "image", "t_min": mjd, "t_max": mjd},
    )  # fmt: skip


def _image(raw: RawRef) -> Product[Image]:
    place = raw.path if raw.path is not None else MemoryFile(raw.read(), raw.archive_id)
    width = raw.header.get("psf_val")
    config = {} if width is None else {"psf_val": width}
    (image,) = images_of(read_workunit_image(place, int(raw.header["number"]), config=config))
    return Product(image, role="difference", band=str(raw.header.get("filter") or ""))


def _table(raw: RawRef) -> Product[Table]:
    if raw.path is not None:
        found = read_results(raw.path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"results{raw.header['suffix']}"
            path.write_bytes(raw.read())
            found = read_results(path)
    plain = {name: values for name, values in found.columns.items() if np.ndim(values) == 1}
    units = {"x": "pix", "y": "pix", "vx": "pix/d", "vy": "pix/d"}
    return Product(Table(plain, units), role="results", series=str(raw.header["stack"]))


def _results_bytes(results: KbmodResults) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.ecsv"
        write_results(path, results)
        return path.read_bytes()


def _simulated(
    target: Target, start: NDArray[np.float64], velocity: NDArray[np.float64], rng: np.random.Generator
) -> list[Image]:
    tau = np.linspace(0, 0.2, _IMAGES)
    at = [(start[axis] + velocity[axis] * tau)[None] for axis in (0, 1)]
    sky = add_movers(
        np.zeros((_IMAGES, _SIDE, _SIDE), np.float32), at[0], at[1], np.full((1, _IMAGES), 60.0), sigma=_SIGMA
    )
    data = (sky + rng.normal(0, 2, sky.shape)).astype(np.float32)
    middle = (_SIDE + 1) / 2
    header = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 75.0 if target.ra is None else target.ra,
        "CRVAL2": -65.0 if target.dec is None else target.dec, "CRPIX1": middle, "CRPIX2": middle,
        "CDELT1": -2 / 3600, "CDELT2": 2 / 3600, "CUNIT1": "deg", "CUNIT2": "deg", "FWHM": _SIGMA * SIGMA_TO_FWHM,
    }  # fmt: skip
    return [
        Image(
            plane, np.full_like(plane, 4.0), header={**header, "MJD-MID": 60100.0 + tau[n]}, unit="electron"
        )
        for n, plane in enumerate(data)
    ]
