"""Linking on real frames: two asteroids, from the sources of the frames and the world coordinates that they bring."""

from datetime import datetime

import numpy as np
import pytest
from support.real import real_data

from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.data import Product, Table, Target, as_handle
from virtualobserver.data.world import world_of
from virtualobserver.maths.images.sources import find_sources
from virtualobserver.observatory import Aux

pytestmark = pytest.mark.real

LIT = 1388  # columns; the rest is overscan
SCALE = 1.107  # arcsec per pixel


def read(path):
    from astropy.io import fits

    with fits.open(path) as opened:
        data, header = opened[-1].data.astype(np.float32), dict(opened[-1].header)
    return data[:, :LIT] - np.median(data[:, LIT + 8 :], axis=1, keepdims=True), header


def source_lists(threshold):
    folder = real_data("sso", "lowell5945")
    zero = np.median([read(path)[0] for path in sorted(folder.glob("zero*"))], axis=0)
    flats = [read(path)[0] - zero for path in sorted(folder.glob("flat*"))]
    flat = np.median([one / np.median(one) for one in flats], axis=0)
    made = []
    for path in sorted(folder.glob("light*")):
        data, header = read(path)
        image = (data - zero) / np.where(flat > 0.3, flat, np.inf)
        found = find_sources(image.astype(np.float32), threshold=threshold)
        start = datetime.fromisoformat(f"{header['DATE-OBS'][:10]}T{header['UTCSTART']}+00:00").timestamp()
        mjd = 40587 + (start + header["EXPTIME"] / 2) / 86400
        ra, dec = world_of(header).all_pix2world(found.x, found.y, 0)
        names = ("x", "y", "snr", "a", "b", "theta", "fwhm", "truncated")
        columns = {name: getattr(found, name) for name in names} | {
            "ra": ra, "dec": dec, "ra_error": found.x_error * SCALE, "dec_error": found.y_error * SCALE,
            "flux_3": found.flux, "flux_error_3": found.flux_error,
        }  # fmt: skip
        meta = {"mjd": mjd, "exptime": header["EXPTIME"], "radii": [3.0], "shape": list(image.shape)}
        made.append(as_handle(Product(Table(columns, meta=meta), role="sources", band="VR")))
    return made


@pytest.mark.parametrize(
    ("method", "threshold", "more"), [("link", 17.0, 0), ("link", 5.0, 1), ("ssos", 17.0, 0)]
)
def test_two_asteroids_and_at_most_one_more(method, threshold, more):
    search = MovingObjects(method=method)
    result = search.find(source_lists(threshold), Aux(Target("field", kind="field")), search.settings)
    tracks = {event.source: event.parameters for event in result.detections}
    snr = {name: np.median([e.snr for e in result.detections if e.source == name]) for name in tracks}
    strong = [tracks[name] for name in tracks if snr[name] > 30]
    assert len(strong) == 2
    assert len(tracks) <= 2 + more
    for track, (ra, dec, rate) in zip(
        sorted(strong, key=lambda one: one["ra0"]),
        [(124.62819, 25.33981, 9.17), (124.76406, 25.34692, 14.89)],
        strict=True,
    ):
        east = (track["ra0"] - ra) * np.cos(np.radians(dec)) * 3600
        assert np.hypot(east, (track["dec0"] - dec) * 3600) < 1.0
        assert track["rate"] == pytest.approx(rate, abs=0.15)
        assert track["n_obs"] == 6
