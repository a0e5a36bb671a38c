"""A trainer's push to the Hub: model, card, record and plots in one commit."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any


def hub_callbacks() -> list[Any]:
    """The callbacks that push; the Hub's floor lies above this one, so they come by entry point."""
    return [entry.load()() for entry in entry_points(group="jal_hf.callbacks")]


class OneCommitPush:
    """The `push_to_hub` of a Trainer, to stand before `transformers.Trainer` among the bases."""

    args: Any
    state: Any
    model: Any
    accelerator: Any
    callback_handler: Any
    hub_model_id: Any
    save_model: Any
    is_world_process_zero: Any

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model and push it with card, record and plots in one commit.

        The parent would push `training_args.bin` too, a pickle. The push is over when this returns, whatever
        `blocking` says; `kwargs`, which the parent's card takes, have no use here.

        Returns:
            The address of the commit; None on processes other than the first.

        Raises:
            ConnectionError: The Hub did not take the push within the bound; what was saved is still there.
        """
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        pushers = [item for item in self.callback_handler.callbacks if hasattr(item, "push_folder")]
        return (pushers or hub_callbacks())[0].push_folder(
            self.args,
            self.state,
            self.accelerator.unwrap_model(self.model),
            repo_id=self.hub_model_id,
            message=commit_message or "End of training",
            token=token,
            revision=revision,
            private=private,
        )
