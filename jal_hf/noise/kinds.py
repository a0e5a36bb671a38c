"""The kinds of noise that come with the package; a new one is one more record here."""

from __future__ import annotations

from jal_hf.noise.asymmetric import AsymmetricNoise
from jal_hf.noise.benchmark import BenchmarkNoise
from jal_hf.noise.info import NoiseInfo
from jal_hf.noise.instance import InstanceDependentNoise, PartDependentNoise
from jal_hf.noise.label_file import HumanNoise, LabelFileNoise
from jal_hf.noise.matrix import MatrixNoise
from jal_hf.noise.spec import NoiseSpec, parse_bool, parse_rate
from jal_hf.noise.symmetric import NoNoise, PairFlipNoise, SymmetricNoise


def _file(spec: NoiseSpec, example: str) -> str:
    if spec.argument is None:
        raise ValueError(f"The noise {spec.kind!r} needs a file; write it as '{spec.kind}:{example}'.")
    return spec.argument


def _known(num_classes: int) -> int | None:
    return None if num_classes < 0 else num_classes


def _include_true(spec: NoiseSpec) -> bool:
    given = {key: value for key, value in spec.options.items() if key.startswith("include_true")}
    if len(given) > 1:
        raise ValueError(
            "The noise symmetric takes include_true or include_true_class, which are the same; give one."
        )
    return any(parse_bool(key, value) for key, value in given.items())


def _mode(spec: NoiseSpec) -> str:
    return spec.options.get("mode", "exact")


KINDS: tuple[NoiseInfo, ...] = (
    NoiseInfo(
        "none", "", "labels as they are", (), False, NoNoise,
        lambda spec, k, names: NoNoise(_known(k), names),
    ),
    NoiseInfo(
        "symmetric", "RATE", "each other class is equally likely",
        ("mode", "include_true", "include_true_class"), True, SymmetricNoise,
        lambda spec, k, names: SymmetricNoise(
            parse_rate(spec), k, _mode(spec), _include_true(spec), names,
        ),
    ),
    NoiseInfo(
        "asymmetric", "RATE", "each class of a map is taken for one other", ("mode", "classes"), True, AsymmetricNoise,
        lambda spec, k, names: AsymmetricNoise(
            parse_rate(spec), k, spec.options.get("classes"), _mode(spec), names
        ),
    ),
    NoiseInfo(
        "pairflip", "RATE", "each class is taken for the next one", ("mode",), True, PairFlipNoise,
        lambda spec, k, names: PairFlipNoise(parse_rate(spec), k, _mode(spec), names),
    ),
    NoiseInfo(
        "idn", "RATE", "what looks like another class is labelled so", ("mode",), True, InstanceDependentNoise,
        lambda spec, k, names: InstanceDependentNoise(parse_rate(spec), k, _mode(spec), names),
    ),
    NoiseInfo(
        "pdn", "RATE", "as idn, each row with a rate of its own", (), True, PartDependentNoise,
        lambda spec, k, names: PartDependentNoise(parse_rate(spec), k, names),
    ),
    NoiseInfo(
        "matrix", "FILE", "a transition matrix from an npy, csv or json file", ("mode",), False, MatrixNoise,
        lambda spec, k, names: MatrixNoise(_file(spec, "T.npy"), _known(k), _mode(spec), names),
    ),
    NoiseInfo(
        "labels", "FILE#COLUMN", "labels from a parquet, csv, npy, npz or json file", (), False, LabelFileNoise,
        lambda spec, k, names: LabelFileNoise(_file(spec, "labels.parquet#column"), _known(k), names),
    ),
    NoiseInfo(
        "benchmark", "OWNER/NAME#TASK", "the labels of a benchmark that `jal-hf benchmark` made, by Hub id or folder",
        ("seed",), False, BenchmarkNoise,
        lambda spec, k, names: BenchmarkNoise(
            _file(spec, "OWNER/NAME#symmetric-0.8"), spec.options.get("seed"), _known(k), names
        ),
    ),
    NoiseInfo(
        "human", "FILE#COLUMN", "labels that people gave, such as CIFAR-10N's", (), False, HumanNoise,
        lambda spec, k, names: HumanNoise(_file(spec, "file.parquet#worse_label"), _known(k), names),
    ),
)  # fmt: skip
