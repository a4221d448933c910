"""What a reader must know to judge the figures, found in the figures themselves. Each rule is one function."""

from collections.abc import Callable, Iterator

from ..cases.case import REFERENCE
from ..cases.lineup import OTHER_SEED
from ..figures.formats import format_value
from ..figures.results import IDENTICAL, CaseRow, MeasurementRow, Results, find_score
from ..measure.contention import FOREIGN_CPU_LIMIT
from ..measure.timing import NOISY_IQR_SHARE


def notes(results: Results) -> list[str]:
    """Sentences in the order of the rules."""
    return [note for rule in _RULES for note in rule(results)]


def _failed(results: Results) -> Iterator[str]:
    for row in results["cases"]:
        if row["status"] == "failed":
            what = "could not be measured" if row["role"] == "peer" else "failed"
            yield f"{row['name']} {what}: {row['reason']}"


def _identical(results: Results) -> Iterator[str]:
    count = len(results["workload"]["prompts"])
    for row in results["cases"]:
        psnr = find_score(row, "psnr_db")
        if psnr is not None and psnr["identical"]:
            yield f"{row['name']}: every image is identical to the reference's, bit for bit before rounding."
        elif row["identical_images"]:
            yield (
                f"{row['name']}: {row['identical_images']} of {count} images are identical to the reference's "
                "after rounding to 8 bits."
            )


def _twins(results: Results) -> Iterator[str]:
    for row in results["cases"]:
        if row["generates_as"] not in (None, REFERENCE) and row["role"] != "attribution":
            yield f"{row['name']} generates exactly what {row['generates_as']} generates, bit for bit before rounding."


def _stand_ins(results: Results) -> Iterator[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in results["cases"]:
        if "stands_in_for" in row:
            found.setdefault((row["stands_in_for"], row["backend"]), []).append(row["name"])
    for (engine, backend), names in found.items():
        yield (
            f"{', '.join(names)}: the graphs were run on {backend}'s CPU engine with every FP16 result rounded, and "
            f"not on {engine}: that tells what the numbers do to images, and nothing of time or memory."
        )


def _not_computed(results: Results) -> Iterator[str]:
    """One sentence for all metrics that the same cases lack for the same reason."""
    scored = [row for row in results["cases"] if row["fidelity"] is not None and row["name"] != OTHER_SEED]
    lacking: dict[tuple[str, str], list[str]] = {}  # (metric, reason): cases
    for row in scored:
        for name, score in (row["fidelity"] or {}).items():
            if score["per_prompt"] is None and score["median"] is None:
                lacking.setdefault((name, score["reasons"]["median"]), []).append(row["name"])
    metrics: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (name, reason), cases in lacking.items():
        metrics.setdefault((reason, tuple(cases)), []).append(name)
    for (reason, whom), names in metrics.items():
        whose = "" if len(whom) == len(scored) else f" for {', '.join(whom)}"
        yield f"Not computed{whose}: {', '.join(names)} ({reason})."


def _no_noise_floor(results: Results) -> Iterator[str]:
    scored = [row for row in results["cases"] if row["fidelity"] is not None]
    if scored and not any(row["recipe"] == "fp32" and row["role"] in ("bundle", "peer") for row in scored):
        yield (
            "No FP32 bundle was measured, so the table lacks the noise floor: what another engine alone changes. "
            "Name the FP32 bundle too."
        )


def _noisy(results: Results) -> Iterator[str]:
    spreads = []
    for row in results["cases"]:
        measured = _repeated(row, results)
        if measured is not None and measured["noisy"]:
            spreads.append(f"{row['name']} {100 * measured['iqr'] / measured['median']:.0f} %")
    if spreads:
        yield (
            "These times are noisy, measure again on an idle machine before quoting them (interquartile range as a "
            f"share of the median, warned of beyond {100 * NOISY_IQR_SHARE:.0f} %): {', '.join(spreads)}."
        )


def _repeated(row: CaseRow, results: Results) -> MeasurementRow | None:
    """What was timed again and again: whole images, or UNet steps where only parts were."""
    if row["latency_ms"] is None:
        return None
    return row["latency_ms"]["unet_step" if results["protocol"]["parts"] else "end_to_end"]


def _busy_machine(results: Results) -> Iterator[str]:
    shares = [
        f"{row['name']} {100 * row['foreign_cpu_share']:.0f} %"
        for row in results["cases"]
        if row["foreign_cpu_share"] is not None and row["foreign_cpu_share"] > FOREIGN_CPU_LIMIT
    ]
    if shares:
        yield (
            "Other programs ran during these measurements, so the times and their ratios are not to be relied on "
            f"(share of the processors that others took, in the worst round): {', '.join(shares)}."
        )


def _no_closer_than_chance(results: Results) -> Iterator[str]:
    other = next((row for row in results["cases"] if row["name"] == OTHER_SEED), None)
    if other is None:
        return
    ceiling = _psnr(other)
    for row in results["cases"]:
        median = _psnr(row)
        if row["role"] == "bundle" and median is not None and ceiling is not None and median <= ceiling:
            yield (
                f"{row['name']}: PSNR {format_value(median, 'dB')} is no closer to the reference than images of "
                f"another seed are ({format_value(ceiling, 'dB')}); either the bundle is of another checkpoint or VAE, "
                "or the checkpoint generates nearly one image a prompt, and then the latent and eps figures tell more."
            )


def _psnr(row: CaseRow) -> float | None:
    score = find_score(row, "psnr_db")
    return None if score is None or score["reasons"].get("median") == IDENTICAL else score["median"]


def _few_prompts(results: Results) -> Iterator[str]:
    count = len(results["workload"]["prompts"])
    if count < 16 and any(row["fidelity"] is not None for row in results["cases"]):
        were = "prompts were" if count > 1 else "prompt was"
        yield f"Only {count} {were} generated: the 5th percentile and the intervals say little below 16."


def _cold_start(results: Results) -> Iterator[str]:
    if any(row["cold_start_ms"] is not None for row in results["cases"]):
        yield (
            "Cold start runs from asking for the process to its first finished image, imports included; "
            "compiled-model caches are warm, because fidelity is measured first."
        )


_RULES: tuple[Callable[[Results], Iterator[str]], ...] = (
    _failed,
    _identical,
    _twins,
    _stand_ins,
    _not_computed,
    _no_noise_floor,
    _noisy,
    _busy_machine,
    _no_closer_than_chance,
    _few_prompts,
    _cold_start,
)
