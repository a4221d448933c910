"""`python -m demo.train.evaluate CHECKPOINT_OR_BUNDLE`: how many pictures show what they were asked to show.

It writes evaluation.json and contact-sheet.png, and prints a table. All pictures that can be asked for were trained on:
this measures what was learned, and what quantization spoils, and not how well the model generalises.
"""

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from mezzotint.arrays import FloatArray
from mezzotint.atomic_file import atomic_path, write_text
from mezzotint.benchmarks.metrics.gallery import Gallery, compose
from mezzotint.benchmarks.metrics.metric import NotComputedError
from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT, show_progress
from mezzotint.decibel import psnr_db
from mezzotint.progress import Progress

from .artwork.contact_sheet import contact_sheet
from .artwork.drawing import Drawn, Subject, draw_all, open_subject
from .artwork.recognition import Ranking, background_of, rank_by_pixels, rank_by_st_lpips, wilson_interval
from .config import BACKGROUNDS
from .gallery import gallery_of
from .pictures import Pictures, load_pictures
from .prompts import EVALUATED, Prompt, choose_prompts
from .workspace import Workspace

_SCHEMA_VERSION = 1
_NEAREST = 5


@dataclass(frozen=True)
class Evaluation:
    """What is asked: which prompts, how many, and how they are drawn."""

    concepts: str = "focus"
    prompts: int = 256
    prompts_seed: int = 1
    drawn: Drawn = field(default_factory=Drawn)


