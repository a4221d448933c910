"""What a file's model predicts, and few-step presets: who says it, and what becomes of the scheduler."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mezzotint.bundle.presets import PRESETS
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins
from mezzotint.export.checkpoint import load_parts
from mezzotint.export.find_parts import find_parts
from mezzotint.export.scheduler import defaults_of
from mezzotint.export.single_files import checkpoint_file
from mezzotint.export.single_files.prediction import predicts_velocity, velocity_spread
from mezzotint.export.single_files.weight_file import WeightFile
from tests.export.single_files.ldm import State

TELLING = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"


def scheduler_of(path: Path, scratch: Path, origins: Origins, chosen: Chosen) -> tuple[dict[str, Any], Any]:
    """The bundle's scheduler config, and what the manifest says of the prediction."""
    scratch.mkdir()
    folder = None if path.is_file() else path
    checkpoint = load_parts(find_parts(str(path), folder, None, origins, chosen, scratch))
    return checkpoint.scheduler_config, checkpoint.source.prediction


@pytest.fixture
def marked(tiny_state: State, tmp_path: Path) -> Path:
    """A file with the keys that some of XL have."""
    path = tmp_path / "marked.safetensors"
    save_file(tiny_state | {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}, path)
    return path


def test_the_marking_keys_are_honoured(marked: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config, prediction = scheduler_of(marked, tmp_path / "scratch", Origins(config=tiny_checkpoint), Chosen())
    assert (config["prediction_type"], config["rescale_betas_zero_snr"]) == ("v_prediction", True)
    assert config["timestep_spacing"] == "trailing"
    assert (prediction.type, "v_pred" in prediction.said_by) == ("v_prediction", True)


@pytest.mark.parametrize("source", ["file", "folder"])
def test_the_option_stands_over_what_the_configs_say(
    source: str, tiny_file: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path, origins = (tiny_file, Origins(config=tiny_checkpoint)) if source == "file" else (tiny_checkpoint, Origins())
    config, prediction = scheduler_of(path, tmp_path / "scratch", origins, Chosen(prediction_type="v_prediction"))
    assert config["prediction_type"] == "v_prediction"
    assert (prediction.type, prediction.said_by) == ("v_prediction", "--prediction-type")


@pytest.mark.parametrize(("spread", "expected"), [(0.05, False), (0.2, True)])
def test_stable_diffusion_2_is_measured(spread: float, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "biases.safetensors"
    values = torch.tensor([-1.0, 1.0] * 160) * spread
    save_file({TELLING: values}, path)
    measured = velocity_spread(WeightFile.open(path))
    assert measured is not None
    assert measured == pytest.approx(spread, rel=0.01)
    assert predicts_velocity(measured) is expected


@pytest.mark.parametrize(
    ("spread", "told", "template", "kind"),
    [
        (0.05, None, "sd2", "epsilon"),
        (0.2, None, "sd2-v", "v_prediction"),
        (0.2, "epsilon", "sd2", "epsilon"),
        (0.05, "v_prediction", "sd2-v", "v_prediction"),
    ],
)
def test_the_resolution_goes_by_the_prediction(
    spread: float, told: str | None, template: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "biases.safetensors"
    save_file({TELLING: torch.tensor([-1.0, 1.0] * 160) * spread}, path)
    monkeypatch.setattr(checkpoint_file, "find_structure", lambda *_: "sd2")
    written: list[str] = []
    monkeypatch.setattr(checkpoint_file, "write_template", lambda name, _: written.append(name))
    found = checkpoint_file._write_configs(WeightFile.open(path), tmp_path, Origins(), told)
    assert written == [template]
    assert (found.name, found.prediction and found.prediction.type) == (template, kind)


def test_a_preset_is_the_bundles_own(tiny_file: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    chosen = Chosen(preset="turbo")
    scratch = tmp_path / "scratch"
    config, _ = scheduler_of(tiny_file, scratch, Origins(config=tiny_checkpoint), chosen)
    assert (config["_class_name"], config["timestep_spacing"]) == ("EulerDiscreteScheduler", "trailing")
    path = tmp_path / "scheduler_config.json"
    from mezzotint.export.files.json_file import write_object

    write_object(path, config)
    defaults = defaults_of(path, chosen)
    assert (defaults.sampler, defaults.steps, defaults.guidance) == ("euler", 1, 0.0)
    over = defaults_of(path, Chosen(preset="turbo", steps=4))
    assert (over.steps, over.guidance) == (4, 0.0)


def test_a_preset_of_another_family_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="lightning-4 is for checkpoints of stable-diffusion-xl"):
        find_parts(str(tiny_checkpoint), tiny_checkpoint, None, Origins(), Chosen(preset="lightning-4"), tmp_path)


def test_an_unknown_preset_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="expected turbo"):
        find_parts(str(tiny_checkpoint), tiny_checkpoint, None, Origins(), Chosen(preset="fast"), tmp_path)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_classes_and_options_of_diffusers(name: str) -> None:
    import diffusers

    for entries in PRESETS[name].scheduler.values():
        options = dict(entries)
        kind = getattr(diffusers, options.pop("_class_name"))
        scheduler = kind(**options)
        scheduler.set_timesteps(PRESETS[name].steps)
        assert len(scheduler.timesteps) == PRESETS[name].steps
