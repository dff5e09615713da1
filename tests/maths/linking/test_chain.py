"""The chain of ssos: each filter on objects made for it, its keys, and its order."""

import numpy as np
import pydantic
import pytest

from virtualobserver.maths.linking.chain import Extra, cross_identify, run_chain, weighted_r2
from virtualobserver.maths.linking.chain_settings import ELSEWHERE, SsosSettings
from virtualobserver.maths.linking.lists import SourceLists

N = 6
HOURS = np.arange(N) / 10


def lists_of(*paths, error=0.05, images=None, pixel=None, hours=HOURS):
    """Return lists of objects that each have a place (arcsec east and north of RA 0) in each image, or None."""
    rows = [(k, *place) for path in paths for k, place in enumerate(path) if place is not None]
    image, east, north = np.array(rows).T
    errors = np.full(len(rows), error)
    known = {"x": east / 2, "y": north / 2} if pixel is None else {"x": pixel[0], "y": pixel[1]}
    ra, dec = (east / 3600) % 360, north / 3600
    return SourceLists.of(
        60000 + np.asarray(hours) / 24, image.astype(int), (ra, dec), (errors, errors), **known
    )


def line(v_east, v_north, start=(0.0, 0.0), seen=range(N), noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (start[0] + v_east * t + noise * rng.normal(), start[1] + v_north * t + noise * rng.normal())
        if k in seen
        else None
        for k, t in enumerate(HOURS)
    ]


def kept(lists, extra=None, **options):
    return run_chain(lists, SsosSettings(**options), extra)


def test_objects_are_linked_to_the_nearest_last_source_within_the_radius():
    lists = lists_of(
        line(30, 20), line(30, 20, (100, 0)), line(150, 0, (-400, 50)), line(20, 0, (0, 300), (0, 3, 4, 5))
    )
    objects = sorted(len(rows) for rows in cross_identify(lists, 10.0))
    assert objects == [1] * N + [4, N, N]  # 15 arcsec from image to image are too many
    assert sorted(len(rows) for rows in cross_identify(lists, 16.0)) == [4, N, N, N]
    assert all((np.diff(lists.image[rows]) > 0).all() for rows in cross_identify(lists, 10.0))


def test_weighted_r2_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    t, y, w = rng.normal(size=8), rng.normal(size=8), rng.uniform(1, 2, 8)
    fit = np.polyval(np.polyfit(t, y, 1, w=np.sqrt(w)), t)
    expected = 1 - (w * (y - fit) ** 2).sum() / (w * (y - np.average(y, weights=w)) ** 2).sum()
    assert weighted_r2(t, y, w) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("path", "options", "filter_"),
    [
        (line(30, 20, seen=(0, 1, 2)), {}, "detections"),
        (line(30, 20, seen=(0, 1)), {"filter_detec": False}, "line"),
        (line(70, 50), {"pm_up": 80.0}, "motion"),
        (line(3, 4), {"pm_low": 6.0}, "motion"),
        (line(0.2, 0.1, noise=0.3), {"pm_snr": 100.0}, "motion"),
        (line(4, 3, noise=1.0), {}, "line"),
        (line(6, 5), {"delta_pixel": 2.0}, "pixels"),
    ],
)  # fmt: skip
def test_each_filter_takes_out_what_it_is_for(path, options, filter_):
    result = kept(lists_of(path), **options)
    assert not result.tracks
    assert {name: n for name, n in result.rejected.items() if n} == {filter_: 1}


def test_the_filters_run_in_the_order_of_the_program():
    result = kept(lists_of(line(30, 20)), Extra(stars=np.array([[10.0, 10.0, 5.0]])), filter_trail=True)
    assert list(result.rejected) == ["detections", "motion", "line", "pixels", "trail", "bright"]
    (track,) = result.tracks
    assert len(track.rows) == N
    assert track.rate == pytest.approx(np.hypot(30, 20), rel=1e-6)


def test_a_line_across_ra_0_is_one_and_motion_along_one_coordinate_may_be_saved_by_the_ecliptic():
    assert len(kept(lists_of(line(40, 20, (-10, 0)))).tracks) == 1
    north = lists_of(line(0, 40, noise=0.05))
    assert kept(north).rejected["line"] == 1  # right ascension has no R squared: as the program has it
    assert (
        len(kept(lists_of(line(40, 0, noise=0.05))).tracks) == 1
    )  # declination neither, but both ecliptic ones


def test_flags_of_scamp_refuse_an_object():
    lists = lists_of(line(30, 20), line(30, 20, (200, 0)))
    flags = np.zeros(len(lists), int)
    flags[:2] = 64
    assert len(kept(lists, Extra(flags_scamp=flags)).tracks) == 1
    flags[:2] = 65  # not looked for
    assert len(kept(lists, Extra(flags_scamp=flags)).tracks) == 2


