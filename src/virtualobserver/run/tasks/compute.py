"""The pure part of a task: from inputs to an outcome, with the border that keeps one bad task from the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from virtualobserver.data.result import Result
from virtualobserver.observatory import Aux
from virtualobserver.run.tasks.task import Claim, Outcome
from virtualobserver.simulate import SimulatedUnit, Simulator
from virtualobserver.typing import QueryRow, Record, RecordDict

if TYPE_CHECKING:
    from virtualobserver.run.steps import Step

__all__ = ["attempt"]

Item = tuple[Claim, Sequence[QueryRow], RecordDict]
Services = Callable[[], Record]


def attempt(
    step: Step, items: Sequence[Item], number: int = 0, *, services: Services = dict
) -> list[Outcome]:
    """Compute tasks. Whatever a task raises ends here, as a failed task with its traceback.

    Tasks that were searched together, and of which one raised, are searched one by one.

    Parameters
    ----------
    items
        Claim, inputs, and what is known of the inputs, of each task.
    number
        For a ``simulate`` step: injections wanted per source.
    services
        Makes the services of the step.
    """
    start = time.perf_counter()
    try:
        outcomes = _COMPUTE[step.kind](step, items, number, services())
    except (MemoryError, Exception) as error:  # noqa: BLE001 - the border between one task and the run
        if len(items) > 1:
            return [outcome for item in items for outcome in attempt(step, [item], number, services=services)]
        claim, _, facts = items[0]
        return [Outcome.failure(claim, error, seconds=time.perf_counter() - start, inputs=facts["inputs"])]
    seconds = (time.perf_counter() - start) / len(items)
    return [replace(outcome, seconds=seconds) for outcome in outcomes]


def _outcome(claim: Claim, facts: RecordDict, *, full: bool, why: str, **fields: Any) -> Outcome:
    """Return the outcome of a task: done, or empty, because of `why`, if there was nothing."""
    return Outcome(
        claim,
        "done" if full else "empty",
        inputs=facts["inputs"],
        raw_ids=facts["raw_ids"],
        product_ids=facts["product_ids"],
        simulated=facts["simulated"],
        reason=None if full else why,
        **fields,
    )


def _reduce(step: Step, items: Sequence[Item], _: int, services: Record) -> list[Outcome]:
    """Do `calibrate`, `reduce` or a named part of the reduction."""
    survey = step.instance
    outcomes = []
    for claim, inputs, facts in items:
        aux = Aux(target=claim.target, masters=facts["masters"], services=services)
        if step.kind == "refine":
            made = survey.refine(step.part, inputs, aux, survey.settings) if inputs else ()
        else:
            made = (survey.calibrate if step.kind == "calibrate" else survey.reduce)(
                inputs, aux, survey.settings
            )
        products = survey.with_band_names(made)
        why = _left_out(aux) or _nothing_made(step, inputs)
        fields = {"products": products, "counts": dict(aux.notes)}
        outcomes.append(_outcome(claim, facts, full=bool(products), why=why, **fields))
    return outcomes


def _left_out(aux: Aux) -> str:
    causes = [cause for cause, _ in aux.notes.most_common()]
    return f"nothing is left: {', '.join(causes)}" if causes else ""


def _nothing_made(step: Step, inputs: Sequence[QueryRow]) -> str:
    if not inputs:
        return "nothing to work on: " + (_wanted(step) if step.part else "no raw data")
    what = "products" if step.part else "pieces of raw data"
    return f"nothing came of its {what}, and {step.plugin} does not say why"


def _wanted(step: Step) -> str:
    """Say that the products a step works on are not there."""
    return "no product " + " or ".join(dict.fromkeys(f"{kind}/{role}" for kind, role in step.wanted))


def _analyse(step: Step, items: Sequence[Item], _: int, services: Record) -> list[Outcome]:
    analysis = step.instance
    auxes = [Aux(target=claim.target, services=services) for claim, _, _ in items]
    units = [(products, aux) for (_, products, _), aux in zip(items, auxes, strict=True) if products]
    results = iter(analysis.find_many(units, analysis.settings))
    outcomes = []
    for (claim, products, facts), aux in zip(items, auxes, strict=True):
        result = next(results) if products else Result()
        fields = {"input_products": facts["product_ids"], "counts": dict(aux.notes)}
        why = f"nothing to search: {_wanted(step)}"
        outcomes.append(_outcome(claim, facts, full=bool(products), why=why, result=result, **fields))
    return outcomes


def _simulate(step: Step, items: Sequence[Item], number: int, services: Record) -> list[Outcome]:
    units = [
        SimulatedUnit(
            products,
            Aux(target=claim.target, services=services),
            range(claim.extent, number),
            source=claim.target.name,
            unit=claim.unit,
        )
        for claim, products, _ in items
        if products
    ]
    results = iter(Simulator(step.instance).run_many(units, digest=step.digest))
    outcomes = []
    for claim, products, facts in items:
        made = next(results) if products else ()
        used = facts["product_ids"]
        fields = {"injections": made, "extent": number, "input_products": used}
        why = f"nothing to put events into: {_wanted(step)}"
        outcomes.append(_outcome(claim, facts, full=bool(products), why=why, **fields))
    return outcomes


_COMPUTE: dict[str, Callable[[Step, Sequence[Item], int, Record], list[Outcome]]] = {
    "calibrate": _reduce,
    "reduce": _reduce,
    "refine": _reduce,
    "analyse": _analyse,
    "simulate": _simulate,
}
