"""What the queue lets through, in which order, and how many of each there are."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from support.vetting import EVIL

from virtualobserver.errors import DataError
from virtualobserver.web import queue
from virtualobserver.web.queue import COLUMNS, Filter, Viewer, ahead, page
from virtualobserver.web.tally import tally

ANN, BOB = Viewer("ann"), Viewer("bob")


def pages(project, asked, viewer=ANN, rows=3):
    """Return all rows of a queue, asked for page by page."""
    found, after = [], None
    while after != "":
        some, after = page(project, viewer, asked.but(after=after or ""), rows=rows)
        found += some
    return found


@pytest.mark.parametrize("order", [*COLUMNS, *(f"-{name}" for name in COLUMNS)])
def test_pages_joined_are_the_whole_queue_once_in_order(project, numbers, order):
    whole, after = page(project, ANN, Filter(order=order), rows=1000)
    assert after == ""
    assert sorted(row["id"] for row in whole) == sorted(numbers)
    joined = pages(project, Filter(order=order))
    assert [row["id"] for row in joined] == [row["id"] for row in whole]
    keys = [(row["key"], row["id"]) for row in whole]
    assert keys == sorted(keys, reverse=order.startswith("-"))


@pytest.mark.parametrize("windows", [(1, 1), (2, 5), (3, 1000), (0, 0)])
@pytest.mark.parametrize(
    "asked",
    [Filter(), Filter(judged="mine"), Filter(kind="flare", order="peak"), Filter(snr=8.0, order="band")],
)
def test_how_many_are_gone_through_at_once_changes_no_page(project, numbers, monkeypatch, windows, asked):
    for number in (numbers[0], *numbers[4:9]):
        project.judge(number, "other", user="ann")
    for viewer in (ANN, Viewer("ann", blind=True)):
        whole, _ = page(project, viewer, asked, rows=1000)
        with monkeypatch.context() as patch:
            patch.setattr(queue, "_WINDOWS", windows)
            assert pages(project, asked, viewer=viewer) == whole


def test_what_was_judged_meanwhile_moves_no_page(project, numbers):
    first, after = page(project, ANN, Filter(), rows=3)
    for row in first:
        project.judge(row["id"], "other", user="ann")
    second, _ = page(project, ANN, Filter(after=after), rows=3)
    assert [row["id"] for row in first + second] == numbers[:6]


def test_missing_magnitudes_come_last_in_either_order(project, numbers):
    with project.session() as session, session.begin():
        session.execute(text("UPDATE source SET mag = NULL WHERE name = 'star_03'"))
    try:
        for order in ("mag", "-mag"):
            found = pages(project, Filter(order=order), rows=2)
            assert found[-1]["source"] == "star_03", order
            assert len(found) == len(numbers)
    finally:
        with project.session() as session, session.begin():
            session.execute(text("UPDATE source SET mag = 15.0 WHERE name = 'star_03'"))


def test_each_filter_lets_through_what_it_says(project, numbers):
    strengths = dict(project.detections(simulated=True).set_index("id")["snr"].abs())
    middle = float(sorted(strengths[n] for n in numbers)[len(numbers) // 2])

    def seen(**asked):
        return {row["id"] for row in pages(project, Filter(**asked), rows=50)}

    assert seen(snr=middle) == {n for n in numbers if strengths[n] >= middle}
    turned = {"n": numbers[0]}  # a dip is as strong as a flare
    try:
        with project.session() as session, session.begin():
            session.execute(text("UPDATE detection SET snr = -snr WHERE id = :n"), turned)
        assert seen(snr=middle) == {n for n in numbers if strengths[n] >= middle}
    finally:
        with project.session() as session, session.begin():
            session.execute(text("UPDATE detection SET snr = -snr WHERE id = :n"), turned)
    assert {row["source"] for row in pages(project, Filter(source=EVIL))} == {EVIL}
    assert {row["mag"] for row in pages(project, Filter(bright=14.0, faint=15.0))} == {14.0, 14.5}
    assert seen(kind="flare") | seen(kind="last") == set(numbers)
    assert seen(survey="demo") == seen(data="simulated") == set(numbers)
    assert seen(survey="ztf") == seen(data="real") == seen(analysis="periods") == set()
    assert seen(source="%") == seen(source="star_0_") == set()


def test_judged_is_told_by_the_last_word_of_each_person(project, numbers):
    one, two, three = numbers[:3]
    project.judge(one, "candidate", user="ann", note="see #fast, #odd")
    project.judge(two, "artefact", user="bob")
    project.judge(three, "unsure", user="ann")
    project.judge(three, "withdrawn", user="ann")

    def seen(viewer=ANN, **asked):
        return {row["id"] for row in page(project, viewer, Filter(**asked), rows=100)[0]}

    assert seen() == set(numbers) - {one}
    assert seen(judged="mine") == seen(judged="candidate") == seen(judged="all", tag="fast") == {one}
    assert seen(judged="all", tag="fas") == set()
    assert seen(judged="others") == {two}
    assert seen(judged="nobody") == set(numbers) - {one, two}
    assert seen(judged="unsure") == set()
    assert seen(BOB) == set(numbers) - {two}
    assert seen(BOB, judged="others") == {one}


@pytest.mark.parametrize(
    "asked",
    [
        Filter(),
        Filter(judged="all", kind="flare"),
        Filter(snr=6.5),
        Filter(faint=16.0, bright=13.7),
        Filter(judged="candidate"),
    ],
    ids=lambda asked: asked.address or "all",
)
def test_the_number_beside_each_filter_is_that_of_what_it_leads_to(project, numbers, asked):
    project.judge(numbers[0], "candidate", user="ann")
    project.judge(numbers[1], "other", user="bob")
    counted = tally(project, ANN, asked)
    assert counted.total(asked) == len(pages(project, asked, rows=100))
    told = counted.told(asked)
    assert told["judged"]
    for entries in told.values():
        for value, _, number, leads in entries:
            chosen = (
                value and getattr(asked, "class_" if leads.class_ != asked.class_ else "kind", None) == value
            )
            off = (leads.snr is None and asked.snr is not None) or (
                leads.faint is None and asked.faint is not None
            )
            if not chosen and not off:
                assert number == len(pages(project, leads, rows=100)), leads.address


def test_a_filter_goes_through_an_address_and_back(project):
    asked = Filter(kind="a&b=c", judged="all", snr=7.25, source=EVIL, class_="white dwarf", order="source")
    from urllib.parse import parse_qsl

    assert Filter.read(dict(parse_qsl(asked.address))) == asked
    assert Filter().address == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"order": "snr; DROP TABLE detection"}, "order: .* is none of id, source"),
        ({"judged": "x"}, "judged: 'x' is none of"),
        ({"snr": "nan"}, "snr: 'nan' is not a number"),
        ({"faint": "1e999"}, "faint: .* not a number"),
        ({"source": "x" * 300}, "at most 200"),
        ({"kind": "a\0b"}, "kind: not a word"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, told):
    with pytest.raises(DataError, match=told):
        Filter.read(given)


@pytest.mark.parametrize(
    "after", ["x", "1", "1,", ",1", "1,x", "nan,1", "1,99999999999999999999", "1,1 OR true"]
)
def test_a_place_that_no_page_gave_is_refused(project, after):
    with pytest.raises(DataError, match="not where a page"):
        page(project, ANN, Filter(after=after))


def test_sql_in_a_value_is_a_value(project, numbers):
    for word in ("' OR true --", "'; DELETE FROM detection; --", "\\"):
        for name in ("analysis", "kind", "survey", "class_", "data", "source", "tag"):
            assert page(project, ANN, Filter(**{name: word, "judged": "all"}))[0] == [], name
    assert len(pages(project, Filter())) == len(numbers)


def test_those_that_follow_one_follow_it_though_it_is_judged(project, numbers):
    assert ahead(project, ANN, Filter(), None, rows=3) == numbers[:3]
    project.judge(numbers[1], "other", user="ann")
    assert ahead(project, ANN, Filter(), numbers[1], rows=3) == numbers[2:5]
    assert ahead(project, ANN, Filter(), numbers[-1]) == []
    with pytest.raises(DataError, match="no detection 987654"):
        ahead(project, ANN, Filter(), 987654)


def test_injected_events_are_mixed_in_only_for_who_judges_blind(project, numbers, injected):
    assert injected
    blind = pages(project, Filter(judged="all"), Viewer("ann", blind=True))
    assert {row["id"] for row in blind} == {*numbers, *injected}
    told = {(row["data"], row["class"], row["survey"], row["analysis"]) for row in blind}
    assert told == {("", "", "demo", name) for name in ("shown", "transients")}, (
        "nothing tells which were put in"
    )
    names = tally(project, Viewer("ann", blind=True), Filter()).told(Filter())
    assert names["data"] == names["class"] == []
