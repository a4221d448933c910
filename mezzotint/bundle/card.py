"""The model card of a bundle: README.md, for whoever finds the folder, and for hubs that show it.

Its head is the front matter that model hubs read. It says what the manifest says, and the licence, which stands in the
checkpoint's own card; the same manifest and licence make the same text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mezzotint.small_file import read_small_file

from .calibration_record import CalibrationRecord
from .manifest import Component, Manifest
from .records import record_data

CARD_NAME = "README.md"
_LICENCE_KEYS = ("license", "license_name", "license_link")
_MOST_BYTES = 1 << 20  # of a card that a licence is looked for in
_LONGEST = 200  # characters of a licence
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")  # what YAML takes for a text without quotes
_RUNS_IN_OPTIMUM = ("portable", "onnxruntime")


def read_licence(card: Path) -> dict[str, str]:
    """The licence keys of a card's front matter, as model hubs spell them; empty where there is none to read."""
    try:
        lines = read_small_file(card, _MOST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, ValueError):
        return {}
    if not lines or lines[0].rstrip() != "---":
        return {}
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.rstrip() == "---":
            return found
        key, _, value = line.partition(":")
        text = value.partition(" #")[0].strip().strip("'\"")
        if key in _LICENCE_KEYS and text and len(text) <= _LONGEST and text.isprintable():
            found.setdefault(key, text)
    return {}  # it never ended


def write_card(folder: Path, manifest: Manifest, licence: Mapping[str, str]) -> None:
    """Write the card of the bundle in `folder`; before the manifest, which counts it among the files."""
    (folder / CARD_NAME).write_bytes(card_text(manifest, licence).encode("utf-8", "replace"))  # names may be no text


def card_text(manifest: Manifest, licence: Mapping[str, str]) -> str:
    """The whole card; `licence` as `read_licence` gives it."""
    sections = (_front_matter(manifest, licence), _head(manifest, licence), _components(manifest))
    parts = [part for section in sections for part in section]
    if manifest.calibration is not None:
        parts += _calibration(manifest.calibration)
    parts += [*_loading(manifest), *_versions(manifest)]
    return "\n".join(parts) + "\n"


def _front_matter(manifest: Manifest, licence: Mapping[str, str]) -> Iterator[str]:
    yield "---"
    for key in _LICENCE_KEYS:
        if key in licence:
            value = licence[key]
            yield f"{key}: {value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)}"
    yield from ("library_name: onnx", "pipeline_tag: text-to-image")
    yield from ("tags:", "- mezzotint", "- onnx", f"- {json.dumps(manifest.family)}", "---", "")


def _head(manifest: Manifest, licence: Mapping[str, str]) -> Iterator[str]:
    source = manifest.source
    variants = "".join(f"; {_code(name)} from its {_code(one)} weights" for name, one in source.variants.items())
    yield from (f"# {_plain(source.name)}, {manifest.recipe} for {manifest.target}", "")
    yield f"ONNX graphs of the family {_code(manifest.family)}, made with Mezzotint."
    yield ""
    yield f"* source: {_code(source.name)}, SHA-256 of its weights {_code(source.sha256)}{variants}"
    for name, one in manifest.replaced.items():
        taken = f", from its {_code(one.variant)} weights" if one.variant else ""
        what = f"not the source's but {_code(one.name)}, SHA-256 {_code(one.sha256)}{taken}"
        yield f"* {_code(name)}: {what}; it has a licence of its own"
    yield from (*_adapters(manifest), *_words(manifest), *_controls(manifest))
    stated = ", ".join(_code(licence[key]) for key in _LICENCE_KEYS if key in licence)
    yield f"* licence: {stated or 'the source states none in its model card; ask where it came from'}"
    yield f"* recipe: {_code(manifest.recipe)}"
    yield f"* target: {_code(manifest.target)}"
    if manifest.cpu_features:
        needed = ", ".join(_code(feature.replace("|", " or ")) for feature in manifest.cpu_features)
        yield f"* needs of the CPU: {needed}"
    yield ""


def _adapters(manifest: Manifest) -> Iterator[str]:
    for added in manifest.fused:
        what = f"{_code(added.name)} ({', '.join(added.forms)}) at scale {added.scale:g}, SHA-256 {_code(added.sha256)}"
        yield f"* added to the weights: {what}; it has a licence of its own"
    for live in manifest.live:
        what = f"{_code(live.name)} ({', '.join(live.forms)}), SHA-256 {_code(live.sha256)}"
        yield f"* beside the weights, off until a call asks for it: {what}; it has a licence of its own"


def _words(manifest: Manifest) -> Iterator[str]:
    for one in manifest.words:
        what = f"{_code(one.word)}, from {_code(one.file)}, SHA-256 {_code(one.sha256)}"
        yield f"* a word that was learned: {what}; it has a licence of its own"


def _controls(manifest: Manifest) -> Iterator[str]:
    for one in manifest.controls:
        taken = f" from its {_code(one.variant)} weights" if one.variant else ""
        what = f"{_code(one.name)}, of {_code(one.source)}{taken}, SHA-256 {_code(one.sha256)}"
        yield f"* a {one.kind.called}, off until a call asks for it: {what}; it has a licence of its own"


def _components(manifest: Manifest) -> Iterator[str]:
    yield from ("## Components", "")
    yield "| component | weights | computes in | MB | SQNR | compared with |"
    yield "| --- | --- | --- | ---: | ---: | --- |"
    for name, component in manifest.components.items():
        megabytes = sum(entry.bytes for entry in component.files) / 1e6
        figure, against = _parity(component)
        yield f"| {name} | {component.storage} | {component.compute} | {megabytes:.1f} | {figure} | {against} |"
    yield ""
    in_four_bits = [(name, one.four_bits) for name, one in manifest.components.items() if one.four_bits is not None]
    yield from (f"* {name}: {record}" for name, record in in_four_bits)
    yield from [""] if in_four_bits else []


def _parity(component: Component) -> tuple[str, str]:
    parity = component.parity
    if parity is None:
        return "", "not checked"
    return "identical" if parity.identical else f"{parity.sqnr_db} dB", _plain(parity.against)


def _calibration(record: CalibrationRecord) -> Iterator[str]:
    yield from ("## Calibration", "", "What the ranges of 8-bit activations were measured on:", "")
    for name, value in record_data(record).items():
        yield f"* {name}: {_code(json.dumps(value))}"
    yield ""


def _loading(manifest: Manifest) -> Iterator[str]:
    yield from ("## Use", "", "```python", "from mezzotint.runtime import TextToImage", "")
    yield from ('pipe = TextToImage.load("this-folder")', 'pipe("a red apple").images[0].save("apple.png")', "```", "")
    has_more_inputs = bool(manifest.live or manifest.controls)
    is_as_optimums = manifest.target in _RUNS_IN_OPTIMUM and not has_more_inputs
    if is_as_optimums and manifest.family == "stable-diffusion":
        yield from ("or", "", "```python", "from optimum.onnxruntime import ORTStableDiffusionPipeline", "")
        yield from ('pipe = ORTStableDiffusionPipeline.from_pretrained("this-folder")', "```", "")


def _versions(manifest: Manifest) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    yield f"Made with {_plain(versions)}."


def _plain(text: str) -> str:
    """`text` in one line, without what Markdown would take for markup."""
    return re.sub(r"([\\`*_|<>\[\]#])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """`text` as code in one line of a list or a table."""
    return f"`{' '.join(text.split()).replace('`', '').replace('|', '/')}`"
