"""The film about a mover that was linked from lists of sources: frames the search itself never opened."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sqlalchemy import select, text
from support.vetting import client

from virtualobserver import Project
from virtualobserver.data.panels import ImageStack
from virtualobserver.models import Detection
from virtualobserver.run.views.event_figures import detection_panels

FRAMES = 5
NIGHT = {
    "name": "film",
    "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 150.0, "dec": 20.0, "kind": "field"}]},
    "observatories": {
        "lsss": {
            "archive": "simulated",
            "simulation": {
                "frames": FRAMES, "size": [160, 200], "stars": 20, "movers": 1, "mag": [14.0, 14.5],
                "rate": [150.0, 180.0], "clouds": 0.0, "cosmics": 0.0, "satellites": 0.0,
            },
        }
    },
    "analyses": {"moving_objects": {"method": "link"}},
}  # fmt: skip


@pytest.fixture
def linked(tmp_path, url):
    with Project.open(NIGHT, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        yield project


def centre_of_light(box):
    """Return x and y of the light within 5 pixels of the middle of a box, from its middle."""
    half = box.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    light = np.where(np.hypot(x, y) <= 5, box - np.nanmedian(box), 0.0)
    return float((light * x).sum() / light.sum()), float((light * y).sum() / light.sum())


def test_the_film_of_a_linked_mover_has_it_in_the_middle_of_every_frame_and_is_on_its_page(linked):
    rows = linked.live.scalars(
        select(Detection).where(Detection.kind == "mover").order_by(Detection.peak_mjd)
    ).all()
    assert len(rows) == FRAMES
    assert np.ptp([row.parameters["x"] for row in rows]) + np.ptp([row.parameters["y"] for row in rows]) > 12
    chosen = rows[2].id
    (film,) = (one for one in detection_panels(linked, chosen) if isinstance(one, ImageStack))
    assert film.title == "frames about the body"
    assert len(film.images) == FRAMES
    assert film.start == 2
    assert [label.split(",")[0] for label in film.labels] == [f"{row.peak_mjd:.5f}" for row in rows]
    for image, (mark,) in zip(film.images, film.marks, strict=True):
        assert np.hypot(mark.x, mark.y) < 0.75  # the middle is a whole pixel
        assert centre_of_light(image) == pytest.approx((mark.x, mark.y), abs=0.3)
        row, column = np.unravel_index(np.nanargmax(image[10:21, 10:21]), (11, 11))
        assert max(abs(row - 5), abs(column - 5)) <= 2
    page = client(linked)
    html = page.get(f"/data/candidate/{chosen}").json()["html"]
    (number,) = re.findall(r'<figure class="panel imagestack" data-n="(\d+)">', html)
    drawn = page.get(f"/data/figure/{chosen}/{number}").json()
    assert (drawn["labels"], drawn["start"]) == (list(film.labels), 2)
    with linked.session() as session, session.begin():
        session.execute(text("UPDATE product SET file_id = NULL WHERE role = 'calibrated'"))
    told = [one for one in detection_panels(linked, chosen) if one.title == "no film"]
    assert "`keep: {calibrated: true}` brings them back" in told[0].note
