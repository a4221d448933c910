"""The stages of `make gpu`, in the order of what is worth most: a loan may end after any of them.

First the embedded checkpoint, whose images can be judged, then the shapes of SD 1.5 and SDXL with random weights.
"""

from dataclasses import dataclass
from pathlib import Path

REPORTS = Path("reports/gpu")
CAPABILITIES = "{capabilities}"
"""In a stage's arguments: this GPU's compute capability, or those that engines are made for where there is none."""
_CLI = ("-m", "mezzotint")
_PROMPT = "a flat emoji of a red apple on a blue background"
_EVALUATION = ("--prompts", "demo/prompts/evaluation.txt")
_KINDS = (("fp16", "cuda"), ("fp16", "tensorrt"), ("int8", "tensorrt"), ("fp8", "tensorrt"))
_SHORT = ("--trajectories", "2", "--steps-per-prompt", "2", "--samples", "4")  # of random weights, ranges mean nothing
_SHAPES = ("sd15", "sdxl")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A command of the interpreter, and what it leaves that is worth keeping, with the name that it is kept by.

    `needs` are the stages that must be done before it. `on_gpu` where it runs on one: all others may be done on another
    machine before. `target` and `recipe` are those of the graphs that it runs, "" for none; one that `builds` compiles
    them to engines. `peers` is a folder of peers that are measured too, and `bundles` those that are, by target, where
    they are there: at least one, if any are named.
    """

    name: str
    arguments: tuple[str, ...]
    kept: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    on_gpu: bool = True
    target: str = ""
    recipe: str = ""
    builds: bool = False
    peers: str = ""
    bundles: tuple[tuple[str, str], ...] = ()


def _bundle(model: str, recipe: str, target: str) -> str:
    return f"bundles/{model}-{recipe}-{target}"


def _quantize(model: str, recipe: str, target: str, *options: str) -> Stage:
    bundle = _bundle(model, recipe, target)
    command = ("quantize", f"bundles/{model}-fp32", "-o", bundle, "--recipe", recipe, "--target", target, "--overwrite")
    name = f"quantize-{model}-{recipe}-{target}"
    return Stage(name=name, arguments=(*_CLI, *command, *options), needs=(f"export-{model}",), on_gpu=False)


def _build(model: str, recipe: str, target: str) -> Stage:
    """Engines beside the graphs; where TensorRT-RTX does not know the GPU, the provider builds its own."""
    return Stage(
        name=f"build-{model}-{recipe}",
        arguments=(*_CLI, "build", _bundle(model, recipe, target), "--compute-capability", CAPABILITIES),
        needs=(f"quantize-{model}-{recipe}-{target}",),
        on_gpu=False,
        target=target,
        recipe=recipe,
        builds=True,
    )


def _generate(recipe: str, target: str) -> Stage:
    image = str(REPORTS / f"{recipe}-{target}.png")
    return Stage(
        name=f"generate-{recipe}-{target}",
        arguments=(*_CLI, "generate", _bundle("demo", recipe, target), _PROMPT, "--overwrite", "-o", image),
        needs=(f"quantize-demo-{recipe}-{target}",),
        target=target,
        recipe=recipe,
    )


def _peers(model: str, checkpoint: str) -> Stage:
    folder = ("-o", _peers_folder(model), "--environments", ".venv/peers", "--gpu")
    command = ("dev", "peers", checkpoint, f"bundles/{model}-fp32", *folder)
    return Stage(name=f"peers-{model}", arguments=(*_CLI, *command), needs=(f"export-{model}",), target="cuda")


def _peers_folder(model: str) -> str:
    return f"bundles/peers/gpu-{model}"


def _benchmark(model: str, checkpoint: str, *options: str) -> Stage:
    """Of the bundles that there are and that an engine here can run, and of the peers that there are."""
    output = REPORTS / model
    command = ("benchmark", checkpoint, "-o", str(output), *_EVALUATION, "--fp16", "--no-bf16", *options)
    return Stage(
        name=f"benchmark-{model}",
        arguments=(*_CLI, *command),
        kept=((str(output / "results.json"), f"gpu-{model}.json"),),
        needs=(f"export-{model}",),
        peers=_peers_folder(model),
        bundles=tuple((target, _bundle(model, recipe, target)) for recipe, target in _KINDS),
    )


def _of_shape(shape: str) -> tuple[Stage, ...]:
    checkpoint, fp32 = f"bundles/{shape}/checkpoint", f"bundles/{shape}-fp32"
    return (
        Stage(
            name=f"weights-{shape}",
            arguments=("-m", "demo.synthetic", shape, "-o", checkpoint, "--overwrite"),
            on_gpu=False,
        ),
        Stage(
            name=f"export-{shape}",
            arguments=(*_CLI, "export", checkpoint, "-o", fp32, "--overwrite"),
            needs=(f"weights-{shape}",),
            on_gpu=False,
        ),
        *(_quantize(shape, *kind, *_SHORT) for kind in _KINDS),
        *(_build(shape, *kind) for kind in _KINDS if kind[1] == "tensorrt"),
        _peers(shape, checkpoint),
        _benchmark(shape, checkpoint, "--limit", "1", "--parts", "--images", "3", "--rounds", "2", "--no-fidelity"),
    )


STAGES: tuple[Stage, ...] = (
    Stage(name="doctor", arguments=(*_CLI, "doctor")),
    Stage(name="tests", arguments=("-m", "pytest", "-m", "gpu", "tests/engines/test_gpu_engines.py")),
    Stage(name="export-demo", arguments=("-m", "demo.run", "bundles/demo-fp32"), on_gpu=False),
    *(_quantize("demo", *kind, "--prompts", "demo/prompts/calibration.txt") for kind in _KINDS),
    *(_build("demo", *kind) for kind in _KINDS if kind[1] == "tensorrt"),
    *(_generate(*kind) for kind in _KINDS),
    _peers("demo", "demo/checkpoint"),
    _benchmark("demo", "demo/checkpoint", "--limit", "16", "--rounds", "2"),
    *(stage for shape in _SHAPES for stage in _of_shape(shape)),
)
