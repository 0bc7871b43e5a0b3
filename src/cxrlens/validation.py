"""What pydantic finds wrong with values that somebody wrote, in this project's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import Repr
from typing import Any

from pydantic import ValidationError

_MAPPING = "names with values"
_SHORT = Repr()
_SHORT.maxstring = 60

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": _MAPPING,
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_type": "a whole number",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": _MAPPING,
    "path_type": "a path",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_long": "text of {max_length} or fewer characters",
    "string_too_short": "text of {min_length} or more characters",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What a value should be, by pydantic's kind of error, with the numbers of its context."""


def first_fault(error: ValidationError) -> str:
    """The first of the faults, such as "epochs should be a whole number, not 'many'"."""
    (detail, *_) = error.errors()
    return fault_of(detail, detail["loc"])


def fault_of(detail: Mapping[str, Any], keys: Sequence[int | str], *, shown: bool = True) -> str:
    """One fault as a part of a sentence: the key, what is expected, and what was found.

    Args:
        detail: as pydantic gives it.
        keys: the way to the value, from what the reader takes for the whole; of none, it is "it".
        shown: False where the value must not be repeated.
    """
    kind, context = detail["type"], detail.get("ctx", {})
    key = _path(keys) or "it"
    if kind in _EXPECTED:
        found = f", not {_in_words(detail['input'])}" if shown else ""
        return f"{key} should be {_EXPECTED[kind].format(**context)}{found}"
    if kind in ("too_short", "too_long"):
        limit = f"{context['min_length']} or more" if kind == "too_short" else f"{context['max_length']} or fewer"
        return f"{key} should have {limit} values, not {context['actual_length']}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "invalid_key":
        return f"a name in {_path(keys[:-1]) or 'it'} should be text, not {keys[-1]}"
    if kind == "extra_forbidden":
        return f"{key} is not known"
    if kind == "json_invalid":
        return f"it is no JSON ({context['error']})"
    return f"{key}: {context.get('error', detail['msg'])}"


def _path(keys: Sequence[int | str]) -> str:
    """Such as "random.seeds[0]"; of the name of an entry, which pydantic marks, "a name in settings_of"."""
    if keys and keys[-1] == "[key]":
        return f"a name in {_path(keys[:-2])}"
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _in_words(value: Any) -> str:
    """A value as a file has it, in a few words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case Mapping():
            return _MAPPING
        case list() | tuple():
            return "a list"
        case _:
            return _SHORT.repr(value) if isinstance(value, str | int | float) else f"'{value}'"