def evaluate(
    subject: Subject, pictures: Pictures, evaluation: Evaluation, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Draw and judge; the content of evaluation.json, which is written to `folder` beside the contact sheet."""
    prompts = choose_prompts(pictures, evaluation.concepts, evaluation.prompts, evaluation.prompts_seed)
    gallery = gallery_of(pictures)
    pixels = draw_all(subject, [prompt.text for prompt in prompts], evaluation.drawn, folder / "drawn", progress)
    backgrounds = [prompt.background for prompt in prompts]
    by_pixels = rank_by_pixels(pixels, backgrounds, gallery, _NEAREST, progress)
    by_st_lpips, why_not = _rank_by_st_lpips(pixels, backgrounds, gallery, progress)
    rows = [
        _row(index, prompt, pixels[index], pictures, gallery, {"pixels": by_pixels, "st_lpips": by_st_lpips})
        for index, prompt in enumerate(prompts)
    ]
    result: dict[str, Any] = {
        "schema_version": _SCHEMA_VERSION,
        "subject": subject.description,
        "evaluation": asdict(evaluation),
        "gallery_pictures": len(gallery.labels),
        "summary": {**_summary(rows), "autoencoder": _autoencoder(subject, prompts, pictures, progress)},
        "reasons": {} if why_not is None else {"st_lpips": why_not},
        "pictures": rows,
    }
    write_text(folder / "evaluation.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    with atomic_path(folder / "contact-sheet.png") as partial:
        contact_sheet(pixels, [row["pixels"][0] == row["concept"] for row in rows]).save(partial, format="PNG")
    return result


def _rank_by_st_lpips(
    pixels: FloatArray, backgrounds: list[int], gallery: Gallery, progress: Progress
) -> tuple[Ranking | None, str | None]:
    """The ranking, or why there is none."""
    try:
        return rank_by_st_lpips(pixels, backgrounds, gallery, _NEAREST, progress), None
    except (NotComputedError, ModuleNotFoundError) as refusal:  # a bundle is drawn without torch, which this needs
        return None, str(refusal)


def _row(
    index: int,
    prompt: Prompt,
    pixels: FloatArray,
    pictures: Pictures,
    gallery: Gallery,
    rankings: dict[str, Ranking | None],
) -> dict[str, Any]:
    """One drawn picture: what it should show, and what the nearest pictures show by each distance."""
    names = tuple(BACKGROUNDS)
    concept, style = pictures.concepts[prompt.picture].icon, pictures.styles[prompt.picture]
    kept = pictures.of_groups("focus", "rest")
    row: dict[str, Any] = {
        "prompt": prompt.text,
        "concept": concept,
        "style": style,
        "background": names[prompt.background],
        "background_drawn": names[background_of(pixels, gallery.colours)],
    }
    for distance, ranking in rankings.items():
        found = None if ranking is None else ranking[index]
        row[distance] = None if found is None else [gallery.labels[place] for place in found]
        row[f"{distance}_style"] = None if found is None else pictures.styles[kept[found[0]]]
    return row


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for distance in ("pixels", "st_lpips"):
        if rows[0][distance] is None:
            summary[distance] = None
            continue
        first = [row[distance][0] == row["concept"] for row in rows]
        same_style = [row[f"{distance}_style"] == row["style"] for row in rows]
        summary[distance] = {
            "top1_concept": share(first),
            "top5_concept": share([row["concept"] in row[distance] for row in rows]),
            "top1_concept_and_style": share([*map(all, zip(first, same_style, strict=True))]),
        }
    summary["background"] = share([row["background_drawn"] == row["background"] for row in rows])
    return summary


def share(hits: list[bool]) -> dict[str, Any]:
    """A share of the prompts with its 95 % interval."""
    low, high = wilson_interval(sum(hits), len(hits))
    return {"share": round(sum(hits) / len(hits), 4), "ci95": [round(low, 4), round(high, 4)], "hits": sum(hits)}


def _autoencoder(
    subject: Subject, prompts: tuple[Prompt, ...], pictures: Pictures, progress: Progress
) -> dict[str, float]:
    """PSNR of the training pictures that the prompts ask for, encoded and decoded."""
    colours = np.array(list(BACKGROUNDS.values()), dtype=np.float32) / np.float32(255.0)
    wanted = compose(
        pictures.rgba[[prompt.picture for prompt in prompts]], colours[[prompt.background for prompt in prompts]]
    )
    figures: list[float] = []
    for start in range(0, len(wanted), Drawn.batch):
        progress("reconstructing", start, len(wanted))
        batch = wanted[start : start + Drawn.batch]
        figures += [psnr_db(*pair) for pair in zip(batch, subject.reconstruct(batch), strict=True)]
    progress("reconstructing", len(wanted), len(wanted))
    return {"psnr_db_mean": round(float(np.mean(figures)), 3), "psnr_db_min": round(min(figures), 3)}


def _table(name: str, summary: dict[str, Any]) -> Table:
    table = Table("figure", "share", "95 % interval", title=name)
    titles = {"top1_concept": "top-1 concept", "top5_concept": "top-5", "top1_concept_and_style": "concept and style"}
    for distance, what in (("pixels", "pixel distance"), ("st_lpips", "ST-LPIPS")):
        for key, title in titles.items():
            figure = summary[distance] and summary[distance][key]
            table.add_row(f"{title}, {what}", *_cells(figure))
    table.add_row("background right", *_cells(summary["background"]))
    psnr = summary["autoencoder"]
    table.add_row("autoencoder PSNR", f"{psnr['psnr_db_mean']:.1f} dB", f"least {psnr['psnr_db_min']:.1f} dB")
    return table


def _cells(figure: dict[str, Any] | None) -> tuple[str, str]:
    if figure is None:
        return "not computed", ""
    low, high = figure["ci95"]
    return f"{100 * figure['share']:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"


def main() -> None:
    """The command line; exit code 2 with one sentence for what cannot be evaluated."""
    parser = argparse.ArgumentParser(prog="python -m demo.train.evaluate", description=__doc__)
    parser.add_argument("subject", type=Path, help="a diffusers checkpoint or a bundle")
    parser.add_argument("-o", "--output", type=Path, help="folder; reports/evaluation/NAME if not given")
    parser.add_argument("--prompts-count", type=int, default=Evaluation.prompts)
    parser.add_argument("--concepts", choices=tuple(EVALUATED), default=Evaluation.concepts)
    parser.add_argument("--backend", default="auto", help="the engine that runs a bundle")
    parser.add_argument("--steps", type=int, default=Drawn.steps)
    parser.add_argument("--guidance", type=float, default=Drawn.guidance)
    parser.add_argument("--seed", type=int, default=Drawn.seed, help="of the first picture")
    parser.add_argument("--batch", type=int, default=Drawn.batch)
    parser.add_argument("--training", type=Path, default=Path("training"), help="folder that demo.train worked in")
    options = parser.parse_args()
    folder = options.output or Path("reports/evaluation") / options.subject.resolve().name
    drawn = Drawn(options.steps, options.guidance, options.seed, options.batch)
    evaluation = Evaluation(options.concepts, options.prompts_count, drawn=drawn)
    with exit_with_a_sentence():
        pictures = load_pictures(Workspace(options.training).pictures)
        with show_progress() as progress:
            result = evaluate(open_subject(options.subject, options.backend), pictures, evaluation, folder, progress)
    STDOUT.print(_table(f"{options.subject}, {len(result['pictures'])} prompts", result["summary"]))
    STDOUT.print(f"wrote {folder}/evaluation.json and {folder}/contact-sheet.png", markup=False)


if __name__ == "__main__":
    main()
