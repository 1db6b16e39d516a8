"""What a card says before anybody answers: its content for the page, and the same as Markdown and as one line.

Nothing here holds an answer, a hint, a rubric or a solution: a learner who reads the page's source finds none.
"""

from __future__ import annotations

import html
from typing import Any

from kdlab.exercises.card_words import WORDS
from kdlab.exercises.catalog import LANGUAGES, Exercise, Field
from kdlab.exercises.expressions import FUNCTIONS
from kdlab.exercises.markup import inline, to_html

__all__ = ["content", "inline", "markdown", "summary"]

_ASLEEP = """
document.querySelectorAll(".kd-asleep:not([data-kd-on])").forEach((here) => {
  const area = here.closest(".jp-OutputArea");
  if (!area) return;
  here.dataset.kdOn = "";
  here.closest(".jp-OutputArea-child").style.display = "none";
  const look = (wanted) => area.querySelectorAll(".jp-OutputArea-output").forEach((node) => {
    if (wanted.test(node.textContent) && !node.querySelector(".kd-card")) node.textContent = here.dataset.kdWords;
  });
  new MutationObserver(() => look(/^Error displaying widget/)).observe(area, {childList: true, subtree: true});
  setTimeout(() => look(/^(Error displaying|Loading) widget/), 3000);
});
"""


def content(one: Exercise) -> dict[str, Any]:
    """Everything about an exercise that a page may know from the start, texts as HTML."""
    words = WORDS[one.language]
    return {
        "slug": one.slug,
        "kind": one.kind,
        "title": inline(one.title),
        "about": _about(one),
        "difficulty": one.difficulty,
        "prompt": to_html(one.prompt),
        "listing": one.listing.splitlines(),
        "fields": [_field(field, one) for field in one.fields],
        "help": _help(one),
        "hints": len(one.hints),
        "language": one.language,
        "languages": _languages(one),
        "words": words,
    }


def summary(one: Exercise) -> str:
    """The exercise in one line of plain text."""
    kind, *_, minutes = _about(one)
    return f"{WORDS[one.language]['exercise']} {one.slug}: {one.title} ({kind}, {minutes})"


def markdown(one: Exercise) -> str:
    """The exercise as Markdown, for pages without a kernel; the same whatever was answered."""
    words = WORDS[one.language]
    parts = [f"**{words['exercise']}: {one.title}**", f"*{' · '.join(_about(one))}*", one.prompt]
    if one.listing:
        lines = [f"{number:2}  {line}" for number, line in enumerate(one.listing.splitlines(), 1)]
        parts.append("\n".join(["```text", *lines, "```"]))
    parts += [_field_markdown(field) for field in one.fields if field.type not in ("line", "text")]
    return "\n\n".join([*filter(None, parts), f"**{words['run']}**"])


def asleep(one: Exercise) -> str:
    """A second output, invisible, that puts words where JupyterLab can only say "model not found".

    A notebook that is opened again finds its cards' views and a kernel that does not know them. The script says what
    to do in place of JupyterLab's error; where scripts do not run, the Markdown is shown anyway.
    """
    end = "" if one.title.endswith(("?", "？")) else "."
    words = f"{WORDS[one.language]['exercise']}: {one.title}{end} {WORDS[one.language]['asleep']}"
    return f'<div class="kd-asleep" data-kd-words="{html.escape(words, quote=True)}"></div><script>{_ASLEEP}</script>'


def _about(one: Exercise) -> list[str]:
    """Kind, difficulty, importance and time, in words."""
    words = WORDS[one.language]
    minutes = words["minute" if one.minutes == 1 else "minutes"].format(n=one.minutes)
    return [words[one.kind], words[f"difficulty{one.difficulty}"], words[f"importance{one.importance}"], minutes]


def _languages(one: Exercise) -> list[str]:
    """Languages in which the exercise has a prompt of its own."""
    english = one.in_language("en").prompt
    return [name for name in LANGUAGES if name == "en" or one.in_language(name).prompt != english]


def _field(field: Field, one: Exercise) -> dict[str, Any]:
    words = WORDS[one.language]
    shown: dict[str, Any] = {
        "name": field.name,
        "type": field.type,
        "label": inline(field.label) if field.label else "",
        "unit": field.unit,
    }
    if field.type in ("choice", "choices"):
        shown["options"] = [{"id": option.id, "text": inline(option.text)} for option in field.options]
    if field.type == "expression":
        names = ", ".join(f"`{name}`" for name in field.variables or {})
        shown["help"] = inline(words["names"].format(names=names))
    if field.type == "code":
        shown["starter"] = field.starter.rstrip()
        shown["help"] = words["code_how"].format(name=field.function)
    return shown


def _help(one: Exercise) -> str:
    """What an expression may hold, for exercises that ask for one."""
    if not any(field.type == "expression" for field in one.fields):
        return ""
    return inline(WORDS[one.language]["arithmetic"].format(functions=", ".join(FUNCTIONS)))


def _field_markdown(field: Field) -> str:
    if field.type in ("choice", "choices"):
        options = "\n".join(f"- ({option.id}) {option.text}" for option in field.options)
        return f"{field.label}:\n\n{options}" if field.label else options
    if field.type == "code":
        return f"```python\n{field.starter.rstrip()}\n```"
    return f"- {field.label}: ... {field.unit}".rstrip() if field.label else ""
