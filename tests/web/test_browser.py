"""The page in a real browser: keys, notes, films, tabs, people, and a server that is killed."""

from __future__ import annotations

import re
import socket
import time
from contextlib import contextmanager

import pytest
from support.paths import ROOT
from support.vetting import EVIL, browser, vetting

pytestmark = pytest.mark.browser
PICTURES = ROOT / "results" / "screenshots"
SHOWN = ".scene:not(.unseen) .picture[data-drawn] >> nth=0"


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(chrome, place, opened):
    """Return the first address of a server for ann."""
    with vetting(place / "vetted.yaml", "--user", "ann", "--data", str(place / "data")) as (address, _):
        yield address


@contextmanager
def person(chrome, address, *, width=1440, height=900, failing=False):
    """Open a browser window of its own; in the end its console has to be empty, and nothing was asked outside."""
    context = chrome.new_context(viewport={"width": width, "height": height})
    said, outside = [], []
    context.on("console", lambda message: said.append(message.text))
    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
            else outside.append(request.url)
        ),
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".queue")
    yield page
    context.close()
    assert outside == []
    if not failing:
        assert said == []


@pytest.fixture
def page(chrome, served, project):
    with person(chrome, served) as page:
        yield page


def begin(page):
    # a page that was never focused yet may lose the first key; a busy machine takes long for the first picture
    page.locator("body").click(position={"x": 2, "y": 2})
    page.keyboard.press("Enter")
    page.wait_for_selector(SHOWN, timeout=90_000)
    return current(page)


def current(page):
    return int(re.search(r"/candidate/(\d+)", page.url)[1])


def press(page, key):
    """Press a key that leads to another candidate; return its number."""
    before = page.url
    page.keyboard.press(key)
    page.wait_for_function(
        "old => location.href !== old && document.querySelector('.scene:not(.unseen)')", arg=before
    )
    page.wait_for_selector(SHOWN)
    return current(page)


def saved(page):
    page.wait_for_function("() => /^saved/.test(document.querySelector('#unsaved').textContent)")


def said(project):
    return [(row.detection, row.verdict, row.user, row.note) for row in project.verdicts().itertuples()]


def test_the_first_address_leads_in_and_shows_no_token(page, served):
    assert served.split("token=")[1] not in page.url
    assert page.evaluate("document.cookie") == ""


def test_keys_judge_and_the_next_candidate_comes(page, project, numbers):
    assert begin(page) == numbers[0]
    for n, (key, label) in enumerate(
        {"y": "candidate", "n": "other", "j": "artefact", "w": "unsure"}.items()
    ):
        assert press(page, key) == numbers[n + 1], key
        saved(page)
        assert said(project)[-1] == (numbers[n], label, "ann", "")
    assert page.inner_text("#left") == f"{len(numbers) - 4} left"
    assert press(page, "ArrowLeft") == numbers[3]
    assert page.get_attribute(".scene:not(.unseen) .verdicts .unsure", "aria-pressed") == "true"
    assert press(page, "ArrowRight") == numbers[4]
    assert len(said(project)) == 4


def test_keys_pressed_faster_than_pages_come_judge_one_candidate_each_in_order(page, project, numbers):
    begin(page)
    keys = {"y": "candidate", "n": "other", "j": "artefact", "w": "unsure"}
    page.evaluate(
        """keys => { for (const key of keys) document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})); }""",
        [*keys, "m", *"jy real", "Escape", "y"],
    )
    page.wait_for_function("number => now && now.id === number", arg=numbers[5])
    page.wait_for_function("() => !waiting().length")
    expected = [(number, label, "ann", "") for number, label in zip(numbers, keys.values(), strict=False)]
    assert said(project) == [*expected, (numbers[4], "candidate", "ann", "jy real")]


def test_a_note_goes_with_the_verdict_and_letters_in_it_are_no_keys(page, project, numbers):
    begin(page)
    page.keyboard.press("m")
    page.keyboard.type("yes, just now #rise")
    page.keyboard.press("Escape")
    assert said(project) == []
    press(page, "y")
    saved(page)
    assert said(project) == [(numbers[0], "candidate", "ann", "yes, just now #rise")]
    page.goto(page.url.split("/candidate")[0] + "/?judged=all&tag=rise")
    assert page.locator("table.list tbody tr").count() == 1


