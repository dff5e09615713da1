"""From bodies to sources, detections and light curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.asteroids.bodies import Body, Part, label_of
from virtualobserver.analyses.asteroids.known import Named
from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.analyses.asteroids.tracks import Night
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Product, Target
from virtualobserver.data.result import Event, Found, Result
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.tan_sip import project
from virtualobserver.typing import RecordDict

__all__ = ["KIND", "UNASKED", "residual_of", "result_of"]

KIND: Final = "asteroid"
UNASKED: Final = (
    "nobody was asked: set identify to skybot, or to orbits of the data folder (`vo orbits build`)"
)
"""What properties say where movers have no names because there is neither a service nor orbits."""
_LISTED: Final = 20
"""Known bodies that were not seen, in the properties."""
_COLUMNS: Final = ("ra", "dec", "ra_error", "dec_error", "x", "y")
_DISTANCES: Final = ("heliocentric_distance", "observer_distance", "phase_angle")
_UNITS: Final = {
    "mjd": "d", "exptime": "s", "ra": "deg", "dec": "deg", "ra_error": "arcsec", "dec_error": "arcsec", "x": "pix",
    "y": "pix", "heliocentric_distance": "au", "observer_distance": "au", "phase_angle": "deg",
}  # fmt: skip


def result_of(
    bodies: Sequence[Body],
    nights: Sequence[Night],
    named: Sequence[Named],
    asked: str,
    settings: AsteroidsSettings,
) -> Result:
    """Return the bodies of a field as sources, detections and light curves.

    Parameters
    ----------
    asked
        Who knew the bodies; empty = nobody.
    """
    facts = {body.name: _facts(body, settings) for body in bodies}
    events = [event for body in bodies for event in _events(body, facts[body.name])]
    kinds = [body.kind(settings) for body in bodies]
    missed = [(night.name, one) for night, those in zip(nights, named, strict=True) for one in those.missed]
    properties: RecordDict = {
        "n_nights": len(nights), "n_tracks": sum(len(night.tracks) for night in nights), "n_bodies": len(bodies),
        "n_known": kinds.count("known"), "n_asteroids": kinds.count("asteroid"), "n_unknown": kinds.count("unknown"),
        "taken_up": sorted({part.track.name for body in bodies for part in body.parts}),
        "identified_by": asked or None, "known_in_field": sum(one.bodies for one in named) if asked else None,
        "n_missed": len(missed), "n_too_faint": sum(one.faint for one in named),
        "missed": [
            {"night": night, "name": one.name, "mag": finite(round(one.mag, 2)), "images": one.images}
            for night, one in missed[:_LISTED]
        ],
    }  # fmt: skip
    if not asked:
        properties["reason"] = UNASKED
    return Result(
        detections=sorted(events, key=lambda one: (one.peak_mjd, one.source or "")),
        properties=properties,
        products=[curve for body in bodies for curve in _curves(body, facts[body.name])],
        sources=[Found(_target(body), same_as=body.known_as) for body in bodies],
    )


def residual_of(part: Part) -> NDArray[np.float64]:
    """Return where each epoch lies from the known body, east and north, arcsec, shape (m, 2)."""
    rows, identity = part.track.rows, part.identity
    if identity is None:
        return np.full((len(rows), 2), np.nan)
    ends = project(rows["ra"], rows["dec"], identity.ra[0], identity.dec[0])
    body = project(identity.ra, identity.dec, identity.ra[0], identity.dec[0])
    return np.asarray(np.stack([a - b for a, b in zip(ends, body, strict=True)], axis=1) * ARCSEC_PER_DEGREE)


# --- inside -----------------------------------------------------------------------------------------------


def _target(body: Body) -> Target:
    first = body.parts[0].track.rows
    return Target(body.name, ra=float(first["ra"][0]), dec=float(first["dec"][0]), kind="moving")


def _facts(body: Body, settings: AsteroidsSettings) -> RecordDict:
    """Return what every row says of the whole body (JSON-like)."""
    kind = body.kind(settings)
    facts: RecordDict = {
        "class": kind, "number": body.number, "label": body.known_as or label_of(body.number, kind),
        "n_obs": body.epochs, "n_nights": len(body.parts), "tracks": [part.track.name for part in body.parts],
        "first_mjd": body.parts[0].track.path.first, "last_mjd": body.parts[-1].track.path.last,
    }  # fmt: skip
    return facts


def _of_night(part: Part) -> RecordDict:
    """Return what every row of a night says of it: motion, and how well the known body fits."""
    path, identity = part.track.path, part.identity
    facts: RecordDict = {
        "rate": path.rate, "pa": float(np.degrees(np.arctan2(*path.velocity)) % 360.0),
        "rate_error": float(np.hypot(*(path.velocity * path.velocity_error)) / path.rate) if path.rate > 0 else None,
        "chi2": path.chi2, "second": part.second or None,
    }  # fmt: skip
    if identity is not None:
        match = identity.match
        facts |= {
            "separation": match.separation, "rate_difference": match.rate_difference, "match_chi2": match.cost,
            "second_separation": match.second_separation, "second_chi2": match.second_cost,
            "orbit_class": identity.orbit_class or None,
        }  # fmt: skip
    return {key: finite(value) for key, value in facts.items()}


def _events(body: Body, facts: RecordDict) -> list[Event]:
    found = []
    for part in body.parts:
        rows, own = part.track.rows, _of_night(part)
        residual = residual_of(part)
        for n, mjd in enumerate(rows["mjd"].tolist()):
            parameters: RecordDict = {
                **facts, **own, "track": part.track.name, "night": part.night.name, "x": finite(rows["x"][n]),
                "y": finite(rows["y"][n]), "epoch_flux": finite(rows["flux"][n]),
                "epoch_flux_error": finite(rows["flux_error"][n]),
                "position_error": finite(float(np.hypot(rows["ra_error"][n], rows["dec_error"][n]))),
            }  # fmt: skip
            if part.identity is not None:
                parameters |= {
                    "residual_east": finite(residual[n, 0]), "residual_north": finite(residual[n, 1]),
                    "predicted_mag": finite(part.identity.mag[n]),
                }  # fmt: skip
            found.append(
                Event(
                    kind=KIND, peak_mjd=mjd, start_mjd=mjd, end_mjd=mjd, snr=float(np.nan_to_num(rows["snr"][n])),
                    ra=finite(rows["ra"][n]), dec=finite(rows["dec"][n]), band=str(rows["band"][n]),
                    quality=int(rows["flags"][n]), parameters=parameters, product=part.night.product, source=body.name,
                )
            )  # fmt: skip
    return found


def _curves(body: Body, facts: RecordDict) -> list[Product[TimeSeries]]:
    """Return the light curves of a body, one for each band and unit of flux, all nights in each."""
    parts: dict[tuple[str, str], list[Mapping[str, Array]]] = {}
    for part in body.parts:
        rows = part.track.rows
        unit = rows.units.get("flux", "")
        for band in dict.fromkeys(rows["band"].tolist()):
            those = rows["band"] == band
            columns = {
                name: rows[name][those] for name in ("mjd", "flux", "flux_error", "exptime", *_COLUMNS)
            }
            columns["flags"] = rows["flags"][those].astype(np.int64)
            if part.identity is not None:
                columns |= {name: getattr(part.identity, name)[those] for name in _DISTANCES}
            parts.setdefault((str(band), unit), []).append(columns)
    curves = []
    for (band, unit), some in sorted(parts.items(), key=lambda one: one[0]):
        names = [name for name in some[0] if all(name in one for one in some)]
        columns = {name: np.concatenate([one[name] for one in some]) for name in names}
        units = {name: unit for name, unit in _UNITS.items() if name in columns}
        curve = TimeSeries(columns, units=units, meta=facts, band=band, flux_unit=unit)
        curves.append(Product(curve, role=KIND, series=body.name, band=band, target=_target(body)))
    return curves
