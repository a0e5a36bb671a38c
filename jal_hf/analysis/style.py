"""One look for every picture, readable in black and white: each series has its own dash, marker and hatch.

Figures are plain `matplotlib.figure.Figure` objects on the Agg canvas, so that nothing here touches pyplot's
global state, a running notebook's backend or the user's own settings.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from jal_hf.ground.files import whole_file
from jal_hf.ground.sentences import shortened

INK = "#222222"
GRID = "#d9d9d9"
FONT_SIZE = 10.0
_DPI = 150
_LINES = "lines"
_MORE_KINDS = (".pdf", ".eps", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


_OTHER_SCRIPTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans JP", "Noto Sans SC",
    "Noto Sans TC", "Noto Sans KR", "Source Han Sans", "Source Han Sans CN", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Yu Gothic",
    "MS Gothic", "Malgun Gothic", "Apple SD Gothic Neo", "NanumGothic", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Thai", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Arial Unicode MS", "Arial",
    "Unifont",
)  # fmt: skip
"""Fonts that have what matplotlib's own lacks: Chinese, Japanese, Korean and others, as systems bring them."""


@dataclass(frozen=True)
class SeriesStyle:
    """How one series is drawn; dash, marker and hatch alone tell it from its neighbours on a grey print."""

    color: str
    dash: str | tuple[float, tuple[float, ...]]
    marker: str
    hatch: str


# Okabe and Ito's colours, which survive the common kinds of colour blindness, from dark to light.
SERIES: tuple[SeriesStyle, ...] = (
    SeriesStyle("#0072B2", "-", "o", ""),
    SeriesStyle("#D55E00", "--", "s", "////"),
    SeriesStyle("#009E73", "-.", "^", "...."),
    SeriesStyle("#CC79A7", ":", "D", "xxxx"),
    SeriesStyle("#000000", (0.0, (5.0, 1.0)), "v", "++++"),
    SeriesStyle("#E69F00", (0.0, (3.0, 1.0, 1.0, 1.0)), "P", "\\\\\\\\"),
    SeriesStyle("#56B4E9", (0.0, (1.0, 1.0)), "X", "oooo"),
    SeriesStyle("#7F3C8D", (0.0, (8.0, 2.0, 2.0, 2.0)), "*", "----"),
)


