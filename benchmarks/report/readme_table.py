"""README's table: one row for each way to run the checkpoint that a reader would compare, five figures each."""

from collections.abc import Mapping, Sequence

from ..cases.case import REFERENCE
from ..figures.formats import MISSING, format_bytes, format_factor, format_score
from ..figures.results import CaseRow, MeasurementRow, Results, find_score
from .marks import marked_ms
from .summary import Table

_HEADINGS = ("", "UNet step", "speed-up", "peak memory", "on disk", "PSNR / SSIM")
_INT8 = "int8-openvino"
_OURS = ("fp16-openvino", _INT8, "int8-onnxruntime")
_BASELINES = (REFERENCE, "diffusers-bf16")
_TOLERANCE_DB = 0.5  # PSNR is compared to this; a peer that loses less is as faithful


def readme_table(speed: Results, fidelity: Results) -> Table:
    """The baselines, the best peer and our bundles: time and size from one benchmark, fidelity from another.

    A checkpoint of full size with random weights tells the time, a small trained one what its images lose. Of bundles
    that are told apart by their folders, as those of two versions, the first that was named stands here.
    """
    scores = {row["name"]: row for row in fidelity["cases"]}
    timed: dict[str, CaseRow] = {}
    for row in speed["cases"]:
        if _step(row) is not None:
            timed.setdefault(row["name"].partition("@")[0], row)
    peer = best_peer(list(timed.values()), scores)
    names = (*_BASELINES, *((peer["name"],) if peer is not None else ()), *_OURS)
    rows = tuple(_cells(name, timed[name], scores.get(name)) for name in names if name in timed)
    return Table("Results", _HEADINGS, rows)


def best_peer(cases: Sequence[CaseRow], scores: Mapping[str, CaseRow]) -> CaseRow | None:
    """The fastest peer that is as faithful as our INT8, or the fastest of all where none is; None without peers."""
    peers = [row for row in cases if row["role"] == "peer"]
    floor = _psnr(scores.get(_INT8)) - _TOLERANCE_DB
    faithful = [row for row in peers if _psnr(scores.get(row["name"])) >= floor]
    return min(faithful or peers, key=_step_ms, default=None)


def _cells(name: str, row: CaseRow, scored: CaseRow | None) -> tuple[str, ...]:
    memory = row["memory"]
    return (
        name,
        marked_ms(_step(row)),
        format_factor(row["speedup"]["unet_step_fp32"]),
        format_bytes(memory and memory["peak_rss_bytes"]),
        format_bytes(row["bytes_on_disk"]),
        "reference" if row["role"] == "reference" else _fidelity(scored),
    )


def _fidelity(row: CaseRow | None) -> str:
    if row is None or row["fidelity"] is None:
        return MISSING
    psnr = format_score(find_score(row, "psnr_db"), "median", "dB")
    return f"{psnr} / {format_score(find_score(row, 'ssim'), 'median', '')}"


def _step_ms(row: CaseRow) -> float:
    step = _step(row)
    return float("inf") if step is None else step["median"]


def _step(row: CaseRow) -> MeasurementRow | None:
    return None if row["latency_ms"] is None else row["latency_ms"]["unet_step"]


def _psnr(row: CaseRow | None) -> float:
    """Median PSNR; infinite where all images are identical, minus infinity where there is none."""
    score = None if row is None else find_score(row, "psnr_db")
    if score is None:
        return float("-inf")
    return float("inf") if score["median"] is None and score["identical"] else score["median"] or float("-inf")
