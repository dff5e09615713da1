"""Pictures of a calibration hold the data they say they show."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from astropy.io import fits
from matplotlib.figure import Figure
from support.astep import change, drive, frames, write_night
from support.vetting import client

from virtualobserver.ccd.figures import noise_figure
from virtualobserver.ccd.folder import folder_raws
from virtualobserver.cli import main
from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_HOT, MASK_NAMES
from virtualobserver.data import RawRef, as_handle
from virtualobserver.data.handles import MemoryHandle
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.ccd.noise import check_noise
from virtualobserver.observatories.astep import VirtualASTEP
from virtualobserver.run.project import Project


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Raw science frames, products as handles, and the survey."""
    from dataclasses import replace

    folder = write_night(tmp_path_factory.mktemp("night"), frames=3, size=(128, 140), darks=7, cosmics=6.0)
    done = drive(folder)
    assert not done.errors
    survey = VirtualASTEP(archive=str(folder))
    raws = [
        RawRef.of(raw) for raw in folder_raws([folder], survey.settings) if raw.header["kind"] == "science"
    ]
    products = list(done.masters.values())
    for unit, product in done.frames.items():
        handle = as_handle(product)
        products.append(MemoryHandle(handle.load(), replace(handle.info, unit=unit)))
    return survey, raws, products


@pytest.fixture(scope="module")
def figures(night):
    survey, raws, products = night
    return survey.figures(raws, products, survey.settings)


def pictures(axes):
    return [np.asarray(image.get_array()) for image in axes.images]


def test_there_is_a_figure_of_a_frame_its_masters_and_the_noise(figures):
    assert list(figures) == ["frame", "masters", "noise"]
    assert all(isinstance(figure, Figure) for figure in figures.values())


def test_a_frame_is_shown_before_and_after_with_its_mask(night, figures):
    _, raws, products = night
    raw, calibrated, mask, *cuts = figures["frame"].axes[:6]
    after = next(one for one in products if one.info.role == "calibrated").load()
    assert pictures(raw)[0].shape == (128, 140)
    assert np.median(pictures(raw)[0]) == pytest.approx(np.median(after.data) / 2 + 160, rel=0.1)
    np.testing.assert_allclose(pictures(calibrated)[0], after.data, rtol=1e-6)
    over = pictures(mask)[1]
    np.testing.assert_array_equal(over[..., 3] > 0, after.mask > 0)
    written = {text.get_text() for text in mask.get_legend().get_texts()}
    hot = int(np.count_nonzero(after.mask & MASK_HOT))
    assert f"{MASK_NAMES[MASK_HOT]}: {hot}" in written
    # the place shown closer holds cosmic rays
    assert (after.mask & MASK_COSMIC_RAY).any()
    assert any("cosmic ray" in text.get_text() for text in cuts[2].get_legend().get_texts())
    assert pictures(cuts[0])[0].shape == (48, 48)
    assert figures["frame"].get_suptitle() == raws[0].archive_id


def test_masters_are_shown_with_the_number_of_masked_pixels(night, figures):
    _, _, products = night
    axes = [one for one in figures["masters"].axes if one.get_title()]
    titles = [one.get_title().split("\n")[0] for one in axes]
    assert [title.split("/")[0] for title in titles] == ["bias", "dark", "flat"]
    assert "/90s/" in titles[1]
    dark = next(one for one in products if one.info.unit == titles[1]).load()
    np.testing.assert_allclose(pictures(axes[1])[0], dark.data, rtol=1e-6)
    np.testing.assert_array_equal(pictures(axes[1])[1][..., 3] > 0, dark.mask > 0)
    assert "7 frames" in axes[1].get_title()


def test_the_noise_of_simulated_frames_lies_on_that_of_their_variance_planes(figures):
    left, right = figures["noise"].axes
    (measured,) = left.containers
    x, y = measured.lines[0].get_data()
    assert len(x) >= 3
    assert y[0] == pytest.approx(x[0], rel=0.05)
    ratio = float(left.get_title().rpartition("=")[2])
    assert ratio == pytest.approx(0.98, abs=0.04)  # the noise of common masters is not seen in differences
    counts = right.patches[0].get_data().values
    width = 0.1
    assert counts.sum() * width == pytest.approx(1.0, abs=1e-6)


def frames_of(scale, count=4, shape=(120, 130)):
    rng = np.random.default_rng(1)
    variance = np.full(shape, 400.0, np.float32)
    variance[:, :20] = 1600.0
    mask = np.zeros(shape, np.uint16)
    return [
        (rng.normal(1000 + 5 * n, np.sqrt(variance)).astype(np.float32), variance * scale, mask)
        for n in range(count)
    ]


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_a_variance_that_is_wrong_shows_as_a_ratio(scale):
    check = check_noise(frames_of(scale))
    assert check.ratio == pytest.approx(1 / scale, rel=0.03)
    np.testing.assert_allclose(check.measured, [20.0, 40.0], rtol=0.03)
    np.testing.assert_allclose(check.expected, np.array([20.0, 40.0]) * np.sqrt(scale), rtol=1e-5)
    assert (np.abs(check.measured - [20, 40]) < 4 * check.error).all()
    assert check.pairs == 3
    assert check.pixels == pytest.approx(3 * 120 * 130, rel=0.1)
    assert f"{check.ratio:.3f}" in noise_figure(check).axes[0].get_title()


