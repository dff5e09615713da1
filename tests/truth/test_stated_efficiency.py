"""The efficiency that a search states is the one that events have which were put in before the camera saw them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from support.project import HEADER, rows

from truth.faded import faded_star
from truth.measure_transients_faded import analysis_for, found_at_the_source, stated
from virtualobserver import Project

STARS, PER_STAR, SOURCES = 24, 10, 120
SYSTEMATIC = 0.05
"""What is asked of a stated efficiency beyond chance: other shapes and limits that are estimates cost as much."""


def agree(hits, tries, share, of):
    """Assert that two shares differ by no more than three standard deviations and what is allowed."""
    pooled = (hits + share * of + 1) / (tries + of + 2)
    chance = 3 * np.sqrt(pooled * (1 - pooled) * (1 / tries + 1 / of))
    assert abs(hits / tries - share) <= chance + SYSTEMATIC


@pytest.mark.parametrize(("mag", "share"), [(18.0, 0.8), (19.6, 0.7), (20.0, 0.5)])
def test_stated_efficiency_is_that_at_the_source(mag, share):
    hits = found_at_the_source(60, [1], mag, share)
    covered, found, tries = stated(60, [1], mag, share)
    assert found <= covered <= tries
    agree(hits, 60, found / tries, tries)


def test_a_dip_far_below_the_limit_is_neither_found_nor_said_to_be():
    assert found_at_the_source(60, [2], 20.2, 0.8) == 0
    covered, found, tries = stated(60, [2], 20.2, 0.8)
    assert found == 0
    assert covered <= 0.05 * tries


def written(folder, mag):
    """Write stars without a dip in the format of the ZTF service, and return the configuration of a search in them."""
    names = [f"star {n}" for n in range(STARS)]
    for n, row in enumerate(rows(names)):
        star = faded_star(np.random.default_rng([3, n]), mag)
        with (folder / f"{row['name']}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(HEADER)
            for i, (mjd, value, error, limit) in enumerate(
                zip(star.mjd - 15 / 86400, star.mag, star.mag_error, star.limit, strict=True)
            ):
                writer.writerow([
                    686103400067717 + n, 1000 + i, f"{mjd + 2400000.5:.7f}", f"{mjd:.7f}", f"{value:.6f}",
                    f"{error:.6f}", 0, "zr", f"{row['ra']:.7f}", f"{row['dec']:.7f}", 0.9, 0.01, 20180701000000 + i,
                    686, "0x4", "0x1", f"{limit:.4f}", 26.2, 0.02, -0.05, 1e-5, 30, 1.2, 1,
                ])  # fmt: skip
    return {
        "name": "faded",
        "catalog": {"name": "stars", "rows": [row | {"mag": mag} for row in rows(names)]},
        "observatories": {"ztf": {"archive": str(folder), "barycentric": False}},
    }


@pytest.mark.parametrize(("mag", "share"), [(19.8, 0.5), (20.2, 0.8)])
def test_the_view_states_what_is_found_at_the_source(mag, share, tmp_path, url):
    (tmp_path / "stars").mkdir()
    settings = written(tmp_path / "stars", mag)
    simulate = analysis_for(share).settings.simulate.model_dump(mode="json") | {"number": PER_STAR}
    settings["analyses"] = {"transients": {"simulate": simulate}}
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        assert project.run().failures == []
        (row,) = project.sql("SELECT * FROM efficiency_by_kind").to_dict("records")
        binned = project.sql(
            "SELECT kind, sum(injected) AS injected, sum(found) AS found FROM efficiency GROUP BY kind"
        )
    assert (row["kind"], row["injected"]) == ("dip", STARS * PER_STAR)
    assert binned.to_dict("records") == [{"kind": "dip", "injected": row["injected"], "found": row["found"]}]
    agree(found_at_the_source(SOURCES, [4], mag, share), SOURCES, row["efficiency"], row["injected"])
    assert (row["coverage"] > 0.9) == (mag == 19.8)
