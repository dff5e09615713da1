"""From tracks to sources, detections, light curves, and one table of all tracks, whatever found them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.colours import colours_of
from virtualobserver.analyses.moving_objects.engines import Linked
from virtualobserver.analyses.moving_objects.footprints import footprint_of_list
from virtualobserver.conventions import FLAG_ASTROMETRY
from virtualobserver.data.cards import place_in
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Product, Target
from virtualobserver.data.result import Event, Found, Result
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.linking.track import Track
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["curve_of", "linked_result", "tracks_table"]

FloatArray = NDArray[np.float64]
_KIND: Final = "mover"
_UNITS: Final = {
    "mjd": "d", "ra": "deg", "dec": "deg", "ra_error": "arcsec", "dec_error": "arcsec", "x": "pix", "y": "pix",
    "rate": "arcsec/h", "rate_error": "arcsec/h", "pa": "deg", "exptime": "s",
}  # fmt: skip
_MEASURED: Final = ("mjd", "ra", "dec", "flux", "flux_error", "x", "y")


def linked_result(linked: Linked, *, method: str, colours: str | None) -> Result:
    """Return what linking found as sources, detections, light curves and the table of tracks.

    Parameters
    ----------
    linked
        Tracks of a field.
    method
        What found them.
    colours
        Band against which colours of the movers are told; None = they are not.
    """
    parts = [_rows_of(linked, track, colours) for track in linked.tracks]
    events = sorted(
        (event for _, some, _ in parts for event in some), key=lambda one: (one.peak_mjd, one.source or "")
    )
    curves = [curve for _, _, curve in parts]
    lists = linked.field.lists
    said = {
        "method": method, "epochs": lists.mjd.tolist(), "centre": list(lists.centre),
        "footprints": [footprint_of_list(table) for table in linked.field.tables],
        **place_in(linked.field.tables[0].meta),
    }  # fmt: skip
    properties: RecordDict = {
        "n_images": len(lists.mjd), "n_movers": len(parts), "area": lists.area / 3600.0**2,
        "time_span": float(np.ptp(lists.mjd)) if len(lists.mjd) else 0.0,
        "left_out": dict(linked.field.left_out), **linked.facts,
    }  # fmt: skip
    return Result(
        detections=tuple(events),
        properties=properties,
        products=(
            *curves,
            *tracks_table(curves, events, said),
        ),
        sources=tuple(found for found, _, _ in parts),
    )


def tracks_table(products: Sequence[Product], events: Sequence[Event], said: Record) -> list[Product[Table]]:
    """Return the table ``tracks`` of a field, a row for each mover and epoch; nothing without movers.

    With the method ``stack`` the epochs of a track are points of one path, not measurements of their own.

    Parameters
    ----------
    products
        Light curves of movers among them, with ``rate``, ``pa`` and ``chi2`` in their facts where known.
    events
        Their detections, which say how well positions are known where the light curves do not.
    said
        What the ``meta`` of the table says of all: the method, ``epochs`` (MJD) with their ``footprints`` (see
        `footprint_of_list`) and ``centre`` (ra, dec) of what was
        searched, and where the telescope stood, see `virtualobserver.data.cards.place_in`.
    """
    curves = [
        (one.series, one.data)
        for one in products
        if one.role == "mover" and isinstance(one.data, TimeSeries) and len(one.data)
    ]
    if not curves:
        return []
    known = {(event.source, event.peak_mjd): event.parameters.get("position_error") for event in events}
    strength = {(event.source, event.peak_mjd): event.snr for event in events}
    columns: dict[str, list[Value]] = {"track": []}
    for name, data in curves:
        n, facts = len(data), data.meta
        columns["track"].append(np.full(n, name))
        for key in _MEASURED:
            columns.setdefault(key, []).append(data[key])
        for key in ("ra_error", "dec_error"):
            if key in data:
                values = data[key]
            else:  # one number for both axes
                both = [known.get((name, mjd)) for mjd in data["mjd"].tolist()]
                values = np.array([np.nan if one is None else one / np.sqrt(2.0) for one in both])
            columns.setdefault(key, []).append(values)
        for key in ("rate", "rate_error", "pa", "chi2"):
            value = facts.get(key)
            columns.setdefault(key, []).append(np.full(n, np.nan if value is None else float(value)))
        columns.setdefault("flags", []).append(data.flags)
        columns.setdefault("exptime", []).append(data["exptime"] if "exptime" in data else np.full(n, np.nan))
        columns.setdefault("snr", []).append([strength.get((name, mjd), 0.0) for mjd in data["mjd"].tolist()])
        columns.setdefault("band", []).append(np.full(n, data.band))
    units = {key: unit for key, unit in _UNITS.items() if key in columns}
    units |= dict.fromkeys(("flux", "flux_error"), curves[0][1].flux_unit)
    made = {key: np.concatenate(parts) for key, parts in columns.items()}
    table = Table(made, units, said)
    return [Product(table, role="tracks", statistics={"n_tracks": len(curves)})]


def curve_of(linked: Linked, track: Track) -> TimeSeries:
    """Return the light curve of one track."""
    return _rows_of(linked, track, None)[2].data


def _rows_of(
    linked: Linked, track: Track, colours: str | None
) -> tuple[Found, list[Event], Product[TimeSeries]]:
    """Return the source, the detections and the light curve of one track."""
    field, rows = linked.field, track.rows
    lists, columns = field.lists, field.columns
    image = lists.image[rows]
    ra0, dec0 = (float(part[0]) for part in lists.sky(track.at(np.zeros(1))))
    mjd0 = float(lists.mjd[0])
    target = Target(f"M{mjd0:.5f}_{ra0:09.5f}{dec0:+09.5f}", ra=ra0, dec=dec0, kind="moving")
    facts = _facts(linked, track, (ra0, dec0)) | colours_of(field, rows, colours)
    sky = columns["ra"][rows], columns["dec"][rows]
    residual = lists.place[rows] - track.at(lists.hours[image])
    flags = np.zeros(len(rows), np.int64)
    if linked.flags is not None:
        flags = np.where(linked.flags[rows] != 0, FLAG_ASTROMETRY, 0).astype(np.int64)
    events = [
        Event(
            kind=_KIND, peak_mjd=float(lists.mjd[k]), start_mjd=float(lists.mjd[k]), end_mjd=float(lists.mjd[k]),
            snr=float(np.nan_to_num(columns["snr"][row])), score=facts["likelihood"],
            ra=float(sky[0][n]), dec=float(sky[1][n]), band=field.bands[k], quality=int(flags[n]),
            parameters={
                **facts, "x": finite(float(columns["x"][row])), "y": finite(float(columns["y"][row])),
                "position_error": finite(float(np.hypot(*lists.error[row]))),
                "residual_east": float(residual[n, 0]), "residual_north": float(residual[n, 1]),
                "epoch_flux": finite(float(columns["flux"][row])),
                "epoch_flux_error": finite(float(columns["flux_error"][row])),
            },
            product=int(field.handle[k]), source=target.name,
        )
        for n, (row, k) in enumerate(zip(rows.tolist(), image.tolist(), strict=True))
    ]  # fmt: skip
    bands = set(np.array(field.bands)[image].tolist())
    band = bands.pop() if len(bands) == 1 else ""
    names = ("ra", "dec", "ra_error", "dec_error", "flux", "flux_error", "x", "y")
    curve = TimeSeries(
        {
            "mjd": lists.mjd[image], "exptime": lists.exptime[image], "flags": flags,
            **{name: columns[name][rows] for name in names},
        },
        units={name: unit for name, unit in _UNITS.items() if name in {"mjd", "exptime", *names}},
        meta=facts, band=band, flux_unit=field.unit,
    )  # fmt: skip
    return Found(target), events, Product(curve, role="mover", series=target.name, band=band, target=target)


def _facts(linked: Linked, track: Track, start: tuple[float, float]) -> RecordDict:
    """Return what every row of a mover says of the whole track (JSON-like)."""
    lists, snr = linked.field.lists, linked.field.columns["snr"][track.rows]
    mjd = lists.mjd[lists.image[track.rows]]
    # the rate holds at the middle of the track, `zero`
    facts: Record = {
        "likelihood": float(np.sqrt(np.nansum(snr**2))),
        "n_obs": len(track.rows), "ra0": start[0], "dec0": start[1], "mjd0": float(lists.mjd[0]),
        "rate": track.rate, "rate_error": track.rate_error, "pa": track.pa,
        "v_east": float(track.velocity[0]), "v_north": float(track.velocity[1]),
        "a_east": float(track.acceleration[0]), "a_north": float(track.acceleration[1]),
        "chi2": track.reduced_chi2, "chance": track.chance, "flux_unit": linked.field.unit,
        "first_mjd": float(mjd[0]), "last_mjd": float(mjd[-1]), "known_as": None,
    }  # fmt: skip
    return {key: finite(value) for key, value in facts.items()}
