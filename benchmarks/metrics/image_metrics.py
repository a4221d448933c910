"""How close two images are, on floats in [0, 1] before rounding to 8 bits."""

from mezzotint.arrays import FloatArray
from mezzotint.decibel import psnr_db

from .metric import Generation, NotComputedError

SSIM_WINDOW = 11


def image_psnr_db(reference: Generation, test: Generation) -> float:
    """Peak signal to noise ratio over all pixels and channels; infinite when identical."""
    return psnr_db(reference.pixels, test.pixels, data_range=1.0)


def image_ssim(reference: Generation, test: Generation) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11, sigma 1.5, population covariance, mean over RGB."""
    return ssim(reference.pixels, test.pixels)


def ssim(reference: FloatArray, test: FloatArray) -> float:
    """The same of pixels (H, W, 3) in [0, 1]; NotComputedError for images smaller than the window."""
    height, width, _ = reference.shape
    if min(height, width) < SSIM_WINDOW:
        raise NotComputedError(f"a {width}x{height} image is smaller than the window of {SSIM_WINDOW} pixels")
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            reference,
            test,
            win_size=SSIM_WINDOW,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=-1,
        )
    )
