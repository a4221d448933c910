"""What a bundle says of itself: `mezzotint.json` as frozen values, read strictly and written the same way every time.

The text ends in a digest of itself, so that a manifest whose text is not what `to_json` makes of it was changed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError

from .calibration_record import CalibrationRecord
from .compiled_record import CompiledRecord
from .control_record import AddedControl
from .defaults import Defaults
from .four_bit_record import FourBitRecord
from .live import LiveAdapter
from .precision import Compute, Storage
from .profile import Profile
from .records import LEFT_OUT, parse_record, record_data
from .shallow import component_of, deep_name, shallow_name

MANIFEST_NAME = "mezzotint.json"
SCHEMA_VERSION = 1
LATENT_BATCH = "latent_batch_size"  # the symbol of latents' rows where texts may have twice as many
_MAX_MANIFEST_BYTES = 4 << 20
_DIGEST = "manifest_sha256"  # of the text without this field


@dataclass(frozen=True)
class TensorSpec:
    """A graph input or output. A dim is a number or a symbol; equal symbols must be equal in one call."""

    name: str
    dtype: str  # numpy's name: "float32", "int64"
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: path relative to the bundle with forward slashes, size in bytes, SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Parity:
    """How a graph was checked when it was made: the worst SQNR against its source; null with `identical` when equal."""

    against: str
    sqnr_db: float | None
    identical: bool


@dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """An engine that was compiled from a graph ahead of time and lies beside it.

    It fits calls whose inputs have exactly `shapes`, GPUs of `compute_capabilities`, the compiler's own version, and
    the graph whose files have the hashes in `graph_sha256`.
    """

    file: FileEntry
    compiler: str  # "TensorRT-RTX 1.7.1.116"
    compute_capabilities: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    graph_sha256: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ShallowGraph:
    """What may run in a denoiser's place. `file` and `deep`, its deep graph, are two of the component's files.

    `layers` of the way up are in it, a resnet and maybe a transformer each. `inputs` are those of the whole graph that
    it takes as well, and `feature` the last output of the deep graph and its own last input.
    """

    file: str
    deep: str
    layers: int
    inputs: tuple[str, ...]
    feature: TensorSpec


@dataclass(frozen=True)
class Component:
    """One graph. `storage` is what the weights lie on disk as, `compute` the arithmetic to run it with."""

    files: tuple[FileEntry, ...]  # the first is the graph
    storage: Storage
    compute: Compute
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parity: Parity | None = None  # None: not checked
    float32_weights: tuple[str, ...] = field(
        default=(), metadata=LEFT_OUT
    )  # of FP16 storage: those that FP16 cannot hold
    approximations: tuple[str, ...] = field(default=(), metadata=LEFT_OUT)  # what it computes less than its source by
    shallow: ShallowGraph | None = field(default=None, metadata=LEFT_OUT)  # of a denoiser: what may run in its place
    four_bits: FourBitRecord | None = field(default=None, metadata=LEFT_OUT)  # of 4-bit weights: which, and how
    compiled: tuple[CompiledRecord, ...] = field(default=(), metadata=LEFT_OUT)  # for a GPU, one a compute capability
    engines: tuple[BuiltEngine, ...] = field(default=(), metadata=LEFT_OUT)  # compiled ahead of time

    @property
    def shares_prefix(self) -> bool:
        """Whether a denoiser takes the latents once for both halves of guidance; it takes them twice as well."""
        return bool(self.inputs) and self.inputs[0].dims[:1] == (LATENT_BATCH,)

    def beside(self, name: str) -> "Component":
        """What would be said of its deep or its shallow graph, by its name, if that were a component."""
        own = self.shallow
        assert own is not None  # whoever knows the name has looked
        is_deep = name == deep_name(component_of(name))
        graph = own.deep if is_deep else own.file
        files = sorted(self.files, key=lambda entry: entry.path != graph)  # its graph comes first
        same = replace(self, shallow=None, parity=None, files=tuple(files))
        if is_deep:
            return replace(same, outputs=(*self.outputs, own.feature))
        inputs = (spec for spec in self.inputs if spec.name in own.inputs)
        return replace(same, inputs=(*inputs, own.feature))


@dataclass(frozen=True, kw_only=True)
class SingleFile:
    """What a checkpoint in one file was taken for: the published model whose sizes it has, or the folder of configs
    that was given for it, and which of its weights were read: "ema", a training's averages, or "plain".
    """

    structure: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the denoiser predicts ("epsilon", "v_prediction" or "sample"), and what said so."""

    type: str
    said_by: str


