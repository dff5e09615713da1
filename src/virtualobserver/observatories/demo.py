"""A survey that does not exist: simulated light curves through the same path as real ones."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from virtualobserver.columns import units_of
from virtualobserver.config.settings import setting
from virtualobserver.conventions import FLAG_ARCHIVE
from virtualobserver.data.product import Product, Raw, RawRef, Target
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import BadKeyword, InvalidFile
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.statistics import light_curve_statistics
from virtualobserver.maths.photometry import flux_error_from_mag, flux_from_mag
from virtualobserver.maths.times import mid_exposure
from virtualobserver.observatory import Aux, Client, Landed, ObservatorySettings, VirtualObservatory
from virtualobserver.typing import RecordDict

__all__ = ["DemoSettings", "VirtualDemo"]

COLUMNS = ("mjd", "mag", "magerr", "filter", "ra", "dec", "flag", "exptime")
PLAIN_BYTES = 1 << 20
"""Up to here a quick parser is tried first; chosen, results are the same."""
_ROW = "%.7f,%.5f,%.5f,%s,%.7f,%.7f,%d,%.1f"


class DemoSettings(ObservatorySettings):
    """What the simulated survey sees."""

    n_epochs: int = setting(100, doc="Epochs of each source and filter", step="fetch", ge=0)
    mjd_start: float = setting(57000.0, doc="First epoch (MJD)", unit="d", step="fetch")
    mjd_end: float = setting(58000.0, doc="Last epoch (MJD)", unit="d", step="fetch", above="mjd_start")
    shuffle_time: bool = setting(
        False, doc="Epochs at random times between first and last, not evenly spaced", step="fetch"
    )
    mag: float | None = setting(
        18.0, doc="Magnitude of every source; unset = that of the catalogue", unit="mag", step="fetch"
    )
    mag_error: float = setting(
        0.1,
        doc="Error of a magnitude; those of single epochs are within a tenth of it",
        unit="mag",
        step="fetch",
        gt=0,
        lt=1,
    )
    exptime: float = setting(30.0, doc="Exposure time", unit="s", step="fetch", ge=0)
    filters: tuple[str, ...] = setting(("R",), doc="Names of the filters", step="fetch")
    flag_fraction: float = setting(0.0, doc="Fraction of epochs that are flagged", step="fetch", ge=0, le=1)
    flare_fraction: float = setting(0.1, doc="Fraction of sources with a flare", step="fetch", ge=0, le=1)
    flare_amplitude: float = setting(
        2.0, doc="Flux added at the peak of a flare, in units of the source's flux", step="fetch", gt=0
    )
    dip_fraction: float = setting(0.1, doc="Fraction of sources with a dip", step="fetch", ge=0, le=1)
    dip_amplitude: float = setting(
        0.8, doc="Flux missing in a dip, in units of the source's flux", step="fetch", gt=0, lt=1
    )
    event_duration: float = setting(
        30.0, doc="Decay time of a flare, and length of a dip", unit="d", step="fetch", gt=0
    )
    wait_time: float = setting(
        0.0, doc="Pause for each source, as a slow archive", unit="s", run_only=True, ge=0
    )
    wait_time_poisson: float = setting(
        0.0, doc="Mean of a further random pause for each source", unit="s", run_only=True, ge=0
    )
    drop_flagged: bool = setting(
        False, doc="Drop flagged epochs instead of keeping them flagged", step="reduce", aliases=("drop_bad",)
    )


class VirtualDemo(VirtualObservatory[TimeSeries, DemoSettings]):
    """Simulated light curves with injected flares and dips, which `Raw.header` records under ``injected``."""

    name: ClassVar[str] = "demo"
    version: ClassVar[str] = "2"
    facility: ClassVar[str] = "none"
    instrument: ClassVar[str] = "random numbers"
    bands: ClassVar[tuple[str, ...]] = ("R",)
    simulated: ClassVar[bool] = True

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Simulate a batch of targets; the same project seed and name give the same bytes."""
        for target in targets:
            rng = client.rng(target.name)
            yield from self.simulate_raw([target], rng)
            pause = self.settings.wait_time + float(rng.poisson(self.settings.wait_time_poisson))
            end = time.monotonic() + pause
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, 0.1))  # in short pieces: a signal to another thread ends no sleep

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make a CSV table for each target, as a survey would answer; nothing if there are no epochs."""
        settings = self.settings
        for target in targets:
            if not settings.n_epochs or not settings.filters:
                continue
            times = _times(settings, rng)
            factor, injected = _events(settings, times, rng)
            lines = [",".join(COLUMNS)]
            for band in settings.filters:
                lines += _rows(target, band=band, settings=settings, times=times, factor=factor, rng=rng)
            header = {"injected": injected, "epochs": len(lines) - 1, "filters": list(settings.filters)}
            obscore = {
                "obs_id": f"demo {target.name}",
                "t_min": float(times[0]),
                "t_max": float(times[-1]) + settings.exptime / 86400.0,
                "t_exptime": settings.exptime * (len(lines) - 1),
            }
            content = ("\n".join(lines) + "\n").encode()
            yield target, Raw(f"demo {target.name}", "csv", content=content, obscore=obscore, header=header)

    def reduce(
        self,
        raws: Sequence[RawRef],
        aux: Aux,  # noqa: ARG002
        settings: DemoSettings,
    ) -> Sequence[Product[TimeSeries]]:
        """Make one light curve for each filter, in µJy, at the middle of the exposures."""
        tables = [parse(raw.read(), raw.archive_id) for raw in raws]
        tables = [table for table in tables if len(table["mjd"])]
        if not tables:
            return []
        columns = {name: np.concatenate([table[name] for table in tables]) for name in COLUMNS}
        keep = np.isfinite(columns["mjd"])
        if settings.drop_flagged:
            keep &= columns["flag"] == 0
        bands = dict.fromkeys(columns["filter"].tolist())
        parts = [(band, keep & (columns["filter"] == band)) for band in bands]
        return [_product(columns, band, rows) for band, rows in parts if rows.any()]


def _times(settings: DemoSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    if settings.shuffle_time:
        return np.sort(rng.uniform(settings.mjd_start, settings.mjd_end, settings.n_epochs))
    return np.linspace(settings.mjd_start, settings.mjd_end, settings.n_epochs)


def _events(
    settings: DemoSettings, times: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], list[RecordDict]]:
    """Return the factor on the flux at each epoch, and what was injected.

    A flare rises within an epoch and decays exponentially; a dip is a box. Each peaks at an epoch, so that
    there is something to see. ``amplitude`` is the change of flux at the peak in units of the flux.
    """
    factor = np.ones(len(times))
    injected: list[RecordDict] = []
    kinds: tuple[tuple[Literal["flare", "dip"], float, float], ...] = (
        ("flare", settings.flare_fraction, settings.flare_amplitude),
        ("dip", settings.dip_fraction, -settings.dip_amplitude),
    )
    length = settings.event_duration
    for kind, fraction, amplitude in kinds:
        chance, peak = rng.random(), float(times[rng.integers(len(times))])
        if chance >= fraction:
            continue
        if kind == "flare":
            begin, end = peak, peak + 3.0 * length
            shape = np.where(times >= peak, np.exp(-np.maximum(times - peak, 0.0) / length), 0.0)
        else:
            begin, end = peak - length / 2.0, peak + length / 2.0
            shape = ((times >= begin) & (times <= end)).astype(np.float64)
        factor *= 1.0 + amplitude * shape
        injected.append(
            {"kind": kind, "t_peak": peak, "start_mjd": begin, "end_mjd": end, "amplitude": amplitude}
        )
    return factor, injected


def _rows(
    target: Target,
    *,
    band: str,
    settings: DemoSettings,
    times: NDArray[np.float64],
    factor: NDArray[np.float64],
    rng: np.random.Generator,
) -> list[str]:
    """Return the CSV lines of one filter; errors of epochs grow as the flux falls, as in the sky."""
    count = len(times)
    mag0 = settings.mag
    if mag0 is None:
        mag0 = target.mag if target.mag is not None else 18.0
    error = settings.mag_error * rng.uniform(0.9, 1.1, count)
    noisy = np.maximum(factor + rng.standard_normal(count) * error / 1.0857362, 0.02)
    mag = mag0 - 2.5 * np.log10(noisy)
    magerr = error / noisy
    ra = ((target.ra or 0.0) + 1e-4 * rng.standard_normal(count)) % 360.0
    dec = np.clip((target.dec or 0.0) + 1e-4 * rng.standard_normal(count), -90.0, 90.0)
    flag = rng.random(count) < settings.flag_fraction
    exptime = [settings.exptime] * count
    rows = zip(
        times.tolist(), mag.tolist(), magerr.tolist(), [band] * count, ra.tolist(), dec.tolist(),
        flag.tolist(), exptime, strict=True,
    )  # fmt: skip
    return [_ROW % row for row in rows]


def parse(content: bytes, name: str) -> Mapping[str, Array]:
    """Read a CSV answer.

    Raises
    ------
    BadKeyword
        If a column is missing or is not a number.
    InvalidFile
        If the last line is cut or lines differ in length.
    """
    header = content.split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(",")
    if missing := [column for column in COLUMNS if column not in header]:
        msg = f"{name}: no column {', '.join(missing)} in its first line"
        raise BadKeyword(msg)
    if not content.endswith(b"\n"):
        msg = f"{name}: the last line is not ended, so the file is cut; fetch it again"
        raise InvalidFile(msg)
    plain = _plain(content, header)
    if plain is not None:
        return plain
    types = {column: pa.string() if column == "filter" else pa.float64() for column in COLUMNS}
    try:
        table = pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(use_threads=False),
            convert_options=pacsv.ConvertOptions(column_types=types, include_columns=list(COLUMNS)),
        )
    except pa.ArrowInvalid as error:
        kind = BadKeyword if "conversion error" in str(error) else InvalidFile
        msg = f"{name}: {str(error).splitlines()[0][:300]}"
        raise kind(msg) from None
    columns = {column: table.column(column).to_numpy(zero_copy_only=False) for column in COLUMNS}
    columns["filter"] = columns["filter"].astype("U16")
    return columns


def _plain(content: bytes, header: Sequence[str]) -> dict[str, Array] | None:
    """Read a table as this survey writes it; None if anything about it asks for a real reader.

    A reader with threads of its own takes longer over a hundred lines than it takes to read them.
    """
    if len(content) > PLAIN_BYTES or b'"' in content or b"_" in content or b"\r" in content:
        return None
    rows = content.decode("utf-8", "replace").split("\n")[1:-1]
    if {row.count(",") + 1 for row in rows} != {len(header)}:
        return None
    row_by_row = ",".join(rows).split(
        ","
    )  # one long list and its strides: half the time of a list for each row
    cells = {name: row_by_row[place :: len(header)] for place, name in enumerate(header)}
    try:
        columns = {name: np.array([*map(float, cells[name])]) for name in COLUMNS if name != "filter"}
    except ValueError:
        return None
    return columns | {"filter": np.array(cells["filter"], dtype="U16")}


def _product(columns: Mapping[str, Array], band: str, rows: NDArray[np.bool_]) -> Product[TimeSeries]:
    index = np.flatnonzero(rows)
    index = index[np.argsort(columns["mjd"][index], kind="stable")]
    cut = {name: values[index] for name, values in columns.items()}
    flags = np.where(cut["flag"] != 0, FLAG_ARCHIVE, 0).astype(np.int64)
    table = {
        "mjd": mid_exposure(cut["mjd"], cut["exptime"]),
        "flux": flux_from_mag(cut["mag"]),
        "flux_error": flux_error_from_mag(cut["mag"], cut["magerr"]),
        "mag": cut["mag"],
        "mag_error": cut["magerr"],
        "flags": flags,
        "ra": cut["ra"],
        "dec": cut["dec"],
        "exptime": cut["exptime"],
    }
    # This survey measures its stars however faint they are: nothing that is injected into them is lost.
    data = TimeSeries(table, units=units_of(table), meta={"flux": "total"}, band=band)
    statistics = light_curve_statistics(
        data.mjd, data.flux, data.flux_error, flags=flags, exptime=cut["exptime"]
    )
    return Product(data, series=f"series_{band}", band=band, statistics=statistics.as_columns())
