"""Text in pictures: in a font that has its letters, or, where none has, by their numbers."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

# parts of the names of fonts that draw something else than letters in the places of letters
NO_LETTERS = re.compile(r"^cm|NonUnicode|STIXSize|Last ?Resort|Symbol|Emoji|Color|Blank", re.I)


def drawable(text: str) -> str:
    r"""The text with the escaped form, such as \u4e2d, of what no installed font can draw."""
    return "".join(each if _can_be_drawn(each) else _escaped(each) for each in text)


def shortened(name: str, most: int = 14, end: int | None = None) -> str:
    """A name that fits beside a picture; of a long one, the middle is left out.

    Args:
        name: of any length.
        most: characters that fit.
        end: how many of them are of the name's end; by default half.
    """
    name = drawable(name)
    end = most // 2 if end is None else end
    return name if len(name) <= most else f"{name[: most - 1 - end]}…{name[len(name) - end :]}"


def all_shortened(names: Sequence[str], most: int = 14) -> list[str]:
    """Different names, `shortened` so that they stay different, if need be by their numbers."""
    for end in (most // 2, most - 2, 1):
        short = [shortened(name, most, end) for name in names]
        if len({*short}) == len({*names}):
            return short
    return [shortened(f"{number} {name}", most, 1) for number, name in enumerate(names)]


def set_fonts(figure: Figure) -> None:
    """Let every text in a figure have the fonts that its letters need."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        needed = {_family(each, _usual()) for each in text.get_text() if each != "\n"}
        if others := sorted(name for name in needed if name):
            usual = [name for name in text.get_fontfamily() if name not in others]
            text.set_fontfamily([*usual, *others])


def _can_be_drawn(character: str) -> bool:
    shown = character.isprintable() or unicodedata.category(character) == "Zs"  # a kind of space
    return shown and _family(character, _usual()) is not None


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _usual() -> str:
    """The file of the font that is used where nothing else is said."""
    return font_manager.findfont(FontProperties())


@cache
def _family(character: str, usual: str) -> str | None:
    """The family of fonts with a character: nothing if the usual font has it, None if none has."""
    if _has(usual, character):
        return ""
    return next((name for name in _families() if _has(_file(name), character)), None)


@cache
def _families() -> list[str]:
    """The families of upright letters, those without serifs first."""
    names = {
        entry.name
        for entry in font_manager.fontManager.ttflist
        if (entry.style, entry.weight) == ("normal", 400) and not NO_LETTERS.search(entry.name)
    }
    return sorted(names, key=lambda name: ("Sans" not in name, name))


@cache
def _file(family: str) -> str:
    return font_manager.findfont(FontProperties(family=[family]))


def _has(file: str, character: str) -> bool:
    """Whether the font in a file has a character; no, if it cannot be read."""
    try:
        return bool(font_manager.get_font(file).get_char_index(ord(character)))
    except (OSError, RuntimeError):
        return False
