from .arguments import JALTrainingArguments as JALTrainingArguments
from .criterion import as_compute_loss_func as as_compute_loss_func
from .criterion import decide_loss as decide_loss
from .hardware import detect_hardware as detect_hardware
from .metrics import ImageClassificationMetric as ImageClassificationMetric
from .trainer import RobustTrainer as RobustTrainer
