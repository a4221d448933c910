"""The fifth stage: the autoencoder, trained on pictures over named and random colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from mezzotint.atomic_folder import replace_folder

from .config import BACKGROUNDS, AutoencoderTraining, Recipe
from .learning_rate import cosine
from .loop import Plan, step_seed, train
from .meter import Meter
from .optimizer import MatrixOptimizer
from .pictures import Pictures, load_pictures
from .precision import autocast
from .workspace import Workspace

NAME = "autoencoder"
_LATENT_CHANNELS = 4
_FIRST_LOG_VARIANCE = -5.0  # little noise to begin with, so that the decoder heeds the latents at once
_FIRST_VARIANCE_GAIN = 0.1


def train_autoencoder(workspace: Workspace, recipe: Recipe, meter: Meter) -> None:
    """Write the trained autoencoder as a diffusers folder; the scaling factor is set when latents are cached."""
    trainee = AutoencoderTrainee.create(recipe, load_pictures(workspace.pictures))
    training = recipe.autoencoder
    plan = Plan(
        training.steps,
        training.batch,
        recipe.log_every_steps,
        recipe.save_every_s,
        workspace.state(NAME),
        workspace.losses(NAME),
    )
    train(trainee, plan, meter)
    with replace_folder(workspace.autoencoder, marker="config.json", overwrite=True) as staging:
        trainee.model.to(memory_format=torch.contiguous_format).save_pretrained(staging)
    workspace.state(NAME).unlink()


def build_autoencoder(training: AutoencoderTraining, side: int) -> Any:
    """An untrained diffusers.AutoencoderKL for square pictures of `side` pixels."""
    levels = len(training.channels)
    model = AutoencoderKL(
        block_out_channels=training.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=_LATENT_CHANNELS,
        norm_num_groups=training.groups,
        sample_size=side,
    )
    with torch.no_grad():
        model.quant_conv.bias[_LATENT_CHANNELS:] = _FIRST_LOG_VARIANCE
        model.quant_conv.weight[_LATENT_CHANNELS:] *= _FIRST_VARIANCE_GAIN
    return model.to(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class AutoencoderTrainee:
    """The model in training. Make one with `create`."""

    recipe: Recipe
    model: Any  # diffusers.AutoencoderKL
    optimizer: MatrixOptimizer
    rgba: torch.Tensor  # (N, 4, H, W), 8 bits, premultiplied
    named_colours: torch.Tensor  # (K, 3) in [0, 1]

    columns = ("l1", "kl")

    @classmethod
    def create(cls, recipe: Recipe, pictures: Pictures) -> "AutoencoderTrainee":
        """An untrained one; the recipe's seed decides the weights."""
        training = recipe.autoencoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            model = build_autoencoder(training, recipe.side_pixels)
        parameters = list(model.parameters())
        matrices = [parameter for parameter in parameters if is_matrix(parameter)]
        others = [parameter for parameter in parameters if not is_matrix(parameter)]
        return cls(
            recipe,
            model,
            MatrixOptimizer(matrices, others, training.newton_schulz_steps),
            torch.from_numpy(pictures.rgba).permute(0, 3, 1, 2),
            torch.tensor(list(BACKGROUNDS.values())) / 255.0,
        )

    def train_step(self, step: int) -> Sequence[float]:
        """One batch."""
        training = self.recipe.autoencoder
        generator = torch.Generator().manual_seed(step_seed(self.recipe.seed, step))
        pixels = self._batch(generator)
        with autocast():
            moments = self.model.quant_conv(self.model.encoder(pixels))
            mean, log_variance = moments.float().chunk(2, dim=1)  # (B, 4, h, w) each
            log_variance = log_variance.clamp(-30.0, 20.0)
            noise = torch.randn(mean.shape, generator=generator)
            decoded = self.model.decoder(self.model.post_quant_conv(mean + noise * torch.exp(0.5 * log_variance)))
        l1, gradient_l1, mse = reconstruction_losses(pixels, decoded.float())
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        loss = l1 + training.gradient_weight * gradient_l1 + mse + training.kl_weight * kl
        loss.backward()
        self.optimizer.step(cosine(training.learning_rate, step, training.steps, training.warm_up_steps))
        return l1.item(), kl.item()

    def _batch(self, generator: torch.Generator) -> torch.Tensor:
        """(B, 3, H, W) in [-1, 1]: pictures at random, half of the batches mirrored."""
        training, count = self.recipe.autoencoder, self.recipe.autoencoder.batch
        chosen = torch.randint(len(self.rgba), (count,), generator=generator)
        named = self.named_colours[torch.randint(len(self.named_colours), (count,), generator=generator)]
        any_colour = torch.rand(count, 3, generator=generator)
        is_named = torch.rand(count, 1, generator=generator) < training.named_background_share
        colours = torch.where(is_named, named, any_colour)  # (B, 3)
        layers = self.rgba[chosen].float() / 255.0
        pixels = layers[:, :3] + (1.0 - layers[:, 3:]) * colours[:, :, None, None]
        if torch.rand((), generator=generator) < 0.5:
            pixels = pixels.flip(3)
        return (2.0 * pixels - 1.0).contiguous(memory_format=torch.channels_last)

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def reconstruction_losses(wanted: torch.Tensor, got: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """L1, L1 of the differences between neighbouring pixels, and MSE, of (B, 3, H, W)."""
    error = got - wanted
    gradient_l1 = error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
    return error.abs().mean(), gradient_l1, error.square().mean()


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether Muon trains it: none of the layers where pixels and latents enter and leave."""
    return parameter.ndim > 1 and parameter.shape[0] >= 16 and parameter[0].numel() >= 32
