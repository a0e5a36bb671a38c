"""`create_loss` and `resolve_loss`: one door, which refuses what does not go together."""

from __future__ import annotations

from typing import Any, cast

import pytest

from jal_hf.cli.main import main
from jal_hf.hub.model_card import render_model_card
from jal_hf.losses import (
    CrossEntropyLoss,
    JointLoss,
    Normalized,
    RobustLoss,
    create_loss,
    list_losses,
    loss_info,
    register_loss,
    registry,
    resolve_loss,
)
from jal_hf.losses.table import markdown_table
from jal_hf.noise import register_noise
from jal_hf.training.methods import MethodInfo, register_method

EVERY = [*list_losses(), "joint", "normalized", "normalized(gce)"]
REQUIRED: dict[str, dict[str, Any]] = {
    "joint": {"active": "ce", "passive": "mae"},
    "normalized": {"loss": "gce"},
}


@pytest.mark.parametrize("name", EVERY)
def test_unknown_preset_is_refused_with_the_presets_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"preset.*'nonsense'.*cifar10, cifar100"):
        create_loss(name, preset="nonsense", **REQUIRED.get(name, {}))


@pytest.mark.parametrize("name", ["joint", "normalized"])
@pytest.mark.parametrize("preset", ["cifar10", "auto"])
def test_composition_has_no_preset_of_its_own(name: str, preset: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no presets"):
        create_loss(name, preset=preset, **REQUIRED[name])


@pytest.mark.parametrize("name", list_losses())
def test_auto_preset_is_decided_from_the_classes_and_the_noise_at_hand(name: str) -> None:
    params: dict[str, Any] = {"ignore_index": 255}
    loss = resolve_loss(name, preset="auto", params=params, num_classes=10, noise=0.8)
    assert loss.ignore_index == 255
    assert loss.preset_reason
    assert params == {"ignore_index": 255}
    assert create_loss(**loss.config()).config() == loss.config()


def test_auto_preset_without_classes_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="preset 'auto' needs num_classes=K"):
        resolve_loss("jal-ce", preset="auto")


def test_auto_preset_takes_noise_without_a_matrix_by_its_rate() -> None:
    class Noise:
        rate, spec, num_classes = 0.8, "idn:0.8", 10

        def transition_matrix(self) -> None:
            return None

    loss = resolve_loss("jal-ce", preset="auto", noise=Noise())
    assert loss.hyperparameters()["a"] == pytest.approx(13.5)
    assert "idn:0.8, whose matrix is unknown, taken as symmetric" in str(loss.preset_reason)


def test_auto_preset_says_so_where_the_users_own_a_stands() -> None:
    loss = resolve_loss("jal-ce", preset="auto", params={"a": 20.0}, num_classes=10, noise=0.8)
    assert loss.hyperparameters()["a"] == 20.0
    assert "a = 20 as given" in str(loss.preset_reason)


def test_loss_is_resolved_from_name_config_or_object() -> None:
    assert resolve_loss("jal-ce", preset="cifar100").hyperparameters()["alpha"] == 5.0
    assert resolve_loss("jal-ce", preset="cifar100", params={"alpha": 2.0}).hyperparameters()["alpha"] == 2.0
    config = create_loss("gce", q=0.4).config()
    assert resolve_loss(config).config() == config
    assert resolve_loss({"name": "gce"}, params={"q": 0.4}).config() == config
    built = create_loss("gce")
    assert resolve_loss(built, num_classes=10, noise=0.4) is built


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"loss": create_loss("gce"), "preset": "cifar100"}, "is built already.*preset 'cifar100'"),
        ({"loss": create_loss("gce"), "params": {"q": 0.3}}, "is built already.*q"),
        ({"loss": {"name": "gce", "q": 0.4}, "params": {"q": 0.3}}, "q is 0.4 in the config.*0.3"),
        ({"loss": "gce", "params": {"num_classes": 10}}, "no parameter 'num_classes'"),
        (
            {"loss": "jal-ce", "preset": "auto", "params": {"num_classes": 9}, "num_classes": 10},
            "num_classes is 9 .*10",
        ),
        ({"loss": "ce", "params": {"weight": [1.0, 2.0]}, "num_classes": 10}, "weight has 2 entries.*10"),
        ({"loss": create_loss("ce", weight=[1.0, 2.0]), "num_classes": 10}, "weight has 2 entries.*10"),
        ({"loss": "nlnl", "params": {"class_counts": [1, 2]}, "num_classes": 10}, "class_counts has 2"),
        ({"loss": {"q": 0.4}}, "config without a name"),
        ({"loss": "jal-ce", "preset": "auto", "noise": [[0.7, 0.3], [0.2, 0.8]], "num_classes": 10}, "2 cl"),
    ],
)
def test_contradictions_are_refused_with_a_sentence(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        resolve_loss(**given)


def test_what_is_no_loss_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a loss, its name or its config"):
        resolve_loss(3)  # type: ignore[arg-type]


def test_every_loss_carries_its_registry_name() -> None:
    for name in list_losses():
        assert create_loss(name).name == name
    assert JointLoss("ce", "mae").name == "joint"
    assert Normalized("gce").name == "normalized(gce)"
    assert create_loss(Normalized("gce").name).config() == Normalized("gce").config()


@pytest.mark.parametrize("name", ["MyLoss", "my loss", "a,b", "a/b", ""])
def test_name_by_which_no_loss_can_be_asked_for_is_refused(name: str) -> None:
    class Own(RobustLoss):
        """A loss of one's own."""

    with pytest.raises(ValueError, match="small letters"):
        register_loss(name, summary="-", formula="-", citation="-")(Own)
    assert name not in list_losses()


def test_loss_of_ones_own_needs_no_facts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    @register_loss("plainly-mine")
    class Own(CrossEntropyLoss):
        """What I make of it.

        And more.
        """

    info = loss_info("plainly-mine")
    assert (info.cls, info.summary, info.formula, info.citation) == (Own, "What I make of it", "", "")
    assert "| `plainly-mine` | `-` | - | - | - |" in markdown_table()
    assert main(["losses", "plainly-mine"]) == 0
    assert "citation" not in capsys.readouterr().out
    record = {"loss": {"name": "plainly-mine", "params": {}}, "model": {"name": "net"}}
    card = render_model_card(record)
    assert "`plainly-mine`: What I make of it" in card
    assert "```text" not in card


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: register_loss("mine", summery="-"), ValueError, "Did you mean 'summary'"),
        (lambda: register_loss("mine", cls=RobustLoss), ValueError, "registered with no 'cls'"),
        (lambda: register_loss(cast(Any, CrossEntropyLoss)), TypeError, r"as in @register_loss\('mine'\)"),
        (lambda: register_loss("mine")(cast(Any, dict)), TypeError, "must be a subclass of RobustLoss"),
        (lambda: register_noise(cast(Any, "mine")), TypeError, "takes a NoiseInfo, not 'mine'"),
        (lambda: register_method(cast(Any, "mine")), TypeError, "takes a MethodInfo, not 'mine'"),
        (lambda: register_method(MethodInfo("mine", cast(Any, dict))), TypeError, "a subclass of Method"),
    ],
)
def test_what_cannot_be_registered_gets_a_sentence(call: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()
