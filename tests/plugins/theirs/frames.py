"""Somebody's camera: frames of 6 by 5 pixels in JSON files, darks of each exposure time, and a table of stars."""

from __future__ import annotations

import json

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product, Raw, Target
from virtualobserver.data.table import Table
from virtualobserver.observatory import ObservatorySettings, SurveyContract, VirtualObservatory

CAMERA = Target("pinhole", kind="instrument")


class PinholeSettings(ObservatorySettings):
    """Settings of the camera."""

    threshold: float = setting(50.0, doc="Least level of a star", unit="adu", step="reduce")


class VirtualPinhole(VirtualObservatory[Image | Table, PinholeSettings]):
    """Darks are shared by all nights."""

    name = "pinhole"
    levels = ("night", "frame")
    master_kinds = ("dark",)
    produces = (("image", "calibrated"), ("table", "stars"))
    contract = SurveyContract(targets=(Target("field", ra=10.0, dec=-30.0, kind="field"),))

    def fetch(self, targets, client):
        for target in targets:
            for folder in client.folders:
                for path in sorted(folder.rglob("*.json")):
                    facts = json.loads(path.read_bytes())["facts"]
                    if facts["kind"] == "dark" or facts["object"] == target.name:
                        yield target, described(facts, path=path, in_place=True)

    def unit(self, raw):
        facts = raw.header
        return (
            f"dark/{facts['exptime']}s" if facts["kind"] == "dark" else f"{facts['night']}/{facts['number']}"
        )

    def calibrate(self, raws, aux, settings):
        return [Product(Image(np.median([pixels(raw) for raw in raws], axis=0)), role="master")]

    def choose(self, masters, raw):
        wanted = f"dark/{raw.header['exptime']}s"
        return {one.info.unit.partition("/")[0]: one for one in masters if one.info.unit == wanted}

    def reduce(self, raws, aux, settings):
        products = []
        for raw in raws:
            data = pixels(raw) - aux.masters["dark"].load().data
            image = Image(data, np.full(data.shape, 4.0), np.zeros(data.shape, np.uint8), unit="adu")
            y, x = np.nonzero(data > settings.threshold)
            stars = Table(
                {"x": x.astype(float), "y": y.astype(float), "flux": data[y, x]}, units={"flux": "adu"}
            )
            products += [Product(image, role="calibrated"), Product(stars, role="stars")]
        return products

    def simulate_raw(self, targets, rng):
        for target in targets:
            dark = np.full((6, 5), 100.0)
            for number in range(2):
                yield (
                    target,
                    frame({"kind": "dark", "object": "", "night": "n1", "number": number}, dark + number),
                )
            for night in ("n1", "n2"):
                data = dark + rng.normal(0.0, 2.0, dark.shape)
                data[2, 3] += 300.0
                yield (
                    target,
                    frame({"kind": "light", "object": target.name, "night": night, "number": 0}, data),
                )


def described(facts, **where):
    """Return raw data with what `unit` has to know of them."""
    owner = CAMERA if facts["kind"] == "dark" else None
    name = f"{facts['night']}/{facts['kind']}{facts['number']}.json"
    return Raw(name, "json", header=facts, owner=owner, **where)


def frame(facts, data):
    """Return a simulated frame."""
    facts = facts | {"exptime": 30}
    return described(facts, content=json.dumps({"facts": facts, "pixels": data.tolist()}).encode())


def pixels(raw):
    """Return the counts."""
    return np.array(json.loads(raw.read())["pixels"])
