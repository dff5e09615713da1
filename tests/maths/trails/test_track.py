"""The track of a star on a chip: where it is when, and the same in all the camera."""

import csv
import io
import json
import re
import tarfile

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from support.real import real_data

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.track import TrackModel, line_spread

WORLD = re.compile(r"NAXIS|(CTYPE|CRVAL|CRPIX)[12]$|CD[12]_[12]$|(A|B|AP|BP)_|RADESYS$|EQUINOX$")
TRACKS = [
    TrackModel(0.5, 20.0, 0.2633, angle, direction, shutter)
    for angle in (0.14, -37.0, 90.0, 179.0)
    for direction in (1, -1)
    for shutter in (0.0, 0.8)
]


@pytest.mark.parametrize("track", TRACKS)
def test_places_and_times_undo_each_other(track):
    x0, y0, x1, y1 = track.ends([10.0, 300.0], [20.0, 5.0])
    assert np.hypot(x1 - x0, y1 - y0) == pytest.approx(20 * 0.5 / 0.2633)
    assert track.time_of(track.along(x1 - x0, y1 - y0)) == pytest.approx(20.0 + track.shutter_offset)
    assert track.across(x1 - x0, y1 - y0) == pytest.approx(0.0, abs=1e-9)
    times = np.linspace(0, 20, 7)
    assert track.time_of(track.along_of(times)) == pytest.approx(times)
    x, y = track.place_of(x0[0], y0[0], track.shutter_offset + 20.0)
    assert (x, y) == (pytest.approx(x1[0]), pytest.approx(y1[0]))
    again = track.with_vector(*track.vector)
    assert again.vector == pytest.approx(track.vector)
    assert again.rate == pytest.approx(0.5)


def test_the_other_direction_draws_the_trail_backwards():
    there, back = (TrackModel(0.5, 20.0, 0.2633, 0.2, direction) for direction in (1, -1))
    assert np.negative(there.vector) == pytest.approx(back.vector)
    assert there.across(0.0, 1.0) > 0.99


def test_the_line_spread_is_all_of_the_light_and_what_a_drawn_out_gaussian_gives():
    along = np.arange(-30, 80) + 0.3
    share = line_spread(along, 37.98, 1.7)
    assert share.sum() == pytest.approx(1.0, abs=1e-12)
    steps = np.linspace(0, 37.98, 401)
    steps = (steps[1:] + steps[:-1]) / 2
    fine = along[:, None] + np.linspace(-0.495, 0.495, 100)
    star = np.mean([np.exp(-0.5 * ((fine - s) / 1.7) ** 2).mean(axis=1) for s in steps], axis=0) / (
        1.7 * np.sqrt(2 * np.pi)
    )
    assert share == pytest.approx(star, abs=2e-5)
    # nor is there a step where the ramps end in their straight lines
    assert np.abs(np.diff(line_spread(np.linspace(-12, -9, 3001), 37.98, 1.7))).max() < 1e-9


@pytest.mark.parametrize(
    "change", [{"rate": 0.0}, {"exptime": -1.0}, {"scale": np.nan}, {"direction": 0}, {"angle": np.inf}]
)
def test_a_track_that_cannot_be_is_refused_by_name(change):
    with pytest.raises(DataError, match=next(iter(change))):
        TrackModel(**{"rate": 0.5, "exptime": 20.0, "scale": 0.26, **change})


def plate(ra, dec, *, scale=0.2633, turn=0.0):
    header = WCS(naxis=2)
    header.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    header.wcs.crval, header.wcs.crpix = [ra, dec], [1024.0, 2048.0]
    c, s = scale / 3600 * np.cos(np.radians(turn)), scale / 3600 * np.sin(np.radians(turn))
    header.wcs.cd = [[-s, c], [-c, -s]]  # +x south and +y east, as such cameras lie
    return header


def test_a_northward_telescope_draws_stars_southwards():
    track = TrackModel.from_wcs(
        plate(80.0, -70.0), 1023, 2047, boresight=(80.0, -70.0), rate=0.5, exptime=20.0
    )
    assert track.scale == pytest.approx(0.2633, abs=1e-5)
    assert track.angle == pytest.approx(0.0, abs=1e-4)
    assert track.vector[0] == pytest.approx(0.5 / 0.2633, rel=1e-4)


def test_trails_are_parallel_in_the_camera_although_meridians_are_not():
    # one plate for all of the camera: a chip 1 degree east of the middle sees the same motion, to its distortion
    wide = plate(80.0, -70.7)
    x, y = wide.world_to_pixel_values(83.0, -70.7)
    track = TrackModel.from_wcs(wide, x, y, boresight=(80.0, -70.7), rate=0.5, exptime=20.0)
    assert abs(track.angle) < 0.05  # the meridian there is turned by 2.8 degrees


def test_a_place_without_sky_is_refused():
    broken = plate(80.0, -70.0)
    with pytest.raises(DataError, match="no sky"):
        TrackModel.from_wcs(broken, np.nan, 3.0, boresight=(80.0, -70.0), rate=0.5, exptime=20.0)


def chips():
    """Plates of the chips of one exposure, by the name of the chip."""
    names: dict[str, str] = {}
    cards: dict[str, fits.Header] = {}
    with tarfile.open(real_data("decam", "headers", "decam_imdiff_headers.ecsv.tar.bz2")) as archive:
        text = io.TextIOWrapper(archive.extractfile(archive.getmembers()[0]), encoding="utf-8")
        for row in csv.DictReader((line for line in text if not line.startswith("#")), delimiter=" "):
            file, key = row["filename"], row["keyword"]
            if row["hdu"] == "0" and key == "DETPOS":
                names[file] = row["value"]
            elif row["hdu"] == "1" and WORLD.match(key):
                kind = {"int": int, "float": float}.get(row["format"], str)
                cards.setdefault(file, fits.Header())[key] = kind(row["value"])
    return {names[file]: (WCS(header), header) for file, header in cards.items()}


@pytest.mark.real
def test_the_tracks_of_all_chips_of_a_camera_are_those_worked_out_elsewhere():
    expected = json.loads(real_data("decam", "expected", "focal_plane.json").read_text(encoding="utf-8"))[
        "ccds"
    ]
    plates = chips()
    assert set(plates) == set(expected)
    middles = {
        name: ((header["NAXIS1"] - 1) / 2, (header["NAXIS2"] - 1) / 2) for name, (_, header) in plates.items()
    }
    sky = np.array([plates[name][0].pixel_to_world_values(*middles[name]) for name in plates])
    boresight = tuple(sky.mean(axis=0))
    for name, (world, _) in plates.items():
        track = TrackModel.from_wcs(world, *middles[name], boresight=boresight, rate=0.5, exptime=20.0)
        there = expected[name]
        assert track.angle == pytest.approx(there["trail_angle_deg"], abs=2e-3), name
        assert track.speed == pytest.approx(there["px_per_s_at_0p5"], rel=5e-5), name
        assert track.length == pytest.approx(there["trail_px_20s"], abs=2e-3), name
        assert track.scale == pytest.approx(there["scale_arcsec_per_px"], rel=5e-5), name
