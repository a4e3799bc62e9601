"""Random changes of a batch, as tensors on whatever device it lies on. Drawing the numbers is apart from using them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, conv2d, grid_sample, interpolate, max_pool2d

from unoise_engine.training.recipes import Augment

BONE = 0.8  # of 0 HU to the window's end: brighter than contrast-filled veins, where it ends at 255 HU
ELASTIC_KNOTS = 5  # a side: a coarse, smooth deformation


def augment(
    image: Tensor, organ: Tensor, size: int, how: Augment, window_hu: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Windowed cuts (n, 1, m, m) in [0, 1] and masks (n, c, m, m) -> both changed and cropped to (n, ., size, size)."""
    image, organ = warp(image, organ, draw_grid(len(image), image.shape[-1], size, how, image.device))
    if how.erase:
        image, organ = erase(image, organ, torch.rand(len(image), device=image.device) < how.erase)
    if how.washout:
        image = wash_out(image, torch.rand(len(image), device=image.device) < how.washout, window_hu)
    return retouch(image, how), organ


def erase(image: Tensor, organ: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, 1, h, w) without their organ (channel 0 of the masks) where `where` (n,) says so: soft edges, value 0.

    Where 0 is fat, this is an abdomen whose organ is gone: it teaches that a slice with all the neighbours may hold
    none, which a set whose every slice shows the organ cannot.
    """
    chosen = where[:, None, None, None]
    soft = avg_pool2d(max_pool2d(organ[:, :1].to(image.dtype), 5, 1, 2), 3, 1, 1) * chosen
    gone = torch.zeros_like(organ)
    gone[:, :1] = chosen
    return image * (1 - soft), organ & ~gone


def wash_out(image: Tensor, where: Tensor, window_hu: tuple[float, float]) -> Tensor:
    """Images (n, 1, h, w) in [0, 1] of a window without their contrast agent where `where` (n,) says so, roughly.

    The window ends at about 255 HU and begins at 0 HU or below. Above the value of unenhanced soft tissue (drawn: 25 to
    45 HU) little of what organs and vessels differ by is left, or it is turned round (the unenhanced liver is brighter
    than its vessels); bone and what lies below 0 HU, fat, stay. As the grain is pressed together too, new grain comes
    on, but not on fat. Real anatomy as a non-contrast CT shows it, from CTs that all have contrast.
    """
    chosen, out = torch.nonzero(where)[:, 0], image.clone()
    zero = -window_hu[0] / (window_hu[1] - window_hu[0])  # the image's value at 0 HU
    seen = image[chosen]
    x = (seen - zero).clamp_min(0) / (1 - zero)  # 0 HU .. the upper end
    knee, slope, grain = (
        low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device)
        for low, high in ((0.1, 0.18), (-0.1, 0.35), (0.008, 0.035))
    )
    soft = torch.where(x < knee, x, knee + slope * (x.clamp_max(BONE) - knee))
    bone = ((x - BONE) / (1 - BONE)).clamp_min(0)
    noise = avg_pool2d(torch.randn_like(x), 3, 1, 1, count_include_pad=False) * 3  # spread over pixels, deviation 1
    washed = soft + bone * (1 - soft) + grain * noise * (x / knee).clamp(0, 1)
    out[chosen] = torch.where(seen > zero, zero + (1 - zero) * washed, seen).clamp(0, 1)
    return out


def centre_crop(image: Tensor, size: int) -> Tensor:
    """(n, c, m, m) -> (n, c, size, size), the middle."""
    start = (image.shape[-1] - size) // 2
    return image[..., start : start + size, start : start + size]


def uniform(n: int, reach: float, device: torch.device) -> Tensor:
    """(n,) in -reach .. reach."""
    return (torch.rand(n, device=device) * 2 - 1) * reach


def draw_grid(n: int, source: int, size: int, how: Augment, device: torch.device) -> Tensor:
    """Sampling grid (n, size, size, 2) in the units of `grid_sample`, (x, y): output pixels in the source image."""
    angle = uniform(n, math.radians(how.rotate_deg), device)
    zoom = size / source / (1 + uniform(n, how.scale, device))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).reshape(n, 2, 2)
    mirror = torch.ones(n, 1, 2, device=device)
    if how.flip:
        mirror[:, 0, 0] = torch.rand(n, device=device).round() * 2 - 1
    px = 2 / source  # one pixel
    shift = torch.stack([uniform(n, how.shift_px * px, device) for _ in range(2)], dim=1)
    theta = torch.cat([turn * zoom[:, None, None] * mirror, shift[:, :, None]], dim=2)
    grid = affine_grid(theta, [n, 1, size, size], align_corners=False)
    if how.elastic_px:
        knots = torch.randn(n, 2, ELASTIC_KNOTS, ELASTIC_KNOTS, device=device) * how.elastic_px * px
        grid = grid + interpolate(knots, size=(size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return grid


def warp(image: Tensor, organ: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Both sampled in one pass; outside is air. The masks are cut at one half."""
    both = torch.cat([image, organ.to(image.dtype)], dim=1)
    moved = grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved[:, :1], moved[:, 1:] > 0.5


def retouch(image: Tensor, how: Augment) -> Tensor:
    """Contrast, brightness, gamma, blur and noise of images (n, 1, h, w) in [0, 1]; each hits a random part of them."""
    n, device = len(image), image.device

    def each(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    if how.gamma:
        image = image.clamp_min(1e-6) ** each(1 + uniform(n, how.gamma, device))
    if how.gain or how.offset:
        gain, offset = uniform(n, how.gain, device), uniform(n, how.offset, device)
        image = image * each(1 + gain) + each(offset)
    if how.blur:
        line = torch.tensor([0.25, 0.5, 0.25], device=device, dtype=image.dtype)
        share = (uniform(n, how.blur, device)).clamp_min(0)  # half of the images stay sharp
        image = image + each(share) * (conv2d(image, (line[:, None] * line)[None, None], padding=1) - image)
    if how.noise:
        scale = uniform(n, how.noise, device).clamp_min(0)
        image = image + each(scale) * torch.randn_like(image)
    return image.clamp(0, 1)
