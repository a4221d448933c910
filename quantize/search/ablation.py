"""What each step of INT8 buys, measured at the denoiser's guided output on calls that calibration did not see.

    mezzotint dev ablation BUNDLE [--prompts FILE] [--target openvino] [--min-sqnr-db 30]

prints a row for each step: the typical SQNR against FP32, and how many nodes are integer. `--min-sqnr-db` adds the row
of the search. Statistics come from the cache that `mezzotint quantize` fills.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.precision import NodeScheme
from mezzotint.families.lineup import family_of
from mezzotint.progress import silent
from mezzotint.runtime import Bundle

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
    method = replace(step.method, exact=target.exact)
    plan = decide_and_rewrite(model, name, data, CalibrationRun(), method)
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


def table_lines(
    bundle: Bundle, prompts: Sequence[str], targets: Sequence[str], min_sqnr_db: float | None
) -> Iterator[str]:
    """The lines of a Markdown table, each as soon as it is measured; the search is left out without a figure."""
    lowered_for = [find_target(name) for name in targets]
    data = calibrate(bundle, prompts, CalibrationSettings.of(bundle), silent)
    yield f"| | {' | '.join(target.name for target in lowered_for)} |"
    yield f"|---|{'---|' * len(lowered_for)}"
    for step in STEPS:
        if step.is_searched and min_sqnr_db is None:
            continue
        cells = [measure(step, data, target, min_sqnr_db or 0.0) for target in lowered_for]
        row = " | ".join(f"{figure:.1f} dB, {nodes} nodes" for figure, nodes in cells)
        yield f"| {step.name} | {row} |"
