"""A night searched in tiles: what is found is what the whole gives, and memory does not grow with the night."""

import tracemalloc

import numpy as np
import pytest

from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.analyses.moving_objects.light import Light, LitHandle
from virtualobserver.analyses.moving_objects.night import load_night
from virtualobserver.data import Image, Target, as_handle
from virtualobserver.data.handles import ProductInfo
from virtualobserver.errors import DataError
from virtualobserver.io.fits import files as fits
from virtualobserver.io.store import Store
from virtualobserver.maths.shiftstack.find import find_movers
from virtualobserver.maths.shiftstack.grids import disc_grid, grid_step
from virtualobserver.maths.shiftstack.groups import groups_of
from virtualobserver.maths.shiftstack.images import Frames, gaussian_psf
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.maths.shiftstack.search import Trajectories
from virtualobserver.maths.shiftstack.settings import StackSettings
from virtualobserver.maths.shiftstack.tiles import tiling
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator

SIGMA = 1.2
AUX = Aux(Target("field", kind="field"))


def frames(n=10, size=(110, 130), *, movers=8, seed=0, fwhm=None):
    """Noise of sigma 2 with movers all over the field, some that cross each other, and a masked part."""
    rng = np.random.default_rng(seed)
    tau = np.linspace(0, 0.2, n)
    sigma = SIGMA if fwhm is None else fwhm / 2.3548
    x, y = rng.uniform(0, size[1], (movers, 1)), rng.uniform(0, size[0], (movers, 1))
    vx, vy = rng.uniform(-80, 80, (2, movers, 1))
    if movers:
        x[1], y[1], vx[1], vy[1] = x[0] + 4, y[0] + 5, -vx[0], vy[0]
    flux = rng.uniform(25, 90, (movers, 1)) * np.ones(n)
    science = add_movers(np.zeros((n, *size), np.float32), x + vx * tau, y + vy * tau, flux, sigma=sigma)
    science += rng.normal(0, 2, science.shape).astype(np.float32)
    science[:, 40:44, 80:110] = np.nan
    science[n // 2 :, :, :25] = np.nan
    psf = tuple(gaussian_psf(sigma * (1 + 0.02 * k), 4) for k in range(n))
    return Frames(60100 + tau, science, np.full_like(science, 4.0), psf)


def key(movers):
    return [
        (m.path.x, m.path.y, m.path.vx, m.path.vy, m.likelihood, m.n_obs, m.path.flux, m.path.x_error)
        for m in movers
    ]


OPTIONS = StackSettings(drift=2.5, level=4.8)
SPEED = (10.0, 115.0)  # px/d


@pytest.mark.parametrize(
    ("change", "memory"),
    [
        ({}, 1.5e6),
        ({}, 0.5e6),
        ({"two_level_from": 4, "block": 72.0}, 1e6),
        ({"binning": 2, "level": 4.0}, 0.3e6),
        ({"masked": "kbmod", "clip": False}, 1.2e6),
    ],
)
def test_tiles_give_what_the_whole_gives(change, memory):
    night = frames(seed=3, fwhm=5.0 if "binning" in change else None)
    settings = OPTIONS.model_copy(update=change)
    whole = find_movers(night, settings, SPEED)
    tiles = find_movers(night, settings, SPEED, memory=memory)
    assert (whole.tiles, tiles.tiles > 3) == (1, True)
    assert len(whole.movers) >= 5
    assert (
        len(whole.inverted) + len(whole.shuffled) > 0
    )  # the level is low, so that the controls have something
    for name in ("movers", "inverted", "shuffled"):
        made, expected = (np.array(key(getattr(one, name))) for one in (tiles, whole))
        # of two levels, the velocities kept for a pixel may differ, and so where the refinement begins
        rtol = 1e-3 if "two_level_from" in change else 1e-6
        np.testing.assert_allclose(made, expected, rtol=rtol, err_msg=name)
        np.testing.assert_allclose(made[..., 4:6], expected[..., 4:6], rtol=1e-6, err_msg=name)
    for name in ("level", "trials", "velocities", "step", "pixels"):
        assert getattr(tiles, name) == getattr(whole, name)


def test_small_memory_splits_the_velocities_as_well():
    night = frames(n=16, movers=0)
    grid = disc_grid(190.0, grid_step(night.tau))
    made = tiling(night.shape, night.tau, grid, memory=1e6)
    assert len(made.sectors) > 1
    assert sum(len(part) for part in made.sectors) == len(grid)
    starts = np.zeros(night.shape[1:], int)
    for tile in made.tiles():
        starts[slice(*tile[0].rows), slice(*tile[0].cols)] += 1
        for part in tile:
            height, width = part.boxes(night.tau).size
            assert 28 * 16 * height * width <= 1e6
    assert (starts == 1).all()


def test_memory_that_holds_no_part_is_refused_with_what_is_needed():
    with pytest.raises(DataError, match="memory_limit has to be"):
        find_movers(frames(movers=0), OPTIONS, SPEED, memory=1e4)


def test_groups_hold_all_that_come_close_and_are_apart_from_the_others():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 400, (2, 60))
    vx, vy = rng.uniform(-100, 100, (2, 60))
    tau = np.linspace(0, 0.5, 9)
    found = Trajectories.of(x, y, vx, vy)
    groups = list(groups_of(found, tau, 6.0))
    assert sum(len(group) for group in groups) == 60
    assert 1 < len(groups) < 60
    places = [
        np.stack([g.x[:, None] + g.vx[:, None] * tau, g.y[:, None] + g.vy[:, None] * tau], -1) for g in groups
    ]
    for a in range(len(groups)):
        for b in range(a):
            apart = np.hypot(*np.moveaxis(places[a][:, None] - places[b][None], -1, 0))
            assert apart.min() > 5.0  # positions are rounded to pixels


