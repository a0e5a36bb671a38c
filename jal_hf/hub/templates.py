"""The Jinja templates of cards."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def card_template(name: str) -> Template:
    """The template of a card by its file, such as `model_card.md.jinja`; a value that is not given is an error."""
    environment = Environment(
        loader=PackageLoader("jal_hf.hub", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; every value went through jal_hf.hub.text
    )
    return environment.get_template(name)
