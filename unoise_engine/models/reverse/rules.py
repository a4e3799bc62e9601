"""The operators that can be reversed."""

from unoise_engine.models.reverse import (
    arithmetic,
    convolution,
    norms,
    pointwise,
    pooling,
    products,
    reductions,
    resizing,
    shaping,
)
from unoise_engine.models.reverse.growing import Rule

RULES: dict[str, Rule] = {
    **arithmetic.RULES,
    **convolution.RULES,
    **norms.RULES,
    **pointwise.RULES,
    **pooling.RULES,
    **products.RULES,
    **reductions.RULES,
    **resizing.RULES,
    **shaping.RULES,
}
