"""DeepCache in PyTorch, by diffusers' own modules: the oracle of runs that compute a part of the UNet in some calls."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["TorchDeepCache"]


class TorchDeepCache:
    """Takes the place of a UNet's `forward`: every `interval`-th call is a whole one, and keeps its inside.

    That is what the last up block reads, or with `last_layer` what the last resnet reads besides conv_in's skip.
    """

    def __init__(self, unet: Any, interval: int, *, last_layer: bool = False) -> None:
        self.unet, self.interval, self.last_layer = unet, interval, last_layer
        self.whole: Callable[..., Any] = unet.forward
        self.calls = 0
        self.feature = torch.empty(0)
        block = unet.up_blocks[-1]
        if last_layer:
            block.resnets[-1].register_forward_pre_hook(self._keep_layer)
        else:
            block.register_forward_pre_hook(self._keep_block, with_kwargs=True)
        unet.forward = self

    def _keep_block(self, _module: Any, _arguments: Any, named: dict[str, Any]) -> None:
        if self.calls % self.interval == 0:
            self.feature = named["hidden_states"].clone()

    def _keep_layer(self, _module: Any, arguments: tuple[Any, ...]) -> None:
        if self.calls % self.interval == 0:
            skip = self.unet.conv_in.out_channels
            self.feature = arguments[0][:, :-skip].clone()

    def restart(self) -> None:
        self.calls = 0

    def __call__(
        self,
        sample: Any,
        timestep: Any,
        encoder_hidden_states: Any = None,
        added_cond_kwargs: Any = None,
        return_dict: bool = True,
        **others: Any,
    ) -> Any:
        if self.calls % self.interval == 0:
            told = {"encoder_hidden_states": encoder_hidden_states, "added_cond_kwargs": added_cond_kwargs}
            answer = self.whole(sample, timestep, **told, return_dict=return_dict, **others)
        else:
            answer = (self._shallow(sample, timestep, encoder_hidden_states, added_cond_kwargs),)
        self.calls += 1
        return answer

    def _shallow(self, sample: Any, timestep: Any, text: Any, added: Any) -> Any:
        unet = self.unet
        embedded = unet.time_embedding(unet.time_proj(timestep.expand(len(sample))))
        more = unet.get_aug_embed(emb=embedded, encoder_hidden_states=text, added_cond_kwargs=added)
        embedded = embedded if more is None else embedded + more
        first = unet.conv_in(sample)
        up = self._last_layer(first, embedded, text) if self.last_layer else self._last_block(first, embedded, text)
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(up)))

    def _last_block(self, first: Any, embedded: Any, text: Any) -> Any:
        down, up = self.unet.down_blocks[0], self.unet.up_blocks[-1]
        _, skips = down(first, embedded, **_heard(down, text))
        read = (first, *skips)[: len(up.resnets)]
        return up(self.feature, temb=embedded, res_hidden_states_tuple=read, **_heard(up, text))

    def _last_layer(self, first: Any, embedded: Any, text: Any) -> Any:
        block = self.unet.up_blocks[-1]
        up = block.resnets[-1](torch.cat([self.feature, first], dim=1), embedded)
        attentions = getattr(block, "attentions", None)
        return up if attentions is None else attentions[-1](up, encoder_hidden_states=text).sample


def _heard(block: Any, text: Any) -> dict[str, Any]:
    return {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}
