"""Components are asked for by role and graphs are fed by their family: nobody else spells their names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ("mezzotint", "export", "quantize", "runtime", "benchmarks")
NAMES = {
    # components of bundles and folders of checkpoints
    *("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "vae", "vae_decoder", "vae_encoder"),
    # inputs and outputs of their graphs; "sample" and "timestep" are words of other things as well
    *("input_ids", "last_hidden_state", "pooler_output", "encoder_hidden_states", "out_sample", "latent_sample"),
    *("latent_parameters", "text_embeds", "time_ids", "timestep_cond", "pooled_projections"),
    *("controlnet_cond", "mid_block_additional_residual"),
}
FAMILIES = ("mezzotint/families/", "export/families/", "quantize/rules/")
# A part of the library's files -> the names that it may spell, and why.
ALLOWED = {
    "export/files/origins.py": {"unet", "vae", "text_encoder", "text_encoder_2"},  # parts from elsewhere
    "export/single_files/homes.py": {"unet", "vae", "text_encoder", "text_encoder_2"},  # names in files, by folder
    "benchmarks/cases/baseline.py": NAMES,  # drives diffusers' own pipeline
    "benchmarks/measure/measure.py": {"text_encoder", "vae_decoder"},  # keys of results.json: times of the parts
    "benchmarks/measure/roofline.py": {"text_encoder", "vae_decoder"},
    "benchmarks/report/rows.py": {"text_encoder", "vae_decoder"},
    "benchmarks/report/summary.py": {"text_encoder", "vae_decoder"},
    "benchmarks/report/compare.py": {"text_encoder", "vae_decoder"},
    "benchmarks/report/node_tables.py": {"unet"},  # of which results from before spoke without saying so
}


def spelled(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string constant that is one of the names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node.lineno, node.value


def files() -> list[Path]:
    paths = [path for root in LIBRARY for path in sorted((ROOT / root).rglob("*.py"))]
    return [path for path in paths if not any(parent.is_symlink() for parent in path.parents)]


def test_names_stand_in_family_files_alone() -> None:
    found = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(FAMILIES):
            allowed = ALLOWED.get(name, set())
            lines = spelled(path.read_text(encoding="utf-8"))
            found += [f"{name}:{line} {text}" for line, text in lines if text not in allowed]
    assert found == []


def test_what_is_allowed_is_needed() -> None:
    for name, allowed in ALLOWED.items():
        used = {text for _, text in spelled((ROOT / name).read_text(encoding="utf-8"))}
        assert used, name
        assert allowed == NAMES or used == allowed, name


@pytest.mark.parametrize(
    "source", ['if name == "unet":\n    pass', 'feeds = {"encoder_hidden_states": 1}', 'run(path / "vae" / "x")']
)
def test_the_checker_finds_a_planted_name(source: str) -> None:
    assert len(list(spelled(source))) == 1
