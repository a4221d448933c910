"""A bundle's FP32 graph, lowered again as the bundle says, is the bundle's graph to the last byte."""

from pathlib import Path

import pytest

from mezzotint.bundle.bundle import sha256_of
from mezzotint.bundle.folded import FOLDED_FILE, read_folded
from mezzotint.errors import MezzotintError
from mezzotint.quantize.adapt.relower import relowered
from mezzotint.quantize.graphs.graph_file import load_graph, save_graph
from mezzotint.runtime import Bundle
from tests.quantize.adapt.conftest import LIVE_KINDS, Quantized


@pytest.mark.parametrize(("recipe", "target"), LIVE_KINDS)
def test_it_is_the_same_graph(
    recipe: str, target: str, quantized: Quantized, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = quantized(recipe, target)
    for name in ("unet", "text_encoder"):
        model = relowered(bundle, name, load_graph(tiny_bundle.graph_path(name)))
        files = save_graph(model, tmp_path / name)
        expected = [entry.sha256 for entry in bundle.component(name).files]
        assert [sha256_of(tmp_path / name / file) for file in files] == expected, name


def test_what_was_folded_is_written_down(quantized: Quantized) -> None:
    folded = read_folded(quantized("int8", "openvino").path / "unet" / FOLDED_FILE)
    assert folded is not None
    assert folded.scales
    assert all(key.endswith("attn1.to_k/MatMul") for key in folded.centres)
    assert folded.centres  # OpenVINO computes scores of self-attention in 8 bits
    assert read_folded(quantized("int8", "openvino").path / "vae_decoder" / FOLDED_FILE) is None


def test_a_spoilt_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FOLDED_FILE
    for content in (b"", b"PK\x03\x04", b"\x80\x04K\x01."):
        path.write_bytes(content)
        with pytest.raises(MezzotintError) as error:
            read_folded(path)
        assert FOLDED_FILE in str(error.value)
