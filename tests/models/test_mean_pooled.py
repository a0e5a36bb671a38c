"""A text classifier on the mean of all tokens: what it computes, and that it loads as any other of transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)

from jal_hf import JALTrainer, JALTrainingArguments
from jal_hf.models import freeze
from jal_hf.models.head import head_parameter_names
from jal_hf.models.mean_pooled import MeanPooledForSequenceClassification

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
ENCODERS: dict[str, Any] = {
    "bert": lambda: BertModel(BertConfig(vocab_size=50, **SIZES)),
    "roberta": lambda: RobertaModel(RobertaConfig(vocab_size=50, **SIZES)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=50, dim=16, n_layers=3, n_heads=2, hidden_dim=16)
    ),
}


@pytest.fixture(params=list(ENCODERS))
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    ENCODERS[request.param]().save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def batch() -> dict[str, torch.Tensor]:
    """Three texts of 7, 3 and 1 tokens."""
    lengths = torch.tensor([7, 3, 1])
    mask = (torch.arange(7) < lengths[:, None]).long()
    tokens = torch.randint(5, 50, (3, 7), generator=torch.Generator().manual_seed(1))
    return {"input_ids": tokens * mask + (1 - mask), "attention_mask": mask}


def test_logits_are_those_of_the_mean_over_tokens(encoder: Path) -> None:
    model = MeanPooledForSequenceClassification.from_encoder(encoder, num_labels=4).eval()
    plain = AutoModel.from_pretrained(encoder).eval()
    rows = batch()
    for row, length in enumerate((7, 3, 1)):
        alone = {name: value[row : row + 1, :length] for name, value in rows.items()}
        mean = plain(**alone).last_hidden_state[0].mean(dim=0)
        expected = model.classifier.weight @ mean + model.classifier.bias
        torch.testing.assert_close(model(**rows).logits[row], expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model(**alone).logits[0], expected, rtol=1e-5, atol=1e-6)
    alone.pop("attention_mask")
    torch.testing.assert_close(model(**alone).logits[0], expected, rtol=1e-5, atol=1e-6)


def test_every_parameter_learns_and_the_loss_is_cross_entropy(encoder: Path) -> None:
    model = MeanPooledForSequenceClassification.from_encoder(encoder, num_labels=4)
    labels = torch.tensor([0, 3, 1])
    out = model.eval()(**batch(), labels=labels)
    assert out.loss.item() == pytest.approx(torch.nn.functional.cross_entropy(out.logits, labels).item())
    out.loss.backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []
    assert head_parameter_names(model) == {"classifier.weight", "classifier.bias"}
    freeze(model, "backbone")
    assert [n for n, v in model.named_parameters() if v.requires_grad] == [
        "classifier.weight",
        "classifier.bias",
    ]


def test_saved_model_comes_back_equal_and_tells_no_place(encoder: Path, tmp_path: Path) -> None:
    names = {0: "good", 1: "bad"}
    model = MeanPooledForSequenceClassification.from_encoder(
        encoder, num_labels=2, id2label=names, label2id={"good": 0, "bad": 1}
    ).eval()
    model.save_pretrained(tmp_path / "saved")
    text = (tmp_path / "saved" / "config.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["architectures"] == ["MeanPooledForSequenceClassification"]
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    assert loaded.config.id2label == names
    assert torch.equal(loaded(**batch()).logits, model(**batch()).logits)
    again = MeanPooledForSequenceClassification.from_encoder(tmp_path / "saved", num_labels=5)
    assert again.classifier.out_features == 5
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(again.encoder.state_dict()[name], value), name


def test_it_loads_in_a_fresh_process_after_import_jal_hf_alone(tmp_path: Path) -> None:
    ENCODERS["distilbert"]().save_pretrained(tmp_path / "encoder")
    model = MeanPooledForSequenceClassification.from_encoder(tmp_path / "encoder", num_labels=3)
    model.save_pretrained(tmp_path / "saved")
    place = repr(str(tmp_path / "saved"))
    for first in (
        "import jal_hf",
        "from transformers import AutoConfig; import jal_hf",
    ):
        code = (
            f"{first}\nfrom transformers import AutoConfig, AutoModelForSequenceClassification\n"
            f"print(AutoConfig.from_pretrained({place}).num_labels)\n"
            f"print(type(AutoModelForSequenceClassification.from_pretrained({place})).__name__)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "3\nMeanPooledForSequenceClassification\n", done.stderr


def test_trainer_gives_it_what_the_tokenizer_made_and_no_other_column(tmp_path: Path) -> None:
    ENCODERS["bert"]().save_pretrained(tmp_path / "encoder")
    model = MeanPooledForSequenceClassification.from_encoder(tmp_path / "encoder", num_labels=2).eval()
    rows: dict[str, Any] = {name: value[:2, :3].tolist() for name, value in batch().items()}
    rows |= {"token_type_ids": [[0, 1, 1], [0, 0, 1]], "stars": [3, 4], "labels": [0, 1]}
    trainer = JALTrainer(
        model=model,
        args=JALTrainingArguments(
            output_dir=str(tmp_path / "run"), precision="fp32", report_to=[], use_cpu=True
        ),
        eval_dataset=Dataset.from_dict(rows),
        loss="ce",
    )
    expected = model(
        **{name: torch.tensor(rows[name]) for name in ("input_ids", "attention_mask", "token_type_ids")}
    )
    found = torch.tensor(trainer.predict(Dataset.from_dict(rows)).predictions)
    torch.testing.assert_close(found, expected.logits.detach(), rtol=1e-5, atol=1e-6)


def test_config_without_an_encoder_is_refused() -> None:
    from jal_hf.models.mean_pooled_config import MeanPooledConfig

    with pytest.raises(ValueError, match="names no encoder"):
        MeanPooledForSequenceClassification(MeanPooledConfig(num_labels=2))
