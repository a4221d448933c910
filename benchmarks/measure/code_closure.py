"""Which files of this package some of its modules depend on: what they import, and what these import, to the end.

Read from the source, so that nothing is imported, and a file in whatever folder counts as soon as somebody uses it.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_ASSETS = "assets"
_Module = tuple[str, ...]  # names below the package: ("runtime", "session"); () is the package itself


def code_files(package: Path, modules: Iterable[str]) -> tuple[Path, ...]:
    """Files of the package in the folder `package` that `modules` depend on, sorted; themselves included.

    `modules` are dotted names that begin with the package's; ValueError for one that has no file.
    A file that names its folder's `assets` depends on all that lies there. Of the packages on the way to a module the
    `__init__` counts, but not what it imports: that is followed where a name is taken from the package itself. Imports
    inside functions count; of those by name at run time, only what is spelled out in the call.
    """
    found: dict[Path, None] = {}
    waiting = [tuple(module.split("."))[1:] for module in modules]
    lost = [module for module in waiting if _file_of(package, module) is None]
    if lost:
        raise ValueError(f"{package} has no module {'.'.join(lost[0])}")
    seen = set(waiting)
    while waiting:
        module = waiting.pop()
        file = _file_of(package, module)
        if file is None:
            continue
        found[file] = None
        found |= dict.fromkeys(_packages_above(package, module))
        imported, has_assets = _read(file.read_text(encoding="utf-8"))
        if has_assets:
            found |= dict.fromkeys(path for path in (file.parent / _ASSETS).rglob("*") if path.is_file())
        inside = module if file.name == "__init__.py" else module[:-1]
        for level, base, names in imported:
            targets = set(_targets(package, inside, level, base, names)) - seen
            seen |= targets
            waiting.extend(targets)
    return tuple(sorted(found))


def _file_of(package: Path, module: _Module) -> Path | None:
    folder = package.joinpath(*module)
    candidates = [folder / "__init__.py", *([folder.with_name(f"{folder.name}.py")] if module else [])]
    return next((path for path in candidates if path.is_file()), None)


def _packages_above(package: Path, module: _Module) -> Iterator[Path]:
    for depth in range(len(module)):
        file = _file_of(package, module[:depth])
        if file is not None:
            yield file


def _targets(package: Path, inside: _Module, level: int, base: str, names: tuple[str, ...]) -> Iterator[_Module]:
    """The modules that an import statement of a module in the package `inside` brings in; other people's are none."""
    parts = tuple(part for part in base.split(".") if part)
    if level == 0:
        if parts[:1] != (package.name,):
            return
        parts = parts[1:]
    else:
        parts = (*inside[: len(inside) - level + 1], *parts)
    submodules = [(*parts, name) for name in names if _file_of(package, (*parts, name)) is not None]
    yield from submodules
    if len(submodules) < len(names) or not names:
        yield parts


@cache
def _read(source: str) -> tuple[tuple[tuple[int, str, tuple[str, ...]], ...], bool]:
    """(level, module, names) of every import, and whether assets are named."""
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    has_assets = False
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and _imported_by_name(node) is not None:
            name = _imported_by_name(node) or ""
            imports.append((len(name) - len(name.lstrip(".")), name.lstrip("."), ()))
        elif isinstance(node, ast.Constant) and node.value == _ASSETS:
            has_assets = True
    return tuple(imports), has_assets


def _imported_by_name(call: ast.Call) -> str | None:
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if call.args else None
    is_import = function in ("import_module", "__import__")
    return first.value if is_import and isinstance(first, ast.Constant) and isinstance(first.value, str) else None
