"""What a user's type checker knows of the top-level names. Read by mypy with the package, never run."""

from __future__ import annotations

from typing import assert_type

import jal_hf
from jal_hf import (
    JALTrainer,
    JALTrainingArguments,
    RunConfig,
    audit_run,
    create_loss,
    create_noise,
    render_model_card,
    train,
)
from jal_hf.ground.record import Section
from jal_hf.losses.base import RobustLoss
from jal_hf.noise.base import LabelNoise
from jal_hf.runs.audit.audit import Audit
from jal_hf.runs.run import RunResult

assert_type(JALTrainer(), JALTrainer)
assert_type(JALTrainingArguments(output_dir="out"), JALTrainingArguments)
assert_type(RunConfig.from_recipe("digits").replace(seed=1), RunConfig)
assert_type(audit_run("out"), Audit)
assert_type(create_loss("ce"), RobustLoss)
assert_type(create_noise("none", num_classes=2), LabelNoise)
assert_type(render_model_card("out"), str)
assert_type(train("digits"), RunResult)
assert_type(train("digits").record.last, Section)
assert_type(jal_hf.__version__, str)
