"""A benchmark's leftovers, made up: results and images for the tests of everything that reads them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.benchmarks.cases.case import REFERENCE
from mezzotint.benchmarks.cases.lineup import OTHER_SEED
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.figures.results import SCHEMA_VERSION, CaseRow, Latency, MeasurementRow, NodeRow, Results
from mezzotint.benchmarks.measure.record import Record
from mezzotint.benchmarks.metrics.fidelity import score_record
from mezzotint.benchmarks.report.images import write_images
from mezzotint.benchmarks.report.rows import measurement_row

NODES: list[NodeRow] = [
    {"name": "conv_in/Conv", "scheme": "w8", "rule": "* -> w8: deny all", "range_method": None, "range": None},
    {
        "name": "mid_block.resnets.0.conv1/Conv",
        "scheme": "w8a8",
        "rule": "*.conv1 -> w8a8: most of the work",
        "range_method": "percentile 99.99",
        "range": [-0.27, 5.5],
    },
]
NOT_TIMED = ("latency_ms", "memory", "cold_start_ms", "environment_bytes")
PROMPTS = ("a red apple", "a cat | with a pipe", "a <b>bold</b> rocket", "a fox & a hen", "a penguin")


def record(noise: float, *, seed: int = 0, count: int = len(PROMPTS), side: int = 24, forced: bool = True) -> Record:
    """Images of one fixed scene with `noise` on top; noise 0 is the scene itself."""
    scene, errors = np.random.default_rng(7), np.random.default_rng(seed)

    def generate(*shape: int) -> FloatArray:
        spread = noise * np.linspace(0.5, 1.5, shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
        return (scene.uniform(0.2, 0.8, shape) + spread * errors.standard_normal(shape)).astype(np.float32)

    pixels, latents, outputs = generate(count, side, side, 3), generate(count, 4, 6, 6), generate(count, 5, 2, 4, 6, 6)
    return Record("f32", np.clip(pixels, 0.0, 1.0), latents, outputs if forced else None)


def measured(median: float, spread: float = 0.01) -> MeasurementRow:
    """Seven samples around a median."""
    return measurement_row([median * (1.0 + spread * step) for step in (-3, -2, -1, 0, 1, 2, 3)])


def latency(image_ms: float, spread: float = 0.01) -> Latency:
    """Parts that add up to `image_ms`, with 20 steps."""
    return {
        "text_encoder": measured(image_ms * 0.05),
        "unet_step": measured(image_ms * 0.04),
        "vae_decoder": measured(image_ms * 0.10),
        "outside_graphs": measured(image_ms * 0.05),
        "end_to_end": measured(image_ms, spread),
        "reasons": {},
    }


def case_row(name: str, role: str, image_ms: float | None, generated: Record | None, folder: Path) -> CaseRow:
    """A row as a benchmark makes it; no time or no record means a failed case."""
    failed = generated is None
    reference = record(0.0)
    is_timed = image_ms is not None
    return {
        "name": name,
        "role": role,
        "source": "bundles/x" if role == "bundle" else "checkpoint",
        "backend": name.rpartition("-")[2] if role == "bundle" else "diffusers",
        "recipe": name.partition("-")[0] if role == "bundle" else "fp32",
        "precision": None if failed else "f32",
        "quantized": [],
        "status": "failed" if failed else "ok",
        "reason": "the process was ended by signal 9" if failed else None,
        "bytes_on_disk": 58_900_000,
        "environment_bytes": 180_000_000 if is_timed else None,
        "cold_start_ms": measured(5 * image_ms) if image_ms is not None else None,
        "latency_ms": latency(image_ms) if image_ms is not None else None,
        "foreign_cpu_share": 0.01 if is_timed else None,
        "memory": {
            "peak_rss_bytes": 612_000_000,
            "peak_rss_samples": [612_000_000, 605_000_000],
            "resting_rss_bytes": 600_000_000,
            "peak_vram_bytes": None,
            "reasons": {"peak_vram_bytes": "no GPU"},
        }
        if is_timed
        else None,
        "fidelity": None if generated is None or role == "reference" else score_record(reference, generated, 5.0),
        "identical_images": None if generated is None or role == "reference" else 0,
        "generates_as": None,
        "speedup": {
            "fp32": 800.0 / image_ms if image_ms is not None else None,
            "bf16": None,
            "unet_step_fp32": 800.0 / image_ms if image_ms is not None else None,
            "unet_step_bf16": None,
            "reasons": dict.fromkeys(("bf16", "unet_step_bf16"), "diffusers-bf16 was not measured")
            | ({} if is_timed else dict.fromkeys(("fp32", "unet_step_fp32"), "a case for fidelity alone")),
        },
        "images": None if generated is None else write_images(generated.pixels, folder, name),
        "nodes": NODES if name.startswith("int8") and "." not in name else None,
        "reasons": {} if is_timed else dict.fromkeys(NOT_TIMED, "a control"),
    }


def results(folder: Path) -> Results:
    """A row of every role, an identical bundle and a failed one among them; images in `folder`."""
    workload = Workload(prompts=PROMPTS)
    cases = [
        case_row(REFERENCE, "reference", 800.0, record(0.0), folder),
        case_row("fp32-onnxruntime", "bundle", 760.0, record(0.0), folder),
        case_row("int8-openvino", "bundle", 200.0, record(0.01, seed=1), folder),
        case_row("int8-onnxruntime", "bundle", 390.0, record(0.03, seed=2), folder),
        case_row("fp16-openvino", "bundle", None, None, folder),
        case_row("int8-openvino.unet-alone", "attribution", None, record(0.008, seed=4), folder),
        case_row(
            "openvino-genai-fp32", "peer", 700.0, replace(record(1e-4, seed=5, forced=False), latents=None), folder
        ),
        case_row(OTHER_SEED, "control", None, record(0.2, seed=3, forced=False), folder),
    ]
    cases[5]["quantized"] = ["unet"]
    return {
        "schema_version": SCHEMA_VERSION,
        "created": "2026-11-21T12:00:00+00:00",
        "command": "mezzotint benchmark checkpoint bundles/x -o report",
        "machine": {
            "cpu_model": "A Processor",
            "instruction_sets": ["avx2", "amx_int8"],
            "cores": 2,
            "ram_bytes": 24_000_000_000,
            "gpu": None,
            "os": "Linux",
            "python": "3.11.7",
            "versions": {"mezzotint": "0.1.0"},
            "settings": {},
            "reasons": {"gpu": "no GPU"},
        },
        "workload": {
            "prompts": list(PROMPTS),
            "prompts_sha256": workload.prompts_sha256,
            "seed": 1000,
            "steps": 5,
            "guidance": 5.0,
            "scheduler": "ddim",
            "size": [24, 24],
        },
        "protocol": {
            "rounds": [[row["name"] for row in cases if row["latency_ms"] is not None]],
            "images_per_round": 7,
            "warm_up_images": 1,
            "parts": False,
        },
        "cases": cases,
        "gate": [
            {"condition": "psnr_db<24", "case": "int8-openvino", "got": 40.0, "failed": False, "note": None},
            {"condition": "psnr_db<24", "case": "fp32-onnxruntime", "got": None, "failed": False, "note": "identical"},
        ],
    }
