"""The report's tables as headings and rows of text, the same for Markdown and HTML."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..figures.formats import MISSING, format_bytes, format_factor, format_ms, format_number, format_score, format_value
from ..figures.results import CaseRow, MeasurementRow, Results, Score, find_score
from ..metrics.fidelity import METRICS
from ..metrics.metric import Metric
from .compare import Change
from .marks import marked_ms


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
    _Column("image", lambda row: _image_cell(row)),
    _Column("UNet step", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["unet_step"])),
    _Column("vs FP32", lambda row: format_factor(row["speedup"]["fp32"])),
    _Column("vs BF16", lambda row: format_factor(row["speedup"]["bf16"])),
    _Column("peak memory", lambda row: format_bytes(row["memory"] and row["memory"]["peak_rss_bytes"])),
    _Column("on disk", lambda row: format_bytes(row["bytes_on_disk"])),
    _Column("PSNR", lambda row: _score_cell(row, "psnr_db", "median", "dB")),
    _Column("PSNR p5", lambda row: _score_cell(row, "psnr_db", "p5", "dB")),
    _Column("SSIM", lambda row: _score_cell(row, "ssim", "median", "")),
    _Column("ST-LPIPS", lambda row: _score_cell(row, "st_lpips", "median", "")),
    _Column("eps SQNR", lambda row: _score_cell(row, "eps_sqnr_db", "median", "dB")),
    _Column("top-1 concept", lambda row: _score_cell(row, "top1_concept", "median", "")),
)

_SPEED = (
    _Column("case", lambda row: row["name"]),
    _Column("text encoder", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["text_encoder"])),
    _Column("UNet step", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["unet_step"])),
    _Column("step vs FP32", lambda row: format_factor(row["speedup"]["unet_step_fp32"])),
    _Column("step vs BF16", lambda row: format_factor(row["speedup"]["unet_step_bf16"])),
    _Column("VAE decoder", lambda row: format_ms(row["latency_ms"] and row["latency_ms"]["vae_decoder"])),
    _Column("outside the graphs", lambda row: _outside_cell(row)),
    _Column("image, p95", lambda row: _p95_cell(row)),
    _Column("cold start", lambda row: format_ms(row["cold_start_ms"])),
    _Column("resting memory", lambda row: format_bytes(row["memory"] and row["memory"]["resting_rss_bytes"])),
    _Column("GPU memory", lambda row: _vram_cell(row)),
    _Column("packages", lambda row: format_bytes(row["environment_bytes"])),
)


_ALONE = (
    _Column("case", lambda row: row["name"].split(".")[0]),
    _Column("quantized", lambda row: ", ".join(row["quantized"]) or "all together"),
    *(column for column in _SUMMARY if column.heading in ("PSNR", "PSNR p5", "SSIM", "ST-LPIPS", "eps SQNR")),
    _Column("latent SQNR", lambda row: _score_cell(row, "latent_sqnr_db", "median", "dB")),
)


_PUBLISHED = (
    _Column("case", lambda row: row["name"]),
    _Column("image", lambda row: _image_cell(row, marked_ms)),
    _Column("vs FP32", lambda row: format_factor(row["speedup"]["fp32"])),
    _Column("UNet step", lambda row: marked_ms(row["latency_ms"] and row["latency_ms"]["unet_step"])),
    _Column("step vs FP32", lambda row: format_factor(row["speedup"]["unet_step_fp32"])),
    _Column("step vs BF16", lambda row: format_factor(row["speedup"]["unet_step_bf16"])),
    _Column("VAE decoder", lambda row: marked_ms(row["latency_ms"] and row["latency_ms"]["vae_decoder"])),
    *(column for column in _SUMMARY if column.heading in ("peak memory", "on disk")),
    _Column("PSNR (5th percentile)", lambda row: _psnr_cell(row)),
    *(column for column in _SUMMARY if column.heading in ("SSIM", "ST-LPIPS", "eps SQNR", "top-1 concept")),
)


def published_table(results: Results) -> Table:
    """The summary for docs/results.md, its times marked: columns in which one besides the reference has a figure."""
    rows = [row for row in results["cases"] if row["role"] != "attribution"]
    return _table("Results", _with_figures(_PUBLISHED, rows), rows)


def summary_table(results: Results) -> Table:
    """One row a case: speed, memory, size and fidelity. Columns in which only the reference has a cell are left out."""
    rows = [row for row in results["cases"] if row["role"] != "attribution"]
    return _table("Summary", _with_figures(_SUMMARY, rows), rows)


def attribution_table(results: Results) -> Table:
    """What each component costs quantized alone, below what all of them cost together."""
    alone = [row for row in results["cases"] if row["role"] == "attribution"]
    rows = []
    for row in results["cases"]:
        parts = [part for part in alone if part["name"].startswith(f"{row['name']}.")]
        rows += [row, *parts] if parts and row["role"] == "bundle" else []
    table = _table("Each component quantized alone", _ALONE, rows)
    return Table(table.name, table.headings, table.rows, worded=2)


def speed_table(results: Results) -> Table:
    """One row a timed case: each part of an image, cold start, other memory."""
    return _table(
        "Time and memory in detail", _SPEED, [row for row in results["cases"] if row["latency_ms"] is not None]
    )


def fidelity_table(results: Results) -> Table:
    """One row for each case and metric; a metric that no case has is left to the notes."""
    headings = ("case", "metric", "median", "95 % interval", "5th percentile from the bad end")
    scored = [row for row in results["cases"] if row["fidelity"] is not None]
    there = [metric for metric in METRICS if any(_is_computed(find_score(row, metric.name)) for row in scored)]
    rows = tuple(_score_row(row, metric) for row in scored for metric in there)
    return Table("Fidelity in detail", headings, rows, worded=2)


def change_table(found: Sequence[Change]) -> Table:
    """What changed since an older benchmark; the figures that count first."""
    order = {"worse": 0, "better": 1, "unknown": 2, "noise": 3, "same": 4}
    ranked = sorted(found, key=lambda change: order[change.verdict])
    rows = tuple(
        (change.case, change.name, change.before.text(), change.now.text(), change.text, change.verdict)
        for change in ranked
    )
    return Table("Changes", ("case", "figure", "before", "now", "change", "verdict"), rows, worded=2)


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
    sampling = f"{workload['scheduler']}, {workload['steps']} steps, guidance {workload['guidance']}, {size}"
    prompts = f"{len(workload['prompts'])} prompts (SHA-256 {workload['prompts_sha256'][:12]}…)"
    images = f"cold start, {protocol['warm_up_images']} warm-up image, {protocol['images_per_round']} images timed"
    if protocol["parts"]:
        count = protocol["images_per_round"]
        images = f"an image of one step to warm up, then {count} steps, text encoder and decoder timed"
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
        ("Workload", f"{prompts}, seeds from {workload['seed']}, {sampling}"),
        ("Protocol", f"{rounds}: {images}" if protocol["rounds"] else "speed was left out"),
    )


def headline(results: Results) -> str:
    """The fastest bundle in one sentence."""
    bundles = [row for row in results["cases"] if row["role"] == "bundle" and row["status"] == "ok"]
    part, what, ratio = ("end_to_end", "an image", "fp32")
    if not any(row["latency_ms"] and row["latency_ms"]["end_to_end"] for row in bundles):
        part, what, ratio = ("unet_step", "a UNet step", "unet_step_fp32")
    timed = [
        (measured["median"], format_ms(measured), row)
        for row in bundles
        if row["latency_ms"] is not None and (measured := row["latency_ms"][part]) is not None  # type: ignore[literal-required]
    ]
    if not timed:
        return "No bundle was measured from beginning to end."
    _, time, best = min(timed, key=lambda entry: entry[0])
    parts = [f"{best['name']} is the fastest bundle: {time} {what}"]
    factor = best["speedup"][ratio]  # type: ignore[literal-required]
    if factor is not None:
        parts.append(f"{format_factor(factor)} the speed of diffusers in FP32")
    parts.append(f"{format_bytes(best['bytes_on_disk'])} on disk")
    if best["fidelity"] is not None:
        parts.append(f"PSNR {_score_cell(best, 'psnr_db', 'median', 'dB')} against FP32 (median over prompts)")
    return ", ".join(parts) + "."


def _with_figures(columns: Sequence[_Column], rows: Sequence[CaseRow]) -> list[_Column]:
    others = [row for row in rows if row["role"] != "reference"]
    return [column for column in columns if any(column.cell(row) not in (MISSING, "failed") for row in others)]


def _table(name: str, columns: Sequence[_Column], cases: Sequence[CaseRow]) -> Table:
    rows = tuple(tuple(column.cell(row) for column in columns) for row in cases)
    return Table(name, tuple(column.heading for column in columns), rows)


def _score_cell(row: CaseRow, metric: str, figure: str, unit: str) -> str:
    return "reference" if row["role"] == "reference" else format_score(find_score(row, metric), figure, unit)


def _image_cell(row: CaseRow, show: Callable[[MeasurementRow | None], str] = format_ms) -> str:
    if row["latency_ms"] is None:
        return "failed" if row["status"] == "failed" else MISSING
    return show(row["latency_ms"]["end_to_end"])


def _psnr_cell(row: CaseRow) -> str:
    median, tail = (_score_cell(row, "psnr_db", figure, "dB") for figure in ("median", "p5"))
    return median if median == tail else f"{median.removesuffix(' dB')} ({tail.removesuffix(' dB')}) dB"


def _outside_cell(row: CaseRow) -> str:
    """With its share of an image: what a faster graph would not make faster."""
    latency = row["latency_ms"]
    if latency is None or latency["outside_graphs"] is None or latency["end_to_end"] is None:
        return MISSING
    share = latency["outside_graphs"]["median"] / latency["end_to_end"]["median"]
    return f"{format_ms(latency['outside_graphs'])} ({share:.1%})"


def _p95_cell(row: CaseRow) -> str:
    image = None if row["latency_ms"] is None else row["latency_ms"]["end_to_end"]
    return MISSING if image is None else f"{image['p95']:,.0f} ms"


def _vram_cell(row: CaseRow) -> str:
    memory = row["memory"]
    if memory is None or memory["peak_vram_bytes"] is None:
        return MISSING if memory is None else memory["reasons"].get("peak_vram_bytes", MISSING)
    return format_bytes(memory["peak_vram_bytes"])


def _is_computed(score: Score | None) -> bool:
    return score is not None and (score["median"] is not None or score["ci95"] is not None)


def _score_row(row: CaseRow, metric: Metric) -> tuple[str, ...]:
    score = find_score(row, metric.name)
    if score is None or not _is_computed(score):
        return (row["name"], metric.title, "not computed", MISSING, MISSING)
    if score["ci95"] is None:
        return (row["name"], metric.title, format_score(score, "median", metric.unit), MISSING, MISSING)
    lower, upper = (format_value(value, metric.unit) for value in score["ci95"])
    interval = lower if lower == upper else f"{lower} to {upper}"
    median, tail = (format_score(score, figure, metric.unit) for figure in ("median", "p5"))
    return (row["name"], metric.title, median, interval, tail)
