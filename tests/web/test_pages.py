"""What pages show, and that a verdict is kept once, whoever asks how often."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import text
from support.vetting import client, judge

from virtualobserver.observatories.demo import VirtualDemo
from virtualobserver.run.verdicts import export_verdicts, give_verdict_once, import_verdicts
from virtualobserver.run.views.reviewers import disagreements, reviewers


def data(made, number):
    answer = made.get(f"/data/candidate/{number}")
    assert answer.status_code == 200, answer.text
    lines = made.get(f"/data/figures/{number}").text.splitlines()
    return answer.json() | {"figures": [json.loads(line) for line in lines]}


def test_a_candidate_comes_with_its_facts_and_pictures(project, numbers):
    told = data(client(project), numbers[0])
    row = project.detection(numbers[0])
    assert told["id"] == numbers[0]
    assert f"{row.snr:.1f}" in told["html"]
    assert f"{row.peak_mjd:.5f}" in told["html"]
    assert [figure["kind"] for figure in told["figures"] if figure][:1] == ["series"]
    for place in ("simbad.cds.unistra.fr", "vizier.cds.unistra.fr", "aladin.cds.unistra.fr"):
        assert place in told["html"]


def test_a_verdict_is_a_row_with_who_when_and_what_about_and_none_replaces_another(project, numbers):
    ann = client(project)
    first = judge(ann, numbers[0], "candidate", note="fast #rise").json()["saved"]
    second = judge(ann, numbers[0], "artefact", before=first).json()["saved"]
    assert second > first
    given = project.verdicts()
    assert given[["verdict", "user", "note"]].to_numpy().tolist() == [
        ["candidate", "ann", "fast #rise"],
        ["artefact", "ann", ""],
    ]
    assert (
        given["digest"].tolist()
        == [project.detections(simulated=True).set_index("id").loc[numbers[0], "digest"]] * 2
    )
    told = data(ann, numbers[0])
    assert told["mine"] == {"label": "artefact", "note": ""}
    assert told["before"] == second


def test_who_heard_no_answer_may_ask_again_and_nothing_is_there_twice(project, numbers):
    ann = client(project)
    first = judge(ann, numbers[0], "candidate", note="x").json()["saved"]
    assert judge(ann, numbers[0], "candidate", note="x").json()["saved"] == first
    assert len(project.verdicts()) == 1
    # said once more, knowing of the first: a verdict of its own
    assert judge(ann, numbers[0], "candidate", note="x", before=first).json()["saved"] > first
    assert judge(ann, numbers[0], "other", note="x").json()["saved"] > first
    assert len(project.verdicts()) == 3


def test_two_people_do_not_lose_each_others_verdicts(project, numbers):
    ann, bob = client(project, "ann"), client(project, "bob")
    judge(ann, numbers[0], "candidate")
    judge(bob, numbers[0], "artefact", note="ghost")
    judge(bob, numbers[1], "other")
    judge(ann, numbers[1], "other")
    assert data(ann, numbers[0])["mine"]["label"] == "candidate"
    assert data(bob, numbers[0])["mine"]["label"] == "artefact"
    differing = disagreements(project)
    assert [(row["detection"], row["user"], row["verdict"]) for row in differing] == [
        (numbers[0], "ann", "candidate"), (numbers[0], "bob", "artefact")
    ]  # fmt: skip
    assert "ghost" in ann.get("/people").text
    judge(ann, numbers[0], "withdrawn")
    assert disagreements(project) == []


def test_taking_a_verdict_back_makes_the_candidate_open_again(project, numbers):
    ann = client(project)
    judge(ann, numbers[0], "candidate")
    judge(ann, numbers[0], "withdrawn", before=1)
    assert data(ann, numbers[0])["mine"] is None
    assert ann.get("/data/ahead").json()["ids"][0] == numbers[0]
    assert len(project.verdicts()) == 2


def test_verdicts_of_the_page_go_through_a_file_and_back(project, numbers, tmp_path):
    ann = client(project)
    for n, (number, label) in enumerate(
        zip(numbers, ("candidate", "other", "artefact", "unsure", "withdrawn"), strict=False)
    ):
        judge(ann, number, label, note=f"=cmd() {n}")
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert export_verdicts(project, first) == 5
    with project.session() as session, session.begin():
        session.execute(text("DELETE FROM classification"))
    assert import_verdicts(project, first) == (5, 0)
    export_verdicts(project, second)
    assert first.read_bytes() == second.read_bytes()


def test_skipped_and_flagged_are_offered_at_the_end(project, numbers):
    ann = client(project)
    for number in numbers[3:]:
        judge(ann, number, "other")
    judge(ann, numbers[0], "unsure")
    told = ann.get("/data/end").json()["html"]
    assert "2 that you skipped" in told
    assert "1 that you flagged" in told
    for number in numbers[:3]:
        judge(ann, number, "other", before=1)
    assert "Nothing was skipped" in ann.get("/data/end").json()["html"]


def test_what_was_said_under_other_settings_is_shown_and_not_counted_as_said(project, numbers):
    with project.session() as session, session.begin():
        give_verdict_once(project, numbers[0], "candidate", user="bob", note="seen before")
        # the detection that it was about is gone, and was found with other settings
        session.execute(text("UPDATE classification SET detection_id = NULL, digest = 'older'"))
    told = data(client(project), numbers[0])
    assert told["inherited"] == [{"label": "candidate", "note": "seen before"}]
    assert told["mine"] is None
    assert "under other settings" in told["html"]
    others = [
        number
        for number in numbers
        if project.detection(number).source_id != project.detection(numbers[0]).source_id
    ]
    assert data(client(project), others[0])["inherited"] == []


def test_a_verdict_on_an_injected_event_is_inherited_by_nothing(project, numbers, injected):
    owners = {project.detection(number).source_id: number for number in numbers}
    number = next(n for n in injected if project.detection(n).source_id in owners)
    real = owners[project.detection(number).source_id]
    give_verdict_once(project, number, "candidate", user="ann")
    with project.session() as session, session.begin():
        row = project.detection(real)
        session.execute(
            text(
                "UPDATE classification SET detection_id = NULL, kind = :k, start_mjd = :a, end_mjd = :b, ra = NULL"
            ),
            {"k": row.kind, "a": row.start_mjd, "b": row.end_mjd},
        )
    assert data(client(project), real)["inherited"] == []


def test_blind_nothing_tells_an_injected_event_until_it_is_judged(project, numbers, injected):
    open_eyes, blind = client(project), client(project, blind=True)
    assert open_eyes.get(f"/data/candidate/{injected[0]}").status_code == 404
    assert judge(open_eyes, injected[0], "candidate").status_code == 400
    before = data(blind, injected[0])
    words = (
        before["html"]
        + blind.get(f"/data/metadata/{injected[0]}").text
        + blind.get(f"/candidate/{injected[0]}").text
    )
    assert "inject" not in words.lower()
    assert "inject" not in str(before["figures"]).lower()
    assert "simulated" not in before["html"]
    real = data(blind, numbers[0])
    assert [set(figure or ()) for figure in real["figures"]] == [
        set(figure or ()) for figure in before["figures"]
    ]
    judge(blind, injected[0], "candidate")
    after = data(blind, injected[0])["html"]
    assert '<span class="badge injected">injected, simulated</span>' in after
    assert "what was injected" in after
    assert "simulated" not in real["html"]
    judge(blind, numbers[0], "candidate")
    assert '<span class="badge">simulated data</span>' in data(blind, numbers[0])["html"]


def test_a_scripted_reviewer_has_the_efficiency_that_the_rule_implies(project, injected):
    blind = client(project, "rule", blind=True)
    strengths = project.detections(simulated=True).set_index("id")["snr"].abs()
    limit = float(strengths.loc[injected].median())
    queue = blind.get("/data/ahead").json()["ids"]
    assert set(injected) <= set(queue)
    for number in queue:
        judge(blind, number, "candidate" if strengths[number] >= limit else "artefact")
    expected = sum(strengths[number] >= limit for number in injected)
    table = reviewers(project, by=("analysis",))
    assert table[["user", "judged", "accepted"]].to_numpy().tolist() == [["rule", len(injected), expected]]
    assert table["efficiency"].iloc[0] == pytest.approx(expected / len(injected))
    assert table["low"].iloc[0] < expected / len(injected) < table["high"].iloc[0]
    page = blind.get("/people").text
    for row in reviewers(project).itertuples():
        assert f"{row.efficiency:.2f} ({row.low:.2f} to {row.high:.2f})" in page
    shares = project.efficiency("transients")
    assert shares["judged by rule"].sum() == len(injected)
    assert (shares["accepted by rule"] * shares["judged by rule"]).sum() == pytest.approx(expected)
    project.judge(injected[0], "withdrawn", user="rule")
    assert project.efficiency("transients")["judged by rule"].sum() == len(injected) - 1
    by_snr = reviewers(project, by=("snr",))
    assert by_snr["judged"].sum() == len(injected) - 1


def test_neighbours_of_any_survey_and_the_source_page(project, numbers):
    row = project.detection(numbers[0])
    with project.session() as session, session.begin():
        session.execute(
            text("""INSERT INTO source (namespace, name, ra, dec, hpx, mag, kind)
            SELECT 'other', 'near <b>one</b>', ra, dec + 0.002, hpx, 12.5, 'object' FROM source WHERE id = :id"""),
            {"id": row.source_id},
        )
    try:
        told = data(client(project), numbers[0])["html"]
        assert re.search(r"7\.\d″ near &lt;b&gt;one&lt;/b&gt; 12\.5", told)
    finally:
        with project.session() as session, session.begin():
            session.execute(text("DELETE FROM source WHERE namespace = 'other'"))
    page = client(project).get("/source", params={"name": "star_01"})
    assert "star_01" in page.text
    for nobody in ("nobody", "\0", "star\0", "\ud7ff" * 3000, ""):
        assert client(project).get("/source", params={"name": nobody}).status_code == 404, nobody


def test_a_star_that_other_settings_discovered_too_is_no_neighbour_of_itself(project, numbers):
    row = project.detection(numbers[0])
    with project.session() as session, session.begin():
        for name, away in (("again", 0.0), ("twin", 0.001)):
            session.execute(
                text("""INSERT INTO source (namespace, name, ra, dec, hpx, kind, parent_id)
                SELECT 'other', :name, ra, dec + :away, hpx, 'object', id FROM source WHERE id = :id"""),
                {"id": row.source_id, "name": name, "away": away},
            )
    try:
        told = data(client(project), numbers[0])["html"]
        assert "twin" in told
        assert "again" not in told
    finally:
        with project.session() as session, session.begin():
            session.execute(text("DELETE FROM source WHERE namespace = 'other'"))


def test_the_archives_own_page_is_a_plain_link_that_text_cannot_break_out_of(project, numbers, monkeypatch):
    page = 'https://archive.example/?a="><script>alert(1)</script>&b=1'
    monkeypatch.setattr(VirtualDemo, "archive_page", lambda *_: page)
    ann = client(project)
    one = project.detection(numbers[0])

    def shown():
        source = ann.get("/source", params={"name": one.source.name}).text
        return source, ann.get(f"/data/candidate/{numbers[0]}").json()["html"]

    assert not any("archive.example" in html for html in shown()), "no archive has what was simulated"
    with project.session() as session, session.begin():
        changed = list(
            session.execute(
                text("UPDATE raw_data SET simulated = false WHERE simulated RETURNING id")
            ).scalars()
        )
    try:
        for html in shown():
            (link,) = re.findall(r"<a [^>]*archive[.]example[^>]*>[^<]*</a>", html)
            assert 'href="https://archive.example/?a=&#34;&gt;&lt;script&gt;' in link
            assert 'rel="noopener noreferrer"' in link
            assert link.endswith(">demo archive</a>")
        for title, archive, words in (("DEMO", "", "DEMO archive"), ("DEMO", "All Stars", "All Stars")):
            monkeypatch.setattr(VirtualDemo, "title", title)
            monkeypatch.setattr(VirtualDemo, "archive_title", archive)
            assert all(f">{words}</a>" in html for html in shown())
        monkeypatch.setattr(VirtualDemo, "archive_page", lambda *_: "javascript:alert(1)")
        assert not any("javascript:" in html for html in shown())
    finally:
        with project.session() as session, session.begin():
            session.execute(
                text("UPDATE raw_data SET simulated = true WHERE id = ANY(:ids)"), {"ids": changed}
            )


def test_the_queue_comes_before_its_numbers_which_come_with_it_once_they_are_counted(project, numbers):
    ann = client(project)
    assert "counting" in ann.get("/?kind=flare").text
    told = ann.get("/data/counts?kind=flare").json()
    flares = [
        row
        for row in project.detections(simulated=True).itertuples()
        if row.id in numbers and row.kind == "flare"
    ]
    assert told["total"] == len(flares)
    assert 'href="/?kind=flare&amp;judged=all"' in told["html"]
    page = ann.get("/?kind=flare").text
    assert "counting" not in page
    assert f'<b id="total">{len(flares)}</b>' in page


def test_what_is_not_to_be_seen_is_neither_drawn_nor_judged(project, injected):
    ann, blind = client(project), client(project, "bob", blind=True)
    for address in ("/data/candidate/{}", "/data/figures/{}", "/data/figure/{}/0", "/data/metadata/{}"):
        assert ann.get(address.format(injected[0])).status_code == 404, address
        assert blind.get(address.format(injected[0])).status_code == 200, address
    assert judge(ann, injected[0], "candidate").status_code == 400
    assert judge(ann, 987654, "candidate").status_code == 400
    assert judge(blind, injected[0], "candidate").status_code == 200


def test_metadata_and_all_detections_of_the_source(project, numbers):
    ann = client(project)
    assert "reduce:demo" in ann.get(f"/data/metadata/{numbers[0]}").json()["html"]
    told = ann.get(f"/data/siblings/{numbers[0]}").json()["html"]
    assert f">{numbers[0]}<" in told


def test_a_picture_is_drawn_anew_as_magnitudes_and_folded(project, numbers):
    ann = client(project)
    figure = ann.get(f"/data/figure/{numbers[0]}/0?scale=mag&fold=3.5").json()
    assert "magnitude" in str(figure["item"])
    assert "phase of 3.5" in str(figure["item"])
    for wrong in ("scale=x", "fold=-1", "fold=nan", "fold=x"):
        assert ann.get(f"/data/figure/{numbers[0]}/0?{wrong}").status_code == 400
    assert ann.get(f"/data/figure/{numbers[0]}/99").status_code == 404
    assert ann.get("/data/figure/987654/0").status_code == 404


def test_a_database_that_does_not_answer_is_said_and_the_verdict_is_not_called_saved(
    project, numbers, monkeypatch
):
    from sqlalchemy.exc import OperationalError

    def gone(*_, **__):
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    ann = client(project)
    monkeypatch.setattr("virtualobserver.web.app.give_verdict_once", gone)
    answer = judge(ann, numbers[0], "candidate")
    assert answer.status_code == 503
    assert "saved" not in answer.json()
    assert "nothing was changed" in answer.json()["error"]
