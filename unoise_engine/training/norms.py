"""The batch norms of a net that lost them, so that it can be trained further.

A bundle's convolutions have taken their batch norms in, and `rebuilt.py` puts identities in their place: the same
function, but one that a training at an ordinary rate tears apart. Here each identity becomes the norm that its input
asks for - the input's mean and variance as running statistics, the inverse of their normalisation as weight and bias -
so that the function in eval mode stays what it is, and a batch in training mode gives nearly that.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def lost(net: nn.Module) -> bool:
    """True of a net whose norms have seen no batch."""
    norms = norms_of(net)
    return bool(norms) and not any(norm.num_batches_tracked for norm in norms)


def norms_of(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]


@torch.no_grad()
def restore(net: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Measures on what the net is given, batch by batch; the norms must be identities, as `rebuilt` leaves them."""
    net.eval()
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms_of(net)}

    def measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        x = inputs[0].double()
        count = torch.full((x.shape[1],), x[:, 0].numel(), dtype=torch.float64)
        sums[norm] += torch.stack([count, x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])

    hooks = [norm.register_forward_pre_hook(measure) for norm in sums]
    for batch in batches:
        net(*batch)
    for hook in hooks:
        hook.remove()
    for norm, (count, total, squares) in sums.items():
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101 - for the type checker
        assert norm.num_batches_tracked is not None  # noqa: S101
        mean = total / count
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((squares / count - mean.square()).clamp_min(0))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(mean)
        norm.num_batches_tracked.fill_(1)
