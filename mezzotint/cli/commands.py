"""The commands there are. To add one: write its file, and a line here whose summary is the first of its docstring."""

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mezzotint import __version__

from .terminal import STDOUT


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A command before it is loaded: its file in this folder has a function, or a Typer, of the command's name.

    Where the name has a hyphen, file and function have an underscore.
    """

    name: str
    summary: str
    is_hidden: bool = False


COMMANDS: tuple[Entry, ...] = (
    Entry(
        name="optimize",
        summary="Export a checkpoint, quantize it for this machine, and check the result: one command with defaults.",
    ),
    Entry(name="export", summary="Export a checkpoint to a bundle of FP32 ONNX graphs, each checked against PyTorch."),
    Entry(name="swap-vae", summary="Put another VAE into a copy of a bundle; its other graphs stay as they are."),
    Entry(name="lora", summary="Add LoRAs to a copy of a bundle, FP32 or quantized: to its weights, or beside them."),
    Entry(name="embedding", summary="Teach a copy of a bundle the words that textual inversion learned."),
    Entry(name="quantize", summary="Quantize an FP32 bundle for an engine."),
    Entry(name="build", summary="Compile a bundle's graphs to engines of TensorRT-RTX ahead of time; it needs no GPU."),
    Entry(name="tune", summary="Find the fastest settings at a stated fidelity, and keep them as a bundle's profile."),
    Entry(name="generate", summary="Generate images from a bundle, without PyTorch."),
    Entry(name="canny", summary="Draw the edges of an image, for a ControlNet that follows them."),
    Entry(name="serve", summary="Serve bundles: a page with a prompt box, and the APIs that clients speak already."),
    Entry(
        name="benchmark",
        summary="Compare bundles with diffusers FP32: latency, memory, size and fidelity, in a report.",
    ),
    Entry(name="report", summary="Write report.md and report.html again from measured results."),
    Entry(name="inspect", summary="Show what is in a bundle and how it was made."),
    Entry(name="audit", summary="Run a graph and show which kernels really ran, at which precision."),
    Entry(name="verify", summary="Check every file of a bundle against its hash."),
    Entry(name="doctor", summary="Show which engines, CPU features and packages this machine has."),
    Entry(name="dev", summary="Tools for working on Mezzotint itself.", is_hidden=True),
)


def load(name: str) -> Any:
    """The command called `name`, from its file."""
    python_name = name.replace("-", "_")
    found = getattr(import_module(f".{python_name}", __package__), python_name)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)


class _Unloaded(TyperCommand):
    """A name and a summary, for the list of commands; whatever runs or completes makes a context first, and loads."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return load(self.name or "").make_context(info_name, args, parent=parent, **extra)


class _Commands(TyperGroup):
    """The group of COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- Click's signature
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:  # noqa: ARG002 -- Click's signature
        entry = next((entry for entry in COMMANDS if entry.name == cmd_name), None)
        return None if entry is None else _Unloaded(entry.name, help=entry.summary, hidden=entry.is_hidden)


app = typer.Typer(
    cls=_Commands,
    help="Make Stable Diffusion small and fast, and measure what that cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """The group itself."""
    if show:
        STDOUT.print(__version__)
        raise typer.Exit
