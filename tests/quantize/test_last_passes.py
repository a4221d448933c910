"""Which graphs the passes for images are run on: INT8 ones that see images, for OpenVINO, unless they are left out."""

from pathlib import Path

import onnx
import pytest

from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.runtime import Bundle

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
STORAGES = {"text_encoder": "fp16", "unet": "int8", "vae_decoder": "int8", "vae_encoder": "fp16"}
NORM, BY_CHANNEL = "GroupNormalization", "GroupNormalization:deviations"


def norms(bundle: Bundle, name: str) -> tuple[int, int]:
    """How many norms a component has as they were exported, and how many by channels."""
    nodes = onnx.load(bundle.graph_path(name), load_external_data=False).graph.node
    return sum(node.op_type == NORM for node in nodes), sum(node.name.endswith(BY_CHANNEL) for node in nodes)


@pytest.mark.parametrize(("skipped", "is_rewritten"), [((), True), (("channel-norm",), False)])
def test_norms_go_by_channel_in_int8_decoders_alone(
    skipped: tuple[str, ...], is_rewritten: bool, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    bundle = quantize_bundle(
        tiny_bundle.path,
        tmp_path / "int8",
        recipe="int8",
        target="openvino",
        prompts=("a flat emoji of a red apple", "noto style cat face"),
        settings=CalibrationSettings(scheduler="ddim", steps=4, calls=4),
        overrides=STORAGES,
        skip_passes=skipped,
    )
    before = {name: norms(tiny_bundle, name) for name in STORAGES}
    after = {name: norms(bundle, name) for name in STORAGES}
    left, written = after.pop("vae_decoder")
    whole, none = before.pop("vae_decoder")
    assert after == before
    assert (left + written, none) == (whole, 0)
    assert (written > 1) is is_rewritten
    assert left == (1 if is_rewritten else whole)  # attention's, of tokens
