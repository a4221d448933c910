"""What a graph is fed: named values in the dtype and shape of its inputs; exporters differ in nothing else."""

from collections.abc import Mapping

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

from .condition import Condition
from .residuals import uncontrolled


def fitted(values: Mapping[str, Array | np.generic], component: Component) -> dict[str, Array]:
    """`values` as the inputs of `component`: each in its input's dtype, a scalar in as many axes as that has.

    Raises MezzotintError for a fraction where the input takes whole numbers. Names are not checked; a session does.
    """
    specs = {spec.name: spec for spec in component.inputs}
    feeds: dict[str, Array] = {}
    for name, value in values.items():
        array = np.asarray(value)
        spec = specs.get(name)
        if spec is not None:
            if np.issubdtype(np.dtype(spec.dtype), np.integer) and not np.all(array == np.floor(array)):
                raise MezzotintError(
                    f"the denoiser's {name} is {spec.dtype} and takes whole numbers, got {array.ravel()[0]}; choose "
                    "the scheduler ddim, or export with Mezzotint"
                )
            array = array.astype(spec.dtype, copy=False)
            array = array.reshape((1,) * len(spec.dims)) if array.ndim == 0 else array
        feeds[name] = array
    return feeds


def unet_feeds(sample: FloatArray, timestep: float, condition: Condition, component: Component) -> dict[str, Array]:
    """Of a UNet: the sample, the timestep and the condition as they are.

    The timestep is a float scalar in our own graphs, one integer in an array in those that Optimum exported. What a
    ControlNet would have it add is zeros, unless the condition has it.
    """
    told = {"sample": sample, "timestep": np.asarray(timestep), **condition.arrays}
    return fitted({**uncontrolled(told, component), **told}, component)