def test_undo_takes_the_last_verdicts_back_one_by_one_and_keeps_their_rows(page, project, numbers):
    begin(page)
    press(page, "y")
    press(page, "j")
    assert press(page, "u") == numbers[1]
    assert press(page, "u") == numbers[0]
    saved(page)
    assert [row[:2] for row in said(project)] == [
        (numbers[0], "candidate"), (numbers[1], "artefact"), (numbers[1], "withdrawn"), (numbers[0], "withdrawn")
    ]  # fmt: skip
    assert page.locator(".scene:not(.unseen) .verdicts [aria-pressed=true]").count() == 0
    assert press(page, " ") == numbers[1]


def test_what_was_skipped_is_offered_again_at_the_end(page, project, numbers):
    page.goto(page.url + "?source=star_0")
    wanted = page.locator("table.list tbody tr").count()
    assert wanted > 3
    first = begin(page)
    for _ in range(wanted - 1):
        press(page, " ")
    page.keyboard.press("n")
    page.wait_for_selector("text=The end of this queue")
    assert f"{wanted - 1} that you skipped" in page.inner_text(".end")
    page.keyboard.press("Enter")
    page.wait_for_selector(SHOWN)
    assert current(page) == first
    assert len(said(project)) == 1


LATE = """
const real = window.fetch;
window.fetch = async (what, ...more) => {
  const late = window.late !== undefined && String(what).includes(`/data/candidate/${window.late}`);
  if (late) await new Promise((done) => setTimeout(done, 1500));
  return real(what, ...more);
};
"""


def test_the_last_comes_once_also_where_what_is_next_is_asked_for_before_it_is_there(page, project, numbers):
    page.add_init_script(LATE)
    page.goto(page.url + "?source=star_0")
    begin(page)
    *most, before, last = page.evaluate("queue")
    page.evaluate("id => { window.late = id }", last)
    for _ in most:
        press(page, " ")
    page.keyboard.press(" ")
    page.wait_for_url(f"**/candidate/{before}?*")
    assert (
        press(page, " ") == last
    )  # its pictures are not there yet, and whoever drew them before looks ahead
    page.keyboard.press("n")
    page.wait_for_selector("text=The end of this queue")


def test_filters_stand_in_the_address_and_sort(page, project, numbers):
    page.click("fieldset:has(legend:text-is('kind')) a:has-text('flare')")
    page.wait_for_url("**/?kind=flare")
    assert set(page.locator(".list tbody td:nth-child(4)").all_inner_texts()) == {"flare"}
    page.click("th a:text-is('source')")
    page.wait_for_url("**order=-source**")
    names = page.locator(".list tbody td:nth-child(2)").all_inner_texts()
    assert names == sorted(names, reverse=True)
    assert EVIL in names
    begin(page)
    assert "kind=flare" in page.url
    assert "order=-source" in page.url


def test_films_stretches_masks_magnitudes_and_folding(page, project):
    page.goto(page.url + "?analysis=shown")
    begin(page)
    scene = ".scene:not(.unseen)"
    page.wait_for_selector(f"{scene} .panel:nth-child(3) input[type=range]")
    label = page.locator(f"{scene} .panel:nth-child(3) .tools span")
    assert label.inner_text() == "3/5 image 2"
    shown = """() => { const one = filmed(); const models = one.view.model.document;
        const image = models.get_model_by_name("shown").data.image[0];
        const marks = models.get_model_by_name("marked").data;
        return [[...image].indexOf(Math.max(...image)), marks.x[0], [...marks.xs[1]]]; }"""
    assert page.evaluate(shown) == [11 * 25, 11, [6, 6]]
    page.keyboard.press(".")
    assert label.inner_text() == "4/5 image 3"
    assert page.evaluate(shown) == [14 * 25, 14, [9, 9]]
    page.keyboard.press("p")
    page.wait_for_function("() => filmed().n !== 3")
    page.keyboard.press("p")
    still = page.evaluate("filmed().n")
    page.wait_for_timeout(600)
    assert page.evaluate("filmed().n") == still
    colours = "() => { const m = filmed().view.model.document.get_model_by_name('colours'); return [m.low, m.high]; }"
    before = page.evaluate(colours)
    page.select_option(f"{scene} .panel:nth-child(3) select", label="all")
    low, high = page.evaluate(colours)
    assert high > 25 > before[1]
    assert low <= before[0]
    page.click(f"{scene} .panel:nth-child(1) button:text-is('mag')")
    page.wait_for_selector(f"{scene} .panel:nth-child(1) button.on:text-is('mag')")
    page.fill(f"{scene} .panel:nth-child(1) input", "6.28")
    page.keyboard.press("Enter")
    page.wait_for_function("() => now.pictures.get(0).view.model.below[0].axis_label.startsWith('phase')")
    assert page.evaluate("() => now.pictures.get(0).view.model.left[0].axis_label") == "magnitude (mag)"
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "panels.png")


