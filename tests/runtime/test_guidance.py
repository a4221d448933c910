"""Guidance: what it costs, where in the run it is on, and how much of the contrast it adds is taken back."""

from typing import Any

import numpy as np
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.runtime import Bundle, MezzotintError, TextToImage
from mezzotint.runtime.denoiser import rescale_guided


class Recorder:
    """Stands in for a session, and keeps the batch sizes it was fed."""

    def __init__(self, session: Any) -> None:
        self.session, self.component = session, session.component
        self.batches: list[int] = []

    def run(self, feeds: dict[str, Array]) -> Any:
        self.batches.append(len(next(iter(feeds.values()))))
        return self.session.run(feeds)


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime")


def recorded(pipe: TextToImage) -> tuple[TextToImage, Any, Any]:
    """The pipe, and what its text encoder and its UNet are asked."""
    text, unet = (Recorder(pipe.sessions[name]) for name in ("text_encoder", "unet"))
    sessions: dict[str, Any] = {**pipe.sessions, "text_encoder": text, "unet": unet}
    return TextToImage(pipe.bundle, pipe.choice, sessions), text, unet


def test_without_guidance_the_negative_prompt_is_not_even_encoded(tiny: TextToImage) -> None:
    spied, text, unet = recorded(tiny)
    without = spied("a", negative_prompt="b", guidance=1.0, steps=3)
    assert (text.batches, unet.batches) == ([1], [1, 1, 1])
    np.testing.assert_array_equal(without.pixels, spied("a", negative_prompt="c", guidance=0.5, steps=3).pixels)
    spied("a", negative_prompt="b", guidance=2.0, steps=1)
    assert (text.batches[2:], unet.batches[6:]) == ([1, 1], [2])


@pytest.mark.parametrize(
    ("interval", "batches"),
    [
        ((0.0, 1.0), [2] * 10),
        ((0.0, 0.5), [2] * 5 + [1] * 5),
        ((0.25, 0.8), [1] * 3 + [2] * 5 + [1] * 2),
        ((0.91, 0.99), [1] * 10),
    ],
)
@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpmpp-2m"])
def test_guidance_is_on_in_its_interval_alone(
    tiny: TextToImage, interval: tuple[float, float], batches: list[int], scheduler: str
) -> None:
    spied, _, unet = recorded(tiny)
    spied("a", steps=10, guidance_interval=interval, scheduler=scheduler)
    assert unet.batches == batches


def test_an_interval_without_steps_is_no_guidance(tiny: TextToImage) -> None:
    none = tiny("a", steps=4, guidance_interval=(0.9, 0.95))
    np.testing.assert_allclose(none.pixels, tiny("a", steps=4, guidance=1.0).pixels, atol=1e-5)


@pytest.mark.parametrize("rescale", [0.0, 0.3, 1.0])
def test_rescaling_is_that_of_diffusers(rescale: float) -> None:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    rng = np.random.default_rng(0)
    guided, positive = (rng.standard_normal((3, 4, 5, 6)).astype(np.float32) * scale for scale in (2.0, 1.0))
    expected = rescale_noise_cfg(torch.from_numpy(guided), torch.from_numpy(positive), rescale).numpy()
    found = rescale_guided(guided, positive, rescale)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rescaled_images_are_those_of_diffusers(tiny: TextToImage, tiny_checkpoint: Any) -> None:
    from tests.runtime.diffusers_images import DiffusersImages

    expected = DiffusersImages(tiny_checkpoint).text("a", steps=6, guidance=30.0, seed=4, guidance_rescale=1.0)
    found = tiny("a", steps=6, guidance=30.0, seed=4, guidance_rescale=1.0).pixels
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # Without rescaling the images would be further apart than that, whatever weights the tiny UNet was given.
    assert np.abs(found - tiny("a", steps=6, guidance=30.0, seed=4).pixels).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance_rescale": 1.5}, "guidance_rescale is 1.5, expected 0 to 1"),
        ({"guidance_rescale": float("nan")}, "guidance_rescale is nan, expected a finite number"),
        ({"guidance_interval": (0.5, 0.5)}, "guidance_interval is 0.5 to 0.5, expected from 0 up to 1"),
        ({"guidance_interval": (-0.1, 0.5)}, "guidance_interval is -0.1 to 0.5"),
        ({"guidance_interval": (0.0, float("inf"))}, "guidance_interval's bound is inf"),
        ({"guidance_interval": 0.5}, "guidance_interval is 0.5, expected two numbers"),
        ({"guidance": "strong"}, "guidance is 'strong', expected a finite number"),
    ],
)
def test_guidance_that_cannot_be_is_refused(tiny: TextToImage, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        tiny("a", steps=1, **options)