# --- images in files --------------------------------------------------------------------------------------


def image(number, n, size=(120, 130), *, seed=0):
    rng = np.random.default_rng([seed, number])
    tau = 0.2 * number / (n - 1)
    at = np.random.default_rng(5).uniform(5, min(size) - 5, (2, 12, 1))
    sky = add_movers(np.zeros((1, *size), np.float32), *at, np.full((12, 1), 2500.0), sigma=SIGMA)
    sky = add_movers(sky, [[40.3 + 130 * tau]], [[50.6 - 80 * tau]], [[70.0]], sigma=SIGMA)
    data = sky[0] + 50 + rng.normal(0, 2, size).astype(np.float32)
    mask = np.zeros(size, np.uint8)
    mask[10, 20] = 4
    header = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 75.0, "CRVAL2": -65.0, "CRPIX1": 50.5 + number,
        "CRPIX2": 45.5, "CDELT1": -2 / 3600, "CDELT2": 2 / 3600, "CUNIT1": "deg", "CUNIT2": "deg",
        "MJD-MID": 60100 + tau, "EXPTIME": 60.0, "FWHM": SIGMA * 2.3548,
    }  # fmt: skip
    shifted = np.roll(data, number, axis=1)
    return Image(shifted, np.full(size, 4.0, np.float32), np.roll(mask, number, axis=1), header, "electron")


def stored(store, n, **options):
    handles = []
    for number in range(n):
        ref = store.write_image("products/x", image(number, n, **options), f"f{number}").blocks[0]
        handles.append(store.open(ref, ProductInfo("image", "calibrated", unit=f"n/{number}")))
    return handles


def test_analysis_of_files_in_tiles_is_that_of_images_in_memory(tmp_path):
    analysis = MovingObjects(stack={"rate": [1.0, 15.0], "min_epochs": 6})
    inside = [as_handle(image(k, 10), role="calibrated") for k in range(10)]
    whole = analysis.find(inside, AUX, analysis.settings)
    small = MovingObjects(stack={"rate": [1.0, 15.0], "min_epochs": 6}, memory_limit=2e-3)
    tiles = small.find(stored(Store(tmp_path), 10), AUX, small.settings)
    assert whole.properties["n_tiles"] == 1
    assert tiles.properties["n_tiles"] > 1
    assert len(whole.sources) == 1
    assert [dict(e.parameters) for e in tiles.detections] == [dict(e.parameters) for e in whole.detections]
    same = {k: v for k, v in whole.properties.items() if k != "n_tiles"}
    assert {k: v for k, v in tiles.properties.items() if k != "n_tiles"} == same
    for one, two in zip(whole.products, tiles.products, strict=True):
        if one.container_kind == "image":
            np.testing.assert_array_equal(one.data.data, two.data.data)


