"""Measures what a bundle costs and what it buys, against diffusers in FP32 on the same machine, and reports it.

Read `case.py` first: it states the contract. `benchmark.run_benchmark` runs everything, `report.make_report` rebuilds
the pages from results.json alone. Nothing is imported here: a worker's cold start would pay for it.
"""

__all__: list[str] = []
