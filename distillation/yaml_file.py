"""Settings as YAML files: every wrong word in one is named, with file, line and key.

Nothing is optional by accident: an unknown key, a key that is there twice, a wrong type or a value that is not
allowed is a ConfigError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from distillation.spec import Settings
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

STRICT = {"extra": "forbid", "allow_inf_nan": False}  # pydantic: a key that nobody reads is an error

Kind = TypeVar("Kind", bound=Settings)


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings were written: finds the line of a key.

    Attributes:
        path: the YAML file, or what stands for it.
        text: its content.
    """

    path: str
    text: str

    def where(self, *key: str | int) -> str:
        """File, line and key, as an error message begins; the line of the nearest key that is there."""
        node, line = yaml.compose(self.text), 1
        for part in key:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        name = ".".join(str(part) for part in key)
        return f"{self.path}, line {line}: {name}" if name else f"{self.path}, line {line}"


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key or list item, and what stands there."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None


def parse_settings(kind: type[Kind], source: Source) -> Kind:
    """Check a text that holds settings of a kind.

    Raises:
        ConfigError: naming file, line, key, what was found and what is allowed; a line for each wrong word.
    """
    try:
        values = _with_text_keys(yaml.safe_load(source.text))
        _check_once(yaml.compose(source.text), source)
    except RecursionError:
        raise ConfigError(f"{source.path}, line 1: not settings: it contains itself") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source.path}, line {line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:  # a character that no text holds
        raise ConfigError(f"{source.path}, line 1: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{source.path}, line 1: found {type(values).__name__}, expected keys and values")
    try:
        found: Kind = _adapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError("\n".join(_problem(source, kind, e) for e in _telling(error.errors()))) from None
    return found


def _with_text_keys(value: Any) -> Any:
    """YAML's keys may be dates and numbers; ours are words."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _check_once(node: yaml.Node | None, source: Source, *key: str) -> None:
    """YAML takes the last of equal keys without a word; nobody means that."""
    names: set[str] = set()
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        path = (*key, str(name.value))
        if path[-1] in names:
            where = f"{source.path}, line {name.start_mark.line + 1}: {'.'.join(path)}"
            raise ConfigError(f"{where}: found twice, allowed is once")
        names.add(path[-1])
        _check_once(value, source, *path)


def _adapter(kind: type[Settings]) -> TypeAdapter[Any]:
    Settings.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    return TypeAdapter(kind)


def _telling(errors: Sequence[Any]) -> Sequence[Any]:
    """Of an `X or nothing` key, only what X misses: that it is not nothing helps nobody."""
    return [e for e in errors if e["type"] != "none_required"] or errors


def _problem(source: Source, kind: type[Settings], error: Any) -> str:
    """One line: where, what was found, what is allowed."""
    key = error["loc"]
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{source.where(*key)}: unknown key; allowed are {_allowed_keys(kind, key[:-1])}"
    if error["type"] in ("missing", "missing_argument"):
        return f"{source.where(*key)}: missing"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "value_error":  # our own check: "key: found …, allowed is …"
        name, _, rest = message.partition(": ")
        return (
            f"{source.where(*key, *name.split('.'))}: {rest}" if rest else f"{source.where(*key)}: {message}"
        )
    return f"{source.where(*key)}: found {error['input']!r}, allowed is {message}"


def _allowed_keys(kind: type[Settings], key: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand at a place of the file."""
    at: Any = kind
    for part in key:
        hint = get_type_hints(at).get(str(part), at)
        at = next((h for h in (hint, *get_args(hint)) if is_dataclass(h)), at)
    return sorted(f.name for f in fields(at))
