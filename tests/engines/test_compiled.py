"""Two compiled graphs in memory, and never more bytes on disk than the cap."""

import os
from pathlib import Path

import numpy as np
import pytest

from mezzotint.bundle.precision import Compute
from mezzotint.cache import usable_folder
from mezzotint.engines.compile_cache import cache_size_bytes, trim_cache
from mezzotint.engines.compiled import MAX_COMPILED, CompiledGraphs, Shapes
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.openvino import OPENVINO
from mezzotint.engines.session import Session
from tests.runtime.small_graphs import COMPONENT, expected, feeds, save_graph

A, B, C = (((size,),) for size in (1, 2, 3))


def test_the_graph_used_longest_ago_makes_room() -> None:
    compiled: list[Shapes] = []
    graphs: CompiledGraphs[int] = CompiledGraphs()

    def compile_for(shapes: Shapes) -> int:
        compiled.append(shapes)
        return len(compiled)

    assert MAX_COMPILED == 2
    assert [graphs.get(shapes, compile_for) for shapes in (A, B, A, C, A, B)] == [1, 2, 1, 3, 1, 4]
    assert compiled == [A, B, C, B]


def test_a_failed_compilation_leaves_nothing_behind() -> None:
    def fail(_shapes: Shapes) -> int:
        raise ValueError

    graphs: CompiledGraphs[int] = CompiledGraphs()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            graphs.get(A, fail)


def blob(folder: Path, name: str, size: int, age_s: float) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (1e9 - age_s, 1e9 - age_s))
    return path


def test_the_oldest_files_go_until_the_rest_fit(tmp_path: Path) -> None:
    old, middle, new = (blob(tmp_path, f"{name}.blob", 100, age) for name, age in (("b", 30), ("c", 20), ("a", 10)))
    assert trim_cache(tmp_path, 300) == []
    assert trim_cache(tmp_path, 299) == [old]
    assert (middle.exists(), new.exists()) == (True, True)
    assert trim_cache(tmp_path, 0) == [middle, new]
    assert cache_size_bytes(tmp_path) == 0


def test_folders_of_engines_count_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    engine = blob(tmp_path, "key/unet.engine", 100, 10)
    notes = blob(tmp_path, "notes.txt", 1000, 99)
    assert cache_size_bytes(tmp_path) == 100
    assert trim_cache(tmp_path, 50) == [engine]
    assert notes.exists()


def test_a_file_read_lately_is_not_old(tmp_path: Path) -> None:
    read, untouched = blob(tmp_path, "read.blob", 100, 50), blob(tmp_path, "untouched.blob", 100, 20)
    os.utime(read, (1e9, 1e9 - 50))
    assert trim_cache(tmp_path, 100) == [untouched]


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert usable_folder(tmp_path / "file" / "cache") is None
    assert usable_folder(None) is None
    assert usable_folder(tmp_path / "a" / "cache") == tmp_path / "a" / "cache"


def compile_sizes(graphs: Path, cache: Path, limit_bytes: int, widths: tuple[int, ...]) -> None:
    options = EngineOptions(Compute.F32, cache_dir=cache, cache_bytes=limit_bytes)
    session = Session.open("small", graphs / "model.onnx", COMPONENT, OPENVINO, options)
    for width in widths:
        inputs = feeds(1, width)
        np.testing.assert_allclose(session.run(inputs)["scaled"], expected(inputs)["scaled"], rtol=1e-6)


def test_openvinos_cache_stays_below_its_cap(tmp_path: Path) -> None:
    graphs, cache = tmp_path / "graphs", tmp_path / "cache"
    graphs.mkdir()
    save_graph(graphs)
    compile_sizes(graphs, cache, 1 << 30, (4,))
    one = cache_size_bytes(cache)
    assert one > 0
    compile_sizes(graphs, cache, 3 * one, (5, 6, 7, 8, 9))
    assert one <= cache_size_bytes(cache) <= 3 * one
    compile_sizes(graphs, cache, 0, (10, 11))
    assert cache_size_bytes(cache) == 0


def test_a_spoiled_cache_file_is_compiled_anew(tmp_path: Path) -> None:
    graphs, cache = tmp_path / "graphs", tmp_path / "cache"
    graphs.mkdir()
    save_graph(graphs)
    compile_sizes(graphs, cache, 1 << 30, (4,))
    for path in cache.rglob("*.blob"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    compile_sizes(graphs, cache, 1 << 30, (4,))
