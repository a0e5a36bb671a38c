"""The page: classify, suspects, plots, noise, losses; each a tab."""

from __future__ import annotations

import os
from typing import Any

from jal_hf.analysis.run_plots import run_figures
from jal_hf.analysis.style import figure_picture
from jal_hf.ground.record import RunRecord
from jal_hf.hub.text import percent, plain
from jal_hf.losses import list_losses
from jal_hf.runs.demo.answers import Answers
from jal_hf.runs.demo.knobs import MOST_KNOBS, curves_of, knobs
from jal_hf.runs.demo.library import gradio
from jal_hf.runs.demo.run_place import run_folder

# A day after which a visitor's pictures are gone from the disk; when the page ends they are gone at once.
_SECONDS_KEPT = 86_400
_MATRIX = "transition_matrix"


def demo_page(run: str | os.PathLike[str]) -> Any:
    """The page of a run as `gradio.Blocks`; `serve` opens it, and so does its own `launch`.

    Args:
        run: Folder of a finished run, or NAME/REPO of one on the Hub.

    Raises:
        ImportError: Gradio is not installed; the message holds the line that installs it.
        FileNotFoundError, ValueError, ConnectionError: There is no finished run.

    Example:
        demo_page("runs/digits").launch()
    """
    gr = gradio()
    folder = run_folder(run)
    record = RunRecord.read(folder)
    answers = Answers(folder, str(run))
    with gr.Blocks(
        title=record.title, analytics_enabled=False, delete_cache=(_SECONDS_KEPT, _SECONDS_KEPT)
    ) as page:
        gr.Markdown(headline(record))
        with gr.Tab("Classify"):
            _classify_tab(gr, answers)
        with gr.Tab("Suspects"):
            _suspects_tab(gr, answers)
        figures = {name: figure_picture(figure) for name, figure in run_figures(folder).items()}
        with gr.Tab("Training"):
            _plots_tab(gr, {name: picture for name, picture in figures.items() if name != _MATRIX})
        with gr.Tab("Noise"):
            _noise_tab(gr, record, figures.get(_MATRIX))
        with gr.Tab("Losses"):
            _losses_tab(gr, record)
    return page


def headline(record: RunRecord) -> str:
    """What the run is and how well it does, as Markdown; names in the record are never read as markup."""
    facts = {
        f"test accuracy, {plain(record.headline_epoch)}": record.headline.get("accuracy"),
        "wrong training labels": record.noise.get("realised_rate"),
        "wrong labels memorised": record.train.get("memorized_rate"),
    }
    told = [f"{name} **{percent(value)}**" for name, value in facts.items() if value is not None]
    return f"## {plain(record.title)}\n\n{' · '.join(told)}"


def _classify_tab(gr: Any, answers: Answers) -> None:
    with gr.Row():
        picture = gr.Image(
            label="an image",
            type="filepath",
            image_mode=None,  # the file as it is, for the very code of `jal-hf predict`
            sources=["upload", "clipboard"],
            height=320,
        )
        answer = gr.Label(label="the model's answer", num_top_classes=5)
    picture.change(answers.classify, picture, answer, api_name="classify", show_progress="minimal")


