"""Your own folder of images, your own timm network: train, evaluate, predict, find wrong labels, share.

Run: python examples/own_images.py FOLDER [NAME/REPO]    with FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png
"""

from __future__ import annotations

import sys

import timm

from jal_hf import JALTrainer, JALTrainingArguments, audit_run, load_noisy_dataset, push_run


def main(
    folder: str, repo_id: str | None = None, output_dir: str = "runs/own", name: str = "resnet18"
) -> float:
    data = load_noisy_dataset(folder)  # labels as they are: nothing is added
    model = timm.create_model(name, num_classes=data.num_classes)
    args = JALTrainingArguments(
        output_dir=output_dir, num_train_epochs=10, learning_rate=1e-3, eval_strategy="epoch"
    )
    splits = {"train_dataset": data["train"], "eval_dataset": data["test"]}
    trainer = JALTrainer(model=model, args=args, loss="jal-ce", augment="crop-flip", **splits)
    trainer.train()  # the folder now holds weights, card, record and plots
    accuracy = trainer.evaluate()["eval_accuracy"]
    guesses = trainer.predict(data["test"]).predictions.argmax(axis=1)
    print(f"accuracy {accuracy:.3f}; first test image: {data.class_names[guesses[0]]}")
    audit = audit_run(output_dir, dataset=data)
    print(f"{audit.summary['differing']} labels look wrong; see {audit.folder / 'report.html'}")
    if repo_id:
        print(push_run(output_dir, repo_id))
    return float(accuracy)


if __name__ == "__main__":
    main(*sys.argv[1:])
