"""What tests share: checkpoints and the bundles exported from them, made once a session, and only when asked for.

No test may touch the network or the user's own files: hub clients are offline, and caches lie in a temporary folder.
"""

import gc
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from filelock import FileLock

from tests.quick_start import BUNDLE
from tests.quick_start import begin as quick_start_begin

if TYPE_CHECKING:
    from mezzotint.runtime import Bundle

MakeOnce: TypeAlias = Callable[[str, Callable[[Path], object]], Path]
ROOT = Path(__file__).resolve().parents[1]

for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ[variable] = "1"  # the libraries read these when they are imported, so before any test module is
# torch's threads must sleep while they wait: spinning, they take ten times as long on cores that others use as well.
os.environ["OMP_WAIT_POLICY"] = "passive"

# Warnings of other people's code that we cannot avoid; all others are errors.
FOREIGN_WARNINGS = (
    # diffusers' set_timesteps calls np.array on tensors, whose __array__ lacks numpy 2's argument
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",
    # its DEIS scheduler hands tensors to numpy's functions, whose results torch wraps the old way
    "ignore:__array_wrap__ must accept context:DeprecationWarning",
)


# Fixtures of the embedded checkpoint, whose tests `make test-embedded` runs.
EMBEDDED = {"demo_bundle", "demo_int8"}
# Files of few tests that take long. Begun last, one of them would keep one process busy while the others have ended.
# README's test makes what most files need, and the first others need nothing of it: nobody waits.
BEGUN_FIRST = (
    "test_readme.py",
    "test_published_configs.py",
    "test_stable_diffusion_xl.py",
    "test_stable_diffusion_xl_quantized.py",
    "test_structure.py",
    "test_latent_consistency.py",
)


def pytest_configure(config: pytest.Config) -> None:
    for line in FOREIGN_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if EMBEDDED.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("embedded")
    first = {name: place for place, name in enumerate(BEGUN_FIRST)}
    items.sort(key=lambda item: first.get(item.path.name, len(first)))


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that programs under test take for the user's cache; empty at the start."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def imported_modules_are_no_garbage() -> None:
    """Take what is there when a module begins out of later collections.

    With torch, NNCF and transformers imported, a full collection looks at millions of objects that stay. Code under
    test collects after each large graph, which made up most of the time of a small quantization.
    """
    gc.collect()
    gc.freeze()


class _Refusing(logging.Handler):
    """onnx_ir logs what others warn of, and goes on without it: it would stand on a user's terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(f"{record.name} warns: {record.getMessage()}")


@pytest.fixture(scope="session", autouse=True)
def logged_warnings_are_errors() -> Iterator[None]:
    handler, logger = _Refusing(logging.WARNING), logging.getLogger("onnx_ir")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """`make_once(name, make)`: the folder that `make` filled, once for all processes of a run. Not to be written to."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made-once"
    shared.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed at it
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def graphs_are_traced_once(make_once: MakeOnce) -> Iterator[None]:
    """Where a collected test exports, so that nothing imports torch for it; see `tracing_once`."""
    if "mezzotint.export.export" not in sys.modules:
        yield
        return
    from tests.export.tracing import tracing_once

    with tracing_once(make_once):
        yield


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def demo_checkpoint(repo_root: Path) -> Path:
    """The embedded checkpoint: trained, 64x64 pixels, 32 tokens. Not to be written to."""
    return repo_root / "demo" / "checkpoint"


@pytest.fixture(scope="session")
def tiny_checkpoint(make_once: MakeOnce, demo_checkpoint: Path) -> Path:
    """A Stable Diffusion folder of the smallest nets, with seeded random weights: 16x16 pixels, 32 tokens."""

    def make(folder: Path) -> None:
        _save_tiny_pipeline(folder / "checkpoint", demo_checkpoint)
        for name in ("tokenizer", "scheduler"):
            shutil.copytree(demo_checkpoint / name, folder / "checkpoint" / name, dirs_exist_ok=True)

    return make_once("tiny", make) / "checkpoint"


@pytest.fixture(scope="session")
def quick_start(make_once: MakeOnce, tiny_checkpoint: Path) -> Path:
    """A folder in which README's first command was followed. Not to be written to."""
    return make_once("quick-start", lambda folder: quick_start_begin(folder, tiny_checkpoint))