def _suspects_tab(gr: Any, answers: Answers) -> None:
    if not answers.suspects:
        gr.Markdown(answers.why_no_suspects)
        return
    gr.Markdown(
        "Training rows whose given label the judge contradicts, the least believed first; below each, the given label "
        "→ the suggested one. Choose one to see what is known of it, and what the model makes of it."
    )
    with gr.Row():
        with gr.Column(scale=3):
            chosen = gr.Dropdown(
                answers.given_classes(),
                value=answers.given_classes()[0],
                label="given label",
                filterable=False,
            )
            gallery = gr.Gallery(
                answers.gallery(answers.given_classes()[0]),
                show_label=False,
                columns=3,
                height=520,
                object_fit="contain",
                allow_preview=False,
                buttons=[],
                interactive=False,
            )
        with gr.Column(scale=2):
            facts = gr.Dataframe(
                headers=["of the row", "value"],
                value=[],
                datatype="str",
                interactive=False,
                show_label=False,
                buttons=[],
                visible=False,
                wrap=True,
            )
            answer = gr.Label(label="the model's answer", num_top_classes=5, visible=False)

    def choose(given: str, event: gr.SelectData) -> tuple[Any, Any]:
        rows, scores = answers.suspect(given, int(event.index))
        return gr.update(value=rows, visible=True), gr.update(value=scores, visible=True)

    # Annotations are text here, and Gradio looks for its own class.
    choose.__annotations__["event"] = gr.SelectData
    chosen.change(answers.gallery, chosen, gallery, api_name="suspects")
    gallery.select(choose, chosen, [facts, answer], api_visibility="private")


def _plots_tab(gr: Any, pictures: dict[str, Any]) -> None:
    if not pictures:
        gr.Markdown("The run's log holds nothing to draw.")
    with gr.Row():
        for picture in pictures.values():
            _picture(gr, picture)


def _noise_tab(gr: Any, record: RunRecord, matrix: Any) -> None:
    spec = record.noise.get("spec")
    if matrix is None:
        gr.Markdown("Nobody knows which labels of this run are wrong, so there is no transition matrix.")
        return
    gr.Markdown(f"Noise: {plain(spec)}. A row is the true class, a column the label that was given.")
    _picture(gr, matrix)


def _losses_tab(gr: Any, record: RunRecord) -> None:
    names = list_losses()
    name = str(record.loss.get("name"))
    name = name if name in names else "jal-ce"
    classes = record.dataset.get("num_classes")
    classes = int(classes) if isinstance(classes, int) and 2 <= classes <= 1000 else 10
    gr.Markdown(
        "What a loss makes of a label that the model gives probability p, the other classes sharing the rest. A loss "
        "that stops pulling as p goes to 0 lets go of labels that look wrong."
    )
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            chosen = gr.Dropdown(names, value=name, label="loss", filterable=True)
            sliders = [gr.Slider(**settings) for settings in slider_settings(name)]
        with gr.Column(scale=3):
            said = gr.Markdown(visible=False)
            curves = gr.Image(
                curves_of(name, [knob.value for knob in knobs(name)], classes),
                show_label=False, buttons=[], interactive=False, format="png", elem_id="loss-curves",
            )  # fmt: skip

    def draw(loss: str, *values: float) -> tuple[Any, Any]:
        try:
            return curves_of(loss, values, classes), gr.update(visible=False)
        except (ValueError, TypeError) as error:
            return gr.update(), gr.update(value=plain(error), visible=True)

    def choose(loss: str) -> list[Any]:
        return [
            *(gr.update(**settings) for settings in slider_settings(loss)),
            curves_of(loss, [knob.value for knob in knobs(loss)], classes),
            gr.update(visible=False),
        ]

    chosen.input(choose, chosen, [*sliders, curves, said], api_name="loss")
    for slider in sliders:
        slider.release(
            draw, [chosen, *sliders], [curves, said], api_visibility="private", show_progress="hidden"
        )


def slider_settings(loss: str) -> list[dict[str, Any]]:
    """Range, value and name of each slider for a loss; the sliders that it does not need are hidden."""
    moved = knobs(loss)
    used = [
        {
            "minimum": knob.least, "maximum": knob.most, "step": knob.step, "value": knob.value,
            "label": knob.name, "visible": True,
        }
        for knob in moved
    ]  # fmt: skip
    return used + [{"visible": False, "label": "-", "value": 0.0}] * (MOST_KNOBS - len(used))


def _picture(gr: Any, picture: Any) -> None:
    # Neither label nor buttons: they would lie on the picture.
    gr.Image(picture, show_label=False, buttons=[], interactive=False, format="png")
