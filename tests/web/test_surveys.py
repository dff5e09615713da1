"""A candidate of each of five surveys in a real browser: all that its science needs is there, seen at a glance."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import pytest
from support import ztf
from support.paths import ROOT
from support.vetting import answering, browser

from virtualobserver import Project

pytestmark = pytest.mark.browser
PICTURES = ROOT / "results" / "screenshots"
ALL_DRAWN = """() => { const all = [...document.querySelectorAll(".scene:not(.unseen) .picture")];
    return all.length && all.every(one => one.dataset.drawn); }"""


@dataclass(frozen=True)
class Shown:
    """A search whose strongest candidate is opened, and what its page has to show.

    ``panels`` are beginnings of their titles, ``curves`` names in their keys, ``facts`` names of numbers, ``tools``
    what can be pressed.
    """

    ask: str
    panels: tuple[str, ...]
    facts: tuple[str, ...]
    curves: tuple[str, ...] = ()
    tools: tuple[str, ...] = ("period to fold by",)
    near: str = "nothing else in the database"
    changes: tuple[str, ...] = ()


FILM = ("stretch", "one back (,)", "play (p)", "one on (.)", "image of the film")
SURVEYS = {
    "ztf": Shown(
        "analysis=transients",
        ("flare at MJD", "all light curves, near the event", "whole light curve", "position, from the median",
         "quality of the profile"),
        ("amplitude", "n epochs", "bands"),
        curves=("2018-07-zg", "2018-07-zr", "all epochs", "event", "chi", "sharp"),
        tools=("lin axis", "log axis", "mag axis", "period to fold by"),
        near="Field 1",
    ),
    "harps": Shown(
        "analysis=exocomets",
        ("Ca II K", "Ca II H", "residuals of Ca II K", "residuals of Ca II H", "what the filter found, by velocity",
         "Hertzsprung-Russell diagram", "observations"),
        ("velocity", "fwhm", "depth k", "depth h", "velocity of the star", "reference"),
        curves=("other spectra", "with the event", "reference", "dwarfs", "exocomet candidate"),
        changes=("catalog.limit=1",),
    ),
    "astep": Shown(
        "analysis=moving_objects&parts=all",
        ("sum along the path, and at rest", "images along the path", "S/N of each image along the path",
         "light along the path", "off the path"),
        ("likelihood", "rate", "pa"),
        curves=("in x", "in y"),
        tools=(*FILM, "mag axis", "period to fold by"),
        changes=(
            "observatories.astep.simulation={frames: 10, movers: 3, size: [160, 180], rate: [8, 30]}",
            "analyses.moving_objects.simulate.number=0",
        ),
    ),
    "lsss": Shown(
        "analysis=asteroids",
        ("frames about the body", "(900004) Duna among", "measured less ephemeris", "whole light curve"),
        ("name", "rate", "match chi2", "residual east"),
        tools=(*FILM, "period to fold by"),
        near="",
        changes=("observatories.lsss.simulation.frames=8",),
    ),
    "decam": Shown(
        "analysis=driftscan&kind=pulse",
        ("trail, straightened", "pulse, S/N", "matched filter", "place across the trail", "width across the trail",
         "common mode", "all trails"),
        ("time", "amplitude", "star id", "p global"),
        curves=("30 other stars and their scatter", "samples", "any form", "this form", "noise"),
        tools=("stretch",),
        changes=("observatories.decam.simulation.exposures=1",),
    ),
}  # fmt: skip


def flaring(folder):
    """Write a star that flares in two filters, at the place of a field of another survey, as ZTF would send it."""
    rng = np.random.default_rng(5)
    lines = []
    for oid, band in ((686103400067717, "zg"), (686203400067717, "zr")):
        for n in range(50):
            mag = 17.0 + rng.normal(0, 0.02) - (1.5 if 30 <= n < 35 else 0.0)
            ra, dec = np.array([150.0, 20.0]) + rng.normal(0, 2e-5, 2)
            lines.append(ztf.row(1000 + n, oid=oid, mag=mag, band=band, ra=ra, dec=dec, mjd=58300 + 1.01 * n))
    (folder / "Flaring.csv").write_bytes(ztf.csv(*lines))
    return {
        "catalog": {"name": "stars", "rows": [{"name": "Flaring", "ra": 150.0, "dec": 20.0, "mag": 17.0}]},
        "observatories": {"ztf": {"archive": str(folder), "barycentric": False}},
        "analyses": {"transients": {}},
    }


@pytest.fixture(scope="module")
def projects(tmp_path_factory, module_url):
    """Return a small search of each survey, all of them in one database."""
    made = {}
    folder = tmp_path_factory.mktemp("surveys")
    try:
        # the star last: what lies beside it in other surveys is to be there
        for survey, shown in reversed(SURVEYS.items()):
            demo = ROOT / "configs" / f"{survey}_demo.yaml"
            source = demo if survey != "ztf" else flaring(folder) | {"name": "ztf_demo"}
            changes = [f"name=seen_{survey}", *shown.changes]
            made[survey] = Project.open(source, data=folder / "data", url=module_url, overrides=changes)
            assert not made[survey].run().failed
        yield made
    finally:
        for project in made.values():
            project.close()


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@contextmanager
def seen(chrome, address, width, height):
    """Open the first candidate that is asked for with all its pictures; in the end the console has to be empty."""
    from playwright.sync_api import TimeoutError  # noqa: A004 - that of the browser

    context = chrome.new_context(viewport={"width": width, "height": height})
    said = []
    context.on("console", lambda message: said.append(message.text))
    context.on("weberror", lambda error: said.append(str(error.error)))
    page = context.new_page()
    page.goto(address[0])
    page.wait_for_selector(".queue")  # the entrance goes there by itself, and would come in between
    page.goto(address[1])
    page.click("#begin")
    page.wait_for_function(ALL_DRAWN, timeout=90_000)
    # pictures take their size some time after they are there: what counts is how they end
    with suppress(TimeoutError):
        page.wait_for_function(f"() => !({LAID_OUT})().length", polling=250)
    yield page
    context.close()
    assert said == []


# What is wrong with the layout, as sentences: what is cut, what lies on something else, what has to be scrolled.
LAID_OUT = """() => {
    const wrong = [], scene = document.querySelector(".scene:not(.unseen)"), main = document.querySelector("main");
    const box = one => one.getBoundingClientRect();
    const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
    if (main.scrollHeight > main.clientHeight) wrong.push("the page has to be scrolled down");
    if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page has to be scrolled sideways");
    const known = scene.querySelector(".known");
    if (known.scrollWidth > known.clientWidth) wrong.push("what is known has to be scrolled sideways");
    const panels = [...scene.querySelectorAll(".panel")];
    for (const [n, panel] of panels.entries()) {
        const name = panel.querySelector("h2").textContent, outer = box(panel), picture = panel.querySelector(".picture");
        if (outer.bottom > innerHeight || outer.right > innerWidth) wrong.push(`${name}: beyond the window`);
        if (box(picture).height < 120 || box(picture).width < 180) wrong.push(`${name}: too small`);
        for (const other of [known, ...panels.slice(n + 1)]) if (!apart(outer, box(other))) wrong.push(`${name}: overlaps`);
        const parts = [...panel.children].filter(one => box(one).height > 0);
        for (const [k, part] of parts.entries()) {
            if (box(part).bottom > outer.bottom + 1) wrong.push(`${name}: ${part.className || part.tagName} is cut`);
            for (const other of parts.slice(k + 1)) if (!apart(box(part), box(other))) wrong.push(`${name}: parts overlap`);
        }
    }
    for (const one of scene.querySelectorAll("h1, h2, dt, dd, li, button, figcaption, .badge, .tools span"))
        if (one.clientWidth && one.scrollWidth > one.clientWidth + 1) wrong.push(`cut: ${one.textContent}`);
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = "10px sans-serif";
    for (const { view } of now.pictures.values())
        for (const legend of view.model.above.filter(one => one.items))
            for (const { label } of legend.items) {
                const room = box(view.el).width - 50;
                if (pen.measureText(label.value).width + 20 > room) wrong.push(`key cut: ${label.value}`);
            }
    return wrong;
}"""
KEYS = """() => [...now.pictures.values()].flatMap(({ view }) => view.model.above.filter(one => one.items && one.visible)
    .flatMap(one => one.items.map(item => item.label.value)))"""


def complete(page, shown):
    """Look for all that has to be on the page."""
    scene = page.locator(".scene:not(.unseen)")
    titles = scene.locator(".panel h2").all_inner_texts()
    missing = [one for one in shown.panels if not any(title.startswith(one) for title in titles)]
    assert (missing, len(titles)) == ([], len(shown.panels)), titles
    assert set(shown.curves) <= set(page.evaluate(KEYS))
    facts = scene.locator(".facts dt").all_inner_texts()
    assert set(shown.facts) <= set(facts), facts
    tools = page.evaluate(
        "() => [...document.querySelectorAll('.scene:not(.unseen) .tools :is(button, input, select)')]"
        ".map(one => one.getAttribute('aria-label') || one.title)"
    )
    assert set(shown.tools) <= set(tools), tools
    assert shown.near in scene.locator("section:has(> h2:text-is('Within 30″'))").inner_text()


@pytest.mark.parametrize("survey", SURVEYS)
def test_a_candidate_is_seen_whole_and_without_scrolling(survey, projects, chrome):
    from axe_playwright_python.sync_playwright import Axe

    shown = SURVEYS[survey]
    PICTURES.mkdir(parents=True, exist_ok=True)
    with answering(projects[survey]) as entrance:
        address = (entrance, f"{entrance.split('/?')[0]}/?{shown.ask}")
        with seen(chrome, address, 1440, 900) as page:
            complete(page, shown)
            assert page.evaluate(LAID_OUT) == []
            # at this size what is known fits as well
            assert page.evaluate(
                "() => { const one = document.querySelector('.scene:not(.unseen) .known'); return one.scrollHeight <= one.clientHeight; }"
            )
            page.screenshot(path=PICTURES / f"{survey}_1440.png")
            told = Axe().run(page).response["violations"]
            assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in told] == []
        with seen(chrome, address, 1024, 768) as page:
            assert page.evaluate(LAID_OUT) == []
            page.screenshot(path=PICTURES / f"{survey}_1024.png")
