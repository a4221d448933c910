"""The baseline against diffusers used directly, on the embedded checkpoint with few steps."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.workload import SCHEDULERS, Workload
from mezzotint.decibel import sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle
from mezzotint.runtime.denoiser_calls import DenoiserCall, pack_calls, unpack_calls
from mezzotint.runtime.text.tokenizer import ClipTokenizer

CHECKPOINT = Path(__file__).parents[3] / "demo" / "checkpoint"
PROMPT = "a flat emoji of a red apple on a blue background"
WORKLOAD = Workload(prompts=(PROMPT,), steps=3)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: tests share their cores, and torch's threads wait for each other by spinning."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _load(precision: str) -> Any:
    from mezzotint.benchmarks.cases.baseline import load

    return load(Case("x", "baseline", str(CHECKPOINT), "diffusers", "fp32", precision))


@pytest.fixture(scope="module")
def baseline() -> Any:
    return _load("f32")


def answers(calls: Sequence[DenoiserCall]) -> Array:
    """(S, G, 4, h, w)"""
    return np.stack([call.output for call in calls if call.output is not None])


def test_it_generates_what_diffusers_generates(baseline: Any) -> None:
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(CHECKPOINT, local_files_only=True).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "np"}
    expected = pipe(PROMPT, generator=torch.Generator("cpu").manual_seed(1000), **arguments).images[0]
    sample = baseline.generate(PROMPT, 1000, WORKLOAD)
    np.testing.assert_array_equal(sample.pixels, expected)
    assert sample.pixels.dtype == np.float32


def test_prompts_are_read_as_the_runtime_reads_them(baseline: Any) -> None:
    """Also those that the older CLIPTokenizer reads otherwise."""
    tokenizer = ClipTokenizer.load(CHECKPOINT / "tokenizer")
    prompts = [
        PROMPT,
        "一只戴帽子的猫",
        "👩\u200d👩\u200d👧",
        "red\u200bapple",
        "ΟΔΥΣΣΕΥΣ",
        "<|EndOfText|> a",
        "word " * 99,
    ]
    options = {"padding": "max_length", "truncation": True, "max_length": tokenizer.window}
    ids = baseline.pipe.tokenizer(prompts, **options).input_ids
    np.testing.assert_array_equal(tokenizer.encode(prompts), ids)


def test_the_parts_of_the_time_add_up(baseline: Any) -> None:
    sample = baseline.generate(PROMPT, 1000, WORKLOAD)
    parts = sample.text_encoder_ms + sum(sample.unet_step_ms) + sample.vae_decoder_ms
    assert len(sample.unet_step_ms) == 3
    assert min(sample.text_encoder_ms, *sample.unet_step_ms, sample.vae_decoder_ms) > 0
    assert 0.5 * sample.end_to_end_ms < parts < sample.end_to_end_ms


def test_answering_the_recorded_states_gives_the_recorded_answers(baseline: Any) -> None:
    sample, calls = baseline.generate_recorded(PROMPT, 1000, WORKLOAD)
    np.testing.assert_array_equal(sample.latents, baseline.generate(PROMPT, 1000, WORKLOAD).latents)
    assert len(calls) == 3
    names = {"sample": (2, 4, 16, 16), "timestep": (), "encoder_hidden_states": (2, 32, 256)}
    assert all({name: feed.shape for name, feed in call.feeds.items()} == names for call in calls)
    assert answers(calls).shape == (3, 2, 4, 16, 16)
    assert (np.diff([call.timestep for call in calls]) < 0).all()
    read = unpack_calls(pack_calls(calls))  # as other cases get them, from a file
    assert sqnr_db(answers(calls), baseline.predict(PROMPT, read, WORKLOAD)) > 100
    assert sqnr_db(answers(calls), baseline.predict("noto style cat face", calls, WORKLOAD)) < 40


def test_without_guidance_one_half_is_enough(baseline: Any) -> None:
    workload = Workload(prompts=(PROMPT,), steps=2, guidance=1.0)
    _, calls = baseline.generate_recorded(PROMPT, 1000, workload)
    assert answers(calls).shape == (2, 1, 4, 16, 16)
    assert sqnr_db(answers(calls), baseline.predict(PROMPT, calls, workload)) > 100


@pytest.mark.parametrize("scheduler", [name for _, name in SCHEDULERS if name != "ddim"])
def test_other_schedulers_and_sizes(baseline: Any, scheduler: str) -> None:
    workload = Workload(prompts=(PROMPT,), steps=2, scheduler=scheduler, height=48, width=80)
    assert baseline.generate(PROMPT, 1, workload).pixels.shape == (48, 80, 3)


def test_bf16_is_near_and_not_equal(baseline: Any) -> None:
    bf16 = _load("bf16")
    _, calls = baseline.generate_recorded(PROMPT, 1000, WORKLOAD)
    assert 20 < sqnr_db(answers(calls), bf16.predict(PROMPT, calls, WORKLOAD)) < 60
    assert bf16.generate(PROMPT, 1000, WORKLOAD).pixels.dtype == np.float32


@pytest.mark.parametrize(("precision", "words"), [("f64", "f32 or bf16"), ("f16", "needs an NVIDIA GPU")])
def test_another_precision_is_refused(precision: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MezzotintError, match=words):
        _load(precision)


def test_another_scheduler_keeps_what_the_pipeline_forces(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """diffusers' `from_config` takes its own defaults again for keys that the file does not have."""
    from mezzotint.benchmarks.cases.baseline import load

    copy = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    path = copy / "scheduler" / "scheduler_config.json"
    given = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({k: v for k, v in given.items() if k not in ("steps_offset", "clip_sample")}))
    one = load(Case("x", "baseline", str(copy), "diffusers", "fp32", "f32"))
    one.generate(PROMPT, 0, Workload(prompts=(PROMPT,), steps=1, scheduler="euler"))
    assert one.pipe.scheduler.config.steps_offset == 1
    one.generate(PROMPT, 0, Workload(prompts=(PROMPT,), steps=1, scheduler="ddim"))
    assert (one.pipe.scheduler.config.steps_offset, one.pipe.scheduler.config.clip_sample) == (1, False)