@pytest.fixture(scope="session")
def tiny_bundle(make_once: MakeOnce, quick_start: Path, tiny_checkpoint: Path) -> "Bundle":
    """The FP32 bundle of `tiny_checkpoint`. Not to be written to."""
    from mezzotint.runtime import Bundle

    bundle = Bundle.open(quick_start / BUNDLE)
    if "mezzotint.export.export" in sys.modules:  # somebody exports: modules like these need no tracing again
        from tests.export.tracing import keep_graphs

        keep_graphs(make_once, tiny_checkpoint, bundle)
    return bundle


@pytest.fixture(scope="session")
def tiny_int8(make_once: MakeOnce, tiny_bundle: "Bundle") -> "Bundle":
    """The INT8 bundle of `tiny_bundle` for ONNX Runtime. Not to be written to."""
    from mezzotint.quantize import CalibrationSettings, quantize_bundle
    from mezzotint.runtime import Bundle

    def make(folder: Path) -> None:
        quantize_bundle(
            tiny_bundle.path,
            folder,
            recipe="int8",
            target="onnxruntime",
            prompts=("a flat emoji of a red apple", "noto style cat face"),
            settings=CalibrationSettings(scheduler="ddim", steps=4, calls=4),
        )

    return Bundle.open(make_once("tiny-int8", make))


@pytest.fixture(scope="session")
def tiny_taesd(make_once: MakeOnce, tiny_bundle: "Bundle") -> "Bundle":
    """`tiny_bundle` with an AutoencoderTiny of seeded random weights as its VAE. Not to be written to."""
    from mezzotint.export import swap_vae
    from mezzotint.runtime import Bundle
    from tests.export.small_vaes import save_tiny

    def make(folder: Path) -> None:
        swap_vae(tiny_bundle.path, str(save_tiny(folder / "taesd")), folder / "bundle")

    return Bundle.open(make_once("tiny-taesd", make) / "bundle")


@pytest.fixture(scope="session")
def demo_bundle(make_once: MakeOnce, demo_checkpoint: Path, repo_root: Path) -> "Bundle":
    """The FP32 bundle of `demo_checkpoint`: that of `make demo` where it is current. Not to be written to."""
    from demo.run import FP32, is_made
    from mezzotint.runtime import Bundle

    if is_made(FP32):
        return Bundle.open(repo_root / FP32)
    return _exported(make_once, "demo-fp32", demo_checkpoint)


@pytest.fixture(scope="session")
def demo_int8(make_once: MakeOnce, demo_bundle: "Bundle", repo_root: Path) -> "Callable[[str], Bundle]":
    """The INT8 bundle of `demo_bundle` for a target, made when first asked for: about a minute each."""
    from mezzotint.quantize import CalibrationSettings, quantize_bundle
    from mezzotint.runtime import Bundle
    from mezzotint.runtime.text.prompts import read_prompts

    prompts = read_prompts(repo_root / "demo" / "prompts" / "calibration.txt")[::8]

    def quantized(target: str) -> Bundle:
        def make(folder: Path) -> None:
            settings = CalibrationSettings(scheduler="ddim", calls=25)  # each step once
            quantize_bundle(demo_bundle.path, folder, recipe="int8", target=target, prompts=prompts, settings=settings)

        return Bundle.open(make_once(f"demo-int8-{target}", make))

    return quantized


def _exported(make_once: MakeOnce, name: str, checkpoint: Path) -> "Bundle":
    from mezzotint.export import export_checkpoint
    from mezzotint.runtime import Bundle
    from tests.export.tracing import tracing_once

    with tracing_once(make_once):
        return Bundle.open(make_once(name, lambda folder: export_checkpoint(str(checkpoint), folder)))


def _save_tiny_pipeline(folder: Path, demo_checkpoint: Path) -> None:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

    with torch.random.fork_rng():
        torch.manual_seed(0)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=4096,
                max_position_embeddings=32,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=1,
                num_attention_heads=4,
                bos_token_id=4094,
                eos_token_id=4095,
                pad_token_id=4095,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=8,
            norm_num_groups=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            mid_block_type="UNetMidBlock2D",
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )
        vae = AutoencoderKL(
            block_out_channels=(16, 32),
            norm_num_groups=8,
            sample_size=16,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizerFast.from_pretrained(demo_checkpoint / "tokenizer"),
        unet=unet,
        scheduler=DDIMScheduler.from_pretrained(demo_checkpoint / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
