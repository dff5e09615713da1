"""Runs of the demonstration that are killed in every step, or have two workers: the same rows."""

from __future__ import annotations

from typing import Any

import yaml
from support.kills import check_kills
from support.paths import ROOT
from support.project import dump

from virtualobserver import Project


def night(workers: int) -> dict[str, Any]:
    """Return the demonstration, of fewer frames, and with movers put in to see what is found."""
    demo = yaml.safe_load((ROOT / "configs" / "lsss_demo.yaml").read_text(encoding="utf-8"))
    demo["observatories"]["lsss"]["simulation"] |= {"frames": 6, "cadence": 480.0}
    demo["analyses"]["moving_objects"]["simulate"] = {"number": 4}
    demo["analyses"]["asteroids"]["simulate"] = {"number": 3}
    return {**demo, "run": {"workers": workers}}


def test_a_run_killed_in_each_step_leaves_the_rows_of_an_undisturbed_one(tmp_path, new_url):
    calm, steps = check_kills(night(1), tmp_path, new_url)
    assert {
        "fetch:lsss",
        "calibrate:lsss",
        "reduce:lsss",
        "reduce.solve:lsss",
        "reduce.photometry:lsss",
    } <= set(steps)
    analyses = "image_quality", "moving_objects", "asteroids", "periods"
    assert {f"analyse:{name}" for name in analyses} <= set(steps)
    assert {"simulate:moving_objects", "simulate:asteroids"} <= set(steps)
    assert len(calm["detection"]) >= 2 * 6 * 6


def test_one_and_two_workers_make_the_same_of_a_night(tmp_path, new_url):
    made = []
    for workers in (1, 2):
        with Project.open(night(workers), data=tmp_path / f"data{workers}", url=new_url()) as project:
            summary = project.run()
            assert not summary.failed, summary.failures
            made.append(dump(project))
            assert project.run().worked == 0
    files = [{name for name in one.pop("files") if name.startswith("products/")} for one in made]
    assert files[0] == files[1]
    assert made[0] == made[1]
