"""Reading and writing a graph, with its weights in a file beside it where they are large."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, EXTERNAL_DATA_THRESHOLD_BYTES, GRAPH_FILE
from mezzotint.errors import MezzotintError


def load_graph(path: Path) -> ir.Model:
    """Read a graph of a bundle; its external weights are read when they are asked for.

    onnx_ir refuses weights with a second link, which might lead anywhere. In the hub's cache all files are links, and
    `Bundle.open` has checked where they lead, so the weights are named by their path there.
    """
    model = ir.load(path)
    weights = path.with_name(EXTERNAL_DATA_FILE)
    if weights.is_file() and (weights.is_symlink() or weights.stat().st_nlink > 1):
        for value in model.graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _named_by_path(value.const_value, weights.resolve())
    return model


def _named_by_path(tensor: ir.ExternalTensor, weights: Path) -> ir.ExternalTensor:
    return ir.ExternalTensor(
        weights, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape, name=str(tensor.name)
    )


def save_graph(model: ir.Model, folder: Path, *, beside: bool = False) -> list[str]:
    """Write the graph into `folder`, made if need be; the names of its files, the graph first.

    Weights lie in a file beside it where they are large, or where another graph is to read them too (`beside`).
    MezzotintError where making one of them, which may be left until now, raises it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    with _errors_of_weights():
        if not beside and sum(weight.nbytes for weight in weights) <= EXTERNAL_DATA_THRESHOLD_BYTES:
            ir.save(
                ir.external_data.load_to_model(model), folder / GRAPH_FILE
            )  # what was external may not be large any more
            return [GRAPH_FILE]
        ir.save(model, folder / GRAPH_FILE, external_data=EXTERNAL_DATA_FILE)
        return [GRAPH_FILE, EXTERNAL_DATA_FILE]


@contextmanager
def _errors_of_weights() -> Iterator[None]:
    """What a lazy weight raises, as it is: onnx_ir puts errors of its own around what a user can cause."""
    try:
        yield
    except ir.serde.SerdeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, MezzotintError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None


def unmap_weights(model: ir.Model) -> None:
    """Let go of the pages of external weights that have been read; reading one again maps it again."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            with suppress(BufferError):  # somebody still holds a view
                value.const_value.release()


@contextmanager
def temporary_graph(model: ir.Model) -> Iterator[Path]:
    """The path of the graph's file, in a folder that is removed afterwards."""
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        save_graph(model, Path(folder))
        del model  # or its memory-mapped weights would stay as long as the file
        yield Path(folder) / GRAPH_FILE
