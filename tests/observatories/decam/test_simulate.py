"""Simulated exposures: what is said to be in them is in them."""

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from support.decam import stamp

from virtualobserver.data.image import Image
from virtualobserver.data.product import Target
from virtualobserver.errors import DataError
from virtualobserver.maths.images.apertures import measure_apertures
from virtualobserver.maths.images.background import background
from virtualobserver.maths.trails.extract import extract_trails
from virtualobserver.maths.trails.search import search_trails
from virtualobserver.maths.trails.spotclass import classify_spots
from virtualobserver.maths.trails.spots import find_spots
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.observatories.decam.simulate import (
    Event,
    Field,
    SimulationSettings,
    driftify,
    expose,
    exposure_bytes,
    exposure_files,
    simulate,
    write_exposure,
)
from virtualobserver.observatories.decam.simulate.light import _mixture, add_light, unrest_of
from virtualobserver.observatories.decam.simulate.sky import CCD_NUMBERS, plate_cards

BORESIGHT = (92.253, -70.7387)
QUIET = {
    "cosmic_rays": 0, "bad_columns": 0, "events": 0, "flashes": 0, "satellites": 0, "transparency": 0,
    "scintillation": 0, "motion": 0, "motion_local": 0, "shake": 0, "seeing_drift": 0,
}  # fmt: skip


def star_at(sim, ccd, *places, mag=16.0):
    """Return a field of stars at pixels of a CCD."""
    x, y = np.array(places, float).T
    wcs = WCS(plate_cards(ccd, sim.size, BORESIGHT, distorted=sim.distorted))
    ra, dec = wcs.pixel_to_world_values(x, y)
    return {ccd: Field(ra, dec, np.full(len(x), mag), np.zeros(len(x)))}


def exposed(sim, fields, *, seed=1, **more):
    options = {"band": "VR", "mjd": 59560.0, "expnum": 5, "pointing": (0.0, 0.0)} | more
    return expose(fields, BORESIGHT, sim, np.random.default_rng(seed), **options)


def test_numbers_of_ccds_are_those_of_the_camera():
    assert (CCD_NUMBERS["S29"], CCD_NUMBERS["S31"], CCD_NUMBERS["S1"]) == (1, 3, 25)
    assert (CCD_NUMBERS["N1"], CCD_NUMBERS["N7"], CCD_NUMBERS["N22"], CCD_NUMBERS["N31"]) == (32, 38, 53, 62)
    assert sorted(CCD_NUMBERS.values()) == list(range(1, 63))


def test_the_same_generator_gives_the_same_bytes_and_another_one_others():
    sim = SimulationSettings(exposures=1, ccds=["N24"], size=(90, 100))
    made = [
        [exposure_bytes(one, "image") for one in simulate(Target("f"), np.random.default_rng(seed), sim)]
        for seed in (3, 3, 4)
    ]
    assert made[0] == made[1]
    assert made[0] != made[2]
    assert len(made[0]) == 3


