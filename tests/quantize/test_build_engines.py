"""Engines beside the graphs of a bundle: what is written and noted, what takes whose place, what is refused."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.atomic_folder import lock_folder
from mezzotint.bundle.precision import Storage
from mezzotint.engines.rtx.builder import Built
from mezzotint.engines.rtx.library import missing_builder
from mezzotint.engines.rtx.prebuilt import compiler_name, graph_hashes, is_trusted, read_engine
from mezzotint.errors import CheckFailed, MezzotintError
from mezzotint.quantize import build_engines as module
from mezzotint.quantize.build_engines import BuildSize, build_engines, trust_engines
from mezzotint.quantize.verify.image_shapes import image_shapes
from mezzotint.runtime import Bundle

GENERATING = ("text_encoder", "unet", "vae_decoder")
Asked = list[tuple[str, Mapping[str, Sequence[int]], tuple[str, ...]]]


@pytest.fixture
def bundle(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A copy that may be written to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Bundle.open(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A compiler that is not there; what it was asked for."""
    asked: Asked = []

    def build(path: Path, shapes: Mapping[str, Sequence[int]], capabilities: Sequence[str]) -> Built:
        asked.append((path.parent.name, shapes, tuple(capabilities)))
        plan = memoryview(f"{path.parent.name} {shapes} {capabilities}".encode())
        return Built(plan=plan, layers=(), macs={}, warnings={}, seconds=0.0)

    monkeypatch.setattr(module, "build_engine", build)
    monkeypatch.setattr(module, "builder_version", lambda: "1.7.1")
    return asked


def test_shapes_are_those_of_one_image(tiny_bundle: Bundle) -> None:
    assert image_shapes(tiny_bundle, "unet") == {
        "sample": (2, 4, 8, 8),
        "timestep": (),
        "encoder_hidden_states": (2, 32, 32),
    }
    assert image_shapes(tiny_bundle, "text_encoder") == {"input_ids": (1, 32)}
    assert image_shapes(tiny_bundle, "vae_decoder", count=3) == {"latent_sample": (3, 4, 8, 8)}
    assert image_shapes(tiny_bundle, "vae_encoder", height=32, width=16) == {"sample": (1, 3, 32, 16)}
    assert image_shapes(tiny_bundle, "unet", count=2, height=32, width=16)["sample"] == (4, 4, 16, 8)


def test_every_graph_that_generates_gets_an_engine_that_the_manifest_knows(bundle: Bundle, compiled: Asked) -> None:
    before = bundle.verify()
    built = build_engines(bundle, ("8.9", "12.0"), BuildSize())
    assert built.verify() == before + len(GENERATING)
    assert [name for name, _, _ in compiled] == list(GENERATING)
    for name in GENERATING:
        (engine,) = built.component(name).engines
        assert engine.compute_capabilities == ("8.9", "12.0")
        assert engine.compiler == compiler_name("1.7.1")
        assert dict(engine.shapes) == image_shapes(bundle, name)
        assert engine.graph_sha256 == graph_hashes(bundle.component(name))
        assert read_engine(built.path, engine).decode().startswith(f"{name} ")
        assert is_trusted(engine.file.sha256)
    assert built.component("vae_encoder").engines == ()


def test_the_same_takes_its_place_and_another_size_stands_beside_it(bundle: Bundle, compiled: Asked) -> None:
    del compiled
    first = build_engines(bundle, ("8.9",), BuildSize())
    again = build_engines(first, ("8.9",), BuildSize())
    assert again.manifest == first.manifest
    more = build_engines(again, ("8.9",), BuildSize(count=2))
    assert [len(more.component(name).engines) for name in GENERATING] == [1, 2, 2]  # texts are encoded alone
    more.verify()


def test_engines_of_another_graph_go(bundle: Bundle, compiled: Asked) -> None:
    del compiled
    built = build_engines(bundle, ("8.9",), BuildSize())
    unet = built.component("unet")
    stale = replace(unet, engines=(replace(unet.engines[0], graph_sha256=("ab" * 32,), shapes={"x": (1,)}),))
    components = {**built.manifest.components, "unet": stale}
    old = Bundle(built.path, replace(built.manifest, components=components))
    assert len(build_engines(old, ("8.9",), BuildSize()).component("unet").engines) == 1


