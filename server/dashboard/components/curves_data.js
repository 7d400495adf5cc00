// What charts of curves have in common: a line's points, its colour's theme, numbers as people read them, and whose turn it is.
const POINTS_OF_A_GROUP = 12000; // of all thin lines together: what a slow machine draws in well under 100 ms
const POINTS_OF_A_PERSON = [100, 400]; // of one of them: fewer would lie, more are not seen
const FIRST_MS = 150; // the charts in sight come first; after that the others are drawn, one after the other

const waiting = [];
let going = false;

/** Draw it when there is nothing better to do: whoever prints a page, or keeps a picture of it, wants all its charts. */
export function inTurn(draw) {
  waiting.push(draw);
  if (going) return;
  going = true;
  setTimeout(next, FIRST_MS);
}

async function next() {
  const draw = waiting.shift();
  going = Boolean(draw);
  if (!draw) return;
  await draw();
  (window.requestIdleCallback ?? setTimeout)(next, window.requestIdleCallback && { timeout: 200 });
}

export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/** Three figures that count, never an exponent where a person can read the number. */
export function tidy(value) {
  if (!Number.isFinite(value)) return "not known";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return String(Number(value.toFixed(digits)));
}

export function pairs(line, scale) {
  return line.rounds.map((round, i) => [round, line.values[i] == null ? null : line.values[i] * scale]);
}

/** Many thin lines as one, with gaps between them: a hundred series of their own would be slow to draw. */
export function joined(lines, scale) {
  const data = [];
  const [fewest, most] = POINTS_OF_A_PERSON;
  const points = Math.min(most, Math.max(fewest, POINTS_OF_A_GROUP / lines.length));
  for (const line of lines) {
    const step = Math.max(1, Math.ceil(line.rounds.length / (points / 2)));
    for (let i = 0; i < line.rounds.length; i += step) {
      if (step < 3) {
        for (let k = i; k < Math.min(i + step, line.rounds.length); k++) push(k);
        continue;
      }
      let [low, high] = [i, i]; // of each stretch its lowest and its highest point: nothing that stands out is lost
      for (let k = i; k < Math.min(i + step, line.rounds.length); k++) {
        if (line.values[k] < line.values[low]) low = k;
        if (line.values[k] > line.values[high]) high = k;
      }
      push(Math.min(low, high));
      if (low !== high) push(Math.max(low, high));
    }
    data.push([null, null]);

    function push(k) {
      data.push([line.rounds[k], line.values[k] == null ? null : line.values[k] * scale]);
    }
  }
  return data;
}

export function at(line, round) {
  let [low, high] = [0, line.rounds.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (line.rounds[middle] === round) return line.values[middle];
    line.rounds[middle] < round ? (low = middle + 1) : (high = middle - 1);
  }
  return null;
}

export function row(name, value, style = "", color = "") {
  const line = document.createElement("div");
  line.className = `curves-hint-row ${style}`;
  const left = document.createElement("span");
  left.textContent = name;
  if (color) {
    left.className = "curves-hint-name";
    left.style.setProperty("--swatch", color);
  }
  const right = document.createElement("b");
  right.textContent = value;
  line.append(left, right);
  return line;
}
