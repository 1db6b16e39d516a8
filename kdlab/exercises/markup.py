"""Markdown with maths, as exercises are written, to the HTML that cards and verdicts show."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from typing import Any

__all__ = ["inline", "to_html"]


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.use(dollarmath_plugin, allow_space=True, double_inline=True)
    # Formulas stay as they are between their dollars: JupyterLab's own MathJax draws them, as in the lesson's text.
    parser.add_render_rule("math_inline", _inline)
    parser.add_render_rule("math_inline_double", _block)
    parser.add_render_rule("math_block", _block)
    return parser


def to_html(text: str) -> str:
    """HTML of Markdown text; formulas between dollars survive untouched, raw HTML is shown as text.

    Example:
        >>> to_html("**Half** of $a_1 * b_1$")
        '<p><strong>Half</strong> of $a_1 * b_1$</p>'
    """
    return str(_parser().render(text)).strip()


def inline(text: str) -> str:
    """HTML of Markdown that stands within a line: a title or a label, without a paragraph around it."""
    markup = to_html(text)
    body = markup.removeprefix("<p>").removesuffix("</p>")
    return markup if "<p>" in body or not markup.startswith("<p>") else body


def _inline(renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    return f"${html.escape(tokens[index].content, quote=False)}$"


def _block(renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    return f"$${html.escape(tokens[index].content, quote=False)}$$\n"