def test_what_came_with_a_bundle_is_trusted_by_hand(
    bundle: Bundle,
    compiled: Asked,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del compiled
    built = build_engines(bundle, ("8.9",), BuildSize())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    engine = built.component("unet").engines[0]
    assert not is_trusted(engine.file.sha256)
    assert trust_engines(built) == len(GENERATING)
    assert is_trusted(engine.file.sha256)
    (built.path / engine.file.path).write_bytes(b"x" * engine.file.bytes)
    with pytest.raises(CheckFailed, match=f"{engine.file.path} is changed"):
        trust_engines(built)


def test_what_cannot_be_built_is_refused_before_anything_is(bundle: Bundle, tiny_int8: Bundle, compiled: Asked) -> None:
    with pytest.raises(MezzotintError, match=r"lowered for onnxruntime, .*--target tensorrt"):
        build_engines(tiny_int8, ("8.9",), BuildSize())
    with pytest.raises(MezzotintError) as caught:
        build_engines(bundle, ("9.0",), BuildSize())
    assert caught.value.got == "9.0"
    components = {**bundle.manifest.components, "unet": replace(bundle.component("unet"), storage=Storage.FP8)}
    with pytest.raises(MezzotintError, match=r"8\.6 have no 8-bit floats"):
        build_engines(Bundle(bundle.path, replace(bundle.manifest, components=components)), ("8.6",), BuildSize())
    assert compiled == []


def files(bundle: Bundle) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CheckFailed("refused"), OSError(28, "No space left on device")])
def test_an_interruption_leaves_the_bundle_that_was(
    bundle: Bundle, compiled: Asked, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    first = build_engines(bundle, ("8.9",), BuildSize())
    before = files(first)
    build: Callable[..., Built] = vars(module)["build_engine"]

    def fail(path: Path, shapes: Mapping[str, Sequence[int]], capabilities: Sequence[str]) -> Built:
        if path.parent.name == "unet":
            raise error
        return build(path, shapes, capabilities)

    monkeypatch.setattr(module, "build_engine", fail)
    with pytest.raises(type(error)):
        build_engines(first, ("12.0",), BuildSize())
    assert len(compiled) == len(GENERATING) + 1
    assert files(first) == before


def test_what_a_kill_left_goes_with_the_next_build(bundle: Bundle, compiled: Asked) -> None:
    del compiled
    folder = bundle.path / "unet" / "engines"
    folder.mkdir()
    for name in ("0123456789abcdef.engine", ".0123456789abcdef.partial"):
        (folder / name).write_bytes(b"half")
    build_engines(bundle, ("8.9",), BuildSize()).verify()


def test_engines_that_are_built_again_may_differ_and_a_kill_before_the_manifest_does_no_harm(
    bundle: Bundle, compiled: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    del compiled
    first = build_engines(bundle, ("8.9",), BuildSize())
    another = Built(plan=memoryview(b"other bytes"), layers=(), macs={}, warnings={}, seconds=0.0)
    monkeypatch.setattr(module, "build_engine", lambda *_: another)
    monkeypatch.setattr(module, "_remove_unnamed", lambda _: None)
    monkeypatch.setattr(module, "write_text", lambda *_: None)
    build_engines(first, ("8.9",), BuildSize())
    assert Bundle.open(bundle.path).manifest == first.manifest


def test_two_processes_do_not_build_one_bundle_at_a_time(bundle: Bundle, compiled: Asked) -> None:
    with lock_folder(bundle.path), pytest.raises(MezzotintError, match="is being written by another process"):
        build_engines(bundle, ("8.9",), BuildSize())
    assert compiled == []
    build_engines(bundle, ("8.9",), BuildSize())
    known = build_engines(bundle, ("12.0",), BuildSize())  # the bundle as it was opened before the other build
    assert len(known.component("unet").engines) == 2


def test_where_trust_cannot_be_noted_nothing_is_compiled(
    bundle: Bundle, compiled: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(MezzotintError, match=r"file/mezzotint/trusted-engines cannot be written to.*XDG_CACHE_HOME"):
        build_engines(bundle, ("8.9",), BuildSize())
    assert compiled == []


@pytest.mark.parametrize("linked", ["unet", "unet/engines"])
def test_nothing_is_written_behind_a_link(bundle: Bundle, compiled: Asked, tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    if linked == "unet":
        (bundle.path / linked).rename(elsewhere)
    else:
        elsewhere.mkdir()
    (bundle.path / linked).symlink_to(elsewhere)
    before = sorted(elsewhere.iterdir())
    with pytest.raises(MezzotintError, match=rf"{linked} is a link"):
        build_engines(bundle, ("8.9",), BuildSize())
    assert sorted(elsewhere.iterdir()) == before
    assert compiled == []


@pytest.mark.parametrize("size", [BuildSize(height=63), BuildSize(width=10**9), BuildSize(height=0)])
def test_a_size_that_cannot_be_is_refused_before_anything_is_compiled(
    bundle: Bundle, compiled: Asked, size: BuildSize
) -> None:
    with pytest.raises(MezzotintError):
        build_engines(bundle, ("8.9",), size)
    assert compiled == []


@pytest.mark.skipif(missing_builder() is not None, reason=f"tensorrt {missing_builder()}")
def test_the_compiler_builds_a_bundle(bundle: Bundle) -> None:
    built = build_engines(bundle, ("8.9",), BuildSize())
    built.verify()
    assert all(built.component(name).engines[0].file.bytes > 100_000 for name in GENERATING)
