"""`build`, `audit` and `dev compile-shape` for NVIDIA's GPUs: what is asked of the compiler, which is not there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.bundle.precision import Storage
from mezzotint.engines.rtx.library import AUDITED, BUILT_FOR, capabilities_of
from mezzotint.errors import MezzotintError
from mezzotint.quantize import build_engines as build_module
from mezzotint.quantize.build_engines import BuildSize, capabilities_for
from mezzotint.quantize.verify import audit as audit_module
from mezzotint.quantize.verify import compile_shape as shape_module
from mezzotint.quantize.verify.audit_tensorrt import CompiledAudit
from mezzotint.quantize.verify.coverage import Audit
from mezzotint.runtime import Bundle
from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("text", "found"), [("8.9", ("8.9",)), ("8.9, 12.0 ", ("8.9", "12.0")), ("12.0,8.9,12.0", ("12.0", "8.9"))]
)
def test_compute_capabilities_are_read_with_spaces_and_once_each(text: str, found: tuple[str, ...]) -> None:
    assert capabilities_of(text) == found


@pytest.mark.parametrize("text", ["", ",", "8.9,", "9.0", "8.9;12.0", "8,9", "sm_89"])
def test_what_is_no_compute_capability_is_refused(text: str) -> None:
    with pytest.raises(MezzotintError) as caught:
        capabilities_of(text)
    assert caught.value.what == "compute capability"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `build` was asked for."""
    found: list[Any] = []

    def build(bundle: Bundle, capabilities: Sequence[str], size: BuildSize, **_: Any) -> Bundle:
        found.append((tuple(capabilities), size))
        return bundle

    monkeypatch.setattr(build_module, "build_engines", build)
    return found


def test_build_takes_what_it_is_given(cli: Cli, tiny_bundle: Bundle, asked: list[Any]) -> None:
    assert cli("build", tiny_bundle.path)[0] == 0
    assert cli("build", tiny_bundle.path, "--compute-capability", "8.9, 8.9", "--count", 2, "--height", 32)[0] == 0
    assert asked == [(BUILT_FOR, BuildSize()), (("8.9",), BuildSize(count=2, height=32))]


def test_build_leaves_out_gpus_without_8_bit_floats_by_itself(tiny_bundle: Bundle) -> None:
    assert capabilities_for(tiny_bundle) == ("8.6", "8.9", "12.0")
    unet = replace(tiny_bundle.component("unet"), storage=Storage.FP8)
    manifest = replace(tiny_bundle.manifest, components={**tiny_bundle.manifest.components, "unet": unet})
    assert capabilities_for(replace(tiny_bundle, manifest=manifest)) == ("8.9", "12.0")


@pytest.mark.parametrize("option", [("--compute-capability", "8.9"), ("--count", "1"), ("--height", "32")])
def test_trust_goes_with_nothing_else(cli: Cli, tiny_bundle: Bundle, option: tuple[str, str]) -> None:
    code, _, err = cli("build", tiny_bundle.path, "--trust", *option)
    assert (code, "--trust builds nothing" in err) == (2, True)


def test_an_audit_speaks_of_8_bits_where_there_are_some(
    cli: Cli, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(_path: Path, component: str, _shapes: Any, _promised: Any, capability: str, **_: Any) -> CompiledAudit:
        return CompiledAudit(
            audit=Audit(component, "tensorrt", (), (), "INT8"),
            capability=capability,
            version="1.7.1",
            layers=3,
            engine_bytes=10,
            attentions=2,
            unfused=(),
            warnings={},
            seconds=1.0,
        )

    monkeypatch.setattr(audit_module, "compile_component", compiled)
    code, out, err = cli("audit", tiny_bundle.path, "--backend", "tensorrt")
    assert code == 0, err
    said = [line for line in out.splitlines() if "built, never run" in line]
    assert said == [f"{one}: 2 of 2 attentions fused, 3 layers, 0.0 MB, built, never run" for one in AUDITED]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--recipes", "fp16,int9"), "recipe is 'int9', expected fp16, int8 or fp8"),
        (("--components", "unet", "--recipes", "fp8", "--compute-capability", "8.6"), "8.6 have no 8-bit floats"),
        (("--components", "nope"), "has no component 'nope'"),
        (("--compute-capability", "9.0"), "compute capability is '9.0'"),
    ],
)
def test_compile_shape_refuses_before_it_compiles(
    cli: Cli, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], why: str
) -> None:
    monkeypatch.setattr(shape_module, "_lower", lambda *_: pytest.fail("it was lowered"))
    code, _, err = cli("dev", "compile-shape", tiny_bundle.path, *options)
    assert (code, why in err) == (2, True), err


def test_a_shape_is_that_of_a_float_bundle(cli: Cli, tiny_int8: Bundle) -> None:
    code, _, err = cli("dev", "compile-shape", tiny_int8.path, "--components", "unet", "--recipes", "fp16")
    assert (code, f"unet of {tiny_int8.path} is 'int8', expected float32" in err) == (2, True), err
