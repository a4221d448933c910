"""How many bytes of installed packages a process needs: what one downloads and keeps to run a case."""

from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, packages_distributions

_INSTRUMENTS = ("nvidia-ml-py", "psutil")  # what measures is no part of what is measured


def imported_packages(modules: Iterable[str]) -> list[str]:
    """The installed distributions that `modules`, such as sys.modules, come from; names in order."""
    owners = packages_distributions()
    roots = {name.partition(".")[0] for name in modules}
    return sorted({owner for root in roots for owner in owners.get(root, ())})


def imported_bytes(modules: Iterable[str]) -> int:
    """Their files on disk, summed. What they depend on and this process did not import is left out."""
    names = [name for name in imported_packages(modules) if name not in _INSTRUMENTS]
    return sum(_bytes_of(distribution(name)) for name in names)


def _bytes_of(package: Distribution) -> int:
    paths = (package.locate_file(file) for file in package.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())  # type: ignore[attr-defined]  # it is a Path
