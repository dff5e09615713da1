"""A tiny image survey: frames of 4 x 4 pixels in text files, a camera with biases and flats, nights of frames."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product, Raw, Target
from virtualobserver.observatory import ObservatorySettings, VirtualObservatory

CAMERA = Target(name="camera-1", kind="instrument")


class TinySettings(ObservatorySettings):
    """One setting for each part of the reduction."""

    scale: float = setting(1.0, doc="Factor on calibrated pixels", step="reduce.scale")
    add: float = setting(0.0, doc="Added to calibrated pixels", step="reduce.frames")


class VirtualTiny(VirtualObservatory[Image, TinySettings]):
    """Frames ``FIELD_NIGHT_FRAME.json`` and ``bias_NIGHT_N.json``, ``flat_NIGHT_N.json``, each {"level": number}."""

    name = "tiny"
    levels = ("night", "frame")
    master_kinds = ("bias", "flat")
    produces = (("image", "flattened"),)
    parts: ClassVar = {"scale": (("image", "calibrated"),)}
    batch = 1

    def fetch(self, targets, client):
        for target in targets:
            for folder in client.folders:
                for path in sorted(folder.glob("*.json")):
                    kind, night, number = path.stem.split("_")
                    owner = CAMERA if kind in self.master_kinds else None
                    if owner is None and kind != target.name:
                        continue
                    header = {"kind": kind, "night": night, "frame": number}
                    yield target, Raw(path.name, "json", path=path, in_place=True, header=header, owner=owner)

    def unit(self, raw):
        kind, night, frame = (raw.header[name] for name in ("kind", "night", "frame"))
        return f"{kind}/{night}" if kind in self.master_kinds else f"{night}/{frame}"

    def calibrate(self, raws, aux, settings):
        bias = aux.masters["bias"].load().data if "bias" in aux.masters else 0.0
        stack = np.mean([self._pixels(raw) for raw in raws], axis=0) - bias
        yield Product(
            Image(stack, header={"NCOMBINE": len(raws)}), role="master", statistics={"n": len(raws)}
        )

    def choose(self, masters, raw):
        night = raw.header["night"]
        return {m.info.unit.split("/")[0]: m for m in masters if m.info.unit.split("/")[1] == night}

    def reduce(self, raws, aux, settings):
        if not raws:
            return
        bias, flat = aux.masters["bias"].load().data, aux.masters["flat"].load().data
        (raw,) = raws
        yield Product(Image((self._pixels(raw) - bias) / flat + settings.add), role="flattened")

    def refine(self, part, products, aux, settings):
        assert part == "scale"
        for handle in products:
            yield Product(Image(handle.load().data * settings.scale), role="calibrated")

    def simulate_raw(self, targets, rng):
        yield from ()

    @staticmethod
    def _pixels(raw):
        return np.full((4, 4), json.loads(raw.read())["level"], dtype=float)
