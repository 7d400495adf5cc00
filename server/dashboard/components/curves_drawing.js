// How curves look on ECharts: the methods of components/curves.js that make its options.
import { at, isDark, joined, pairs, row, tidy } from "curves_data";

const NEAR_PX = 14; // how near the pointer must be to a person's line to name it
const LABEL_PX = [13, 34]; // between the figures at the ends of lines, and how far one may be moved from its line

export const drawing = {
  own() {
    return [...this.lines.values()].filter((line) => !line.group);
  },
  groups() {
    const groups = new Map();
    for (const line of this.lines.values())
      if (line.group) (groups.get(line.group) ?? groups.set(line.group, []).get(line.group)).push(line);
    return groups;
  },
  lastRound() {
    let last = 0;
    for (const line of this.lines.values()) last = Math.max(last, line.rounds.at(-1) ?? 0);
    return last;
  },
  span() {
    let first = Infinity;
    for (const line of this.lines.values()) first = Math.min(first, line.rounds[0] ?? Infinity);
    const edge = this.stacked ? 0.6 : 0; // a bar is as wide as a round
    return { min: Math.min(1, first) - edge, max: Math.max(this.planned, this.lastRound(), this.stacked ? 1 : 2) + edge };
  },

  series() {
    const many = this.lastRound() > 60;
    if (this.stacked) return this.bars();
    const people = [...this.groups()].map(([group, lines]) => ({
      id: `group ${group}`,
      type: "line",
      silent: true,
      showSymbol: lines.every((line) => line.rounds.length < 2),
      symbolSize: 4,
      lineStyle: { width: 1, opacity: lines.length > 30 ? 0.22 : 0.38 },
      itemStyle: { opacity: 0.5 },
      color: this.ink(lines[0], 0),
      data: this.hidden.has(group) ? [] : joined(lines, this.scale()),
      z: 1,
    }));
    const own = this.own().map((line, index) => ({
      id: `line ${index}`,
      type: "line",
      silent: true,
      showSymbol: !many,
      symbol: "circle",
      symbolSize: 4,
      lineStyle: {
        width: line.wide ? 7 : line.bold ? 3 : 2, // wide: it may lie under another line, and is seen on both sides of it
        opacity: line.wide ? 0.45 : 1,
        type: line.dashed ? "dashed" : "solid",
      },
      color: this.ink(line, index),
      data: this.hidden.has(line.name) ? [] : pairs(line, this.scale()),
      endLabel: { show: true, color: this.ink(line, index), formatter: (p) => this.figure(p.value[1] / this.scale()) },
      z: line.wide ? 2 : line.bold ? 4 : 3,
    }));
    const near = this.near && !this.hidden.has(this.near.group) ? this.near : null;
    return [
      ...people,
      ...own,
      {
        id: "near",
        type: "line",
        silent: true,
        showSymbol: false,
        lineStyle: { width: 2, color: near ? this.ink(near, 0) : "#888" },
        data: near ? pairs(near, this.scale()) : [],
        z: 2,
      },
    ];
  },

  /** Parts of a whole, on top of each other. */
  bars() {
    return this.own().map((line, index) => ({
      id: `line ${index}`,
      type: "bar",
      stack: "whole",
      silent: true,
      barCategoryGap: this.lastRound() > 60 ? "0%" : "20%", // gaps of less than a pixel would make a pattern
      barMaxWidth: 48,
      color: this.ink(line, index),
      data: this.hidden.has(line.name) ? [] : pairs(line, this.scale()),
    }));
  },

  /** The figures at the ends of lines, moved apart; one that would come to stand too far from its line is left out. */
  endLabels() {
    if (this.stacked) return [];
    const ends = this.own().map((line, index) => {
      const last = line.values.findLastIndex((value) => value != null);
      const seen = last >= 0 && !this.hidden.has(line.name);
      const [x, y] = seen ? this.chart.convertToPixel("grid", [line.rounds[last], line.values[last] * this.scale()]) : [0, 0];
      return { id: `line ${index}`, line, x, y, seen };
    });
    const placed = [];
    const byRank = ends.filter((end) => end.seen).sort((a, b) => rank(b.line) - rank(a.line) || a.y - b.y);
    for (const end of byRank) end.offset = free(end, placed);
    return ends.map(({ id, offset }) => ({ id, endLabel: { show: offset != null, offset: [0, offset ?? 0] } }));
  },

  options(zoom) {
    const text = getComputedStyle(this.$el).color;
    const faint = isDark() ? "rgba(255,255,255,.13)" : "rgba(0,0,0,.10)";
    const axis = { axisLabel: { color: text }, axisLine: { lineStyle: { color: faint } }, nameTextStyle: { color: text } };
    const slider = Math.max(this.planned, this.lastRound()) > 40;
    return {
      animation: false,
      textStyle: { fontFamily: getComputedStyle(this.$el).fontFamily },
      grid: { left: 56, right: this.stacked ? 16 : 64, top: 12, bottom: slider ? 66 : 42 },
      xAxis: { type: "value", name: "round", nameLocation: "middle", nameGap: 24, minInterval: 1, splitLine: { show: false }, ...axis, ...this.span(),
        axisLabel: { color: text, formatter: (v) => (Number.isInteger(v) ? String(v) : "") } },
      yAxis: {
        type: "value",
        scale: !this.stacked && this.unit === "%",
        min: this.unit === "%" ? (v) => Math.max(0, Math.floor((v.min - 1) / 10) * 10) : 0,
        max: this.unit === "%" ? (v) => Math.max(Math.min(100, Math.ceil((v.max + 1) / 10) * 10), v.max) : undefined,
        splitLine: { lineStyle: { color: faint } },
        ...axis,
        axisLabel: { color: text, formatter: (v) => `${tidy(v)}${this.unit ? ` ${this.unit}` : ""}` },
      },
      dataZoom: slider
        ? [{ type: "slider", filterMode: "none", height: 16, bottom: 6, showDetail: false, brushSelect: false, showDataShadow: false,
             borderColor: faint, start: zoom?.start ?? 0, end: zoom?.end ?? 100 }]
        : [],
      tooltip: {
        trigger: "axis",
        confine: true,
        appendTo: this.$refs.plot,
        backgroundColor: getComputedStyle(this.$el).getPropertyValue("--card"),
        borderColor: faint,
        textStyle: { color: text },
        axisPointer: { lineStyle: { color: text, opacity: 0.5 } },
        formatter: (points) => this.hint(Math.round(points[0]?.axisValue ?? 0)),
      },
      series: this.series(),
    };
  },

  /** The tooltip, as elements: what a record says must not be read as HTML. */
  hint(round) {
    const box = document.createElement("div");
    box.append(row(`Round ${round}`, "", "curves-hint-title"));
    for (const [index, line] of this.own().entries()) {
      const value = at(line, round);
      if (value == null || this.hidden.has(line.name)) continue;
      box.append(row(line.name, this.figure(value), "", this.ink(line, index)));
    }
    for (const [group, lines] of this.groups()) {
      const values = lines.map((line) => at(line, round)).filter((v) => v != null);
      if (!values.length || this.hidden.has(group)) continue;
      box.append(row(group, `${this.figure(Math.min(...values))} to ${this.figure(Math.max(...values))}`));
    }
    const value = this.near && at(this.near, round);
    if (value != null) box.append(row(this.near.title ?? this.near.name, this.figure(value), "curves-hint-near"));
    return box;
  },

  /** The person whose line is nearest to the pointer, drawn thicker. */
  point(x, y) {
    if (x != null) this.pointer = [x, y];
    const found = x == null ? null : this.nearest(x, y);
    if (found === this.near) return;
    this.near = found;
    this.chart.setOption({ series: this.series().filter((s) => s.id === "near") }, { silent: true });
  },
  nearest(x, y) {
    const [round, value] = this.chart.convertFromPixel("grid", [x, y]) ?? [];
    const [, above] = this.chart.convertFromPixel("grid", [x, y - NEAR_PX]) ?? [];
    let best = null;
    let distance = Math.abs(above - value) / this.scale();
    for (const line of this.lines.values()) {
      if (!line.group || this.hidden.has(line.group)) continue;
      const d = Math.abs((at(line, Math.round(round)) ?? Infinity) - value / this.scale());
      if (d < distance) [best, distance] = [line, d];
    }
    return best;
  },
};

function rank(line) {
  return (line.bold ? 2 : 0) + (line.dashed ? 0 : 1);
}

/** How far a label must move up or down to stand clear of those placed already; nothing if it would be too far. */
function free(end, placed) {
  const [apart, furthest] = LABEL_PX;
  const others = placed.filter((other) => Math.abs(other.x - end.x) < 56);
  for (let by = 0; by <= furthest; by++)
    for (const offset of by ? [by, -by] : [0]) {
      if (others.some((other) => Math.abs(other.y - end.y - offset) < apart)) continue;
      placed.push({ x: end.x, y: end.y + offset });
      return offset;
    }
  return null;
}
