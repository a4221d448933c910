"""The adapters that there are: what the teacher draws for each, what is learned of that, and how it is fitted."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mezzotint.cli.terminal import show_progress
from mezzotint.progress import Progress

from ..meter import show_training
from ..workspace import Workspace
from .consistency import Consistency
from .duotone import Restyling, recolour
from .plans import DISTILLING, DUOTONE, LCM, STYLE, TRAJECTORIES, Fitting, Trajectories
from .trainee import AdapterTrainee, Objective, train_adapter
from .trajectories import Runs, claim, run_teacher

_FREE = ("steps", "learning_rate", "log_every_steps", "save_every_s")  # may be others when a training goes on


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Of one adapter. `objective` takes a folder of its own, the checkpoint, and the teacher's runs."""

    trajectories: Trajectories
    objective: Callable[[Path, Path, Runs, Progress], Objective]
    fitting: Fitting


def _consistency(_folder: Path, _checkpoint: Path, runs: Runs, _progress: Progress) -> Objective:
    return Consistency.create(runs, DISTILLING)


def _restyling(folder: Path, checkpoint: Path, runs: Runs, progress: Progress) -> Objective:
    return Restyling.create(runs, recolour(folder / "pictures", checkpoint, runs, DUOTONE, progress), DUOTONE)


RECIPES = {
    "lcm": Recipe(trajectories=TRAJECTORIES, objective=_consistency, fitting=LCM),
    "style": Recipe(trajectories=TRAJECTORIES, objective=_restyling, fitting=STYLE),
}


def make_adapter(workspace: Workspace, checkpoint: Path, name: str, recipe: Recipe, output: Path) -> None:
    """Run the teacher, train, and write the adapter to `output`; what is in the workspace already is not done again.

    MezzotintError where the workspace holds the work of another recipe or checkpoint.
    """
    folder = workspace.root / name
    fixed = {key: value for key, value in asdict(recipe.fitting).items() if key not in _FREE}
    claim(folder, {"fitting": fixed})
    with show_progress() as progress:
        runs = run_teacher(workspace.root / "trajectories", checkpoint, recipe.trajectories, progress)
        objective = recipe.objective(folder, checkpoint, runs, progress)
    trainee = AdapterTrainee.create(checkpoint, recipe.fitting, objective)
    with show_training(name) as meter:
        train_adapter(trainee, workspace, name, output, meter)