@pytest.fixture(scope="module", params=["stated", "unstated"])
def both_sides(
    request: pytest.FixtureRequest,
    tiny_checkpoint: Path,
    tiny_bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """The baseline and a bundle of one checkpoint, whose scheduler_config.json says all or next to nothing."""
    from mezzotint.benchmarks.cases import baseline, bundle_subject
    from mezzotint.export import export_checkpoint
    from tests.export.tracing import tracing

    folder = tmp_path_factory.mktemp("both")
    checkpoint = shutil.copytree(tiny_checkpoint, folder / "checkpoint")
    if request.param == "unstated":
        path = checkpoint / "scheduler" / "scheduler_config.json"
        kept = {key: value for key, value in json.loads(path.read_text(encoding="utf-8")).items() if "beta" in key}
        name = "EulerDiscreteScheduler"
        path.write_text(json.dumps(kept | {"_class_name": name}), encoding="utf-8")
        index = checkpoint / "model_index.json"
        entries = json.loads(index.read_text(encoding="utf-8"))
        index.write_text(json.dumps(entries | {"scheduler": ["diffusers", name]}), encoding="utf-8")
    with tracing(tiny_bundle):
        bundle = str(export_checkpoint(str(checkpoint), folder / "bundle").path)
    return (
        baseline.load(Case("x", "baseline", str(checkpoint), "diffusers", "fp32", "f32")),
        bundle_subject.load(Case("y", "bundle", bundle, "onnxruntime", "fp32")),
    )


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # numpy on tensors in diffusers' DEIS
@pytest.mark.parametrize("scheduler", [name for _, name in SCHEDULERS])
@pytest.mark.parametrize("steps", [1, 5])
def test_every_scheduler_takes_the_steps_of_the_runtimes(both_sides: Any, scheduler: str, steps: int) -> None:
    workload = Workload(prompts=(PROMPT,), steps=steps, scheduler=scheduler)
    theirs, ours = (subject.generate(PROMPT, 1000, workload) for subject in both_sides)
    assert len(theirs.unet_step_ms) == len(ours.unet_step_ms)
    assert sqnr_db(theirs.latents, ours.latents) > 100


def test_fp16_runs_on_the_gpu_and_is_timed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is a CPU here; the calls that would wait for it are counted."""
    import torch

    from mezzotint.benchmarks.cases import baseline as module

    waits: list[None] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(None))
    monkeypatch.setattr(module, "_GPU", "cpu")
    half = _load("f16")
    assert half.pipe.unet.dtype == torch.float16
    sample = half.generate(PROMPT, 1000, WORKLOAD)
    assert len(waits) == 2 + WORKLOAD.steps + 1  # two texts, the steps, and the image
    assert np.isfinite(sample.pixels).all()


def test_fp16_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MezzotintError, match="needs an NVIDIA GPU and a PyTorch with CUDA; leave out --fp16"):
        _load("f16")
