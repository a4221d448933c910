"""What each step of INT8 buys, measured at the denoiser's guided output on calls that calibration did not see.

    python -m mezzotint.quantize.search.ablation BUNDLE --prompts FILE [--target openvino] [--min-sqnr-db 30]

prints a row for each step: the typical SQNR against FP32, and how many nodes are integer. `--min-sqnr-db` adds the row
of the search. Statistics come from the cache that `mezzotint quantize` fills.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.precision import NodeScheme
from mezzotint.families.lineup import family_of
from mezzotint.progress import silent
from mezzotint.runtime import Bundle, MezzotintError
from mezzotint.runtime.text.prompts import read_prompts

from ..calibrate.calibrate import calibrate
from ..calibrate.data import CalibrationData
from ..calibrate.ranges import RANGE_METHODS
from ..calibrate.run import CalibrationRun
from ..calibrate.trajectories import CalibrationSettings
from ..decide.integer import decide_and_rewrite
from ..decide.method import RECIPE_METHOD, Method
from ..graphs.graph_file import load_graph, temporary_graph
from ..lower.target import Target, find_target
from ..rules.rule import Rule
from ..verify.parity import sqnr_figures_db, typical_db
from .costs import Costs
from .search import search_exclusions

_EVERYTHING = (
    Rule("*.ff.net.2", NodeScheme.W8A8, "ablation"),
    Rule("*.resnets.*.conv[12]", NodeScheme.W8A8, "ablation"),
)
_FEED_FORWARDS = (Rule("*.ff.net.2", NodeScheme.W8, "ablation"),)


@dataclass(frozen=True)
class AblationStep:
    """A row of the table; `is_searched` takes nodes out until a figure is reached."""

    name: str
    method: Method
    is_searched: bool = False


STEPS: tuple[AblationStep, ...] = (
    AblationStep(
        "min-max ranges, only the hard exclusions", Method(RANGE_METHODS[:1], smooths=False, rules=_EVERYTHING)
    ),
    AblationStep("ranges by least output error", Method(smooths=False, rules=_EVERYTHING)),
    AblationStep("and smoothing", Method(rules=_EVERYTHING)),
    AblationStep("and the exclusions by rule: the recipe", RECIPE_METHOD),
    AblationStep("the recipe, and every ff.net.2 left at W8", Method(rules=_FEED_FORWARDS)),
    AblationStep("the recipe, and the search", RECIPE_METHOD, is_searched=True),
)


def measure(step: AblationStep, data: CalibrationData, target: Target, floor_db: float) -> tuple[float, int]:
    """The typical SQNR in dB over the calls that parity is measured on, and how many nodes are integer."""
    name = family_of(data.bundle).denoiser
    model = load_graph(data.bundle.graph_path(name))
    plan = decide_and_rewrite(model, name, data, CalibrationRun(), step.method)
    decisions = target.fit(model.graph, plan.decisions)
    if step.is_searched:
        decisions = search_exclusions(
            model,
            name,
            decisions=decisions,
            statistics=plan.statistics,
            data=data,
            target=target,
            costs=Costs(),
            floor_db=floor_db,
        )
    with temporary_graph(target.lower(model, decisions).model) as path:
        entry = file_entry(path.parent, path.name)
        component = replace(data.bundle.component(name), files=(entry,), compute=target.compute)
        figures = sqnr_figures_db(data, name, component, path, target)
    return typical_db(figures), sum(one.scheme is NodeScheme.W8A8 for one in decisions.values())


def main(arguments: Sequence[str]) -> None:
    """Print the rows as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m mezzotint.quantize.search.ablation", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--target", default="openvino,onnxruntime")
    parser.add_argument("--min-sqnr-db", type=float, help="also search for exclusions that reach this figure")
    asked = parser.parse_args(arguments)
    bundle, targets = Bundle.open(asked.bundle), [find_target(name) for name in asked.target.split(",")]
    data = calibrate(bundle, read_prompts(asked.prompts), CalibrationSettings.of(bundle), silent)
    sys.stdout.write(f"| | {' | '.join(target.name for target in targets)} |\n|---|{'---|' * len(targets)}\n")
    for step in STEPS:
        if step.is_searched and asked.min_sqnr_db is None:
            continue
        cells = [measure(step, data, target, asked.min_sqnr_db or 0.0) for target in targets]
        row = " | ".join(f"{figure:.1f} dB, {nodes} nodes" for figure, nodes in cells)
        sys.stdout.write(f"| {step.name} | {row} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except MezzotintError as error:
        sys.stderr.write(f"mezzotint: {error}\n")
        sys.exit(error.exit_code)