def test_epochs_apart_are_lines_of_their_own():
    hours = [0.0, 0.02, 0.04, 3.0, 3.02, 3.04]
    path = [(30 * t, 20 * t) for t in hours[:3]] + [(5 + 30 * t, 3 + 20 * t) for t in (0.05, 0.1, 0.02)]
    lists = lists_of(path, hours=hours)
    one = kept(lists, identify_outlier=True, filter_pixel=False, outlier_threshold=1.0, crossid_radius=20.0)
    assert len(one.tracks) == 1
    assert one.left_out.tolist() == [0, 0, 0, 1, 1, 1]


def test_errors_that_cannot_be_do_no_harm():
    lists = lists_of(line(30, 20), line(30, 20, (200, 0)))
    error = lists.error.copy()
    error[:3] = [[1e-9], [1e9], [1e-9]]
    ra, dec = lists.sky(lists.place)
    odd = SourceLists.of(
        lists.mjd, lists.image, (ra, dec), tuple(error.T), x=lists.pixel[:, 0], y=lists.pixel[:, 1]
    )
    rates = [track.rate for track in kept(odd).tracks]
    assert rates == pytest.approx([np.hypot(30, 20)] * 2, rel=1e-4)


def test_trail_and_bright_stars_need_what_they_look_at():
    lists = lists_of(line(30, 20), line(30, 20, (300, 0)))
    a = np.full(len(lists), 2.0)
    a[:N] += np.linspace(0, 3, N)  # the first one's shape changes
    error = np.full(len(lists), 0.1)
    extra = Extra(a=a, b=a, a_error=error, b_error=error)
    assert [t.rows[0] for t in kept(lists, extra, filter_trail=True).tracks] == [N]
    assert len(kept(lists, filter_trail=True).tracks) == 2
    star = np.array([[(300 + 10) / 3600, 5 / 3600, 4.0], [0.0, 0.0, 9.0]])
    assert [t.rows[0] for t in kept(lists, Extra(stars=star)).tracks] == [0]


def test_every_key_of_default_ssos_is_understood():
    given = {
        "SCI_EXTENSION": "All", "WEIGHT_IMAGES": False, "DATE-OBS": "DATE-OBS", "FILTER": "FILTER",
        "EXPTIME": "EXPTIME",
        "SEX_CONFIG": "semp/ssos.sex", "SEX_PARAMS": "semp/ssos.param", "SEX_FILTER": "semp/gauss_2.5_5x5.conv",
        "SEX_NNW": "semp/default.nnw", "SCAMP_CONFIG": "semp/ssos.scamp", "SWARP_CONFIG": "semp/ssos.swarp",
        "REMOVE_REF_SOURCES": True, "FILTER_DETEC": False, "DETECTIONS": "1,2", "FILTER_PM": False, "PM_LOW": 1,
        "PM_UP": 200, "PM_SNR": 2, "FILTER_PIXEL": False, "DELTA_PIXEL": 3, "FILTER_MOTION": False,
        "IDENTIFY_OUTLIER": True, "OUTLIER_THRESHOLD": 3, "R_SQU_M": 0.9, "FILTER_TRAIL": True, "RATIO": 0.3,
        "FILTER_BRIGHT_SOURCES": False, "BRIGHT_SOURCES_CAT": "REFCAT", "DISTANCE": 40, "MAG_LIMITS": "-99,6",
        "CROSSMATCH_SKYBOT": True, "CROSSMATCH_RADIUS": 10, "OBSERVATORY_CODE": 500, "FOV_DIMENSIONS": "0x0",
        "EXTRACT_CUTOUTS": True, "CUTOUT_SIZE": 256, "FIXED_APER_MAGS": True, "REFERENCE_FILTER": "r",
        "CHECKPLOTS": "SKYBOT_RESIDUALS,SKYBOT_PM", "CROSSID_RADIUS": 5,
    }  # fmt: skip
    settings = SsosSettings(**given)
    assert set(settings.elsewhere) == set(ELSEWHERE)
    assert (settings.detections, settings.mag_limits) == ((1, 2), (-99.0, 6.0))
    changed = settings.model_dump(exclude={"elsewhere", "bright_sources_cat", "mag_limits"})
    same = SsosSettings().model_dump()
    assert all(value != same[name] for name, value in changed.items())
    assert SsosSettings(**settings.model_dump(mode="json")) == settings
    assert SsosSettings(DETECTIONS=1).detections == (1,)
    with pytest.raises(pydantic.ValidationError, match="R_SQUARED"):
        SsosSettings(R_SQUARED=1)
