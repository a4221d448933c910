"""results.json: its shape, and reading and writing it. The JSON Schema lies in assets/results.schema.json.

One rule for what is missing: a figure that there is not is null, and `reasons` of the same object says why under its
name. "identical" as the reason means infinitely many dB; such a null is the best value there is, not a gap.
"""

import json
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from mezzotint.atomic_file import write_text
from mezzotint.errors import MezzotintError

from ..machine.machine import Machine

RESULTS_NAME = "results.json"
SCHEMA_VERSION = 4
IDENTICAL = "identical"


class MeasurementRow(TypedDict):
    """Repeated measurements of one quantity: raw samples in the order taken, and what follows from them."""

    samples: list[float]
    median: float
    iqr: float
    p95: float
    noisy: bool


class Latency(TypedDict):
    """Milliseconds. `unet_step` pools all steps of all images; `outside_graphs` is end to end less the graphs.

    The last two are null where only the parts were timed.
    """

    text_encoder: MeasurementRow
    unet_step: MeasurementRow
    vae_decoder: MeasurementRow
    outside_graphs: MeasurementRow | None
    end_to_end: MeasurementRow | None
    reasons: dict[str, str]


class MemoryRow(TypedDict):
    """Of the timing processes: the largest peak, the median resting set after the last image; all peaks by round."""

    peak_rss_bytes: int | None
    peak_rss_samples: list[int]
    resting_rss_bytes: int | None
    peak_vram_bytes: int | None
    reasons: dict[str, str]


class Score(TypedDict):
    """One metric. A null in `per_prompt`, `ci95` or `per_step` is infinite: that image, or step, is identical.

    `p5` is the 5th percentile from the bad end: of a metric that is better when lower, the 95th.
    """

    per_prompt: list[float | None] | None
    identical: bool
    median: float | None
    p5: float | None
    ci95: list[float | None] | None
    per_step: NotRequired[list[float | None]]
    reasons: dict[str, str]


class Speedup(TypedDict):
    """The FP32 and the BF16 baseline's median time over this case's: of an image end to end, and of a UNet step."""

    fp32: float | None
    bf16: float | None
    unet_step_fp32: float | None
    unet_step_bf16: float | None
    reasons: dict[str, str]


class RooflineRow(TypedDict):
    """What bounds a case's speed. `peaks_gmacs` are billions of multiplications a second that its engine reached in a
    micro-benchmark, by precision; `macs` those that kernels of a part ("unet_step" and so on) really did, by precision.
    """

    peaks_gmacs: dict[str, float]
    macs: dict[str, dict[str, int]]


class EvidenceRow(TypedDict):
    """What a search knew of one node in INT8: SQNR with nothing else quantized, and what its time gained."""

    activation_sqnr_db: float | None
    weight_sqnr_db: float | None
    macs: int
    gain_ms: float | None


class NodeRow(TypedDict):
    """What quantization decided of one node, and which rule or search step decided it; `range` is of its input.

    Results from before other components than the UNet had rows name no `component`.
    """

    component: NotRequired[str]
    name: str
    scheme: str
    rule: str
    range_method: str | None
    range: list[float] | None
    evidence: NotRequired[EvidenceRow]  # of nodes that a search weighed


class CaseRow(TypedDict):
    """One case. `status` is "ok" or "failed"; what was measured before a failure stays.

    `identical_images` counts those that equal the reference's after rounding to 8 bits; `generates_as` names the first
    case before this one, if any, whose images are all the same to the last bit before rounding. `foreign_cpu_share`
    is the largest share of the processors, 0 to 1, that others took during a round's timed images. `quantized` names
    the components that an attribution row took from a quantized bundle; `nodes` are those of its quantized components,
    and `environment_bytes` those of the installed packages that the case's process imported.
    """

    name: str
    role: str
    source: str
    backend: str
    recipe: str
    precision: str | None
    quantized: list[str]
    status: str
    reason: str | None
    bytes_on_disk: int | None
    environment_bytes: int | None
    cold_start_ms: MeasurementRow | None
    latency_ms: Latency | None
    foreign_cpu_share: float | None
    memory: MemoryRow | None
    fidelity: dict[str, Score] | None
    identical_images: int | None
    generates_as: str | None
    speedup: Speedup
    images: list[str] | None
    nodes: list[NodeRow] | None
    stands_in_for: NotRequired[str]  # the engine that the graphs are for, where `backend` computed them in its stead
    roofline: NotRequired[RooflineRow]  # of timed bundles whose engine says which kernels ran
    reasons: dict[str, str]


class WorkloadRow(TypedDict):
    """What was generated. `size` is [width, height] of the images; null where none was generated."""

    prompts: list[str]
    prompts_sha256: str
    seed: int
    steps: int
    guidance: float
    scheduler: str
    size: list[int] | None


class Protocol(TypedDict):
    """How it was measured: the cases of each round in the order they ran.

    With `parts`, each part of an image was timed alone, and `images_per_round` are UNet steps.
    """

    rounds: list[list[str]]
    images_per_round: int
    warm_up_images: int
    parts: bool


class GateRow(TypedDict):
    """One --fail-if condition on one case. `got` is null for an infinite or a missing figure; `note` says which."""

    condition: str
    case: str
    got: float | None
    failed: bool
    note: str | None


class Results(TypedDict):
    """The whole file."""

    schema_version: int
    created: str
    command: str
    machine: Machine
    workload: WorkloadRow
    protocol: Protocol
    cases: list[CaseRow]
    gate: list[GateRow]


def find_score(row: CaseRow, metric: str) -> Score | None:
    """The case's score in a metric; None where it was not scored."""
    return None if row["fidelity"] is None else row["fidelity"].get(metric)


def write_results(results: Results, path: Path, *, compact: bool = False) -> None:
    """Write atomically; NaN and infinity are a defect and raise ValueError. `compact` leaves out all white space."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    write_text(path, json.dumps(results, ensure_ascii=False, allow_nan=False, **layout) + "\n")


def read_results(path: Path) -> Results:
    """The results that a benchmark wrote; MezzotintError when it is another file or another version."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MezzotintError(f"{path} cannot be read as results ({error}); pass the results.json of a report") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION or not isinstance(data.get("cases"), list):
        raise MezzotintError(
            f"{path}: schema_version is {version!r}, expected {SCHEMA_VERSION}; run the benchmark again"
        )
    return cast(Results, data)
