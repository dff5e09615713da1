"""ASTEP from raw frames to movers, as a project runs it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sqlalchemy import select
from support.paths import ROOT

from virtualobserver import Project
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.models import Product

CONFIGS = ROOT / "configs"


def matched(project: Project) -> tuple[list[bool], int]:
    """Return for each simulated mover whether it was found, and the number of sources that are none of them."""
    frames = project.sql(
        "SELECT header FROM raw_data WHERE header ? 'truth' ORDER BY (header->>'mjd')::float8"
    )
    truth = {header["mjd"]: header["truth"] for header in frames["header"]}
    found = project.detections(simulated=True)
    found = found[found["injection_id"].isna() & (found["kind"] == "mover")]
    hits: dict[str, set[int]] = {}
    number = len(next(iter(truth.values())))
    for source, rows in found.groupby("source"):
        away = np.full((number, len(rows)), np.inf)
        for column, (_, row) in enumerate(rows.iterrows()):
            mjd = min(truth, key=lambda one: abs(one - row["peak_mjd"]))
            assert abs(mjd - row["peak_mjd"]) < 1e-5
            for mover in truth[mjd]:
                east = (mover["ra"] - row["ra"]) * np.cos(np.radians(row["dec"]))
                away[mover["id"], column] = np.hypot(east, mover["dec"] - row["dec"]) * 3600
        hits[str(source)] = set(np.flatnonzero(np.median(away, axis=1) < 2.0).tolist())
    seen = set().union(*hits.values()) if hits else set()
    return [n in seen for n in range(number)], sum(not one for one in hits.values())


def test_the_demonstration_finds_the_movers_that_were_simulated(tmp_path, url):
    with Project.open(CONFIGS / "astep_demo.yaml", data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        found, false = matched(project)
        assert found == [True] * 6
        assert false == 0
        bodies = project.detections(simulated=True)
        bodies = bodies[bodies["kind"] == "asteroid"]
        assert bodies["source"].nunique() == 6
        known = bodies.dropna(subset="known_as")
        assert sorted(known["known_as"].unique()) == ["(900013) Nieve", "(900014) Orla"]
        assert (known.groupby("source").size() >= 12).all()
        truth = project.sql(
            "SELECT m->>'name' AS name, (m->>'ra')::float8 AS ra, (m->>'dec')::float8 AS dec, "
            "(header->>'mjd')::float8 AS mjd FROM raw_data "
            "CROSS JOIN LATERAL jsonb_array_elements(header->'truth') m WHERE m ? 'name'"
        )
        for row in known.itertuples():
            now = truth[(truth["mjd"] - row.peak_mjd).abs() < 1e-6]
            (one,) = now[[row.known_as.endswith(f") {name}") for name in now["name"]]].itertuples()
            assert separation(one.ra, one.dec, row.ra, row.dec) * 3600 < 1.0
        page = (CONFIGS.parent / "docs" / "astep.md").read_text(encoding="utf-8")
        (told,) = (
            project.sql(one) for one in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if "'truth'" in one
        )
        assert told["known_as"].tolist() == ["(900013) Nieve", "(900014) Orla"]
        assert (told["arcsec"].astype(float) < 1.0).all()
        steps = project.sql("SELECT step, status, count(*) AS n FROM task GROUP BY step, status").set_index(
            "step"
        )
        assert set(steps["status"]) <= {"done", "empty"}
        assert steps.loc["calibrate:astep", "n"] == 4
        assert steps.loc["reduce:astep", "n"] == 16


def test_light_curves_of_constant_stars_scatter_as_their_errors_say_and_are_searched(tmp_path, url):
    settings = {
        "name": "stars",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}],
        },
        "observatories": {
            "astep": {"archive": "simulated", "simulation": {"movers": 0, "frames": 12, "cosmics": 0.0}}
        },
        "analyses": {"starcurves": {"min_epochs": 10}, "transients": {}},
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        curves = project.live.scalars(select(Product).where(Product.kind == "lightcurve")).all()
        assert len(curves) >= 20
        assert {curve.role for curve in curves} == {"reduced"}
        pulls = []
        for curve in curves:
            good = curve.data.flags == 0
            if good.sum() < 8:
                continue
            error = curve.data.flux_error[good]
            pulls.append(np.std((curve.data.flux[good] - np.median(curve.data.flux[good])) / error, ddof=1))
        assert len(pulls) >= 15
        assert np.median(pulls) == pytest.approx(1.0, abs=0.25)
        tasks = project.sql("SELECT status FROM task WHERE step = 'analyse:transients'")
        assert (tasks["status"] == "done").sum() == len(curves)