def test_files_are_laid_out_as_the_pipelines(tmp_path):
    sim = SimulationSettings(exposures=1, ccds=["N24", "S4"], size=(90, 100), cosmic_rays=3000)
    pointed, _, drift = simulate(Target("f", ra=92.25, dec=-70.74), np.random.default_rng(3), sim)
    assert (pointed.kind, pointed.band, drift.kind, drift.band) == ("pointed", "r", "drift", "VR")
    assert drift.night == "2021-12-11"
    paths = write_exposure(drift, tmp_path)
    assert paths["dqmask"] == tmp_path / "2021-12-11" / "c4d_211212_020000_ood_VR_v1.fits.fz"
    planes = {}
    for product, path in paths.items():
        with fits.open(path) as units:
            assert [unit.name for unit in units] == ["PRIMARY", "N24", "S4"]
            assert units[0].data is None
            assert units[0].header["PRODTYPE"] == product
            assert units[1].compression_type == "RICE_1"
            planes[product] = units[1].data
            header = units[1].header
    assert (header["DETPOS"], header["CCDNUM"], header["CTYPE1"], header["CD1_2"] > 0, header["CD2_1"] < 0) == (
        "N24", 55, "RA---TPV", True, True,
    )  # fmt: skip
    # the pipeline's promise: no weight exactly where the mask is not 0
    assert np.array_equal(planes["wtmap"] == 0, planes["dqmask"] != 0)
    assert set(np.unique(planes["dqmask"])) <= {0, 1, 3, 4, 5, 8}
    assert {1, 5} <= set(np.unique(planes["dqmask"]))
    ccd = drift.ccds[0]
    noise = 1 / np.sqrt(np.median(ccd.weight[ccd.weight > 0]))
    assert np.abs(planes["image"] - ccd.data).max() < noise / 2  # rounded, as the pipeline does
    assert header["AVSKY"] == pytest.approx(np.median(ccd.data), rel=0.02)
    assert fits.getheader(paths["image"])["WCSCAL"] == "Failed"
    assert "MAGZPT" not in fits.getheader(paths["image"])


def test_masks_of_old_versions_hold_bits_and_renamed_sets_have_their_names():
    sim = SimulationSettings(
        exposures=0, ccds=["N24"], size=(90, 100), cosmic_rays=500, plver="V3.1", renamed=True
    )
    first = next(simulate(Target("f"), np.random.default_rng(3), sim))
    assert set(np.unique(first.ccds[0].mask)) >= {0, 1, 16}
    names = [name for name, _ in exposure_files(first).values()]
    assert names[0] == "c4d_2021B0023-exp_13253-image.fits.fz"
    with fits.open(io.BytesIO(exposure_files(first)["dqmask"][1])) as units:
        assert 16 in np.unique(units["N24"].data & 16)


def test_a_gaussian_mixture_is_the_profile_and_has_all_its_light():
    r = np.linspace(0, 2, 81)
    alpha2 = 0.25 / (2 ** (1 / 3.5) - 1)
    moffat = (1 + r**2 / alpha2) ** -3.5
    made = sum(w * np.exp(-0.5 * (r / s) ** 2) / s**2 for w, s in _mixture("moffat"))
    assert np.abs(made / made[0] - moffat).max() < 0.01
    image = np.zeros((121, 121))
    add_light(image, np.array([60.3]), np.array([59.8]), np.array([1e5]), np.array([4.0]))
    assert image.sum() == pytest.approx(1e5, rel=1e-3)
    y, x = np.mgrid[0:121, 0:121]
    assert (image * x).sum() / image.sum() == pytest.approx(60.3, abs=1e-3)
    assert (image * y).sum() / image.sum() == pytest.approx(59.8, abs=1e-3)


def test_light_of_a_star_is_where_and_as_much_as_the_truth_says():
    sim = SimulationSettings(ccds=["N24"], size=(120, 160), profile="gauss", **QUIET)
    exposure = exposed(sim, star_at(sim, "N24", (40.0, 60.0), mag=15.0), pointing=(12.4, -7.3))
    (ccd,) = exposure.ccds
    assert (ccd.truth["stars"]["x"][0], ccd.truth["stars"]["y"][0]) == (
        pytest.approx(52.4),
        pytest.approx(52.7),
    )
    flux = ccd.truth["stars"]["flux"][0]
    assert flux == pytest.approx(10 ** (0.4 * (27.43 - 15.0)))
    light = (ccd.data - np.median(ccd.data)) * 4.0
    assert light[35:71, 35:115].sum() == pytest.approx(flux * 20, rel=0.01)
    # the track of this package, which the simulator does not use, runs along the middle of the trail
    plate = WCS(plate_cards("N24", sim.size, BORESIGHT, distorted=True))
    track = TrackModel.from_wcs(plate, 79.5, 59.5, boresight=BORESIGHT, rate=0.5, exptime=20.0)
    assert ccd.truth["velocity"] == [pytest.approx(v, abs=1e-3) for v in track.vector]
    y, x = np.mgrid[35:71, 35:115]
    cut = light[35:71, 35:115]
    middle = [(cut * part).sum() / cut.sum() for part in (x, y)]
    vx, vy = track.vector
    assert middle == [pytest.approx(52.4 + vx * 10, abs=0.15), pytest.approx(52.7 + vy * 10, abs=0.15)]


