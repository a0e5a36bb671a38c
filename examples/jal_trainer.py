"""JALTrainer on a dataset with wrong labels, from a `datasets.Dataset` to a checkpoint and a metric.

Run: python examples/jal_trainer.py
"""

from __future__ import annotations

from jal_hf import JALTrainer, JALTrainingArguments, create_model, load_noisy_dataset


def main(
    output_dir: str = "runs/example-jal-trainer", epochs: int = 15, loss: str = "jal-ce"
) -> dict[str, float]:
    data = load_noisy_dataset("digits", noise="symmetric:0.4")  # adds the column clean_label, prints nothing
    print(data.noise_report)

    model = create_model(
        "jal_digits_cnn",
        num_labels=10,
        class_names=data.class_names,
        in_chans=1,
        image_size=8,
        mean=[0.3],
        std=[0.38],
    )
    args = JALTrainingArguments(
        output_dir=output_dir,
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        learning_rate=0.1,
        optim="sgd",
        optim_args="momentum=0.9",
        lr_scheduler_type="cosine_epoch",
        max_grad_norm=5.0,
        save_strategy="no",
    )
    trainer = JALTrainer(
        model=model, args=args, train_dataset=data["train"], eval_dataset=data["test"], loss=loss
    )
    trainer.train()
    metrics = trainer.evaluate()
    print(f"{loss}: clean test accuracy {metrics['eval_accuracy']:.3f}")
    return metrics


if __name__ == "__main__":
    main()
