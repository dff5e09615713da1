"""A survey whose reduction gives source lists of one night with six movers, and no image."""

from __future__ import annotations

import json

from truth.sourcelists import field_of

from virtualobserver.data.product import Raw
from virtualobserver.observatory import ObservatorySettings, Site, VirtualObservatory

IMAGES = 12


class VirtualListed(VirtualObservatory):
    """Frames ``NUMBER.json``."""

    name = "listed"
    levels = ("night", "frame")
    site = Site(10.0, 50.0, 100.0)
    produces = (("table", "sources"),)
    batch = 1
    Settings = ObservatorySettings

    def fetch(self, targets, client):
        for target in targets:
            for number in range(IMAGES):
                content = json.dumps({"number": number}).encode()
                yield target, Raw(f"n1_{number}", "json", content, header={"frame": number})

    def unit(self, raw):
        return f"n1/{raw.header['frame']}"

    def reduce(self, raws, aux, settings):
        made = field_of(1, movers=6, stars=120, rate=(5.0, 200.0), mag=(14.0, 16.0))
        for raw in raws:
            yield made.products[json.loads(raw.read())["number"]]

    def simulate_raw(self, targets, rng):
        yield from ()
