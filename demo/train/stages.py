"""The recipe: its stages in order. A stage whose result is there is skipped, and one that was killed goes on or again.

Adding a stage costs a file, a line here and a test.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mezzotint.cli.terminal import STDERR, show_progress
from mezzotint.errors import MezzotintError

from .artwork.concepts import Concept
from .assemble import assemble
from .autoencoder import train_autoencoder
from .captions import write_keywords
from .config import Recipe
from .fetch import fetch_all, is_fetched
from .latents import cache_latents
from .meter import Meter, show_training
from .pictures import render_all
from .pipeline import train_pipeline
from .tokenizer import train_tokenizer
from .workspace import Workspace


@dataclass(frozen=True)
class Stage:
    """`is_done` looks for the result in the workspace; `run` makes it."""

    name: str
    is_done: Callable[[Workspace], bool]
    run: Callable[[Workspace, Recipe, Sequence[Concept]], None]


def _fetch(workspace: Workspace, _recipe: Recipe, _concepts: Sequence[Concept]) -> None:
    with show_progress() as progress:
        fetch_all(workspace, progress)


def _render(workspace: Workspace, recipe: Recipe, concepts: Sequence[Concept]) -> None:
    with show_progress() as progress:
        render_all(workspace, recipe, concepts, progress)


def _cache_latents(workspace: Workspace, _recipe: Recipe, _concepts: Sequence[Concept]) -> None:
    with show_progress() as progress:
        cache_latents(workspace, progress)


def _training(
    what: str, train: Callable[[Workspace, Recipe, Meter], None]
) -> Callable[[Workspace, Recipe, Sequence[Concept]], None]:
    def run(workspace: Workspace, recipe: Recipe, _concepts: Sequence[Concept]) -> None:
        with show_training(what) as meter:
            train(workspace, recipe, meter)

    return run


STAGES: tuple[Stage, ...] = (
    Stage("fetch", is_fetched, _fetch),
    Stage("render", lambda workspace: workspace.pictures.exists(), _render),
    Stage(
        "captions",
        lambda workspace: workspace.keywords.exists(),
        lambda workspace, _, concepts: write_keywords(workspace, concepts),
    ),
    Stage(
        "tokenizer",
        lambda workspace: workspace.tokenizer.exists(),
        lambda workspace, recipe, _: train_tokenizer(workspace, recipe),
    ),
    Stage("autoencoder", lambda workspace: workspace.autoencoder.exists(), _training("autoencoder", train_autoencoder)),
    Stage("latents", lambda workspace: workspace.latents.exists(), _cache_latents),
    Stage(
        "pipeline", lambda workspace: workspace.averaged.exists(), _training("text encoder and UNet", train_pipeline)
    ),
    Stage(
        "assemble",
        lambda workspace: workspace.checkpoint.exists(),
        lambda workspace, recipe, _: assemble(workspace, recipe),
    ),
)


def run_stages(workspace: Workspace, recipe: Recipe, concepts: Sequence[Concept], until: str = "assemble") -> None:
    """Run the stages up to `until`, which is one of them."""
    names = [stage.name for stage in STAGES]
    if until not in names:
        raise MezzotintError(f"there is no stage {until!r}; there are {', '.join(names)}")
    workspace.claim(recipe)
    for stage in STAGES[: names.index(until) + 1]:
        if stage.is_done(workspace):
            STDERR.print(f"{stage.name}: done before")
            continue
        STDERR.print(f"{stage.name}: started")
        stage.run(workspace, recipe, concepts)
