"""`python -m demo.train`: from nothing to a checkpoint such as demo/checkpoint. See README.md beside this file."""

import argparse
import sys
from pathlib import Path

from mezzotint.cli.terminal import STDERR, STDOUT
from mezzotint.errors import MezzotintError

from .concepts import read_concepts
from .config import RECIPE
from .stages import STAGES, run_stages
from .workspace import Workspace

__all__ = ["main"]


def main() -> None:
    """The command line; exit code 2 with one sentence for what cannot be done, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("training"), help="folder to work in")
    parser.add_argument("--until", choices=tuple(stage.name for stage in STAGES), default=STAGES[-1].name)
    options = parser.parse_args()
    workspace = Workspace(options.output)
    try:
        run_stages(workspace, RECIPE, read_concepts(), options.until)
    except MezzotintError as error:
        STDERR.print(f"error: {error}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        STDERR.print("interrupted; the same command goes on from here")
        sys.exit(130)
    if workspace.checkpoint.exists():
        STDOUT.print(f"the checkpoint is {workspace.checkpoint}", markup=False)


if __name__ == "__main__":
    main()
