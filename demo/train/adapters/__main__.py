"""`python -m demo.train.adapters lcm` or `style`: the adapters of the embedded checkpoint, as in demo/adapters.

A training that was killed goes on where it was, and one that is done goes on when it is given more steps.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT

from ..workspace import Workspace
from .recipes import RECIPES, make_adapter
from .trainee import write_snapshot


def main() -> None:
    """The command line; exit code 2 with one sentence for what cannot be done, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo.train.adapters", description=__doc__)
    parser.add_argument("name", choices=tuple(RECIPES))
    parser.add_argument("-w", "--workspace", type=Path, default=Path("training/adapters"), help="folder to work in")
    parser.add_argument("--checkpoint", type=Path, default=Path("demo/checkpoint"), help="the teacher")
    parser.add_argument("-o", "--output", type=Path, help="file to write; in the workspace by default")
    parser.add_argument("--steps", type=int, help="of the training, all together")
    parser.add_argument("--runs", type=int, help="of the teacher, all together")
    parser.add_argument("--snapshot", action="store_true", help="write what an unfinished training has, and stop")
    options = parser.parse_args()
    workspace, recipe = Workspace(options.workspace), RECIPES[options.name]
    output = options.output or options.workspace / f"{options.name}.safetensors"
    steps, runs = options.steps or recipe.fitting.steps, options.runs or recipe.trajectories.count
    fitting, trajectories = replace(recipe.fitting, steps=steps), replace(recipe.trajectories, count=runs)
    with exit_with_a_sentence(if_interrupted="interrupted; the same command goes on from here"):
        if options.snapshot:
            done = write_snapshot(workspace, options.name, output)
            STDOUT.print(f"wrote {output}, after {done} steps", markup=False)
            return
        recipe = replace(recipe, fitting=fitting, trajectories=trajectories)
        make_adapter(workspace, options.checkpoint, options.name, recipe, output)
    STDOUT.print(f"wrote {output}", markup=False)


if __name__ == "__main__":
    main()
