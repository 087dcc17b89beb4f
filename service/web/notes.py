"""Notes of experiments as people write them: Markdown, without HTML, pictures or addresses that run something."""

from typing import Final

from markdown_it import MarkdownIt
from markupsafe import Markup

_LEAST_HEADING: Final = 3
"""A heading of notes stands below the page's own."""
_reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def rendered(text: str) -> Markup:
    """Notes as HTML. What is HTML in them is shown as text, and links lead to http, https and mailto alone."""
    tokens = _reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + _LEAST_HEADING)}"
    return Markup(_reader.renderer.render(tokens, _reader.options, {}))
