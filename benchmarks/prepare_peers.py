"""`make peers`: environments and artefacts of the peers, so that `benchmark --peers FOLDER` can put them in its table.

    mezzotint dev peers CHECKPOINT FP32_BUNDLE -o FOLDER --environments FOLDER [--prompts FILE] [--gpu] [--peer NAME]

What is there already, from the same weights, is kept. A peer that cannot be had leaves its reason in FOLDER, and
the others go on. Nothing is installed where the disk has too little room.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from mezzotint.errors import MezzotintError
from mezzotint.families.source_hash import source_sha256
from mezzotint.runtime.text.prompts import read_prompts

from .cases.lineup import check_sources
from .cases.peer_artefacts import Inputs
from .cases.peers import ENVIRONMENTS, Environment, PeerState, check_for_peers, peers_of, read_state
from .measure.isolate import worker_environment

_INSTALLED = ".installed"
_VERSIONS = (
    "import json; from mezzotint.benchmarks.cases.peer_artefacts import package_versions as v; print(json.dumps(v()))"
)


def prepare_peers(
    inputs: Inputs, environments: Path, *, on_gpu: bool = False, names: Collection[str] = ()
) -> dict[str, PeerState]:
    """Make every artefact below `inputs.folder` that is not there, of `peers_of`; each one's state."""
    peers = peers_of(on_gpu=on_gpu, names=names)
    check_for_peers(inputs.checkpoint)
    check_sources(inputs.checkpoint, [inputs.bundle])
    read_prompts(inputs.prompts)
    source = source_sha256(inputs.checkpoint)
    inputs.folder.mkdir(parents=True, exist_ok=True)
    states = {}
    for artefact, environment in sorted({(peer.artefact, peer.environment) for peer in peers if peer.artefact}):
        state = read_state(inputs.folder, artefact)
        if state is None or not _is_current(state, inputs.folder, artefact, source):
            sys.stdout.write(f"{artefact}: preparing it, which takes minutes\n")
            sys.stdout.flush()
            state = _prepare(artefact, environment, inputs, environments, source)
            state.write(inputs.folder, artefact)
        states[artefact] = state
    return states


def _is_current(state: PeerState, folder: Path, artefact: str, source: str) -> bool:
    return state.reason is None and state.source_sha256 == source and state.is_whole(folder, artefact)


def _prepare(artefact: str, environment: str, inputs: Inputs, environments: Path, source: str) -> PeerState:
    folder = inputs.folder / artefact
    shutil.rmtree(folder, ignore_errors=True)
    known = {entry.name: entry for entry in ENVIRONMENTS}
    try:
        python = None if not environment else str(_install(known[environment], environments))
        paths = (inputs.checkpoint, inputs.bundle, inputs.prompts, folder)
        module = "mezzotint.benchmarks.cases.peer_artefacts"
        _run(python or sys.executable, "-m", module, artefact, *(str(path) for path in paths))
        versions = json.loads(_run(python or sys.executable, "-c", _VERSIONS))
    except MezzotintError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return PeerState(source, reason=str(error))
    return PeerState(source, python, versions)


def _install(environment: Environment, folder: Path) -> Path:
    """The interpreter of the environment, made when it is not whole; MezzotintError says what stopped it."""
    home = folder / environment.name
    python = home / "bin" / "python"
    stamp = home / _INSTALLED
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == "\n".join(environment.packages):
        return python.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < environment.bytes_needed:
        needed = f"{environment.bytes_needed / 1e9:.0f} GB of free disk, and there are {free / 1e9:.1f}"
        raise MezzotintError(f"the environment {environment.name} needs {needed}")
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *environment.packages)
    stamp.write_text("\n".join(environment.packages), encoding="utf-8")
    return python.absolute()


def _run(*command: str) -> str:
    """Standard output; MezzotintError with the last line of what the command said when it fails."""
    done = subprocess.run(command, env=worker_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1] if lines else f"it ended with code {done.returncode}"
        raise MezzotintError(f"it could not be prepared: {said:.300}")
    return done.stdout
