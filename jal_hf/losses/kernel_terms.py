"""What a loss tells the device's kernel: the kinds of its terms, and their numbers."""

from __future__ import annotations

from typing import NamedTuple


class KernelTerm(NamedTuple):
    """`weight` times a term of a kind that `triton_terms` knows, with up to three numbers of its own."""

    kind: str
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    weight: float = 1.0


KernelTerms = tuple[KernelTerm, ...]
MOST_TERMS = 2


def joined_terms(
    active: KernelTerms | None, passive: KernelTerms | None, alpha: float, beta: float
) -> KernelTerms | None:
    """The terms of alpha * active + beta * passive, or None where they are unknown or too many."""
    if active is None or passive is None or len(active) + len(passive) > MOST_TERMS:
        return None
    weighted = [term._replace(weight=alpha * term.weight) for term in active]
    return *weighted, *(term._replace(weight=beta * term.weight) for term in passive)
