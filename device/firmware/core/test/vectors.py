# ruff: noqa: INP001  (a script of the Makefile, no module)
"""The golden vectors of tests/protocols/vectors/frames.json as a C header, for `make test`.

Usage: python3 vectors.py frames.json > vectors.h
"""

import json
import struct
import sys
from pathlib import Path
from typing import Any

KINDS = ("hello", "samples", "status", "command", "acknowledge", "marker")
TEXTS = {"board_id", "firmware", "capabilities", "message", "name", "argument", "label"}
HEADER = {"sequence", "time_us"}


def main() -> None:
    """Print the header."""
    golden = json.loads(Path(sys.argv[1]).read_text())
    places = {each["name"]: i for i, each in enumerate(golden["frames"])}
    print("// Made from frames.json by vectors.py.")
    _table("golden_frame_t", "FRAMES", [_frame(each) for each in golden["frames"]])
    _table("golden_bytes_t", "REJECTED", [_bytes(each["payload"]) for each in golden["rejected"]])
    newer = [f"{{{_bytes(each['payload'])}, {each['common_version'] or 0}}}" for each in golden["newer"]]
    _table("golden_newer_t", "NEWER", newer)
    _table("golden_stream_t", "STREAMS", [_stream(each, places) for each in golden["streams"]])


def _table(kind: str, name: str, rows: list[str]) -> None:
    print(f"static const {kind} {name}[] = {{")
    print("".join(f"    {row},\n" for row in rows) + "};")
    print(f"enum {{ NUM_{name} = {len(rows)} }};")


def _bytes(digits: str) -> str:
    content = bytes.fromhex(digits)
    return f"{{(const uint8_t[]){{{', '.join(map(str, content)) or '0'}}}, {len(content)}}}"


def _stream(vector: dict[str, Any], places: dict[str, int]) -> str:
    indices = ", ".join(str(places[name]) for name in vector["frames"]) or "0"
    return f"{{{_bytes(vector['bytes'])}, {len(vector['frames'])}, (const int[]){{{indices}}}, {vector['rejected']}}}"


def _frame(vector: dict[str, Any]) -> str:
    fields = dict(vector["fields"])
    if "counts" in fields:
        fields |= _packed(fields["sample_bytes"], fields.pop("counts"))
    body = ", ".join(
        f".{name} = {_value(name, value)}" for name, value in fields.items() if name not in HEADER
    )
    header = f".version = 1, .kind = {KINDS.index(vector['kind']) + 1}, " + ", ".join(
        f".{name} = UINT64_C({fields[name]})" for name in sorted(HEADER)
    )
    return f"{{{{{header}, .as.{vector['kind']} = {{{body}}}}}, {_bytes(vector['payload'])}, {_bytes(vector['wire'])}}}"


def _packed(sample_bytes: int, counts: list[list[int]]) -> dict[str, Any]:
    data = b"".join(struct.pack("<i", count)[:sample_bytes] for sample in counts for count in sample)
    return {"data": data, "size": len(data)}


def _value(name: str, value: object) -> str:
    if isinstance(value, bytes):
        return f"(const uint8_t[]){{{', '.join(map(str, value))}}}"
    if isinstance(value, bool):
        return str(int(value))
    if name in TEXTS:
        content = (" ".join(value) if isinstance(value, list) else str(value)).encode()
        return f"{{(const char[]){{{', '.join(map(_char, content)) or '0'}}}, {len(content)}}}"
    return f"UINT64_C({value})" if isinstance(value, int) else repr(value)


def _char(byte: int) -> str:
    return f"'\\{byte:03o}'"


if __name__ == "__main__":
    main()