def test_a_period_that_is_none_is_said_and_the_candidate_stays(chrome, served, project, numbers):
    with person(chrome, served, failing=True) as page:
        begin(page)
        page.fill(".scene:not(.unseen) .tools input >> nth=0", "a day")
        page.keyboard.press("Enter")
        page.wait_for_function("() => /positive number/.test(document.querySelector('#unsaved').textContent)")
        assert page.locator(SHOWN).count() == 1
        page.keyboard.press("Escape")
        assert press(page, "y") == numbers[1]


def test_masks_are_switched_by_buttons_that_say_whether_they_are_on(page, project):
    page.goto(page.url + "?analysis=shown")
    begin(page)
    button = page.locator(".scene:not(.unseen) .tools .mask >> nth=0")
    shown = "() => filmed().view.model.document.get_model_by_name('mask 0').visible"
    assert page.evaluate(shown) is False
    button.click()
    assert page.evaluate(shown) is True
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert page.evaluate(shown) is False


def test_buttons_stand_above_the_picture_not_on_its_title(page):
    begin(page)
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('.scene:not(.unseen) .panel')].map(panel =>
        [panel.querySelector('.tools').getBoundingClientRect(), panel.querySelector('.picture').getBoundingClientRect()]
        ).filter(([tools]) => tools.height > 0).map(([tools, picture]) => [tools.bottom, picture.top])"""
    )
    assert boxes
    assert all(bottom <= top + 1 for bottom, top in boxes)


def test_hovering_tells_values_as_text(page):
    page.goto(page.url + "?analysis=shown")
    begin(page)
    place = page.locator(".scene:not(.unseen) .panel:nth-child(2) .picture").bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.wait_for_timeout(400)
    told = page.evaluate("""() => { const found = []; const look = (root) => { for (const one of root.querySelectorAll("*")) {
        if (one.shadowRoot) look(one.shadowRoot); if (one.className === "bk-tooltip-row-value") found.push(one.textContent); } };
        look(document); return found; }""")
    assert any(re.fullmatch(r"[\d.,]+", word.strip()) for word in told), told


def test_a_second_tab_sees_what_the_first_one_said_and_both_count(page, project, numbers):
    begin(page)
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(SHOWN)
    press(page, "y")
    saved(page)
    other.keyboard.press("j")
    saved(other)
    assert [row[:2] for row in said(project)] == [(numbers[0], "candidate"), (numbers[0], "artefact")]
    other.goto(page.url.replace(f"/{current(page)}", f"/{numbers[0]}"))
    other.wait_for_selector(SHOWN)
    assert other.get_attribute(".scene:not(.unseen) .verdicts .artefact", "aria-pressed") == "true"
    page.reload()
    page.wait_for_selector(SHOWN)
    assert current(page) == numbers[1]


def test_two_people_at_once_and_where_they_differ(chrome, page, place, project, numbers):
    with (
        vetting(place / "vetted.yaml", "--user", "bob", "--data", str(place / "data")) as (address, _),
        person(chrome, address) as bob,
    ):
        assert begin(page) == begin(bob) == numbers[0]
        press(page, "y")
        press(bob, "j")
        press(page, "n")
        press(bob, "n")
        saved(page)
        saved(bob)
        assert sorted(row[:3] for row in said(project)) == sorted(
            [(numbers[0], "candidate", "ann"), (numbers[0], "artefact", "bob"), (numbers[1], "other", "ann"), (numbers[1], "other", "bob")]
        )  # fmt: skip
        bob.goto(address.split("/?")[0] + "/people")
        assert bob.locator("table.list tbody tr, table.list > tr").count() == 2
        bob.screenshot(path=PICTURES / "people.png")


def test_a_verdict_that_the_server_refuses_holds_up_no_other_and_is_said_until_put_away(
    chrome, served, project, numbers
):
    def gone(route):
        if route.request.post_data_json["id"] == numbers[0]:
            route.fulfill(
                status=400, json={"error": f"project vetted has no detection {numbers[0]} to judge"}
            )
        else:
            route.continue_()

    with person(chrome, served, failing=True) as page:
        page.route("**/verdict", gone)
        begin(page)
        assert press(page, "y") == numbers[1]
        refused = f"NOT SAVED: candidate of {numbers[0]} (project vetted has no detection"
        shown = "words => document.querySelector('#unsaved').textContent.includes(words)"
        page.wait_for_function(shown, arg=refused)
        press(page, "j")
        saved(page)
        assert said(project) == [(numbers[1], "artefact", "ann", "")]
        page.reload()
        page.wait_for_function(shown, arg=refused)  # a reload does not hide it
        page.get_by_role("button", name="put away").click()
        assert page.inner_text("#unsaved") == ""
        page.reload()
        page.wait_for_selector(SHOWN, timeout=90_000)
        assert page.inner_text("#unsaved") == ""


def test_a_note_that_is_full_says_so(page):
    begin(page)
    page.keyboard.press("m")
    page.keyboard.insert_text("x" * 4100)
    page.wait_for_function("() => /note is full/.test(document.querySelector('#unsaved').textContent)")
    assert len(page.input_value(".scene:not(.unseen) .note")) == 4000


def test_a_verdict_given_to_a_killed_server_is_called_unsaved_and_comes_with_the_next_one(
    chrome, place, project, numbers
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = (place / "vetted.yaml", "--user", "ann", "--port", port, "--data", str(place / "data"))
    with vetting(*words) as (address, running):
        context = chrome.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(".queue")
        begin(page)
        page.wait_for_function(f"() => ready.has({numbers[1]})")
        page.wait_for_timeout(1500)
        running.kill()
        running.wait()
        page.keyboard.press("y")
        page.wait_for_function("() => /NOT SAVED: 1/.test(document.querySelector('#unsaved').textContent)")
        page.screenshot(path=PICTURES / "unsaved.png")
        assert said(project) == []
    with vetting(*words) as (address, _):
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(".queue")
        saved(page)
        assert said(project) == [(numbers[0], "candidate", "ann", "")]
        context.close()


def test_a_server_killed_at_any_moment_loses_no_verdict_that_it_called_saved(chrome, place, project, numbers):
    words = (place / "vetted.yaml", "--user", "ann", "--data", str(place / "data"))
    for pause in (0.0, 0.02, 0.05, 0.1):
        with vetting(*words) as (address, running), person(chrome, address, failing=True) as page:
            number = begin(page)
            page.wait_for_timeout(800)
            page.keyboard.press("y")
            time.sleep(pause)
            running.kill()
            running.wait()
            page.wait_for_function(
                "() => /^saved|NOT SAVED/.test(document.querySelector('#unsaved').textContent)"
            )
            kept = any(row[0] == number for row in said(project))
            if page.inner_text("#unsaved").startswith("saved"):
                assert kept
            else:
                assert page.evaluate("waiting().map((one) => [one.id, one.label])") == [[number, "candidate"]]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768)])
def test_a_candidate_is_seen_without_scrolling(chrome, served, project, width, height):
    with person(chrome, served, width=width, height=height) as page:
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"queue_{width}.png")
        begin(page)
        page.wait_for_timeout(700)
        page.screenshot(path=PICTURES / f"candidate_{width}.png")
        # pictures take their size some time after they are there: what counts is how they end
        fits = page.wait_for_function(
            """([width, height]) => {
                const main = document.querySelector("main");
                const boxes = [...document.querySelectorAll(".scene:not(.unseen) .panel")].map(one => one.getBoundingClientRect());
                return main.scrollHeight <= main.clientHeight && document.documentElement.scrollWidth <= innerWidth
                    && boxes.length && boxes.every(box => box.bottom <= height && box.right <= width
                    && box.width > 200 && box.height > 200);
            }""",
            arg=[width, height],
            timeout=20_000,
        )
        assert fits.json_value() is True


def test_contrast_and_names_for_those_who_cannot_see_well(page, project, numbers):
    from axe_playwright_python.sync_playwright import Axe

    project.judge(numbers[0], "candidate", user="bob", note="x")
    base = page.url.rstrip("/")
    for path in ("/?judged=all", f"/candidate/{numbers[0]}", "/people", "/source?name=star_01"):
        page.goto(base + path)
        if "candidate" in path:
            page.wait_for_selector(SHOWN)
        found = page.context.new_cdp_session(page)
        found.send("Page.setBypassCSP", {"enabled": True})
        page.reload()
        if "candidate" in path:
            page.wait_for_selector(SHOWN)
        told = Axe().run(page).response["violations"]
        serious = [
            (one["id"], [node["html"][:120] for node in one["nodes"]])
            for one in told
            if one["impact"] in {"serious", "critical"}
        ]
        assert serious == [], path


def test_all_is_done_by_keys_alone(page, project, numbers):
    begin(page)
    page.keyboard.press("?")
    assert page.locator("#help[open]").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    page.wait_for_selector("#box[open]")
    assert "reduce:demo" in page.inner_text("#box")
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    page.wait_for_selector("#box[open] tr.here")
    page.keyboard.press("Escape")
    press(page, "y")
    page.keyboard.press("q")
    page.wait_for_selector(".queue")
    assert said(project)[0][:2] == (numbers[0], "candidate")