def test_a_telescope_that_moves_south_or_faster_draws_the_other_way_or_farther():
    for direction, error, length in ((1, 0.0, 38.0), (-1, 0.0, -38.0), (1, 0.02, 38.8)):
        sim = SimulationSettings(ccds=["S4"], size=(60, 60), direction=direction, rate_error=error, density=0)
        velocity = exposed(sim, star_at(sim, "S4", (30, 30))).ccds[0].truth["velocity"]
        assert velocity[0] * 20 == pytest.approx(length, abs=0.25)


@pytest.mark.parametrize(
    ("event", "share", "peak"),
    [
        (Event("tophat", 8.0, 1.0, 0.6), 0.6 * 1.0 / 20, 1.6),
        (Event("gauss", 8.0, 0.5, 0.5), 0.5 * 0.5 * np.sqrt(2 * np.pi) / 20, 1.5),
        (Event("dip", 8.0, 2.0, -0.7), -0.7 * 2.0 / 20, 0.3),
        (Event("constant", amplitude=0.35), 0.35, 1.35),
        (Event("pspl", 8.0, 1.5, 0.6), None, (0.36 + 2) / (0.6 * np.sqrt(0.36 + 4))),
    ],
)
def test_events_change_the_light_when_and_by_as_much_as_they_say(event, share, peak):
    assert event.light(np.array([8.0]))[0] == pytest.approx(peak)
    quiet = QUIET | {"sky": 0, "read_noise": 0.1, "saturation": 1e9, "profile": "gauss"}
    sim = SimulationSettings(ccds=["N24"], size=(60, 160), **quiet)
    field = star_at(sim, "N24", (40.0, 30.0), mag=12.0)
    plain = exposed(sim, field, events={}).ccds[0].data.astype(float)
    changed = exposed(sim, field, events={"N24": {0: event}}).ccds[0]
    away = changed.data - plain
    if share is not None:
        assert away.sum() / plain.sum() == pytest.approx(share, abs=2e-3)
    if event.kind != "constant":
        column = np.arange(160)
        centre = (np.abs(away).sum(axis=0) * column).sum() / np.abs(away).sum()
        wanted = changed.truth["stars"]["x"][0] + 8.0 * changed.truth["velocity"][0]
        assert centre == pytest.approx(wanted, abs=0.8 if event.kind != "pspl" else 3.0)
    assert changed.truth["events"][0]["kind"] == event.kind


def test_the_air_moves_as_much_and_for_as_long_as_asked():
    sim = SimulationSettings(motion=0.1, motion_time=1.0, shake=0, transparency=0.01)
    unrest = unrest_of(sim, np.random.default_rng(0), 4000.0, 0.25)
    assert np.std(unrest.common) == pytest.approx(0.4, rel=0.1)
    x = unrest.common[0] - unrest.common[0].mean()
    later = np.mean(x[25:] * x[:-25]) / np.var(x)
    assert later == pytest.approx(np.exp(-1), abs=0.06)
    assert np.std(unrest.clear) == pytest.approx(0.01, rel=0.25)


def test_noise_is_that_of_photons_and_the_amplifier_and_weights_know_it():
    sim = SimulationSettings(ccds=["N24"], size=(300, 300), **QUIET)
    (ccd,) = exposed(sim, {"N24": Field(*(np.zeros(0) for _ in range(4)))}).ccds
    assert np.var(ccd.data) == pytest.approx((21.6 * 20 + 36) / 16, rel=0.03)
    assert np.mean(1 / ccd.weight) == pytest.approx(np.var(ccd.data), rel=0.03)