def peak(night, *options, memory):
    tracemalloc.start()
    harvest = find_movers(night, *options, memory=memory)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, harvest


@pytest.mark.parametrize(("n", "side"), [(8, 200), (20, 200), (8, 320)])
def test_memory_of_a_search_is_bounded_whatever_the_number_and_size_of_images(tmp_path, n, side):
    settings = MovingObjects(stack={"rate": [5.0, 12.0], "min_epochs": 5}, memory_limit=5e-3).settings
    handles = stored(Store(tmp_path), n, size=(side, side))
    # one image and the template of the stars come on top: 9 bytes and 10 bytes a pixel, twice while they are made
    spare = 2 * 19 * side**2 + 1.2e6
    load_night(handles, settings)  # what is imported is no memory of a night
    tracemalloc.start()
    night = load_night(handles, settings)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most <= 5e6 + spare
    options = StackSettings(drift=8.0), (60.0, 144.0)
    find_movers(frames(movers=0), *options)  # what is compiled is no memory of the search
    most, harvest = peak(night.stack, *options, memory=5e6)
    assert harvest.tiles > 1
    assert most <= 5e6 + 1.2e6


def test_movers_are_injected_into_images_in_files(tmp_path):
    handles = stored(Store(tmp_path), 8)
    analysis = MovingObjects(
        stack={"rate": [1.0, 15.0], "min_epochs": 5, "controls": False, "drift": 4.0}, memory_limit=1e-3,
        simulate={"likelihood": [14.0, 18.0], "rate": [3.0, 14.0], "pixels_per_mover": 3000.0},
    )  # fmt: skip
    assert analysis.together(handles, analysis.settings) > 2
    outcomes = Simulator(analysis).run(handles, AUX, range(4))
    assert all(one.recovered for one in outcomes)


def test_box_of_an_image_with_movers_is_the_box_of_the_whole(tmp_path):
    base = stored(Store(tmp_path), 2)[1]
    light = (
        Light(60.4, 50.2, 500.0, (2.5, -1.0), (7, 1)),
        Light(2.0, 118.0, 300.0, (0.0, 0.0), (8, 1)),
        Light(-50, 9, 1e4, (0, 0), (9, 1)),
    )
    lit = LitHandle(base, light, 1.3)
    whole = lit.load()
    assert lit.info.simulated
    assert whole.data[50, 60] > base.load().data[50, 60] + 20
    box = lit.section(slice(40, 70), slice(55, 90))
    np.testing.assert_array_equal(box.data, whole.data[40:70, 55:90])
    np.testing.assert_array_equal(lit.section(slice(100, 120)).data, whole.data[100:])


# --- boxes of images ---------------------------------------------------------------------------------------


def test_box_of_an_image_has_all_planes_and_its_own_reference_pixel(tmp_path):
    whole = image(3, 8)
    ref = Store(tmp_path).write_image("products/x", whole, "f").blocks[0]
    handle = Store(tmp_path).open(ref)
    for one in (handle, as_handle(whole)):
        box = one.section(slice(20, 41), slice(7, 30))
        for name in ("data", "variance", "mask"):
            plane = getattr(box, name)
            np.testing.assert_array_equal(plane, getattr(whole, name)[20:41, 7:30])
            assert plane.dtype == getattr(whole, name).dtype
        assert box.unit == "electron"
        np.testing.assert_allclose(
            box.wcs.all_pix2world(0, 0, 0), whole.wcs.all_pix2world(7, 20, 0), atol=1e-12
        )
        assert one.section(slice(5, 5)).data.shape == (0, 130)


@pytest.mark.parametrize("form", ["uint16", "gzip", "rice"])
def test_box_of_scaled_and_packed_images_is_read_too(tmp_path, form):
    import gzip

    from astropy.io import fits as afits

    data = np.arange(600).reshape(20, 30).astype(np.uint16)
    path = tmp_path / "a.fits"
    if form == "rice":
        afits.HDUList([afits.PrimaryHDU(), afits.CompImageHDU(data)]).writeto(path)
    else:
        fits.write_image(path, Image(data))
    if form == "gzip":
        packed = tmp_path / "a.fits.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    from virtualobserver.io.fits.cut import read_cut

    np.testing.assert_array_equal(read_cut(path, slice(3, 9), slice(4, 11)).data, data[3:9, 4:11])
