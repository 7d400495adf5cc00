// Draws columns onto a canvas. Each pixel of time is painted once onto a strip; a frame only moves the strip.

import { HERE } from "scope_columns";

const LANES = ["asked", "predicted"];
const LANE = 30, AXIS = 22, GUTTER = 58; // CSS pixels

// The page's colours, which change with its theme; neighbouring channels differ in hue.
export function inksOf(element) {
  const style = getComputedStyle(element);
  const ink = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    traces: [1, 2, 3, 4, 5, 6, 7, 8].map((i) => ink(`c${i}`)),
    text: ink("ink"), quiet: ink("muted"), line: ink("line"), lost: ink("bad"), asked: ink("accent-soft"),
    right: ink("good-soft"), wrong: ink("bad-soft"), unsure: ink("paper"), font: style.fontFamily,
    rightEdge: ink("good"), wrongEdge: ink("bad"),
  };
}

export class Drawing {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.strip = document.createElement("canvas");
    this.brush = this.strip.getContext("2d");
    this.painted = null; // the latest pixel of time on the strip
  }

  // Follow the canvas's size on the page and the screen's density; true where something changed.
  fit() {
    const density = Math.min(window.devicePixelRatio || 1, 3);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((css) => Math.round(css * density));
    if (width === this.canvas.width && height === this.canvas.height && density === this.density) return false;
    Object.assign(this.canvas, { width, height });
    this.density = density;
    this.left = Math.round(GUTTER * density);
    this.width = Math.max(1, width - this.left);
    this.bottom = Math.max(1, height - Math.round((LANES.length * LANE + AXIS) * density)); // of the traces
    Object.assign(this.strip, { width: this.width, height: this.bottom });
    this.repaint();
    return true;
  }

  repaint() {
    this.painted = this.before = null;
  }

  // `shown`: {columns, end (a column, need not be whole), spanS, rangeUv, visible: [channel], live, ink}
  frame(shown) {
    const { columns, spanS } = shown;
    this.perPixel = (spanS * 1000) / columns.columnMs / this.width; // columns
    const newest = Math.floor(shown.end / this.perPixel) - 1;
    const from = Math.max(this.painted === null ? -Infinity : this.painted + 1, newest - this.width + 1);
    for (let pixel = from; pixel <= newest; pixel++) this.paint(pixel, shown);
    if (this.painted === null || newest > this.painted) this.painted = newest;
    this.compose(newest, shown);
  }

  paint(pixel, { columns, rangeUv, visible, ink }) {
    const x = mod(pixel, this.width);
    this.brush.clearRect(x, 0, 1, this.bottom);
    const middle = (pixel + 0.5) * this.perPixel;
    if (columns.stateOf(Math.floor(middle)) !== HERE) return;
    const row = this.bottom / visible.length;
    const scale = row / 2 / rangeUv;
    const before = this.before?.pixel === pixel - 1 ? this.before.extremes : [];
    this.before = { pixel, extremes: visible.map((channel) => this.extremes(columns, channel, pixel, middle)) };
    visible.forEach((channel, i) => {
      let [low, high] = this.before.extremes[i];
      if (before[i]) [low, high] = [Math.min(low, before[i][1]), Math.max(high, before[i][0])]; // one unbroken line
      const zero = (i + 0.5) * row;
      const top = Math.max(zero - high * scale, i * row);
      const foot = Math.min(zero - low * scale, (i + 1) * row);
      this.brush.fillStyle = ink.traces[channel % 8];
      const thick = Math.max(foot - top, this.density * 1.25); // a quiet line must still be seen
      this.brush.fillRect(x, Math.min(Math.max(top, i * row), (i + 1) * row - thick), 1, thick);
    });
  }

  // The least and the greatest within one pixel; between two columns where pixels are finer than columns.
  extremes(columns, channel, pixel, middle) {
    const { low, high, channels, capacity } = columns;
    const at = (column) => (column % capacity) * channels + channel;
    if (this.perPixel < 1) {
      const before = Math.max(Math.floor(middle - 0.5), columns.oldest);
      const after = columns.stateOf(before + 1) === HERE ? before + 1 : before;
      const [a, b] = columns.stateOf(before) === HERE ? [at(before), at(after)] : [at(after), at(after)];
      const share = Math.min(Math.max(middle - 0.5 - before, 0), 1);
      return [low[a] + (low[b] - low[a]) * share, high[a] + (high[b] - high[a]) * share];
    }
    let [least, greatest] = [Infinity, -Infinity];
    for (let column = Math.floor(pixel * this.perPixel); column < (pixel + 1) * this.perPixel; column++) {
      if (columns.stateOf(column) !== HERE) continue;
      least = Math.min(least, low[at(column)]);
      greatest = Math.max(greatest, high[at(column)]);
    }
    return [least, greatest];
  }

  compose(newest, shown) {
    const { pen, left, width, bottom } = this;
    const ink = (this.ink = shown.ink);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.grid(shown, ink);
    const cut = mod(newest + 1, width); // the oldest pixel's place on the strip
    pen.drawImage(this.strip, cut, 0, width - cut, bottom, left, 0, width - cut, bottom);
    if (cut > 0) pen.drawImage(this.strip, 0, 0, cut, bottom, left + width - cut, 0, cut, bottom);
    this.edge = newest;
    this.lostStretches(shown, ink);
    this.lanes(shown, ink);
  }

  x(column) {
    return this.left + Math.min(Math.max(column / this.perPixel - (this.edge - this.width + 1), 0), this.width);
  }

  grid({ visible, spanS, rangeUv, live }, ink) {
    const { pen, density, left, width, bottom } = this;
    const row = bottom / visible.length;
    this.font(12, "600");
    visible.forEach((channel, i) => {
      pen.fillStyle = ink.line;
      pen.fillRect(left, Math.round((i + 1) * row), width, 1);
      pen.fillStyle = ink.traces[channel % 8];
      this.text(String(channel + 1), left - 10 * density, (i + 0.5) * row, "right");
    });
    this.font(10);
    pen.fillStyle = ink.quiet;
    this.text(`+${rangeUv}`, left - 4 * density, 8 * density, "right");
    this.text(`−${rangeUv} µV`, left - 4 * density, row - 8 * density, "right");
    this.seconds(spanS, live, ink);
  }

  seconds(spanS, live, ink) {
    const { pen, density, left, width, bottom, canvas } = this;
    const foot = canvas.height - AXIS * density;
    const step = spanS > 5 && width / density < 500 ? 2 : 1;
    for (let s = 0; s <= spanS; s += step) {
      const x = Math.round(left + width * (1 - s / spanS));
      pen.fillStyle = ink.line;
      pen.fillRect(Math.min(x, canvas.width - 1), 0, 1, bottom);
      pen.fillStyle = ink.quiet;
      const place = s === 0 ? "right" : s === spanS ? "left" : "center";
      this.text(s === 0 ? (live ? "now" : "end") : `−${s} s`, x, foot + (AXIS / 2 + 2) * density, place);
    }
  }

  lostStretches({ columns }, ink) {
    const { pen, density, bottom } = this;
    for (const [from, to] of columns.lost) {
      const [begin, end] = [this.x(from), this.x(to)];
      if (end <= begin) continue;
      this.hatch(begin, 0, end - begin, bottom, ink.lost);
      pen.fillStyle = ink.lost;
      this.font(11, "600");
      if (end - begin > 26 * density) this.text("lost", (begin + end) / 2, 10 * density, "center");
    }
  }

  lanes({ columns, end }, ink) {
    const from = (this.edge - this.width + 1) * this.perPixel;
    const asked = columns.stretches(columns.prompted, from, end).map((stretch) => ({ ...stretch, right: undefined }));
    [asked, columns.judged(from, end)].forEach((stretches, lane) => {
      const top = this.bottom + lane * LANE * this.density;
      this.pen.fillStyle = ink.quiet;
      this.font(11);
      this.text(LANES[lane], this.left - 8 * this.density, top + (LANE / 2) * this.density, "right");
      for (const stretch of stretches) if (stretch.gesture !== null) this.stretch(stretch, top, ink);
    });
  }

  // One gesture in its lane: right and wrong differ by mark and hatching, not by colour alone.
  stretch({ from, to, gesture, confidence, right }, top, ink) {
    const { pen, density } = this;
    const [x, height, gap] = [this.x(from), (LANE - 4) * density, density];
    const width = this.x(to) - x - gap;
    if (width <= 0) return;
    pen.fillStyle = right === undefined ? ink.asked : right === null ? ink.unsure : right ? ink.right : ink.wrong;
    pen.fillRect(x, top + 2 * density, width, height);
    if (right === false) this.hatch(x, top + 2 * density, width, height, ink.text, 0.25);
    if (width < 14 * density) return;
    pen.save();
    pen.beginPath();
    pen.rect(x, top, width, LANE * density);
    pen.clip();
    pen.fillStyle = ink.text;
    this.font(12, "500");
    const mark = right === true ? "✓ " : right === false ? "✗ " : "";
    const sure = confidence === null || width < 90 * density ? "" : ` ${Math.round(confidence * 100)} %`;
    this.text(mark + gesture + sure, x + 5 * density, top + (LANE / 2) * density, "left");
    pen.restore();
  }

  hatch(x, y, width, height, colour, strength = 0.45) {
    const { pen, density } = this;
    pen.save();
    pen.beginPath();
    pen.rect(x, y, width, height);
    pen.clip();
    pen.globalAlpha = strength;
    pen.strokeStyle = colour;
    pen.lineWidth = density;
    pen.beginPath();
    for (let at = x - height; at < x + width; at += 8 * density) {
      pen.moveTo(at, y + height);
      pen.lineTo(at + height, y);
    }
    pen.stroke();
    pen.restore();
  }

  font(size, weight = "400") {
    this.pen.font = `${weight} ${size * this.density}px ${this.ink.font}`;
  }

  text(words, x, y, align) {
    Object.assign(this.pen, { textAlign: align, textBaseline: "middle", direction: "ltr" });
    this.pen.fillText(words, x, y);
  }
}

function mod(value, by) {
  return ((value % by) + by) % by;
}
