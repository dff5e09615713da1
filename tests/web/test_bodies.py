"""Moving bodies have a detection in each image: they are listed, judged and counted as one."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from support.vetting import client, judge

from virtualobserver.run.verdicts import epochs, give_verdict_once
from virtualobserver.run.views.event_figures import detection_panels
from virtualobserver.web import queue
from virtualobserver.web.candidate import candidate, neighbours
from virtualobserver.web.queue import Filter, Viewer, page
from virtualobserver.web.tally import Tallies, tally

ANN, BOB = Viewer("ann"), Viewer("bob")

# Three epochs of a body in the field of one star, the second the strongest, as an analysis that discovers would have made.
BODY = """
    WITH s AS (
      INSERT INTO source (namespace, name, ra, dec, hpx, kind, parent_id)
      SELECT 'moved', 'M1', ra, dec, hpx, 'moving', id FROM source WHERE id = :star RETURNING id)
    INSERT INTO detection (source_id, task_id, product_id, event, analysis, kind, start_mjd, peak_mjd, end_mjd, ra, dec,
      band, snr, quality, parameters, simulated)
    SELECT s.id, d.task_id, d.product_id, 100 + n, d.analysis, 'mover', d.peak_mjd + n, d.peak_mjd + n, d.peak_mjd + n,
      d.ra, d.dec, d.band, (ARRAY[6.0, 9.0, 7.0])[n], 0, '{"label": "AST_1", "class": "asteroid"}', d.simulated
    FROM s, detection d, generate_series(1, 3) n WHERE d.id = :like RETURNING id"""


@pytest.fixture
def body(project, numbers):
    """Return the numbers of the epochs of a moving body, in order of time."""
    like = project.detection(numbers[0])
    with project.session() as session, session.begin():
        star = session.execute(
            text("SELECT source_id FROM task WHERE id = :id"), {"id": like.task_id}
        ).scalar_one()
        made = list(session.execute(text(BODY), {"star": star, "like": like.id}).scalars())
    yield made
    with project.session() as session, session.begin():
        session.execute(text("DELETE FROM source WHERE namespace = 'moved'"))


def listed(project, viewer=ANN, **asked):
    return {row["id"]: row for row in page(project, viewer, Filter(**asked), rows=500)[0]}


def test_a_body_is_one_line_led_by_its_strongest_epoch_and_counts_once(project, numbers, body):
    rows = listed(project)
    assert set(rows) == {*numbers, body[1]}
    assert (rows[body[1]]["epochs"], rows[body[1]]["designation"], rows[body[1]]["class"]) == (
        3,
        "AST_1",
        "asteroid",
    )
    assert {row["epochs"] for number, row in rows.items() if number in numbers} == {None}
    assert tally(project, ANN, Filter()).total(Filter()) == len(numbers) + 1
    assert set(listed(project, kind="mover", snr=8.0)) == {body[1]}
    assert set(listed(project, class_="asteroid")) == {body[1]}
    assert tally(project, ANN, Filter()).total(Filter(class_="asteroid")) == 1


def test_a_verdict_on_a_body_goes_to_all_its_epochs_and_so_does_taking_it_back(project, body):
    assert epochs(project.live, body[0]) == [body[1], body[2], body[0]]
    ann = client(project)
    last = judge(ann, body[1], "candidate", note="slow").json()["saved"]
    assert sorted(project.verdicts()["detection"]) == body
    assert set(project.verdicts()["verdict"]) == {"candidate"}
    told = ann.get(f"/data/candidate/{body[2]}").json()
    assert told["mine"] == {"label": "candidate", "note": "slow"}
    assert told["before"] == last
    assert told["html"].count('class="verdict candidate"') == 1, "one word, not one for each epoch"
    assert body[1] not in listed(project)
    assert listed(project, BOB, judged="others")[body[1]]["theirs"]
    assert give_verdict_once(project, body[1], "candidate", user="ann", note="slow") == last, (
        "asked again: nothing new"
    )
    judge(ann, body[1], "withdrawn", before=last)
    assert len(project.verdicts()) == 6
    assert body[1] in listed(project)


def test_the_name_of_a_body_follows_the_last_verdict_as_files_have_it(project, body):
    with project.session() as session, session.begin():
        session.execute(
            text(
                """UPDATE detection SET parameters = parameters || '{"number": 7, "label": "AST_7"}' WHERE id = ANY(:ids)"""
            ),
            {"ids": body},
        )

    def names(viewer):
        html = client(project, viewer.user).get(f"/data/candidate/{body[0]}").json()["html"]
        return re.search("<h1>(.*?)</h1>", html)[1], listed(project, viewer, judged="all")[body[1]][
            "designation"
        ]

    assert names(ANN) == ("AST_7", "AST_7")
    last = judge(client(project), body[1], "unsure").json()["saved"]
    assert names(ANN) == names(BOB) == ("UNK_7", "UNK_7")
    judge(client(project, "bob"), body[0], "candidate")
    assert names(ANN) == ("AST_7", "AST_7")
    judge(client(project), body[1], "other", before=last)
    assert names(ANN) == ("AST_7", "AST_7"), "what the search says itself"
    judge(
        client(project, "bob"),
        body[0],
        "unsure",
        before=project.live.execute(text("SELECT max(id) FROM classification")).scalar(),
    )
    with project.session() as session, session.begin():
        session.execute(text("UPDATE source SET name = 'M2' WHERE name = 'M1'"))
    assert names(ANN) == ("UNK_7", "UNK_7"), "another name, then and there"
    with project.session() as session, session.begin():
        session.execute(
            text("UPDATE detection SET dec = dec + 6.0 / 3600 WHERE id = ANY(:ids)"), {"ids": body}
        )
    assert names(ANN) == ("AST_7", "AST_7"), "then, and elsewhere"


def test_what_a_body_was_put_together_from_is_none_of_its_neighbours(project, body):
    with project.session() as session, session.begin():
        for name in ("P1", "P2"):
            session.execute(
                text("""INSERT INTO source (namespace, name, ra, dec, hpx, kind, parent_id)
                SELECT 'moved', :name, ra, dec + 5.0 / 3600, hpx, 'moving', parent_id FROM source
                WHERE namespace = 'moved' AND name = 'M1'"""),
                {"name": name},
            )
        session.execute(
            text(
                """UPDATE detection SET parameters = parameters || '{"tracks": ["P1"]}' WHERE id = ANY(:ids)"""
            ),
            {"ids": body},
        )
    one = candidate(project, ANN, body[0])
    assert one.parts == ["P1"]
    assert [row["name"] for row in neighbours(project, one)] == ["P2"]


def test_a_word_on_one_epoch_is_about_the_body(project, body):
    project.judge(body[0], "artefact", user="ann")
    assert sorted(project.verdicts()["detection"]) == body
    assert set(listed(project, judged="artefact")) == {body[1]}


def test_who_judges_blind_sees_no_name_or_number_of_epochs_that_only_real_bodies_have(project, body):
    row = listed(project, Viewer("ann", blind=True))[body[1]]
    assert row["source"] != "M1"
    assert (row["epochs"], row["designation"], row["class"]) == (None, None, "")
    blind = client(project, blind=True)
    shown = (
        blind.get(f"/data/candidate/{body[1]}").json()["html"] + blind.get(f"/data/siblings/{body[1]}").text
    )
    assert "M1" not in shown
    assert "AST_1" not in shown
    assert f">{body[0]}<" not in shown.replace("\\", "")
    judge(blind, body[1], "candidate")
    assert "AST_1" in blind.get(f"/data/candidate/{body[1]}").json()["html"]


def test_a_body_has_a_page_by_its_name(project, body):
    page = client(project).get("/source", params={"name": "M1"})
    assert page.status_code == 200
    assert re.search(r"moving body discovered in <a href=.[^>]*>(star_\d+|&lt;script)", page.text)


@pytest.fixture
def taken(project, body):
    """Have the body taken up by another analysis, as movers are by asteroids; it stands among what is put together."""
    field = "source_id = (SELECT source_id FROM task WHERE id = :task) AND task_id = :task"
    with project.session() as session, session.begin():
        values = {"task": project.detection(body[0]).task_id}
        told = """UPDATE properties SET props = props || '{"taken_up": ["M1", "M0"]}' WHERE """
        assert session.execute(text(told + field), values).rowcount == 1
    yield body
    with project.session() as session, session.begin():
        session.execute(text("UPDATE properties SET props = props - 'taken_up' WHERE " + field), values)


@pytest.mark.parametrize("order", ["-snr", "source"])
def test_what_another_analysis_took_up_is_listed_and_counted_where_parts_are_asked_for(
    project, numbers, taken, order
):
    assert set(listed(project, order=order)) == set(numbers)
    assert set(listed(project, order=order, parts="all")) == {*numbers, taken[1]}
    assert set(listed(project, Viewer("ann", blind=True), order=order)) >= {*numbers, taken[1]}, (
        "what was put in would be told by it"
    )
    assert tally(project, ANN, Filter()).total(Filter()) == len(numbers)
    assert tally(project, ANN, Filter(parts="all")).total(Filter()) == len(numbers) + 1
    ann = client(project)
    ann.get("/data/counts")
    judge(ann, taken[1], "candidate")
    assert ann.get("/data/counts").json()["total"] == len(numbers)
    judge(ann, numbers[0], "candidate")
    assert ann.get("/data/counts").json()["total"] == len(numbers) - 1
    assert "parts=all" in ann.get("/?parts=all").text


def test_the_page_of_what_was_put_together_leads_to_its_parts(project, taken):
    with project.session() as session, session.begin():
        told = """UPDATE detection SET parameters = parameters || '{"tracks": ["M1", "M0"]}' WHERE id = ANY(:ids)"""
        session.execute(text(told), {"ids": taken})
    shown = client(project).get(f"/data/candidate/{taken[0]}").json()["html"]
    assert '<a href="/source?name=M0">M0</a>' in shown
    blind = client(project, blind=True).get(f"/data/candidate/{taken[0]}").json()["html"]
    assert "M0" not in blind


def test_without_frames_the_page_says_why_there_is_no_film(project, body):
    notes = [panel.note for panel in detection_panels(project, body[1])]
    assert any("where in its frames" in note for note in notes)
    assert not any(
        "where in its frames" in panel.note for panel in detection_panels(project, body[1], told=False)
    )


def test_numbers_follow_what_i_say_at_once_and_what_others_say_is_counted_again(
    project, numbers, body, monkeypatch
):
    counted = []
    tallies = Tallies(project, ANN)
    project.judge(numbers[2], "other", user="bob")
    monkeypatch.setattr(
        "virtualobserver.web.tally.tally", lambda *words: counted.append(words) or tally(*words)
    )
    ann = client(project)
    assert "counting" in ann.get("/").text
    assert ann.get("/data/counts").json()["total"] == len(numbers) + 1
    assert len(counted) == 1
    for number in (numbers[0], body[1]):
        judge(ann, number, "candidate")
    told = ann.get("/").text
    assert f'<b id="total">{len(numbers) - 1}</b> in the queue' in told
    assert len(counted) == 1, "one epoch after the other, nothing was counted again"
    before = tallies.of(Filter()).told(Filter())
    assert before == tally(project, ANN, Filter()).told(Filter())
    project.judge(numbers[1], "other", user="bob")
    monkeypatch.setattr("virtualobserver.web.tally.FRESH", -1.0)
    assert tallies.of(Filter()).total(Filter(judged="others")) == 2


def test_frames_about_a_body_keep_it_in_the_middle(monkeypatch):
    from types import SimpleNamespace

    from virtualobserver.data.image import Image
    from virtualobserver.run.views import cutouts

    data = np.arange(40 * 50, dtype=float).reshape(40, 50)
    image = Image(data, mask=(data == data[5, 3]).astype(np.uint16))
    handle = SimpleNamespace(section=image.cut)
    monkeypatch.setattr(cutouts, "product_handle", lambda *_, **__: handle)
    project = SimpleNamespace(workspace=SimpleNamespace(store=None))
    for x, y in ((25.3, 20.4), (3.2, 5.0), (49.0, 39.0)):
        box, mask, mark = cutouts._box(
            project, SimpleNamespace(x=x, y=y), SimpleNamespace(path="", format="")
        )
        column, row = round(x), round(y)
        assert box[cutouts.RADIUS, cutouts.RADIUS] == data[row, column]
        assert (mark.x, mark.y) == pytest.approx((x - column, y - row))
        assert mask[cutouts.RADIUS, cutouts.RADIUS] == ((column, row) == (3, 5))
    assert np.isnan(box[-1, -1]), "beyond the edge"


MANY = """
    WITH s AS (
      INSERT INTO source (namespace, name, ra, dec, hpx, kind, parent_id)
      SELECT 'moved', 'M' || n, ra, dec, hpx, 'moving', id FROM source, generate_series(1, 40) n WHERE id = :star
      RETURNING id, substr(name, 2)::int AS n)
    INSERT INTO detection (source_id, task_id, product_id, event, analysis, kind, start_mjd, peak_mjd, end_mjd, ra, dec,
      band, snr, quality, parameters, simulated)
    SELECT s.id, d.task_id, d.product_id, 100 + 12 * s.n + e, d.analysis, 'mover', d.peak_mjd + e, d.peak_mjd + e,
      d.peak_mjd + e, d.ra, d.dec, d.band, 5 + (s.n * 7 % 40) + 0.01 * e, 0, '{"label": "AST_1"}', d.simulated
    FROM s, detection d, generate_series(1, 12) e WHERE d.id = :like"""
"""Forty bodies of twelve epochs each, strong and weak ones mixed."""


def test_every_page_of_many_bodies_goes_through_few_detections(project, numbers, monkeypatch):
    like = project.detection(numbers[0])
    with project.session() as session, session.begin():
        star = session.execute(
            text("SELECT source_id FROM task WHERE id = :id"), {"id": like.task_id}
        ).scalar_one()
        session.execute(text(MANY), {"star": star, "like": like.id})
    gone, ask = [], queue.ask

    def counted(*given, **parts):
        gone[-1].append(given[3].get("near", 100_000))
        return ask(*given, **parts)

    try:
        monkeypatch.setattr(queue, "_WINDOWS", (60, 20_000))
        monkeypatch.setattr(queue, "ask", counted)
        found, after = [], ""
        while after or not gone:
            gone.append([])
            some, after = page(project, ANN, Filter(kind="mover", after=after), rows=10)
            found += some
        assert len({row["id"] for row in found}) == len(found) == 40
        assert len(gone) >= 4
        # ten bodies have 120 epochs; a window of all, or of twenty thousand, is far more
        assert max(map(sum, gone)) <= 600, gone
    finally:
        with project.session() as session, session.begin():
            session.execute(text("DELETE FROM source WHERE namespace = 'moved'"))


def nodes(plan):
    """Yield a node of a plan and all below it."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def test_counting_reads_detections_once_and_carries_no_parameters_along(project, body):
    asked = []

    def seen(_connection, _cursor, statement, values, *_):
        asked.append((statement, values))

    event.listen(Engine, "before_cursor_execute", seen)
    try:
        assert tally(project, ANN, Filter()).cells
    finally:
        event.remove(Engine, "before_cursor_execute", seen)
    ((statement, values),) = [one for one in asked if "width_bucket" in one[0]]
    with project.session() as session:
        told = session.connection().exec_driver_sql("EXPLAIN (VERBOSE, FORMAT JSON) " + statement, values)
        plan = list(nodes(told.scalar_one()[0]["Plan"]))
    read = [one for one in plan if one.get("Relation Name") == "detection"]
    # that of class alone is asked by the number of one that stands for a body
    assert sorted(one.get("Subplan Name", "")[:7] for one in read if one["Alias"] != "e") == [""]
    (kept,) = [one for one in plan if one.get("Subplan Name") == "CTE epoch"]
    assert not [name for name in kept["Output"] if "parameters" in name]
    assert len(kept["Output"]) == 11


@pytest.mark.parametrize(
    ("window", "found", "after"), [(1000, 40, 2000), (1000, 10, 7650), (1000, 0, 20_000), (20_000, 3, 0)]
)
def test_a_window_grows_by_what_it_held(window, found, after):
    assert queue._next_window(window, found, 51) == after
