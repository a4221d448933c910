"""`python -m demo.train`: from nothing to a checkpoint such as demo/checkpoint. See README.md beside this file."""

import argparse
from pathlib import Path

from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT

from .artwork.concepts import read_concepts
from .config import RECIPE
from .stages import STAGES, run_stages
from .workspace import Workspace


def main() -> None:
    """The command line; exit code 2 with one sentence for what cannot be done, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("training"), help="folder to work in")
    parser.add_argument("--until", choices=tuple(stage.name for stage in STAGES), default=STAGES[-1].name)
    options = parser.parse_args()
    workspace = Workspace(options.output)
    with exit_with_a_sentence(if_interrupted="interrupted; the same command goes on from here"):
        run_stages(workspace, RECIPE, read_concepts(), options.until)
    if workspace.checkpoint.exists():
        STDOUT.print(f"the checkpoint is {workspace.checkpoint}", markup=False)


if __name__ == "__main__":
    main()
