"""What is stated of the searches of a project: coverage and search, by kind, in SQL, in Python and in the figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.project import rows, write_star

from virtualobserver import Project
from virtualobserver.errors import ConfigError
from virtualobserver.hooks import draw
from virtualobserver.maths.efficiency import rate_and_limit, wilson_interval
from virtualobserver.run.views.efficiency import _unlike, brief
from virtualobserver.simulate import efficiency

NAMES = ["one", "two", "three"]
NUMBER = 60


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stars")
    for i, row in enumerate(rows(NAMES)):
        # the longer a star was watched, the more it counts
        write_star(folder, row["name"], ra=row["ra"], dec=row["dec"], n=60 + 60 * i, flare=i == 0, seed=i)
    settings = {
        "name": "efficiency",
        "catalog": {"name": "stars", "rows": rows(NAMES)},
        "observatories": {"ztf": {"archive": str(folder), "barycentric": False}},
        "analyses": {
            "transients": {"simulate": {"number": NUMBER, "width": [0.1, 10.0], "amplitude": [2, 40]}}
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        with Project.open(settings, data=tmp_path_factory.mktemp("data")) as opened:
            assert opened.run().failures == []
            yield opened


def test_the_view_has_a_row_for_each_kind_and_bin_and_says_what_python_says(project):
    view = project.sql("SELECT * FROM efficiency ORDER BY kind, amplitude_low, width_low")
    assert set(view["kind"]) == {"flare", "dip"}
    assert view["injected"].sum() == NUMBER * len(NAMES)
    assert not view.duplicated(["analysis", "kind", "amplitude_low", "width_low"]).any()
    edges = {name: sorted({*view[f"{name}_low"], *view[f"{name}_high"]}) for name in ("amplitude", "width")}
    table = project.efficiency(edges=edges)
    for name in table.columns:
        if table[name].dtype.kind in "fiu":
            np.testing.assert_allclose(
                view[name].astype(float), table[name].astype(float), rtol=1e-12, err_msg=name
            )


def test_the_view_by_kind_sums_up_the_bins(project):
    counts = ["injected", "covered", "found"]
    cells = project.sql("SELECT * FROM efficiency").groupby("kind")[counts].sum()
    whole = project.sql("SELECT * FROM efficiency_by_kind ORDER BY kind").set_index("kind")
    assert whole[counts].to_dict() == cells.to_dict()
    for hits, tries, share, low, high in (
        ("covered", "injected", "coverage", "coverage_low", "coverage_high"),
        ("found", "covered", "search", "search_low", "search_high"),
        ("found", "injected", "efficiency", "low", "high"),
    ):
        ends = wilson_interval(whole[hits], whole[tries])
        np.testing.assert_allclose(whole[share], whole[hits] / whole[tries])
        np.testing.assert_allclose(whole[low], ends.low, rtol=1e-12)
        np.testing.assert_allclose(whole[high], ends.high, rtol=1e-12)
    np.testing.assert_allclose(whole["coverage"] * whole["search"], whole["efficiency"])
    assert (whole["coverage"] < 1).all()  # events of a tenth of a day lie between nights


def test_rates_use_coverage_times_search_weighted_by_the_time_that_stars_were_watched(project):
    rates = project.rates().set_index("kind")
    injections = project.sql("SELECT s.name, i.kind, i.found, i.parameters FROM injection i JOIN source s "
                             "ON s.id = i.source_id")  # fmt: skip
    injections["exposure"] = [one["exposure"] for one in injections["parameters"]]
    watched = injections.groupby("name")["exposure"].first()
    assert watched.nunique() == 3
    for kind in ("flare", "dip"):
        ours = injections[injections["kind"] == kind].groupby("name")["found"].mean()
        share = float((ours * watched).sum() / watched.sum())
        found = {"flare": 1, "dip": 0}[kind]
        told = rate_and_limit(found, share, float(watched.sum()))
        row = rates.loc[kind]
        assert (row["found"], row["sources"], row["unit"]) == (found, 3, "d")
        assert row[["efficiency", "rate", "rate_low", "rate_high", "rate_limit"]].tolist() == pytest.approx(
            [share, told.rate, told.low, told.high, told.upper_limit]
        )


def test_kinds_that_are_told_by_something_else_have_their_own_columns_and_unit(project, monkeypatch):
    plain, before = project.efficiency(), project.rates().set_index("kind")
    own = project.analysis("transients")
    monkeypatch.setattr(type(own), "strengths", {"dip": ("width",)})
    monkeypatch.setattr(type(own), "rate_units", {"dip": "deg2 h"})
    table = project.efficiency()
    assert list(table)[:5] == [
        "kind", "width_low", "width_high", "amplitude_low", "amplitude_high",
    ]  # fmt: skip
    dips = table[table["kind"] == "dip"]
    assert dips["amplitude_low"].isna().all()
    assert len(dips) <= 5
    counts = ["injected", "covered", "found"]
    pd.testing.assert_frame_equal(table.groupby("kind")[counts].sum(), plain.groupby("kind")[counts].sum())
    shown = brief(table)
    assert set(shown["amplitude [robust rms]"][shown["kind"] == "dip"]) == {""}
    rates = project.rates().set_index("kind")
    assert rates["unit"].to_dict() == {"dip": "deg2 h", "flare": "d"}
    # every star has events of both kinds, so that either tells how long it was watched
    assert rates["exposure"].tolist() == pytest.approx(before["exposure"].tolist())
    one = project.sql(
        "SELECT task_id, count(*) FILTER (WHERE kind = 'dip') AS n FROM injection GROUP BY task_id"
    )
    assert (one["n"] > 0).all()
    assert project.efficiency_figure().axes[0].get_xlabel() == "width [d]"
    draw(table).canvas.draw()


def test_the_figure_shows_each_kind_with_coverage_apart_and_its_limit(project):
    figure = project.efficiency_figure()
    assert len(figure.axes) == 2 * 4
    assert [axes.get_title() for axes in figure.axes[:3]] == [
        "Covered by the data",
        "Found, of what is covered",
        "Found, of all",
    ]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == [
        "transients\ndip, fraction",
        "transients\nflare, fraction",
    ]
    words = "\n".join(text.get_text() for axes in figure.axes[3::4] for text in axes.texts)
    assert words.count("less than") == 2
    assert words.count("1 in the data") == 1
    assert words.count("0 in the data") == 1
    figure.canvas.draw()


def test_a_project_without_injections_says_how_to_make_some(tmp_path, url):
    with Project.open("configs/demo.yaml", data=tmp_path, url=url) as project:
        assert project.efficiency().empty
        assert project.rates().empty
        with pytest.raises(ConfigError, match="nothing was injected in project demo: `vo simulate demo"):
            project.efficiency_figure()


def test_a_table_by_other_parameters_has_no_rows_for_kinds(project):
    table = project.efficiency(by=("source",))
    assert table["source"].tolist() == sorted(NAMES)
    assert efficiency(table.assign(kind="", found=True), by=("kind",))["injected"].tolist() == [3]


def test_a_parameter_that_is_alike_in_all_events_has_one_bin():
    # the seeing of a night differs in the third digit, as ends of bins are told: two would look the same
    table = pd.DataFrame(
        {"fluence": [500.0, 5e4], "seeing": [1.058, 1.062], "depth": [-0.9, -0.1], "on": ["sky", "trail"]}
    )
    bins = {"fluence": 6, "seeing": 3, "depth": 4, "on": 2}
    assert _unlike(table, bins) == bins | {"seeing": 1}
    assert _unlike(table.assign(seeing=[1.05, 1.07]), bins) == bins


def test_people_read_a_bin_and_a_share_as_one_text(project):
    table = project.efficiency(bins={"amplitude": 1, "width": 1})
    shown = brief(table)
    assert list(shown) == [
        "kind", "amplitude [robust rms]", "width [d]", "injected", "covered", "found", "coverage", "search",
        "efficiency",
    ]  # fmt: skip
    first = table.iloc[0]
    assert (
        shown["search"][0]
        == f"{first['search']:.2f} ({first['search_low']:.2f} to {first['search_high']:.2f})"
    )
    assert shown["width [d]"][0] == f"{first['width_low']:.3g} to {first['width_high']:.3g}"
