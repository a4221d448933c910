"""The first stage: artwork and keywords from the npm registry, at pinned versions and with pinned hashes."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress

from .config import KEYWORDS, STYLES, Package
from .workspace import Workspace

PACKAGES = (*STYLES.values(), KEYWORDS)
_MARKER = "package.json"  # every npm package has one; the licence stands in it


def fetch_all(workspace: Workspace, progress: Progress) -> None:
    """Fetch and unpack what is not there yet."""
    for index, package in enumerate(PACKAGES):
        progress("fetching artwork", index, len(PACKAGES))
        if not _is_there(workspace, package):
            _fetch(package, workspace.package(package))
    progress("fetching artwork", len(PACKAGES), len(PACKAGES))


def is_fetched(workspace: Workspace) -> bool:
    """Whether all packages are there."""
    return all(_is_there(workspace, package) for package in PACKAGES)


def _is_there(workspace: Workspace, package: Package) -> bool:
    return (workspace.package(package) / _MARKER).is_file()


def _fetch(package: Package, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise MezzotintError("the artwork comes from npm, which is not installed; install Node.js and run this again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--pack-destination", scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            reason = done.stderr.strip().splitlines()[:1] or ["it left no archive"]
            raise MezzotintError(f"npm pack {package.name}@{package.version} failed ({reason[0]}); check the network")
        unpack(archives[0], package, folder)


def unpack(archive: Path, package: Package, folder: Path) -> None:
    """Unpack an npm archive to `folder`, whole or not at all. MezzotintError when it is not the pinned one."""
    got = integrity_of(archive)
    if got != package.integrity:
        raise MezzotintError(
            f"{package.name} {package.version} has the integrity {got}, expected {package.integrity}; do not use it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with tarfile.open(archive) as contents:
            contents.extractall(scratch, filter="data")
        (Path(scratch) / "package").rename(folder)


def integrity_of(path: Path) -> str:
    """SHA-512 in base64, as package-lock.json has it (https://www.w3.org/TR/SRI/)."""
    digest = hashlib.sha512(path.read_bytes()).digest()
    return f"sha512-{base64.b64encode(digest).decode('ascii')}"
