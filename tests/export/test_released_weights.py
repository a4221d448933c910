"""A component's weights are gone by the time an engine loads its own copy of them, whoever else held them."""

import gc
from pathlib import Path

import pytest
import torch

from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.export import export_component
from mezzotint.export.families.stable_diffusion import graph_sources

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch's modules that gc looks at


@pytest.mark.usefixtures("unchecked", "traced_anew")  # the exporter is what might keep them
def test_no_tensor_keeps_the_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    source = next(iter(graph_sources(load_checkpoint(str(tiny_checkpoint)))))
    storages = {parameter.untyped_storage().data_ptr() for parameter in source.module.parameters()}
    component = export_component(source, tmp_path, is_needed=False)
    assert component.files
    tensors = [one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter)]
    held = [one for one in tensors if one.device.type == "cpu" and one.untyped_storage().data_ptr() in storages]
    assert held == []