def test_full_pixels_bleed_along_their_columns_and_bad_columns_are_filled():
    sim = SimulationSettings(ccds=["N24"], size=(200, 120), **(QUIET | {"bad_columns": 1}))
    exposure = exposed(
        sim, star_at(sim, "N24", (60.0, 100.0), mag=11.0), band="r", bad={"N24": np.array([20])}
    )
    (ccd,) = exposure.ccds
    assert ccd.data.max() < 42_000 * 1.01
    full = np.isin(ccd.mask, (3, 4))
    assert full[:, 60].sum() > full[100].sum()
    assert (ccd.mask[:, 20] == 1).sum() > 150
    np.testing.assert_allclose(ccd.data[:, 20], (ccd.data[:, 19] + ccd.data[:, 21]) / 2, rtol=1e-4)


def test_what_demonstrations_compare_are_the_events_in_time():
    sim = SimulationSettings(exposures=2, ccds=["N24"], size=(300, 400), density=400, mag=(15, 18), events=4)
    drift = list(simulate(Target("f"), np.random.default_rng(2), sim))[-1]
    (ccd,) = drift.ccds
    told = drift.injected(ccd)
    assert len(told) == len([one for one in ccd.truth["events"] if one["kind"] != "constant"]) > 0
    for one in told:
        assert drift.mjd < one["t_peak"] < drift.mjd + 20 / 86400
        assert one["start_mjd"] < one["t_peak"] < one["end_mjd"]
    forms = {event["ra"]: event for event in ccd.truth["events"]}
    for one in told:
        event = forms[one["ra"]]
        assert (one["kind"], one["form"]) == ("dip" if event["kind"] == "dip" else "pulse", event["kind"])
        u2 = event["amplitude"] ** 2
        height = (u2 + 2) / (u2 * (u2 + 4)) ** 0.5 - 1 if event["kind"] == "pspl" else event["amplitude"]
        assert one["amplitude"] == pytest.approx(height)


# ------------------------------------------------------------------------------------------- driftify
TRACK = TrackModel(0.5, 20.0, 0.2637, 0.14)


@pytest.fixture(scope="module")
def real():
    return stamp("testcase4", "c4d_170316_062107_ooi_z_ls9.N2")


def test_real_stars_keep_their_light_and_the_frame_its_noise(real):
    made = driftify(real, TRACK, np.ones(100), rng=np.random.default_rng(1))
    before, after = background(real.data, mask=real.mask), background(made.data, mask=made.mask)
    assert after.median_scatter == pytest.approx(before.median_scatter, rel=0.05)
    assert after.median_level == pytest.approx(before.median_level, abs=2.0)
    light = made.data - after.level
    x, y = 178.8, 27.4
    (one,) = measure_apertures(real.data - before.level, real.variance, [x], [y], radii=[10])
    assert light[17:38, 169:227].sum() == pytest.approx(one.flux[0], rel=0.06)
    good = made.mask[:, :200] == 0
    assert (light[:, :200][good] / np.sqrt(made.variance[:, :200][good])).std() < 20


def test_a_pulse_put_into_one_real_star_is_there_and_nowhere_else(real):
    event = Event("tophat", 8.0, 1.0, 1.0)
    time = (np.arange(200) + 0.5) / 10
    y, x = np.ogrid[0:251, 0:245]
    part = np.hypot(x - 178.8, y - 27.4) < 10
    plain = driftify(real, TRACK, np.ones(200))
    pulsed = driftify(real, TRACK, event.light(time), part=part)
    away = np.asarray(pulsed.data, float) - plain.data
    star = (real.data - background(real.data, mask=real.mask).level)[part].sum()
    assert away.sum() / star == pytest.approx(0.05, rel=0.05)
    centre = [(away * axis).sum() / away.sum() for axis in (x, y)]
    vx, vy = TRACK.vector
    assert centre == [pytest.approx(178.8 + 8 * vx, abs=0.6), pytest.approx(27.4 + 8 * vy, abs=0.6)]
    assert np.abs(away[60:]).max() < 1e-2