def test_a_star_that_drifts_is_no_noise():
    frames = frames_of(1.0)
    for number, planes in enumerate(frames):
        rows, cols = np.mgrid[:120, :130]
        planes[0][:] += 5000 * np.exp(-((rows - 60 - number) ** 2 + (cols - 60) ** 2) / 8)
    assert check_noise(frames).ratio == pytest.approx(1.0, abs=0.03)


def test_noise_needs_two_frames_of_one_shape():
    frames = frames_of(1.0)
    with pytest.raises(NotEnoughData, match="two are needed"):
        check_noise(frames[:1])
    with pytest.raises(DataError, match="shapes"):
        check_noise([frames[0], *frames_of(1.0, shape=(60, 60))])


def test_the_page_of_a_frame_shows_it_before_and_after_and_its_noise(night):
    survey, raws, products = night
    first, second, *_ = [one for one in products if one.info.role == "calibrated"]
    raw = [one for one in raws if survey.unit(one) == first.info.unit]
    before, after, part, noise = survey.frame_panels(raw, [first, second], survey.settings)
    image = first.load()
    np.testing.assert_allclose(after.images[0], image.data, rtol=1e-6)
    np.testing.assert_array_equal(before.images[0], fits.getdata(io.BytesIO(raw[0].read())))
    assert before.value.unit == "adu"
    assert after.value.unit == "electron"
    name = next(name for name in after.masks if name.startswith("cosmic ray"))
    np.testing.assert_array_equal(after.masks[name], (image.mask & MASK_COSMIC_RAY) > 0)
    assert f": {after.masks[name].sum()}" in name
    assert part.images[0].size < image.data.size
    line, measured = noise.curves
    np.testing.assert_array_equal(line.x, line.y)
    assert np.median(measured.y / measured.x) == pytest.approx(1.0, abs=0.1)


def test_a_frame_without_raw_data_or_a_second_frame_says_what_is_missing(night):
    survey, _, products = night
    frame = next(one for one in products if one.info.role == "calibrated")
    before, _, _, noise = survey.frame_panels([], [frame], survey.settings)
    assert "raw data" in before.note
    assert "no second frame" in noise.note


def test_a_hot_pixel_that_no_dark_knows_of_is_shown_where_the_stars_drift(tmp_path):
    folder = write_night(tmp_path / "data", frames=6, size=(96, 104), stars=12, drift=60.0, cosmics=0.0)
    for path in frames(folder, "SCIENCE"):
        with fits.open(path, mode="update") as units:
            units[0].data[40, 50] += 400
        change([path])
    done = drive(folder)
    assert not done.errors
    products = [as_handle(product) for product in done.frames.values()]
    survey = VirtualASTEP(archive=str(folder))
    drawn = survey.figures([], products, survey.settings)
    assert list(drawn) == ["noise", "lasting"]
    known, escaped = drawn["lasting"].axes[0].lines
    assert (50, 40) in set(zip(*escaped.get_data(), strict=True))
    assert len(escaped.get_xdata()) <= 3
    assert escaped.get_label() == f"not in the mask: {len(escaped.get_xdata())}"
    assert known.get_label().startswith("in the mask: ")


def test_the_command_draws_what_a_survey_made(tmp_path, url, capsys):
    config = tmp_path / "night.yaml"
    config.write_text(
        "name: drawn\ncatalog: {rows: [{name: field, ra: 150.0, dec: -65.0, kind: field}]}\n"
        "observatories:\n  astep:\n    archive: simulated\n"
        "    simulation: {frames: 2, size: [64, 72], stars: 12, movers: 0, darks: 4, flats: 3, biases: 3}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VO_DATABASE_URL", url)
        patch.setenv("VO_DATA", str(tmp_path / "data"))
        assert main(["plot", str(config), "--survey", "astep", "--out", str(tmp_path / "none.png")]) == 2
        assert "made nothing yet" in capsys.readouterr().err
        with Project.open(config) as project:
            for step in ("fetch", "calibrate", "reduce:astep"):
                assert not project.run(step=step).failed
            names = list(project.survey_figures("astep", "2010-03-01"))
            visitor = client(project)
            listed = visitor.get("/source", params={"name": "field"}).text
            numbers = re.findall(r'href="/frame[?]product=(\d+)"', listed)
            assert len(numbers) == 2
            shown = visitor.get("/frame", params={"product": numbers[0]}).text
            assert shown.count('<figure class="panel imagestack"') == 3
            for missing in ("0", "x", "999999999", "9" * 40):
                assert visitor.get("/frame", params={"product": missing}).status_code == 404
        assert names == ["frame", "masters", "noise"]
        out = tmp_path / "pictures" / "masters.png"
        assert main(["plot", str(config), "--survey", "astep.masters", "--out", str(out)]) == 0
        assert out.read_bytes().startswith(b"\x89PNG")
        for wrong, said in (
            (["--survey", "astep.best"], "the survey astep draws frame, masters, noise"),
            (["--survey", "astep", "--unit", "1999-01-01"], "nothing was made of unit '1999-01-01'"),
        ):
            assert main(["plot", str(config), *wrong, "--out", str(out), "--force"]) == 2
            assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert main(["plot", str(config), "--survey", "ztf", "--out", str(out), "--force"]) == 2
        assert "has no survey 'ztf'" in capsys.readouterr().err
