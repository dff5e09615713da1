"""Real light curves of small bodies."""

from dataclasses import dataclass

import numpy as np
from astropy.time import Time

from support.real import real_data

LIGHTCURVES = (
    "1011_Laodamia", "1282_Utopia", "1323_Tugela", "1627_Ivar", "261_Prymno", "289_Nenetta", "3295_Murakami",
    "511_Davida", "702_Alauda", "874_Rotraut", "886_Washingtonia",
)  # fmt: skip
LIGHT_HOURS = 499.004783836 / 3600


@dataclass(frozen=True)
class Body:
    """Times at the body (h), magnitudes at unit distances, sessions, and the period of the LCDB (h)."""

    mjd: np.ndarray
    hours: np.ndarray
    mag: np.ndarray
    observed: np.ndarray
    session: np.ndarray
    sun: np.ndarray
    observer: np.ndarray
    phase: np.ndarray
    period: float


def lightcurve(name: str) -> Body:
    """Return the light curve of one of `LIGHTCURVES`."""
    path = real_data("sso", "adam_core", f"rotation_period_validation_fixture_{name}.npz")
    with np.load(path, allow_pickle=True) as file:
        mjd = Time(list(file["time_iso"].astype(str)), scale="utc").mjd
        hours = mjd * 24 - file["delta_au"] * LIGHT_HOURS
        reduced = file["mag_obs"] - 5 * np.log10(file["r_au"] * file["delta_au"])
        session = np.unique(file["session_id"].astype(str), return_inverse=True)[1].ravel()
        return Body(
            mjd, hours, reduced, file["mag_obs"], session, file["r_au"], file["delta_au"],
            file["phase_angle_deg"], float(file["lcdb_period_hours"][0]),
        )  # fmt: skip


def ceres() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hours, magnitudes and sessions of (1) Ceres, whose amplitude is 0.04 mag."""
    rows, session = [], -1
    for line in real_data("sso", "ALCDEF_1_Ceres.TXT").read_text(encoding="utf-8").splitlines():
        if line == "STARTMETADATA":
            session += 1
        if line.startswith("DATA="):
            jd, mag, _ = line.removeprefix("DATA=").split("|")
            rows.append((float(jd) * 24, float(mag), session))
    hours, mag, sessions = np.array(rows).T
    return hours, mag, sessions
