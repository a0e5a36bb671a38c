"""The training methods by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jal_hf.ground.sentences import did_you_mean, listed
from jal_hf.training.methods.averaging import Ema
from jal_hf.training.methods.combination import Combination
from jal_hf.training.methods.elr import Elr
from jal_hf.training.methods.gate import Gate
from jal_hf.training.methods.method import Method, Parameters, parameter_names
from jal_hf.training.methods.mixing import Cutmix, Mixup
from jal_hf.training.methods.refurbish import Refurbish
from jal_hf.training.methods.twin import Twin
from jal_hf.training.methods.warmup import Warmup


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method.

    Attributes:
        formula: The training loss in one line.
        cost: Time beside the plain run.
        state: What it keeps between steps.
        source: The paper.
        excludes: Methods it cannot be combined with, and why.
        caution: Where it was measured to cost accuracy, and why.
    """

    name: str
    create: type[Method]
    formula: str = "-"
    cost: str = "1.0"
    state: str = "none"
    source: str = "-"
    excludes: Mapping[str, str] | None = None
    caution: str = ""


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_METHODS: dict[str, MethodInfo] = {}


def register_method(info: MethodInfo) -> None:
    """Add a method; methods are combined in the order in which they were added.

    Raises:
        TypeError: What is given is no `MethodInfo`, or what it creates no `Method`.
        ValueError: The name is taken, or is none that can be asked for.
    """
    if not isinstance(info, MethodInfo):
        raise TypeError(f"register_method takes a MethodInfo, not {info!r}.")
    if not (isinstance(info.create, type) and issubclass(info.create, Method)):
        raise TypeError(
            f"The training method {info.name!r} must be a subclass of Method, and {info.create!r} is none."
        )
    if info.name in _METHODS:
        raise ValueError(f"A training method {info.name!r} is registered already.")
    if not _NAME.fullmatch(info.name):
        raise ValueError(
            f"A training method is asked for by small letters, digits and the signs _ -, so it cannot be named "
            f"{info.name!r}."
        )
    _METHODS[info.name] = info


def list_methods() -> list[str]:
    """Names of the training methods, in the order in which they are combined."""
    return list(_METHODS)


def method_info(name: str) -> MethodInfo:
    """What is known of a method.

    Raises:
        ValueError: An unknown name; the nearest one is named.
    """
    if name not in _METHODS:
        raise ValueError(
            f"There is no training method {name!r}.{did_you_mean(name, _METHODS)} There are: {listed(list_methods())}."
        )
    return _METHODS[name]


def method_names(text: str) -> list[str]:
    """The methods of `a+b+c`, in the registry's order.

    Raises:
        ValueError: An unknown or repeated name, or methods that contradict each other.
    """
    names = [method_info(part.strip().lower()).name for part in text.split("+")]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Method {name!r} stands twice in {text!r}.")
    if len(names) > 1 and "plain" in names:
        raise ValueError(f"'plain' is training without a method, so {text!r} contradicts itself.")
    for name in names:
        for other, why in (method_info(name).excludes or {}).items():
            if other in names:
                raise ValueError(f"Methods {name!r} and {other!r} contradict each other: {why}")
    return sorted(names, key=list_methods().index)


