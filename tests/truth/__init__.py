"""Independent simulators of raw data, and what the searches make of them.

Nothing here is shared with the code that injects events: other shapes, other noise, other frames. Each search has
a simulator and a module ``measure_<search>.py`` with a function ``rows(number, seed)``; tests call it with small
numbers, ``benchmarks/bench_truth.py`` with large ones.
"""
