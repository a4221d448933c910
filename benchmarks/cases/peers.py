"""Other people's ways of running the same weights: which there are, and what `make peers` left of each.

A peer that could not be installed or exported is a case with a refusal: its row says why it has no figures.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mezzotint.atomic_file import write_text
from mezzotint.bundle.precision import Compute
from mezzotint.engines.openvino import OPENVINO
from mezzotint.errors import MezzotintError

from .case import Case, Kind


@dataclass(frozen=True)
class Environment:
    """A virtual environment for peers whose packages do not go together with ours; `bytes_needed` of disk.

    Whatever decides a figure is pinned, and the engine's version is ours: the peers are compared, not releases.
    """

    name: str
    packages: tuple[str, ...]
    bytes_needed: int


ENVIRONMENTS = (
    Environment(
        "optimum-intel",
        (
            "optimum-intel[openvino]==2.2.0",
            "optimum==2.3.0",
            "openvino==2026.4.1",
            "openvino-genai==2026.4.1.0",
            "nncf==3.4.0",
            "torch==2.14.1",
            "torchvision==0.29.1",
            "diffusers==0.39.0",
            "transformers==5.5.4",
            "accelerate==1.15.0",
        ),
        9_000_000_000,
    ),
)


@dataclass(frozen=True)
class Peer:
    """`artefact` is the folder, below the peers' folder, of what it runs: "" is the checkpoint itself.

    `environment` "" is the one that runs the benchmark. Peers `on_gpu` are compared there, and all others on a CPU.
    `precision` None is that of our own INT8 bundles on OpenVINO: BF16 where this processor computes faster in it, or
    FP32.
    """

    name: str
    kind: Kind
    backend: str
    recipe: str
    precision: str | None
    artefact: str = ""
    environment: str = ""
    on_gpu: bool = False


PEERS = (
    Peer("diffusers-compile", "baseline", "diffusers", "compile", "f32"),
    Peer("optimum-onnxruntime", "optimum", "onnxruntime", "fp32", "f32", "optimum-onnxruntime"),
    Peer("nncf-int8-onnxruntime", "bundle", "onnxruntime", "nncf-int8", "f32", "nncf-int8"),
    Peer("nncf-int8-openvino", "bundle", "openvino", "nncf-int8", None, "nncf-int8"),
    Peer("optimum-intel-fp32", "optimum", "openvino", "fp32", "f32", "optimum-intel", "optimum-intel"),
    Peer("optimum-intel-bf16", "optimum", "openvino", "fp32", "bf16", "optimum-intel", "optimum-intel"),
    Peer("optimum-intel-int8", "optimum", "openvino", "int8-hybrid", None, "optimum-intel-int8", "optimum-intel"),
    Peer("openvino-genai-fp32", "genai", "openvino", "fp32", "f32", "optimum-intel", "optimum-intel"),
    Peer("openvino-genai-bf16", "genai", "openvino", "fp32", "bf16", "optimum-intel", "optimum-intel"),
    Peer("openvino-genai-int8", "genai", "openvino", "int8-hybrid", None, "optimum-intel-int8", "optimum-intel"),
    Peer("optimum-cuda-fp32", "optimum", "cuda", "fp32", "f32", "optimum-onnxruntime", on_gpu=True),
    Peer("optimum-cuda-fp16", "optimum", "cuda", "fp16", "f16", "optimum-cuda-fp16", on_gpu=True),
)


def peers_of(*, on_gpu: bool, names: Collection[str] = ()) -> tuple[Peer, ...]:
    """Those that run where the benchmark does, or of these the named ones where `names` has any.

    MezzotintError for a name that none of them has.
    """
    peers = tuple(peer for peer in PEERS if peer.on_gpu is on_gpu)
    known = [peer.name for peer in peers]
    for name in names:
        if name not in known:
            raise MezzotintError(what="--peer", got=name, expected=known)
    return tuple(peer for peer in peers if not names or peer.name in names)


@dataclass(frozen=True)
class PeerState:
    """What `make peers` says of an artefact: whose weights, which interpreter and versions, or why there is none."""

    source_sha256: str
    python: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None

    def is_whole(self, folder: Path, artefact: str) -> bool:
        """Whether what was prepared still lies there: `make clean` takes the environments along."""
        return (folder / artefact).is_dir() and (self.python is None or Path(self.python).is_file())

    def write(self, folder: Path, artefact: str) -> None:
        """Beside the artefact, not in it: a bundle holds nothing that its manifest does not name."""
        write_text(_state_path(folder, artefact), json.dumps(vars(self) | {"versions": dict(self.versions)}) + "\n")


def _state_path(folder: Path, artefact: str) -> Path:
    return folder / f"{artefact}.json"


def read_state(folder: Path, artefact: str) -> PeerState | None:
    """None when it was never prepared."""
    path = _state_path(folder, artefact)
    if not path.is_file():
        return None
    try:
        return PeerState(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise MezzotintError(f"{path} is not what `make peers` wrote ({error}); run `make peers` again") from None


def check_for_peers(checkpoint: Path) -> None:
    """MezzotintError for a checkpoint in one file: what the peers have of their own reads folders."""
    if checkpoint.is_file():
        raise MezzotintError(
            f"{checkpoint} is a single file, and peers are exported from folders; leave them away, or save it as a "
            "folder (diffusers: from_single_file, save_pretrained)"
        )


def peer_cases(
    folder: Path, checkpoint: str, checkpoint_sha256: str, *, on_gpu: bool = False, names: Collection[str] = ()
) -> tuple[Case, ...]:
    """One case for each of `peers_of`; `checkpoint_sha256` is of the weights that all generate with."""
    return tuple(_case(peer, folder, checkpoint, checkpoint_sha256) for peer in peers_of(on_gpu=on_gpu, names=names))


def _case(peer: Peer, folder: Path, checkpoint: str, checkpoint_sha256: str) -> Case:
    arguments = (peer.name, peer.kind)
    precision = peer.precision or str(OPENVINO.precision_for(Compute.BF16))
    facts = {"backend": peer.backend, "recipe": peer.recipe, "precision": precision, "is_peer": True}
    if not peer.artefact:
        return Case(*arguments, source=checkpoint, **facts)  # type: ignore[arg-type]  # a mapping of several types
    state = read_state(folder, peer.artefact)
    source = str(folder / peer.artefact)
    refusal = _refusal(state, checkpoint_sha256)
    if refusal is None and state is not None and not state.is_whole(folder, peer.artefact):
        refusal = "its folder or its environment is gone; run `make peers` again"
    python = None if state is None else state.python
    return Case(*arguments, source=source, **facts, python=python, refusal=refusal)  # type: ignore[arg-type]


def _refusal(state: PeerState | None, checkpoint_sha256: str) -> str | None:
    if state is None:
        return "it was not prepared; `make peers` does that"
    if state.reason is not None:
        return state.reason
    if state.source_sha256 != checkpoint_sha256:
        return "it was prepared from other weights; run `make peers` again"
    return None


def peer_versions(folder: Path) -> dict[str, str]:
    """Packages of the peers' own environments, each named after its environment."""
    versions: dict[str, str] = {}
    for peer in PEERS:
        state = read_state(folder, peer.artefact) if peer.environment else None
        if state is not None:
            versions |= {f"{name} of {peer.environment}": text for name, text in state.versions.items()}
    return versions
