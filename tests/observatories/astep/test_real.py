"""A real night in a plain folder: 15 frames of TrES-1 and 8 darks of an SBIG ST-10, as MaxIm DL wrote them."""

from __future__ import annotations

import csv
from hashlib import sha256

import numpy as np
import pytest
from sqlalchemy import select
from support.paths import ROOT
from support.real import real_data

from virtualobserver import Project
from virtualobserver.analyses.moving_objects import MovingObjectsSettings
from virtualobserver.analyses.moving_objects.align import maps_of
from virtualobserver.analyses.moving_objects.sights import sight_of
from virtualobserver.conventions import MASK_HOT
from virtualobserver.models import Product

CONFIGS = ROOT / "configs"

pytestmark = pytest.mark.real


def state(folder):
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_the_oscaar_night_is_calibrated_with_one_master_and_aligned_without_world_coordinates(tmp_path, url):
    folder = real_data("ccd", "oscaar_tres1_20120616")
    before = state(folder)
    changes = [f"observatories.astep.archive={folder}"]
    with Project.open(CONFIGS / "oscaar.yaml", data=tmp_path / "data", url=url, overrides=changes) as project:
        for step in ("fetch", "calibrate", "reduce", "reduce.solve", "reduce.photometry"):
            summary = project.run(step=step)
            assert not summary.failed, summary.failures
        assert state(folder) == before
        tasks = project.sql(
            "SELECT step, status FROM task WHERE step LIKE 'calibrate%' OR step = 'reduce:astep'"
        )
        assert tasks.value_counts().to_dict() == {
            ("calibrate:astep", "done"): 1,
            ("reduce:astep", "done"): 15,
        }
        (master,) = project.live.scalars(select(Product).where(Product.role == "master"))
        dark = master.data
        assert master.handle().info.statistics["n_combine"] == 8
        hot = (dark.mask & MASK_HOT) > 0
        assert hot.sum() == pytest.approx(5701, rel=0.05)
        assert hot[dark.data > 1000].all()
        rows = project.live.scalars(select(Product).where(Product.role == "calibrated"))
        images = sorted((row.data for row in rows), key=lambda one: one.header["MJD-MID"])
        widths = [one.header["FWHM"] for one in images]
        # from 2.58 to 3.30 px by second moments; Gaussians fitted to the cores are narrower
        assert widths[0] == pytest.approx(2.13, abs=0.15)
        assert widths[-1] == pytest.approx(3.12, abs=0.15)
        assert images[0].header["SKY"] == pytest.approx(2775 * 0.78, rel=0.01)
        sights = [sight_of(one, MovingObjectsSettings(), stars=True) for one in images]
        maps, aligned = maps_of(sights)
        middle = np.array(images[0].data.shape[::-1]) / 2
        dx, dy = (np.array([np.asarray(one(*middle))[k] - middle[k] for one in maps]) for k in (0, 1))
        assert aligned.all()
        with (folder / "wcs" / "summary.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        x, y = (np.array([float(row[name]) for row in rows]) for name in ("tres1_x0", "tres1_y0"))
        assert np.abs(dx - (x - x[0])).max() <= 0.75
        assert np.abs(dy - (y - y[0])).max() <= 0.75
        assert (dx[-1], dy[-1]) == (pytest.approx(141, abs=0.5), pytest.approx(-141, abs=0.5))
        summary = project.run(step="analyse:starcurves")
        assert not summary.failed, summary.failures
        stars = project.live.scalars(select(Product).where(Product.kind == "lightcurve")).all()
        assert len(stars) > 100
        mjd = np.array([one.header["MJD-MID"] for one in images])
        frame = [np.searchsorted(mjd, one.data.mjd - 1e-6) for one in stars]
        away = [
            np.median(np.hypot(one.data["x"] - x[n], one.data["y"] - y[n]))
            for one, n in zip(stars, frame, strict=True)
        ]
        assert min(away) < 2
        target = stars[int(np.argmin(away))].data
        assert len(target) >= 10
        flux = target.flux
        # a night with a transit 2.6 % deep
        assert 0.002 < np.std(flux) / np.median(flux) < 0.02
        assert np.ptp(flux) / np.median(flux) < 0.05
