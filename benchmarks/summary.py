"""The report's tables as headings and rows of text, the same for Markdown and HTML."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .fidelity import METRICS
from .formats import MISSING, format_bytes, format_factor, format_ms, format_number, format_score, format_value
from .metric import Metric
from .results import CaseRow, Results, find_score

__all__ = ["Table", "facts", "fidelity_table", "gate_table", "headline", "speed_table", "summary_table"]


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell of each heads its row. The first `worded` columns hold words, the rest figures."""

    name: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    worded: int = 1


@dataclass(frozen=True)
class _Column:
    heading: str
    cell: Callable[[CaseRow], str]


_SUMMARY = (
    _Column("case", lambda row: row["name"]),
    _Column("computes in", lambda row: row["precision"] or MISSING),
    _Column("picture", lambda row: _picture_cell(row)),
    _Column("vs FP32", lambda row: format_factor(row["speedup"]["fp32"])),
    _Column("vs BF16", lambda row: format_factor(row["speedup"]["bf16"])),
    _Column("peak memory", lambda row: format_bytes(row["memory"] and row["memory"]["peak_rss_bytes"])),
    _Column("on disk", lambda row: format_bytes(row["bytes_on_disk"])),
    _Column("PSNR", lambda row: _score_cell(row, "psnr_db", "median", "dB")),
    _Column("PSNR p5", lambda row: _score_cell(row, "psnr_db", "p5", "dB")),
    _Column("SSIM", lambda row: _score_cell(row, "ssim", "median", "")),
    _Column("eps SQNR", lambda row: _score_cell(row, "eps_sqnr_db", "median", "dB")),
)

_SPEED = (
    _Column("case", lambda row: row["name"]),
    _Column("text encoder", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["text_encoder"])),
    _Column("UNet step", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["unet_step"])),
    _Column("VAE decoder", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["vae_decoder"])),
    _Column("outside the graphs", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["outside_graphs"])),
    _Column("picture, p95", lambda row: _p95_cell(row)),
    _Column("cold start", lambda row: format_ms(row["cold_start_ms"])),
    _Column("resting memory", lambda row: format_bytes(row["memory"] and row["memory"]["resting_rss_bytes"])),
    _Column("GPU memory", lambda row: _vram_cell(row)),
)


def summary_table(results: Results) -> Table:
    """One row a case: speed, memory, size and fidelity."""
    return _table("Summary", _SUMMARY, results["cases"])


def speed_table(results: Results) -> Table:
    """One row a timed case: each part of a picture, cold start, other memory."""
    return _table(
        "Time and memory in detail", _SPEED, [row for row in results["cases"] if row["latency_ms"] is not None]
    )


def fidelity_table(results: Results) -> Table:
    """One row for each case and metric."""
    headings = ("case", "metric", "median", "95 % interval", "5th percentile")
    scored = [row for row in results["cases"] if row["fidelity"] is not None]
    rows = tuple(_score_row(row, metric) for row in scored for metric in METRICS)
    return Table("Fidelity in detail", headings, rows, worded=2)


def gate_table(results: Results) -> Table:
    """One row for each condition and case."""
    rows = tuple(
        (row["condition"], row["case"], row["note"] or format_number(row["got"]), "FAILED" if row["failed"] else "kept")
        for row in results["gate"]
    )
    return Table("Gate", ("fails if", "case", "got", "verdict"), rows, worded=2)


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """Machine, workload and protocol, as term and description."""
    machine, workload, protocol = results["machine"], results["workload"], results["protocol"]
    size = "none" if workload["size"] is None else f"{workload['size'][0]} x {workload['size'][1]} pixels"
    drawing = f"{workload['scheduler']}, {workload['steps']} steps, guidance {workload['guidance']}, {size}"
    prompts = f"{len(workload['prompts'])} prompts (SHA-256 {workload['prompts_sha256'][:12]}…)"
    pictures = f"{protocol['warm_up_pictures']} warm-up picture, {protocol['pictures_per_round']} pictures timed"
    rounds = f"{len(protocol['rounds'])} rounds in rotating order; in each, every case runs once in a fresh process"
    return (
        ("Command", results["command"] or "not recorded"),
        ("Measured", results["created"]),
        ("Processor", f"{machine['cpu_model']}, {machine['cores']} usable cores"),
        ("Instruction sets", ", ".join(machine["instruction_sets"]) or "none of those that matter here"),
        ("Memory", format_bytes(machine["ram_bytes"])),
        ("GPU", machine["gpu"] or machine["reasons"].get("gpu", MISSING)),
        ("System", f"{machine['os']}, Python {machine['python']}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())),
        ("Thread settings", ", ".join(f"{name}={value}" for name, value in machine["settings"].items()) or "none"),
        ("Workload", f"{prompts}, seeds from {workload['seed']}, {drawing}"),
        ("Protocol", f"{rounds}: cold start, {pictures}"),
    )


def headline(results: Results) -> str:
    """The fastest bundle in one sentence."""
    timed = [
        (row["latency_ms"]["end_to_end"]["median"], row)
        for row in results["cases"]
        if row["role"] == "bundle" and row["status"] == "ok" and row["latency_ms"] is not None
    ]
    if not timed:
        return "No bundle was measured from beginning to end."
    _, best = min(timed, key=lambda pair: pair[0])
    parts = [f"{best['name']} is the fastest bundle: {_picture_cell(best)} a picture"]
    if best["speedup"]["fp32"] is not None:
        parts.append(f"{format_factor(best['speedup']['fp32'])} the speed of diffusers in FP32")
    parts.append(f"{format_bytes(best['bytes_on_disk'])} on disk")
    if best["fidelity"] is not None:
        parts.append(f"PSNR {_score_cell(best, 'psnr_db', 'median', 'dB')} against FP32 (median over prompts)")
    return ", ".join(parts) + "."


def _table(name: str, columns: Sequence[_Column], cases: Sequence[CaseRow]) -> Table:
    rows = tuple(tuple(column.cell(row) for column in columns) for row in cases)
    return Table(name, tuple(column.heading for column in columns), rows)


def _score_cell(row: CaseRow, metric: str, figure: str, unit: str) -> str:
    return "reference" if row["role"] == "reference" else format_score(find_score(row, metric), figure, unit)


def _picture_cell(row: CaseRow) -> str:
    if row["latency_ms"] is None:
        return "failed" if row["status"] == "failed" else MISSING
    return format_ms(row["latency_ms"]["end_to_end"])


def _p95_cell(row: CaseRow) -> str:
    return MISSING if row["latency_ms"] is None else f"{row['latency_ms']['end_to_end']['p95']:,.0f} ms"


def _vram_cell(row: CaseRow) -> str:
    memory = row["memory"]
    if memory is None or memory["peak_vram_bytes"] is None:
        return MISSING if memory is None else memory["reasons"].get("peak_vram_bytes", MISSING)
    return format_bytes(memory["peak_vram_bytes"])


def _score_row(row: CaseRow, metric: Metric) -> tuple[str, ...]:
    score = find_score(row, metric.name)
    if score is None or score["ci95"] is None:
        return (row["name"], metric.title, "not computed", MISSING, MISSING)
    lower, upper = (format_value(value, metric.unit) for value in score["ci95"])
    interval = lower if lower == upper else f"{lower} to {upper}"
    median, tail = (format_score(score, figure, metric.unit) for figure in ("median", "p5"))
    return (row["name"], metric.title, median, interval, tail)
