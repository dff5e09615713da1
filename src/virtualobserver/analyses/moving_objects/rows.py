"""From movers to sources, detections, light curves and stamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.night import Night
from virtualobserver.analyses.moving_objects.photometry import measure, star_parts
from virtualobserver.analyses.moving_objects.recall import false_alarms
from virtualobserver.conventions import FLAG_BACKGROUND, ZERO_POINT_AB_UJY
from virtualobserver.data.image import Image
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Product, Target
from virtualobserver.data.result import Event, Found
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.shiftstack.explain import Mover
from virtualobserver.maths.shiftstack.find import Harvest
from virtualobserver.maths.shiftstack.forced import Light
from virtualobserver.maths.shiftstack.grids import arcsec_per_hour
from virtualobserver.maths.shiftstack.stamps import coadd
from virtualobserver.typing import Record, RecordDict

__all__ = ["KIND", "in_order", "physical", "properties_of", "rows_of", "zero_points"]

KIND: Final = "mover"
_STAMP_RADIUS: Final = 10
"""Pixels; a stamp of 21 x 21, the size that KBMOD keeps."""


def rows_of(night: Night, mover: Mover, *, stamp: bool) -> tuple[Found, list[Event], list[Product]]:
    """Return the source, one event per epoch with data, and the products of one mover."""
    light = measure(night, mover)
    facts = _facts(night, mover, light)
    tau = night.tau
    x, y = mover.path.at(tau)
    sky = night.sky(x, y)
    ra, dec = sky if sky is not None else (np.full(len(tau), np.nan),) * 2
    target = _target(night, mover, ra, dec)
    rows = np.flatnonzero(light.phi > 0)
    flux, error, unit = physical(night, light.flux, light.flux_error)
    events = [
        _event(
            night,
            target.name,
            int(row),
            (float(x[row]), float(y[row])),
            (ra[row], dec[row]),
            (mover, light),
            facts,
        )
        for row in rows
    ]
    curve = TimeSeries(
        {
            "mjd": night.mjd[rows],
            "flux": flux[rows],
            "flux_error": error[rows],
            "flags": np.where(light.kept[rows], 0, FLAG_BACKGROUND).astype(np.int64),
            "exptime": night.exptime[rows],
            "ra": ra[rows],
            "dec": dec[rows],
            "x": x[rows],
            "y": y[rows],
        },
        units={"mjd": "d", "exptime": "s", "ra": "deg", "dec": "deg", "x": "pix", "y": "pix"},
        meta=facts,
        band=night.band,
        flux_unit=unit,
    )
    products: list[Product] = [
        Product(curve, role="mover", series=target.name, band=night.band, target=target)
    ]
    if stamp:
        combined = coadd(night.stack, x, y, kind="weighted", radius=_STAMP_RADIUS, epochs=light.kept)
        header = {"OBJECT": target.name, "MJD-OBS": float(night.mjd[0])}
        image = Image(combined, header=header, unit=night.unit)
        products.append(Product(image, role="stamp", series=target.name, band=night.band, target=target))
    return Found(target), events, products


def properties_of(night: Night, harvest: Harvest) -> RecordDict:
    """Summary of the night: what was searched, found, and found in the controls."""
    parts, parts_error = star_parts(night)
    found: RecordDict = {
        "n_images": len(night.mjd),
        "left_out": dict(night.left_out),
        "n_movers": len(harvest.movers),
        "level": harvest.level,
        "trials": harvest.trials,
        "n_velocities": harvest.velocities,
        "velocity_step": float(arcsec_per_hour(harvest.step, night.pixel_scale)),
        "binning": harvest.binning,
        "star_light": finite(float(np.median(parts)) if np.isfinite(parts_error) else np.nan),
        "area": night.area(harvest.pixels),
        "n_tiles": harvest.tiles,
        "time_span": float(np.ptp(night.mjd)),
        "likelihoods": [round(one.likelihood, 3) for one in harvest.movers],
    }
    for name, control in (("inverted", harvest.inverted), ("shuffled", harvest.shuffled)):
        found[f"n_false_{name}"] = None if control is None else len(control)
        found[f"false_per_square_degree_{name}"] = (
            None if control is None else false_alarms(len(control), night.area(harvest.pixels))
        )
        found[f"likelihoods_{name}"] = None if control is None else [round(c.likelihood, 3) for c in control]
    return found


def _facts(night: Night, mover: Mover, light: Light) -> RecordDict:
    """Return what every row of a mover says of the whole path (JSON-like)."""
    path = mover.path
    tau = night.tau[light.phi > 0]
    facts: RecordDict = {
        "likelihood": light.likelihood,
        "n_obs": int(light.kept.sum()),
        "x0": path.x, "y0": path.y, "x0_error": path.x_error, "y0_error": path.y_error,
        "vx": path.vx, "vy": path.vy, "vx_error": path.vx_error, "vy_error": path.vy_error,
        "flux": light.mean, "flux_error": light.mean_error, "flux_unit": night.unit,
        "mjd0": float(night.mjd[0]),
        "first_mjd": float(night.mjd[0] + tau[0]), "last_mjd": float(night.mjd[0] + tau[-1]),
        "rate": float(arcsec_per_hour(np.hypot(path.vx, path.vy), night.pixel_scale)),
        "pa": _position_angle(night, path.at(night.tau)),
        "known_as": None,
    }  # fmt: skip
    return {key: finite(value) for key, value in facts.items()}


def _position_angle(night: Night, at: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
    """Direction of motion from north through east, deg; NaN without world coordinates."""
    ends = night.sky(at[0][[0, -1]], at[1][[0, -1]])
    if ends is None:
        return float("nan")
    (ra0, ra1), (dec0, dec1) = (np.radians(part) for part in ends)
    east = np.cos(dec1) * np.sin(ra1 - ra0)
    north = np.sin(dec1) * np.cos(dec0) - np.cos(dec1) * np.sin(dec0) * np.cos(ra1 - ra0)
    return float(np.degrees(np.arctan2(east, north)) % 360.0)


def _target(night: Night, mover: Mover, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> Target:
    mjd = float(night.mjd[0])
    if np.isfinite(ra[0]) and np.isfinite(dec[0]):
        place = f"{ra[0]:09.5f}{dec[0]:+09.5f}"
        return Target(f"M{mjd:.5f}_{place}", ra=float(ra[0]), dec=float(dec[0]), kind="moving")
    return Target(f"M{mjd:.5f}_x{mover.path.x:.2f}_y{mover.path.y:.2f}", kind="moving")


def _event(  # noqa: PLR0917
    night: Night,
    name: str,
    row: int,
    at: tuple[float, float],
    sky: tuple[float, float],
    found: tuple[Mover, Light],
    facts: Record,
) -> Event:
    """Return a mover in one of its epochs as a detection."""
    mover, light = found
    mjd = float(night.mjd[row])
    errors = mover.path.error_at(night.tau[[row]])
    parameters = {
        **facts,
        "x": at[0],
        "y": at[1],
        "position_error": finite(float(np.hypot(errors[0][0], errors[1][0])) * night.pixel_scale),
        "kept": bool(light.kept[row]),
        "epoch_flux": float(light.flux[row]),
        "epoch_flux_error": float(light.flux_error[row]),
    }
    return Event(
        kind=KIND,
        peak_mjd=mjd,
        start_mjd=mjd,
        end_mjd=mjd,
        snr=float(light.psi[row] / np.sqrt(light.phi[row])),
        score=light.likelihood,
        ra=finite(float(sky[0])),
        dec=finite(float(sky[1])),
        band=night.band,
        quality=0 if light.kept[row] else FLAG_BACKGROUND,
        parameters=parameters,
        product=int(night.order[row]),
        source=name,
    )


def physical(
    night: Night, flux: NDArray[np.float64], error: NDArray[np.float64], rows: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return flux and error of images, in uJy where most images have a zero point, else in the unit of the images.

    An image without one takes that between its neighbours in time; the photometry of a few frames with too few
    stars shall not leave a whole night without magnitudes.

    Parameters
    ----------
    rows
        Which images; by default all.
    """
    zero_point = zero_points(night)
    if zero_point is None:
        return flux, error, night.unit
    factor = 10.0 ** (0.4 * (ZERO_POINT_AB_UJY - (zero_point if rows is None else zero_point[rows])))
    return flux * factor, error * factor, "uJy"


def zero_points(night: Night) -> NDArray[np.float64] | None:
    """Return the zero point of each image, between its neighbours' where it has none; None where most have none."""
    known = np.isfinite(night.zero_point)
    if 2 * known.sum() <= known.size:
        return None
    return np.interp(night.mjd, night.mjd[known], night.zero_point[known])


def in_order(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return events in order of time, then of their source."""
    return tuple(sorted(events, key=lambda event: (event.peak_mjd, event.source or "")))
