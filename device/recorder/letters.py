"""Big letters for a terminal: 3 × 5 dots each, two dots above each other in one character."""

from __future__ import annotations

# Five rows from the top, one digit each, whose bits are the dots: 4 left, 2 middle, 1 right.
# fmt: off
GLYPHS = {
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644",
    "G": "34553", "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447",
    "M": "57755", "N": "65555", "O": "25552", "P": "65644", "Q": "25573", "R": "65655",
    "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", "0": "75557", "1": "26227", "2": "61247", "3": "71317",
    "4": "55711", "5": "74616", "6": "34757", "7": "71122", "8": "75757", "9": "75716",
    "+": "02720", "-": "00700",
}
# fmt: on
BLOCKS = " ▄▀█"  # lower dot 1, upper dot 2


def big(text: str, width: int) -> str:
    """The text as large as `width` characters allow: 6, 3 or 1 rows high."""
    text = text.upper().replace("_", " ")
    if any(letter != " " and letter not in GLYPHS for letter in text):
        return text  # another alphabet
    for scale in (2, 1):
        if 4 * scale * len(text) <= width:
            return "\n".join(_rows(text, scale))
    return text


def _rows(text: str, scale: int) -> list[str]:
    dots = [
        [int(GLYPHS[c][row]) >> bit & 1 if c != " " else 0 for c in text for bit in (2, 1, 0, 3)]
        for row in range(5)
    ]
    tall = [[dot for dot in row for _ in range(scale)] for row in dots for _ in range(scale)]
    tall += [[0] * len(tall[0])] * (len(tall) % 2)
    return [
        "".join(BLOCKS[2 * upper + lower] for upper, lower in zip(above, below, strict=True)).rstrip()
        for above, below in zip(tall[::2], tall[1::2], strict=True)
    ]
