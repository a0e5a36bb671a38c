"""`jal-hf export RUN`: a finished run's model as one file for programs without this package."""

from __future__ import annotations

import argparse
from pathlib import Path

from jal_hf.cli.output import Output, add_output_flags

HELP = "write a finished run's model as ONNX or TorchScript, checked against the model"
ENDINGS = {"onnx": ".onnx", "torchscript": ".pt"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, --format, --out, --json and --quiet."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--format", choices=list(ENDINGS), default="onnx", help="default: onnx")
    parser.add_argument("--out", metavar="FILE", help="default: RUN/model.onnx or RUN/model.pt")
    add_output_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file and say how far its logits are from the model's."""
    from jal_hf.ground.files import file_place
    from jal_hf.ground.record import RunRecord
    from jal_hf.models import create_model, export_onnx, export_torchscript
    from jal_hf.runs.texts import TASK

    output = Output(arguments)
    record = RunRecord.read(arguments.run)
    if record.model.get("task") == TASK:
        raise ValueError(
            f"{arguments.run} is a run on text, and only classifiers of images are written as {arguments.format}. Its "
            "folder loads in transformers; the package optimum writes such models as ONNX."
        )
    target = file_place(arguments.out or Path(arguments.run) / f"model{ENDINGS[arguments.format]}")
    write = export_onnx if arguments.format == "onnx" else export_torchscript
    with output.working():
        model = create_model(str(Path(arguments.run)), num_labels=int(record.model["num_labels"]))
        difference = write(model, target)
    facts = {"file": str(target), "format": arguments.format, "largest_difference": difference}
    text = f"{target}: its logits differ from the model's by at most {difference:.2g}"
    output.result(facts, text, brief=str(target))
    return 0
