"""The analysis: tables of a night's images in, a table of their quality and the images that stand out, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.image_quality.again import Again, solved_again
from virtualobserver.analyses.image_quality.night import NUMBERS, image_rows
from virtualobserver.analyses.image_quality.panels import UNITS, night_panels
from virtualobserver.analyses.image_quality.settings import QualitySettings
from virtualobserver.analysis import Analysis, Requirement
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.curve_panels import MJD, event_facts
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.panels import Axis, Curve, Mark, Panel, Series
from virtualobserver.data.product import Aux, Product
from virtualobserver.data.result import Event, Result
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.outliers import find_outliers
from virtualobserver.typing import Record, RecordDict

__all__ = ["ImageQuality"]

KIND: Final = "poor_image"
_UNSOLVED: Final = "not solved"
_WORDS: Final = {
    "separation": "stars off the reference", "bkg_mean": "background", "bkg_median": "background",
    "bkg_sd": "background", "bkg_mad": "background", "zero_point": "zero point", "fwhm": "width of stars",
}  # fmt: skip
_SHOWN: Final = {
    "fwhm": "width of stars", "bkg_median": "background", "bkg_sd": "scatter of the background",
    "zero_point": "zero point", "separation": "stars off the reference",
}  # fmt: skip


def _noise(rng: np.random.Generator) -> list[Product[Table]]:
    """Return the tables of sources of 12 images of a steady night."""
    made = []
    for number in range(12):
        header = {
            "FWHM": rng.normal(2.5, 0.05), "BKGMEAN": rng.normal(900, 5), "BKGMED": rng.normal(900, 5),
            "BKGSD": rng.normal(40, 0.3), "BKGMAD": rng.normal(27, 0.2),
        }  # fmt: skip
        meta = {"mjd": 58000.0 + number / 300, "exptime": 60.0, "header": header, "band": "R"}
        made.append(Product(Table({"x": rng.uniform(0, 100, 5)}, meta=meta), role="sources", band="R"))
    return made


class ImageQuality(Analysis[Table, QualitySettings]):
    """How good each image of a night is, and which are unlike the others.

    The table ``quality`` has a row an image; searches that ask for it leave out the images whose ``use`` is false.
    Nothing is deleted. Each image that stands out is a detection of kind ``poor_image``. World coordinates that were
    found anew are facts of the table (``wcs``), which searches take instead of the older ones, and so are the zero
    points that the stars have with them (``zeropoint``).
    """

    name: ClassVar[str] = "image_quality"
    version: ClassVar[str] = "4"
    requires: ClassVar[tuple[Requirement, ...]] = (
        Requirement(kind="table", role="sources"),
        Requirement(kind="table", role="forced"),
        Requirement(kind="table", role="zeropoint"),
        Requirement(kind="table", role="wcs"),
    )
    requires_any: ClassVar[bool] = True
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("table", "quality"),)
    per: ClassVar[str] = "night"
    batch: ClassVar[int] = 1
    strength: ClassVar[tuple[str, ...]] = ("factor",)
    axes: ClassVar[Mapping[str, str]] = {"factor": "background [that of the image]"}
    contract: ClassVar[AnalysisContract] = AnalysisContract(
        false_alarms=0.05, trials=40, noise=_noise, strong={"outliers": {"action": "keep"}}
    )

    @property
    def holds(self) -> bool:  # type: ignore[override]
        """Searches wait for somebody to look, if that is what is set."""
        return self.settings.outliers.action == "stop"

    def find(self, products: Sequence[Handle[Table]], aux: Aux, settings: QualitySettings) -> Result:
        """Compare the images of one night, those of each filter among themselves.

        Returns
        -------
        Result
            Table ``quality``: ``frame, unit, mjd, solved, n_matched``, the median ``separation`` of stars from the
            reference (arcsec), background ``bkg_mean, bkg_median, bkg_sd, bkg_mad`` (ADU), ``zero_point`` (mag),
            ``fwhm`` (pixels), ``tries`` (neighbours by which it was solved anew; 0 = it was not), ``outlier``,
            ``reason``, ``use``. Properties ``n_images``, ``n_outliers``, ``dropped``, with retries ``n_solved_again``.

        Raises
        ------
        DataError
            With ``action: stop``, if there are outliers; the message says how to go on.
        """
        rows = image_rows(products)
        if not rows:
            return Result(properties={"n_images": 0, "n_outliers": 0})
        rows, reasons, again = _retried(products, rows, settings)
        outlier = np.array([bool(reason) for reason in reasons])
        poor = [f"{row['frame']} ({reason})" for row, reason in zip(rows, reasons, strict=True) if reason]
        if poor and settings.outliers.action == "stop":
            raise DataError(_how_to_go_on(aux.target.name, poor, len(rows)))
        keep = settings.outliers.action in {"keep", "stop"}
        use = np.ones(len(rows), dtype=bool) if keep else ~outlier
        events = [_event(row, reason) for row, reason in zip(rows, reasons, strict=True) if reason]
        return Result(
            detections=sorted(events, key=lambda event: event.peak_mjd),
            properties={
                "n_images": len(rows),
                "n_outliers": len(poor),
                "dropped": int((~use).sum()),
                **({"n_solved_again": len(again)} if settings.outliers.tries else {}),
            },
            products=(_table(rows, reasons, outlier, use, again),),
        )

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[Table]], settings: QualitySettings
    ) -> Record:
        """Draw an image, and by which factor its background is raised."""
        rows = image_rows(products)
        if len(rows) < settings.outliers.fewest:
            msg = f"{len(rows)} images are too few to tell one that is unlike the others"
            raise NotEnoughData(msg)
        row = rows[int(rng.integers(len(rows)))]
        start, end = _span(row)
        return {
            "t_peak": row["mjd"],
            "start_mjd": start,
            "end_mjd": end,
            "mjd": row["mjd"],
            "factor": float(rng.uniform(1.2, 3.0)),
        }

    def inject(
        self,
        products: Sequence[Handle[Table]],
        params: Sequence[Record],
        rng: np.random.Generator,  # noqa: ARG002 - the level alone is changed
    ) -> Sequence[Handle[Table]]:
        """Return tables in whose facts the background is raised."""
        changed = list(products)
        for one in params:
            for number, handle in enumerate(changed):
                if handle.info.role != "sources":
                    continue
                table = handle.load()
                if table.meta.get("mjd") != one["mjd"]:
                    continue
                header = dict(table.meta["header"])
                for key in ("BKGMEAN", "BKGMED"):
                    if header.get(key) is not None:
                        header[key] *= one["factor"]
                brighter = replace(table, meta={**table.meta, "header": header})
                changed[number] = MemoryHandle(brighter, handle.info)
        return changed

    def panels(
        self,
        products: Sequence[Handle[Table]],
        aux: Aux,  # noqa: ARG002
        settings: QualitySettings,  # noqa: ARG002
        event: Event,
    ) -> list[Panel]:
        """Return the numbers of all images of the night over time, that of the detection marked, and what is known."""
        rows = [row for row in image_rows(products) if row["band"] == event.band]
        ring = Mark("line", x=event.peak_mjd)
        shown: list[Panel] = []
        for name, words in _SHOWN.items():
            values = np.array([row[name] for row in rows], dtype=np.float64)
            if np.isfinite(values).any():
                said = [str(row["frame"]) for row in rows]
                curve = Curve(
                    "", np.array([row["mjd"] for row in rows]), values, colour=f"band {event.band}", text=said
                )
                shown.append(Series(words, MJD, Axis(words, UNITS.get(name, "")), [curve], [ring]))
        return [*shown, event_facts(event, title=str(event.parameters.get("frame", "image")), units=UNITS)]

    def source_panels(
        self,
        products: Sequence[Handle[Table]],
        aux: Aux,  # noqa: ARG002
        settings: QualitySettings,
    ) -> Mapping[str, Sequence[Panel]]:
        """Return the numbers of a night with their box plots, and the images that stand out (sheet ``night``)."""
        rows = image_rows(products)
        if not rows:
            return {}
        rows, reasons, _ = _retried(products, rows, settings)
        panels = night_panels(rows, reasons)
        return {"night": panels} if panels else {}


# --- inside -----------------------------------------------------------------------------------------------


def _retried(
    products: Sequence[Handle[Table]], rows: list[RecordDict], settings: QualitySettings
) -> tuple[list[RecordDict], list[str], dict[str, Again]]:
    """Return the rows of images, what is wrong with each, and those that were solved anew and are better for it."""
    reasons = _reasons(rows, settings)
    tries = settings.outliers.tries
    if not tries:
        return rows, reasons, {}
    bad = [_UNSOLVED in reason or _WORDS["separation"] in reason for reason in reasons]
    wanted = {row["unit"]: row["mjd"] for row, off in zip(rows, bad, strict=True) if off}
    good = {row["unit"]: row["mjd"] for row, reason in zip(rows, reasons, strict=True) if not reason}
    found = {
        unit: one
        for unit, one in solved_again(products, wanted, good, tries).items()
        for row in rows
        if row["unit"] == unit and not one.separation >= row["separation"]
    }
    better = [row if (one := found.get(row["unit"])) is None else {**row, **_better(one)} for row in rows]
    return better, _reasons(better, settings), found


def _better(one: Again) -> RecordDict:
    """Return what changes in the row of an image that was solved anew."""
    return {
        "solved": True, "separation": one.separation, "n_matched": one.n, "tries": one.tries,
        "zero_point": one.zero.get("zero_point", np.nan), "r2": one.zero.get("zero_point_r2", np.nan),
    }  # fmt: skip


def _reasons(rows: Sequence[Record], settings: QualitySettings) -> list[str]:
    """Return what is wrong with each image, empty for a good one."""
    own = settings.outliers
    said: list[list[str]] = [[_UNSOLVED] if row["solved"] is False else [] for row in rows]
    for band in sorted({row["band"] for row in rows}):
        mine = [number for number, row in enumerate(rows) if row["band"] == band]
        if len(mine) < own.fewest:
            continue
        columns = {name: [rows[number][name] for number in mine] for name in NUMBERS}
        for name, bad in find_outliers(columns, rule=own.rule, limit=own.limit).items():
            for place in np.flatnonzero(bad).tolist():
                said[mine[place]].append(_WORDS[name])
    return [", ".join(dict.fromkeys(words)) for words in said]


def _how_to_go_on(target: str, poor: Sequence[str], n: int) -> str:
    return (
        f"{len(poor)} of {n} images of {target} are unlike the others: {'; '.join(poor)}; look at them, list those to "
        "leave out under `ignored` or change other settings; searches wait, and `vo run CONFIG --set "
        "analyses.image_quality.outliers.action=drop` goes on (or keep, or retry(3))"
    )


def _table(
    rows: Sequence[Record],
    reasons: Sequence[str],
    outlier: NDArray[np.bool_],
    use: NDArray[np.bool_],
    again: Mapping[str, Again],
) -> Product:
    columns: dict[str, Array] = {
        name: np.array([row[name] for row in rows], dtype=np.str_) for name in ("frame", "unit")
    }
    columns |= {
        "mjd": np.array([row["mjd"] for row in rows]),
        "solved": np.array([bool(row["solved"]) for row in rows]),
        "n_matched": np.array([row["n_matched"] for row in rows], dtype=np.int64),
        "tries": np.array([row.get("tries", 0) for row in rows], dtype=np.int64),
    }
    columns |= {name: np.array([row[name] for row in rows], dtype=np.float64) for name in NUMBERS}
    columns |= {"outlier": outlier, "use": use, "reason": np.array(reasons, dtype=np.str_)}
    statistics = {"n_images": len(rows), "n_outliers": int(outlier.sum()), "dropped": int((~use).sum())}
    meta: RecordDict = {}
    if again:
        meta["wcs"] = {unit: dict(one.cards) for unit, one in again.items()}
        meta["zeropoint"] = {unit: dict(one.zero) for unit, one in again.items()}
    return Product(Table(columns, UNITS, meta), role="quality", statistics=statistics)


def _span(row: Record) -> tuple[float, float]:
    """Return a moment before and one after the middle of an exposure, MJD."""
    return row["mjd"] - 1 / SECONDS_PER_DAY, row["mjd"] + 1 / SECONDS_PER_DAY


def _event(row: Record, reason: str) -> Event:
    numbers = {name: row[name] for name in NUMBERS if np.isfinite(row[name])}
    start, end = _span(row)
    return Event(
        kind=KIND, peak_mjd=row["mjd"], start_mjd=start, end_mjd=end, snr=0.0, band=row["band"],
        parameters={"frame": row["frame"], "reason": reason, **numbers},
    )  # fmt: skip
