"""Keys of single files that are no weights of a part: what is ignored, and what is understood in another place.

Nothing else may be left over; see key_check.py.
"""

import re
from typing import Final

from .ema_names import BOOKKEEPING

V_PREDICTION: Final = "v_pred"  # an XL file whose model predicts the velocity
ZERO_TERMINAL_SNR: Final = "ztsnr"  # one that was trained down to no signal at all
MARKERS: Final = (V_PREDICTION, ZERO_TERMINAL_SNR)

_IGNORED: Final = (
    # the noise schedule, which follows from the betas' two ends
    r"betas|alphas|alphas_cumprod(_prev)?|sigmas|log_sigmas",
    r"(sqrt|log)_(one_minus_|recip_|recipm1_)?alphas_cumprod",
    r"sqrt_(recip|recipm1|one_minus)_alphas_cumprod|log_one_minus_alphas(_cumprod)?",
    r"posterior_(variance|log_variance_clipped|mean_coef1|mean_coef2)|lvlb_weights|logvar",
    r"denoiser\.(log_)?sigmas|model_sampling\.(log_)?sigmas",
    # what the training noted of itself
    r"global_step|epoch|scale_factor|" + "|".join(re.escape(key) for key in BOOKKEEPING),
    r"((first_stage_model|vae)\.)?loss\..+",  # the autoencoder's critic
    # of text encoders: counted, not learned, or not of the text
    r".+\.position_ids|position_ids",
    r".+\.logit_scale|logit_scale",
    r".+\.attn_mask",
)
_IS_IGNORED = re.compile("|".join(f"(?:{pattern})" for pattern in _IGNORED))


def is_ignored(key: str) -> bool:
    """Whether a key says nothing that an image depends on."""
    return _IS_IGNORED.fullmatch(key) is not None