def series_style(number: int) -> SeriesStyle:
    """Style of the series with this number; from the ninth on, colours shift against dashes and markers."""
    base = SERIES[number % len(SERIES)]
    color = SERIES[(number + number // len(SERIES)) % len(SERIES)].color
    return SeriesStyle(color, base.dash, base.marker, base.hatch)


def new_figure(width: float, height: float, *, square_panels: bool = False) -> Figure:
    """An empty figure of `width` by `height` inches, laid out so that labels never overlap.

    `square_panels` is for pictures and matrices, whose panels keep their shape: without it their titles and axis
    labels may end up outside the figure.
    """
    figure = Figure(
        figsize=(width, height), layout="compressed" if square_panels else "constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    return figure


def shown(text: str, most: int = 60) -> str:
    """A name as a picture shows it: on one line, of what can be printed, and not too long.

    A label that begins with an underscore would be left out of legends.
    """
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return shortened(f" {line}" if line.startswith("_") else line, most)


def shown_apart(names: Sequence[str], most: int) -> list[str]:
    """Each name as `shown` shortens it; those that then look alike without the beginning that they share.

    Where that does not tell them apart either, the place in `names` stands before them.
    """
    lines = [shown(name, 10_000) for name in names]
    short = [shortened(line, most) for line in lines]
    alike: dict[str, list[int]] = {}
    for place, text in enumerate(short):
        alike.setdefault(text, []).append(place)
    for places in alike.values():
        group = [lines[place] for place in places]
        if len(set(group)) > 1:
            shared = sum(
                1 for _ in itertools.takewhile(lambda signs: len(set(signs)) == 1, zip(*group, strict=False))
            )
            for start in (group[0].rfind(" ", 0, shared) + 1, shared):
                ends = [shortened(f"...{line[start:]}", most) for line in group]
                if len(set(ends)) == len(set(group)) and "..." not in ends:
                    break
            else:
                ends = [shortened(f"{place} {line}", most) for place, line in zip(places, group, strict=True)]
            for place, end in zip(places, ends, strict=True):
                short[place] = end
    return short


def _other_scripts() -> list[str]:
    """The fonts of other scripts that are installed; after a text's own, they stand in for glyphs that it lacks."""
    known = set(font_manager.fontManager.get_font_names())
    return [name for name in _OTHER_SCRIPTS if name in known]


def _families(wanted: Sequence[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*wanted, *more]))


def set_lines(text: Text, lines: Sequence[str]) -> None:
    """Give a text several lines; all other texts of a figure are drawn on one."""
    text.set(text="\n".join(shown(line, 200) for line in lines), label=_LINES)


def wrapped(text: str, letters: int) -> list[str]:
    """A text as lines of at most `letters`, broken after a space, a comma or a semicolon where that can be."""
    wrapper = textwrap.TextWrapper(letters)
    wrapper.wordsep_re = re.compile(r"(\s+|[^\s,;]*[,;])")
    return wrapper.wrap(text) or [""]


def set_title(text: Text, title: str, share: float = 0.97) -> None:
    """Give a heading its look, and as many lines as it needs to be no wider than this share of its figure."""
    text.set(fontsize=FONT_SIZE + 1, color=INK, parse_math=False, usetex=False)
    text.set_fontfamily(_families(text.get_fontfamily(), _other_scripts()))
    line, figure = shown(title, 160), text.figure
    set_lines(text, [line])
    letters, room = len(line), share * figure.bbox.width
    while (width := _width(text)) > room and letters > 1:
        letters = min(letters - 1, max(1, int(letters * room / width)))
        set_lines(text, wrapped(line, letters))


def _width(artist: Artist) -> float:
    """In dots, drawn as it will be."""
    with _allowing_missing_glyphs():
        return float(artist.get_window_extent().width)


@contextlib.contextmanager
def _allowing_missing_glyphs() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        yield


def style_axes(
    axes: Axes, *, title: str = "", x_label: str = "", y_label: str = "", grid: bool = True
) -> None:
    """Titles, labels, a pale grid behind the data, and no box on the right and the top.

    A title may be nearly as wide as the part of the figure that the axes stand in.
    """
    place = axes.get_subplotspec()
    set_title(axes.title, title, 0.85 / (place.get_gridspec().ncols if place else 1))
    axes.set_xlabel(x_label, fontsize=FONT_SIZE, color=INK)
    axes.set_ylabel(y_label, fontsize=FONT_SIZE, color=INK)
    axes.tick_params(labelsize=FONT_SIZE - 1, colors=INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, color=GRID, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)


def legend_outside(axes: Axes, title: str = "", markerscale: float = 1.0) -> None:
    """A legend on the right of the axes, where it hides no point, and a title that ends before it.

    Long names stand on several lines.
    """
    figure = axes.figure
    legend = figure.legend(
        loc="outside right upper", frameon=False, fontsize=FONT_SIZE - 1, markerscale=markerscale
    )
    for text in legend.get_texts():
        set_lines(text, wrapped(shown(text.get_text()), 26))
    set_title(axes.title, title, 0.85 - _width(legend) / figure.bbox.width)


def save_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write the figure as PNG (150 dots an inch) and as SVG, and as what `path` ends in; return the files.

    They lie beside each other: an ending such as .png or .pdf is replaced, any other is part of the name.
    The same figure gives the same bytes, but for EPS: no date is stored and SVG ids are drawn from a fixed salt.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = target.suffix.lower()
    stem = target.stem if kind in (".png", ".svg", *_MORE_KINDS) else target.name
    files = [target.with_name(f"{stem}{ending}") for ending in (".png", ".svg")]
    render(figure, *files)
    if kind in _MORE_KINDS:
        files.append(target)
        undated = {"CreationDate": None} if kind == ".pdf" else None
        with _plain_text(figure), whole_file(target) as temporary:
            figure.savefig(temporary, format=kind[1:], dpi=_DPI, metadata=undated)
    return files


def render(figure: Figure, picture: Path, drawing: Path) -> None:
    """Write the figure as PNG to `picture` and as SVG to `drawing`, each whole or not at all."""
    with _plain_text(figure), whole_file(picture) as png, whole_file(drawing) as svg:
        figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None})


def figure_picture(figure: Figure) -> Image.Image:
    """The figure as an image, as its PNG would show it."""
    buffer = io.BytesIO()
    with _plain_text(figure):
        figure.savefig(buffer, format="png", dpi=_DPI)
    with Image.open(buffer, formats=("PNG",)) as picture:
        return picture.convert("RGB")


@contextlib.contextmanager
def _plain_text(figure: Figure) -> Iterator[None]:
    """Texts of the figure are drawn as they stand: names may hold dollar signs, and scripts that the font lacks."""
    more = _other_scripts()
    for text in figure.findobj(Text):
        drawn = text.get_text() if text.get_label() == _LINES else shown(text.get_text(), 200)
        text.set(
            text=drawn, parse_math=False, usetex=False, fontfamily=_families(text.get_fontfamily(), more)
        )
    # Tick labels are only made now.
    settings: Any = {"svg.hashsalt": "jal_hf", "text.parse_math": False, "text.usetex": False}
    settings["font.family"] = _families(matplotlib.rcParams["font.family"], more)
    with matplotlib.rc_context(settings), _allowing_missing_glyphs():
        yield
