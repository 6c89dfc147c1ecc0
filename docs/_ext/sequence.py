"""Sequence diagrams as inline SVG: no script, no network, the theme's own colours, readable on a phone.

The directive's first line names the lanes, each further line is a step::

    ```{sequence} Two requests, one session
    A: Request A | S: Store | B: Request B
    A -> S: load: version 1
    = S: version 2 now
    + kept
    - lost
    ```

``A -> S: text`` draws an arrow, ``= S: text`` a note in a lane, ``+`` and ``-`` a good and a bad ending.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_WIDTH = 400
_HEAD = 26
_LINE = 16
_STEP = re.compile(r"(?P<start>\w+) *-> *(?P<end>\w+) *: *(?P<text>.+)")
_NOTE = re.compile(r"= *(?P<lane>\w+) *: *(?P<text>.+)")

_ENDINGS = {"-": ("bad", "\N{MULTIPLICATION SIGN}"), "+": ("good", "\N{CHECK MARK}")}


@dataclass
class _Drawing:
    lanes: dict[str, float]
    y: float = _HEAD + 20.0

    def __post_init__(self) -> None:
        self.parts: list[str] = []

    def arrow(self, start: str, end: str, text: str) -> None:
        x1, x2 = self.lanes[start], self.lanes[end]
        left, right = sorted((x1, x2))
        self.text((left + right) / 2, wrap(text, max(12, int((right - left) / 6.4))), "label")
        self.y += 5
        inner = x2 - 6 if x2 > x1 else x2 + 6
        self.parts.append(f'<line class="arrow" x1="{x1}" y1="{self.y}" x2="{inner}" y2="{self.y}"/>')
        self.parts.append(f'<path class="tip" d="M{x2} {self.y}L{inner} {self.y - 4}L{inner} {self.y + 4}Z"/>')
        self.y += 24

    def note(self, lane: str, text: str) -> None:
        x = self.lanes[lane]
        room = 2 * min(x, _WIDTH - x)
        self.text(x, wrap(text, max(14, int(room / 6.4))), "label note")
        self.y += 24

    def text(self, x: float, lines: list[str], kind: str) -> None:
        for line in lines:
            self.parts.append(f'<text class="{kind}" x="{x}" y="{self.y}" text-anchor="middle">{escape(line)}</text>')
            self.y += _LINE
        self.y -= _LINE


def draw(title: str, text: str) -> str:
    """Return the HTML of a diagram: its title, the drawing, and how it ends."""
    first, *steps = [line.strip() for line in text.strip().splitlines() if line.strip()]
    names = dict(part.strip().split(": ", 1) for part in first.split("|"))
    share = _WIDTH / len(names)
    drawing = _Drawing({lane: share / 2 + number * share for number, lane in enumerate(names)})
    endings = []
    for step in steps:
        if found := _STEP.fullmatch(step):
            drawing.arrow(found["start"], found["end"], found["text"])
        elif found := _NOTE.fullmatch(step):
            drawing.note(found["lane"], found["text"])
        elif step[0] in _ENDINGS:
            kind, sign = _ENDINGS[step[0]]
            endings.append(f'<p class="{kind}"><span aria-hidden="true">{sign}</span> {escape(step[1:].strip())}</p>')
        else:
            raise ValueError(f"not a step: {step!r}")
    height = drawing.y - 8
    heads = []
    for lane, x in drawing.lanes.items():
        width = min(share - 8, 120)
        heads.append(f'<line class="lane" x1="{x}" y1="{_HEAD}" x2="{x}" y2="{height}"/>')
        heads.append(f'<rect class="head" x="{x - width / 2}" y="1" width="{width}" height="{_HEAD - 2}" rx="5"/>')
        heads.append(f'<text class="name" x="{x}" y="18" text-anchor="middle">{escape(names[lane])}</text>')
    spoken = escape(" ".join(f"{step}." for step in steps if step[0] not in _ENDINGS), quote=True)
    return (
        f'<figure class="sequence"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{spoken}">'
        + "".join(heads + drawing.parts)
        + f"</svg>{''.join(endings)}</figure>"
    )


class Sequence(SphinxDirective):
    """The directive ``sequence``; builders other than HTML get its text."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.content)
        try:
            drawing = draw(self.arguments[0], text)
        except (ValueError, KeyError) as error:
            raise self.error(f"sequence diagram: {error}") from error
        if self.env.app.builder.format == "html":
            return [nodes.raw("", drawing, format="html")]
        return [nodes.literal_block(text, text)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("sequence", Sequence)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
