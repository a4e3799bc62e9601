"""How long words and facts may be, to the letter."""

from typing import Any

import pytest

from unoise_engine.models import text as module
from unoise_engine.models.text import fit_for_organ, one_line, plain


def test_a_text_is_cut_where_it_is_too_long() -> None:
    assert one_line(10 * "a", 10) == 10 * "a" and one_line(11 * "a", 10) == 7 * "a" + "..."
    assert one_line(39 * "\n" + "abc", 10) == "a"  # what lies beyond four times the length is not looked at


def test_organs() -> None:
    assert fit_for_organ(80 * "o") and not fit_for_organ(81 * "o") and not fit_for_organ("-o")


def nested(depth: Any, inside: Any) -> Any:
    for level in range(depth):
        inside = {"in": inside} if level % 2 else [inside]
    return inside


def test_facts_of_any_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain(nested(12, 7)) == nested(12, 7) and plain([1.5, None, True, "a\nb"]) == [1.5, None, True, "a b"]
    with pytest.raises(ValueError, match="too deeply"):
        plain(nested(13, 7))
    assert list(plain({300 * "k": 1})) == [197 * "k" + "..."]
    monkeypatch.setattr(module, "MOST_ENTRIES", 3)
    for made in (list, dict.fromkeys):
        assert len(plain(made("abc"))) == 3
        with pytest.raises(ValueError, match="too many"):
            plain({"in": made("abcd")})