@dataclass(frozen=True)
class Source:
    """Where the weights came from: the checkpoint's name and the SHA-256 over the weight files that were read.

    `variants` has the components that were not read from plain files, and the variant that they were read from.
    `prediction` is there where the scheduler's config did not say it, `preset` where one was chosen.
    """

    name: str
    sha256: str
    variants: Mapping[str, str] = field(default_factory=dict, metadata=LEFT_OUT)
    single_file: SingleFile | None = field(default=None, metadata=LEFT_OUT)
    prediction: Prediction | None = field(default=None, metadata=LEFT_OUT)
    preset: str | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """A part of the checkpoint that came from elsewhere: the name of that place, and a SHA-256 over its weight files.

    `variant` is what it was read from where that was no plain file. `latent_scale` is the scaling factor of the VAE
    whose place another took: it tells which latents the denoiser makes, where the new one's own factor does not.
    """

    name: str
    sha256: str
    variant: str = field(default="", metadata=LEFT_OUT)
    latent_scale: float | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, kw_only=True)
class FusedAdapter:
    """A LoRA or its like that was added to the weights: its file's name and SHA-256, how much of it, what it is."""

    name: str
    sha256: str
    scale: float
    forms: tuple[str, ...]  # such as "LoRA" and "DoRA"


@dataclass(frozen=True, kw_only=True)
class LearnedWord:
    """A word that textual inversion learned: how many vectors it has, and the file that they came from."""

    word: str
    vectors: int
    file: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The whole of `mezzotint.json`. `target` is "portable" for graphs of standard ONNX operators in floats."""

    family: str
    source: Source
    recipe: str
    target: str
    components: Mapping[str, Component]
    files: tuple[FileEntry, ...] = ()  # tokenizer, scheduler and config files
    cpu_features: tuple[str, ...] = ()  # all are needed; "a|b" is met by either
    calibration: CalibrationRecord | None = None
    # Of older bundles, which have none, it is what scheduler_config.json stands for.
    defaults: Defaults | None = field(default=None, metadata=LEFT_OUT)
    # By folder of the checkpoint: what did not come from `source`.
    replaced: Mapping[str, Replacement] = field(default_factory=dict, metadata=LEFT_OUT)
    # In the order in which they were added.
    fused: tuple[FusedAdapter, ...] = field(default=(), metadata=LEFT_OUT)
    profiles: Mapping[str, Profile] = field(default_factory=dict, metadata=LEFT_OUT)  # settings that were measured
    # In the order in which graphs that have branches are told their scales.
    live: tuple[LiveAdapter, ...] = field(default=(), metadata=LEFT_OUT)
    words: tuple[LearnedWord, ...] = field(default=(), metadata=LEFT_OUT)  # that were added to the tokenizers
    controls: tuple[AddedControl, ...] = field(default=(), metadata=LEFT_OUT)  # the denoiser is told more
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def graph_names(self) -> tuple[str, ...]:
        """What can be run: the components, and behind them the graphs beside their own."""
        names = [name for name, one in self.components.items() if one.shallow is not None]
        return (*self.components, *(called(name) for name in names for called in (deep_name, shallow_name)))

    def to_json(self) -> str:
        """Deterministic JSON text; a manifest that was parsed gives the text that it was parsed from."""
        content = json.loads(json.dumps(record_data(self)))  # as it will be read: keys are strings, and sorted as such
        digest = hashlib.sha256(_dump(content).encode("utf-8", "surrogatepass")).hexdigest()
        return _dump({**content, _DIGEST: digest})

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Parse a manifest file. Raises MezzotintError as `parse` does."""
        try:
            if path.stat().st_size > _MAX_MANIFEST_BYTES:
                raise MezzotintError(
                    f"{path} is larger than {_MAX_MANIFEST_BYTES} bytes; it is not a Mezzotint manifest"
                )
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise MezzotintError(f"{path.parent} has no {path.name}; make a bundle with `mezzotint export`") from None
        except (OSError, ValueError) as error:
            raise MezzotintError(f"{path} cannot be read as a manifest ({error}); make the bundle again") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, where: str = MANIFEST_NAME) -> "Manifest":
        """The manifest that `text` says; MezzotintError names the first field that is missing, unknown or mistyped."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MezzotintError(f"{where} cannot be read as a manifest ({error}); make the bundle again") from None
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            is_newer = isinstance(version, int) and version > SCHEMA_VERSION
            advice = "install the newer Mezzotint that made it, or " if is_newer else ""
            raise MezzotintError(
                f"{where}: schema_version is {version!r}, expected {SCHEMA_VERSION}; {advice}make the bundle again"
            )
        return parse_record(cls, {name: value for name, value in data.items() if name != _DIGEST}, where)


def _dump(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
