"""A trainer's push to the Hub: model, card, record and plots in one commit."""

from __future__ import annotations

from typing import Any

from jal_hf.hub.callback import HubCallback
from jal_hf.training.progress_record import progress_record


class OneCommitPush:
    """The `push_to_hub` of a Trainer, to stand before `transformers.Trainer` among the bases."""

    args: Any
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
        own = [item for item in self.callback_handler.callbacks if isinstance(item, HubCallback)]
        pusher = own[0] if own else HubCallback(lambda: progress_record(self))
        return pusher.push_folder(
            self.args,
            repo_id=self.hub_model_id,
            message=commit_message or "End of training",
            token=token,
            revision=revision,
            private=private,
        )
