"""Every loss once more, as plain loops over floats straight from the formulas: slow, and easy to read.

A detached factor is passed in as a constant, so that central differences see what the gradient should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

Row = Sequence[float]
EPS = 1e-8


def softmax(z: Row) -> list[float]:
    top = max(z)
    powers = [math.exp(v - top) for v in z]
    return [v / sum(powers) for v in powers]


def log_softmax(z: Row) -> list[float]:
    top = max(z)
    total = math.log(sum(math.exp(v - top) for v in z))
    return [v - top - total for v in z]


def focal(z: Row, frozen: Row, gamma: float) -> list[float]:
    return [-((1 - softmax(frozen)[k]) ** gamma) * log_softmax(z)[k] for k in range(len(z))]


def ce(z: Row, y: int, frozen: Row) -> float:
    return -log_softmax(z)[y]


def fl(z: Row, y: int, frozen: Row, gamma: float) -> float:
    return focal(z, frozen, gamma)[y]


def mae(z: Row, y: int, frozen: Row, scale: float = 2.0) -> float:
    return scale * (1 - softmax(z)[y])


def rce(z: Row, y: int, frozen: Row, eps: float = EPS) -> float:
    total = 0.0
    for k, p in enumerate(softmax(z)):
        total -= max(p, eps) * math.log(1.0 if k == y else 1e-4)
    return total


def gce(z: Row, y: int, frozen: Row, q: float, eps: float = EPS) -> float:
    return (1 - max(softmax(z)[y], eps) ** q) / q


def ngce(z: Row, y: int, frozen: Row, q: float, eps: float = EPS) -> float:
    powers = [max(p, eps) ** q for p in softmax(z)]
    return (1 - powers[y]) / (len(z) - sum(powers))


def nce(z: Row, y: int, frozen: Row) -> float:
    return log_softmax(z)[y] / sum(log_softmax(z))


def nfl(z: Row, y: int, frozen: Row, gamma: float) -> float:
    terms = focal(z, frozen, gamma)
    return terms[y] / sum(terms)


def amse(z: Row, y: int, frozen: Row, a: float, q: float = 2.0) -> float:
    return sum(abs((a if k == y else 0.0) - p) ** q for k, p in enumerate(softmax(z))) / len(z)


def mse(z: Row, y: int, frozen: Row) -> float:
    return amse(z, y, frozen, a=1.0)


def agce(z: Row, y: int, frozen: Row, a: float, q: float) -> float:
    return ((a + 1) ** q - (a + softmax(z)[y]) ** q) / q


def aul(z: Row, y: int, frozen: Row, a: float, p: float) -> float:
    return ((a - softmax(z)[y]) ** p - (a - 1) ** p) / p


def ael(z: Row, y: int, frozen: Row, a: float) -> float:
    return math.exp(-softmax(z)[y] / a)


def nnce(z: Row, y: int, frozen: Row, eps: float = EPS) -> float:
    height = -math.log(eps)
    terms = [height + math.log(max(p, eps)) for p in softmax(z)]
    return 1 - terms[y] / sum(terms)


def nnfl(z: Row, y: int, frozen: Row, gamma: float, eps: float = EPS) -> float:
    height = -((1 - eps) ** gamma) * math.log(eps)
    terms = []
    for k, p in enumerate(softmax(z)):
        factor = (1 - max(softmax(frozen)[k], eps)) ** gamma
        terms.append(height + factor * math.log(max(p, eps)))
    return 1 - terms[y] / sum(terms)


def clipped(z: Row, y: int, frozen: Row, delta: float, mode: str, eps: float = EPS) -> float:
    norm = math.sqrt(sum(v * v for v in z))
    if mode == "paper":
        return -log_softmax([v * min(1.0, delta / norm) for v in z])[y]
    norm += eps
    scale = delta / norm if norm > 1 / delta else 1.0
    return -math.log(max(softmax([v * scale for v in z])[y], eps))


def ldr(z: Row, y: int, frozen: Row, threshold: float, lam: float) -> float:
    soft = [math.log1p(math.exp(v)) for v in z]
    s = [v / (sum(soft) / len(z)) for v in soft]
    terms = [math.exp((s[k] - s[y] + (threshold if k != y else 0.0)) / lam) for k in range(len(z))]
    return lam * math.log(sum(terms) / len(z))


def ece(z: Row, y: int, frozen: Row, m: float, gamma: float = 0.0, eps: float = EPS) -> float:
    def hat(scores: Row) -> float:
        p = softmax(scores)
        return max((p[y] + (m if p[y] == max(p) else 0.0)) / (m + 1), eps)

    return -((1 - hat(frozen)) ** gamma) * math.log(hat(z))


def pair(active: Callable[..., float], passive: Callable[..., float]) -> Callable[..., float]:
    names = {part: part.__code__.co_varnames[3 : part.__code__.co_argcount] for part in (active, passive)}

    def joint(z: Row, y: int, frozen: Row, alpha: float, beta: float, **params: Any) -> float:
        if passive is mae:
            params["scale"] = params.get("scale", 1.0)
        values = [
            part(z, y, frozen, **{key: params[key] for key in names[part] if key in params})
            for part in (active, passive)
        ]
        return alpha * values[0] + beta * values[1]

    return joint


REFERENCES: dict[str, Callable[..., float]] = {
    "ce": ce, "fl": fl, "mae": mae, "rce": rce, "gce": gce, "ngce": ngce, "nce": nce, "nfl": nfl,
    "amse": amse, "mse": mse, "agce": agce, "aul": aul, "ael": ael, "nnce": nnce, "nnfl": nnfl,
    "ce+lc": clipped, "ldr": ldr, "ece": ece, "efl": ece, "sce": pair(ce, rce),
    "anl-ce": pair(nce, nnce), "anl-fl": pair(nfl, nnfl), "jal-ce": pair(nce, amse), "jal-fl": pair(nfl, amse),
    "ece+mae": lambda z, y, frozen, **params: pair(ece, mae)(z, y, frozen, scale=2.0, **params),
    "efl+mae": lambda z, y, frozen, **params: pair(ece, mae)(z, y, frozen, scale=2.0, **params),
    **{f"nce+{name}": pair(nce, part) for name, part in
       (("rce", rce), ("mae", mae), ("agce", agce), ("aul", aul), ("ael", ael))},
    **{f"nfl+{name}": pair(nfl, part) for name, part in
       (("rce", rce), ("mae", mae), ("agce", agce), ("aul", aul), ("ael", ael))},
}  # fmt: skip

# Parameters that neither the golden numbers nor the presets use.
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "fl": [{"gamma": 2.0}, {"gamma": 1.0}, {"gamma": 0.0}],
    "mae": [{"scale": 1.3}],
    "rce": [{"eps": 1e-3}],
    "gce": [{"q": 0.3}, {"q": 1.6, "eps": 1e-2}],
    "ngce": [{"q": 0.4, "eps": 1e-3}],
    "nfl": [{"gamma": 1.5}, {"gamma": 1.0}],
    "amse": [{"a": 1.0}, {"a": 2.5, "q": 0.5}, {"a": 1.0, "q": 0.7}, {"a": 7.0, "q": 3.0}, {"a": 4.0, "q": 1.0}],
    "agce": [{"a": 2.0, "q": 0.2}, {"a": 1e-5, "q": 0.5}, {"a": 1.8, "q": 3.0}],
    "aul": [{"a": 3.0, "p": 0.1}, {"a": 1.5, "p": 1.0}],
    "ael": [{"a": 0.3}, {"a": 40.0}],
    "nnce": [{"eps": 1e-2}],
    "nnfl": [{"eps": 1e-2, "gamma": 1.3}],
    "ce+lc": [{"delta": 1.2, "mode": "official"}, {"delta": 1.2, "mode": "paper"}, {"delta": 90.0, "mode": "paper"}],
    "ldr": [{"threshold": 0.0, "lam": 1.0}, {"threshold": 2.0, "lam": 0.5}],
    "ece": [{"m": 3.0}, {"m": 0.0}],
    "efl": [{"m": 3.0, "gamma": 0.6}],
    "sce": [{"alpha": 6.0, "beta": 0.1}],
    "anl-ce": [{"alpha": 2.0, "beta": 0.3, "eps": 1e-7}],
    "anl-fl": [{"alpha": 2.0, "beta": 0.3, "eps": 1e-7, "gamma": 1.2}],
    "jal-ce": [{"alpha": 50.0, "beta": 1.0, "a": 30.0}, {"alpha": 0.4, "beta": 3.0, "a": 1.0},
               {"alpha": 5.0, "beta": 0.0, "a": 2.0}, {"alpha": 1.0, "beta": 2.0, "a": 3.0, "q": 1.5}],
    "jal-fl": [{"alpha": 3.0, "beta": 0.1, "a": 5.0, "gamma": 2.0},
               {"alpha": 0.0, "beta": 2.0, "a": 3.0, "gamma": 0.5}],
    "ece+mae": [{"alpha": 0.3, "beta": 0.7, "m": 10.0}],
    "efl+mae": [{"alpha": 0.3, "beta": 0.7, "m": 10.0, "gamma": 0.4}],
    "nce+agce": [{"alpha": 50.0, "beta": 0.1, "a": 2.5, "q": 3.0}],
    "nfl+agce": [{"alpha": 2.0, "beta": 0.5, "a": 2.5, "q": 0.4, "gamma": 1.7}],
    "nfl+rce": [{"alpha": 2.0, "beta": 0.5, "gamma": 1.7, "eps": 1e-2}],
}  # fmt: skip