def test_a_pulse_of_a_driftified_real_star_is_found_by_the_measurement_and_the_search(real):
    part = np.hypot(np.arange(245)[None, :] - 178.8, np.arange(251)[:, None] - 27.4) < 10
    time, gain, found = (np.arange(200) + 0.5) / 10, real.header["GAINA"], []
    for weights in (np.ones(200), Event("tophat", 8.0, 1.0, 1.0).light(time)):
        made = driftify(real, TRACK, weights, part=part, rng=np.random.default_rng(1))
        planes = made.data * gain, made.variance * gain**2
        samples = extract_trails(*planes, TRACK, [178.8], [27.4], fwhm=real.header["FWHM"], mask=made.mask)
        mean = samples.totals.flux[:, None] * samples.response
        search = search_trails(
            samples.flux / mean, samples.flux_error / mean, samples.time[:, 0], step=1 / TRACK.speed,
            sigma=samples.profile.sigma / TRACK.speed, good=samples.flat & (samples.flags == 0),
        )  # fmt: skip
        found.append(search)
        assert search.dips.statistic[0] < 2.5
    calm, loud = (search.pulses for search in found)
    assert calm.statistic[0] < 2.5
    assert loud.statistic[0] > 5
    assert loud.time[0] == pytest.approx(8.0, abs=0.4)
    # twice its light for a second, over a mean that is a twentieth higher
    light = loud.amplitude[0] * max(loud.duration[0], 0.5)
    assert light == pytest.approx(1 / 1.05, abs=4 * loud.amplitude_error[0])


def test_bad_pixels_spoil_what_they_are_drawn_over(real):
    mask = np.zeros(real.data.shape, np.uint16)
    mask[100:103, 90:110] = 1
    made = driftify(Image(real.data, real.variance, mask, real.header, real.unit), TRACK, np.ones(50))
    assert (made.mask[101, 95:140] != 0).all()
    assert (made.mask[101, 60:85] == 0).all()
    assert (made.mask[110, 60:200] == 0).all()
    with pytest.raises(DataError, match="finite weights"):
        driftify(real, TRACK, [1.0, np.nan])
    with pytest.raises(DataError, match="part"):
        driftify(real, TRACK, [1.0], part=np.ones((3, 3), bool))


@pytest.mark.parametrize("what", ["glints", "movers"])
def test_what_moves_on_its_own_is_no_flash_and_no_class_is_lensing(what):
    sim = SimulationSettings(size=(400, 400), ccds=["N24"], **QUIET, **{what: 8.0})
    (ccd,) = exposed(sim, star_at(sim, "N24", (-200, -200), mag=25.0)).ccds
    told = ccd.truth[what]
    assert len(told) >= 4
    sky, variance = np.median(ccd.data), 1 / np.median(ccd.weight)
    track = TrackModel(sim.rate, sim.exptime, 0.2637, 0.0)
    spots = find_spots(ccd.data - sky, np.full(ccd.data.shape, variance), ccd.mask, sigma=1.7, track=track)
    label = np.array(classify_spots(spots, angle=0.0, length=track.length, shape=sim.size).label)
    for one in told:
        middle = [one[axis] + one["speed"][k] / 0.2637 * one["duration"] / 2 for k, axis in enumerate("xy")]
        near = np.hypot(spots.x - middle[0], spots.y - middle[1])
        reach = 3 + np.hypot(*one["speed"]) / 0.2637 * one["duration"] / 2
        own = near < reach
        assert own.any()
        classes = label[own].tolist()
        assert "flash" not in classes, one
        assert set(classes) <= {"moving_object", "streak", "partial_trail"}, classes
        if what == "glints":
            assert abs(abs(spots.angle[own][0]) - 90) < 15  # along y, east and west
