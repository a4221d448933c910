"""The seventh stage: text encoder and UNet, trained together on cached latents and captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from mezzotint.atomic_file import atomic_path

from .batches import Batches
from .captions import load_keywords
from .config import Recipe
from .diffusion import add_noise, alphas_cumprod, draw_timesteps, timestep_weights
from .latents import Latents, load_latents
from .learning_rate import piecewise
from .loop import Plan, step_seed, train
from .meter import Meter
from .networks import build_text_encoder, build_unet, is_matrix
from .optimizer import MatrixOptimizer
from .pictures import load_pictures
from .precision import autocast
from .tokenizer import load_tokenizer
from .workspace import Workspace

NAME = "unet"


def train_pipeline(workspace: Workspace, recipe: Recipe, meter: Meter) -> None:
    """Write the averaged weights of both networks."""
    training = recipe.pipeline
    tokenizer = load_tokenizer(workspace.tokenizer, recipe.tokens)
    pictures, keywords = load_pictures(workspace.pictures), load_keywords(workspace.keywords)
    batches = Batches(training, pictures, keywords, tokenizer, recipe.seed)
    trainee = PipelineTrainee.create(recipe, batches, load_latents(workspace.latents))
    plan = Plan(
        training.steps,
        training.batch,
        recipe.log_every_steps,
        recipe.save_every_s,
        workspace.state(NAME),
        workspace.losses(NAME),
    )
    train(trainee, plan, meter)
    with atomic_path(workspace.averaged) as partial:
        torch.save(trainee.averaged_weights(), partial)
    workspace.state(NAME).unlink()


@dataclass(frozen=True, eq=False)
class PipelineTrainee:
    """Both networks in training. Make one with `create`."""

    recipe: Recipe
    networks: nn.ModuleDict  # "unet", "text_encoder"
    optimizer: MatrixOptimizer
    average: Any  # diffusers' EMAModel
    batches: Batches
    latents: torch.Tensor  # (N, K, 4, h, w), float16
    alphas: torch.Tensor  # (T,)
    weights: torch.Tensor  # (T,)

    columns = ("weighted_loss", "eps_mse")

    @classmethod
    def create(cls, recipe: Recipe, batches: Batches, latents: Latents) -> "PipelineTrainee":
        """Untrained ones; the recipe's seed decides the weights."""
        training = recipe.pipeline
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            unet = build_unet(training, latents.scaled.shape[-1])
            networks = nn.ModuleDict({"unet": unet, "text_encoder": build_text_encoder(recipe)})
        named = list(networks.named_parameters())
        matrices = [parameter for name, parameter in named if is_matrix(name, parameter)]
        others = [parameter for name, parameter in named if not is_matrix(name, parameter)]
        alphas = alphas_cumprod()
        return cls(
            recipe,
            networks,
            MatrixOptimizer(matrices, others, training.newton_schulz_steps),
            EMAModel(networks.parameters(), decay=training.ema_decay, foreach=True),
            batches,
            torch.from_numpy(latents.scaled),
            alphas,
            timestep_weights(alphas, training.snr_limit, training.weight_limit),
        )

    def train_step(self, step: int) -> Sequence[float]:
        """One batch."""
        training = self.recipe.pipeline
        generator = torch.Generator().manual_seed(step_seed(self.recipe.seed, step))
        batch = self.batches.batch(step)
        latents = self.latents[batch.pictures, batch.backgrounds].float()  # (B, 4, h, w)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = draw_timesteps(len(latents), generator)
        noisy = add_noise(latents, noise, self.alphas[timesteps]).contiguous(memory_format=torch.channels_last)
        with autocast():
            embeddings = self.networks["text_encoder"](input_ids=torch.from_numpy(batch.token_ids))[0]
            predicted = self.networks["unet"](noisy, timesteps, embeddings, return_dict=False)[0]
        errors = (predicted.float() - noise).square().mean(dim=(1, 2, 3))  # (B,)
        loss = (errors * self.weights[timesteps]).mean()
        loss.backward()
        self.optimizer.step(piecewise(training.phases, step, training.warm_up_steps))
        self.average.step(self.networks.parameters())
        return loss.item(), errors.mean().item()

    def averaged_weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """The state dict of each network, with the averages in the weights' place; they stay in place."""
        self.average.copy_to(self.networks.parameters())
        return {
            name: {key: value.contiguous() for key, value in network.state_dict().items()}
            for name, network in self.networks.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Weights, their average, and the optimizer."""
        return {
            "networks": self.networks.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.networks.load_state_dict(state["networks"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