def create_method(name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """A method, or several as one.

    Args:
        name: A registered name, or several as `twin+gate+ema`; their order means nothing.
        parameters: Of the one method, or by method: `{"elr": {"lambda": 1}}`.

    Raises:
        ValueError: An unknown name or parameter, or methods that contradict each other.
    """
    names = method_names(name)
    given = dict(parameters or {})
    if len(names) == 1 and set(given) == set(names) and isinstance(given[names[0]], Mapping):
        given = dict(given[names[0]])
    if len(names) == 1:
        return _created(names[0], given)
    for key, values in given.items():
        if key not in names or not isinstance(values, Mapping):
            raise ValueError(
                f"Parameters of {name!r} stand under a method's name, such as {{{names[0]!r}: {{...}}}}; {key!r}: "
                f"{values!r} does not."
            )
    return combined([_created(part, given.get(part, {})) for part in names])


def parameters_for(name: str, given: Mapping[str, Any]) -> Parameters:
    """Of parameters that stand under methods' names, those of one method or combination; flat ones as they are.

    Raises:
        ValueError: An unknown method.
    """
    names = method_names(name)
    if not all(key in _METHODS and isinstance(value, Mapping) for key, value in given.items()):
        return dict(given)
    return {key: value for key, value in given.items() if key in names}


def combined(methods: Sequence[Method]) -> Method:
    """Methods as one.

    Raises:
        ValueError: Methods that contradict each other.
    """
    for method in methods:
        if method.name not in _METHODS:
            raise ValueError(f"Register method {method.name!r} to combine it with others.")
    order = method_names("+".join(method.name for method in methods))
    found = sorted(methods, key=lambda method: order.index(method.name))
    mixers = [method.name for method in found if isinstance(method, Mixup)]
    for method in found:
        if isinstance(method, Elr) and mixers:
            if method.asked_targets == "rows":
                raise ValueError(
                    f"Beside {mixers[0]!r} a prediction belongs to two rows, so 'elr' cannot keep targets by row; give "
                    "it targets 'teacher'."
                )
            method.asked_targets = "teacher"
    return found[0] if len(found) == 1 else Combination(found)


def default_parameters(name: str) -> Parameters:
    """A method's parameters with their defaults, by name."""
    return _created(name, {}).parameters()


def _created(name: str, parameters: Mapping[str, Any]) -> Method:
    method = method_info(name).create
    # A parameter that Python has a word for is written with an underscore behind it there.
    known = {item.rstrip("_"): item for item in parameter_names(method)}
    for key in parameters:
        if key not in known:
            raise ValueError(
                f"Method {name!r} has no parameter {key!r}.{did_you_mean(key, known)} It has: {listed(known)}."
            )
    return method(**{known[key]: value for key, value in parameters.items()})


def _short_training(accuracy: float, whole: float, why: str) -> str:
    return (
        "In short trainings of a small loss it costs accuracy: 6,000 images of MNIST, symmetric 0.8, 12 epochs, one "
        f"seed, {accuracy} % for 59.0 % without. Probably {why}. With all of MNIST {whole} % for 94.3 %."
    )


_ONE_ROW = (
    "a mixed image shows two rows, and it works on what the network says of one. Leave one of the two out."
)
_MIXED = dict.fromkeys(("refurbish", "gate", "twin"), _ONE_ROW)

for _info in (
    MethodInfo("plain", Method, "mean over i of L(z_i, y_i)"),
    MethodInfo(
        "ema",
        Ema,
        "L as it is; evaluated and exported are the weights' running mean",
        "1.0 to 1.05",
        "a second copy of the weights",
        "Polyak and Juditsky 1992",
    ),
    MethodInfo(
        "warmup",
        Warmup,
        "a CE(z_i, y_i) + (1 - a) L(z_i, y_i), a from 1 to 0",
        "1.0",
        caution="It is for losses that start slowly; where they do not, it costs accuracy, as cross entropy learns "
        "wrong labels too: MNIST, symmetric 0.8, 12 epochs, one seed, 92.7 % for 94.3 % without; with 6,000 of the "
        "images 72.6 % for 59.0 %.",
    ),
    MethodInfo(
        "elr",
        Elr,
        "L(z_i, y_i) + lambda log(1 - <p_i, t_i>), t_i the row's earlier predictions",
        "1.0 to 1.05; 1.3 with the teacher",
        "rows x K in half precision, or a second copy of the weights",
        "Liu et al. 2020",
        caution=_short_training(56.7, 94.2, "there is little yet to be kept"),
    ),
    MethodInfo(
        "refurbish",
        Refurbish,
        "max(t_i) / w L(z_i, t_i), t_i <- alpha t_i + (1 - alpha) p_i, w the mean of max(t)",
        "1.0 to 1.05",
        "rows x K in half precision",
        "Huang et al. 2020",
        caution=_short_training(52.1, 94.7, "the labels move towards predictions that are not yet right"),
    ),
    MethodInfo(
        "gate",
        Gate,
        "[argmax p_i / pi = y_i] L(z_i, y_i) after a warm-up, pi the mean prediction",
        "1.0",
        "2 x K numbers",
        "DSS, CVPR 2026",
    ),
    MethodInfo(
        "mixup",
        Mixup,
        "L(f(s x_i + (1 - s) x_j), s y_i + (1 - s) y_j)",
        "1.0 to 1.05",
        source="Zhang et al. 2018",
        excludes={**_MIXED, "cutmix": "both mix the images. Leave one of the two out."},
        caution=_short_training(51.5, 93.0, "mixed images take longer to learn"),
    ),
    MethodInfo(
        "cutmix",
        Cutmix,
        "L(f(x_i with a rectangle of x_j), s y_i + (1 - s) y_j), s by area",
        "1.0 to 1.05",
        source="Yun et al. 2019",
        excludes=_MIXED,
        caution=_short_training(46.4, 91.3, "mixed images take longer to learn"),
    ),
    MethodInfo(
        "twin",
        Twin,
        "L(z_i, y_i) + c KL(p_i / pi || p(strong view of i)) - b sum_k log pi_k / K",
        "2.0 to 2.1",
        "2 x K numbers",
        "SOP+, Liu et al. 2022; DSS, CVPR 2026",
        caution=_short_training(
            54.9,
            96.5,
            "the network agrees with itself before it knows the labels",
        ),
    ),
):
    register_method(_info)
