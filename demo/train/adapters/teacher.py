"""The teacher: a checkpoint that is trained no further, and its guided runs from noise to picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, LCMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from tokenizers import Tokenizer
from transformers import CLIPTextModel

from mezzotint.export.files.quiet import quiet

from ..diffusion import SCHEDULE
from ..precision import autocast
from ..tokenizer import load_tokenizer


@dataclass(frozen=True, eq=False)
class Teacher:
    """Its networks in FP32."""

    unet: Any  # diffusers.UNet2DConditionModel
    text_encoder: Any  # transformers.CLIPTextModel
    tokenizer: Tokenizer

    @classmethod
    def load(cls, checkpoint: Path) -> "Teacher":
        """From a diffusers folder. Attention is the plain product, as in the training of the checkpoint."""
        text_encoder: Any = CLIPTextModel.from_pretrained(
            checkpoint / "text_encoder", local_files_only=True, dtype=torch.float32, attn_implementation="eager"
        )
        tokens = text_encoder.config.max_position_embeddings
        return cls(load_unet(checkpoint), text_encoder.eval(), load_tokenizer(checkpoint / "tokenizer", tokens))

    def say(self, captions: Sequence[str]) -> torch.Tensor:
        """(B, tokens, width)."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(captions))]
        with torch.inference_mode():
            said: torch.Tensor = self.text_encoder(input_ids=torch.tensor(ids))[0]
        return said

    def run(
        self, said: torch.Tensor, unsaid: torch.Tensor, noise: torch.Tensor, timesteps: Sequence[int], guidance: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The states (B, P, 4, h, w) before the UNet is asked at each of P `timesteps`, and the ends (B, 4, h, w).

        `said` and `unsaid` (B, tokens, width) are what the text encoder says of the captions and of none; the solver
        is DPM-Solver++(2M) (Lu et al. 2022), whose first-order steps are those of DDIM.
        """
        scheduler: Any = DPMSolverMultistepScheduler(**SCHEDULE, final_sigmas_type="zero")
        scheduler.set_timesteps(timesteps=list(timesteps))
        both, x, states = torch.cat([unsaid, said]), noise, []
        with torch.inference_mode(), autocast():
            for timestep in scheduler.timesteps:
                states.append(x)
                doubled = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
                empty, full = self.unet(doubled, timestep, both, return_dict=False)[0].float().chunk(2)
                x = scheduler.step(empty + guidance * (full - empty), timestep, x).prev_sample
        return torch.stack(states, dim=1), x


def load_unet(checkpoint: Path) -> Any:
    """A diffusers.UNet2DConditionModel in FP32, set up for training on a CPU."""
    with quiet("diffusers.models.modeling_utils"):
        unet: Any = UNet2DConditionModel.from_pretrained(
            checkpoint / "unet", local_files_only=True, torch_dtype=torch.float32
        )
    unet.set_attn_processor(AttnProcessor())
    return unet.eval().to(memory_format=torch.channels_last)


def load_vae(checkpoint: Path) -> Any:
    """A diffusers.AutoencoderKL in FP32."""
    with quiet("diffusers.models.modeling_utils"):
        vae: Any = AutoencoderKL.from_pretrained(checkpoint / "vae", local_files_only=True, torch_dtype=torch.float32)
    return vae.eval().to(memory_format=torch.channels_last)


def consistency_timesteps(steps: int, distilled_steps: int) -> tuple[int, ...]:
    """The timesteps of a latent consistency model that draws in `steps` steps, the first one first."""
    scheduler: Any = LCMScheduler(**SCHEDULE)
    scheduler.set_timesteps(steps, original_inference_steps=distilled_steps)
    return tuple(scheduler.timesteps.tolist())
