// Curves by round on the bundled ECharts. The data live here, in the browser: the server sends everything once
// (`show`) and afterwards only what is new (`append`). Every text is put in as text, never as HTML.
const POINTS_OF_A_GROUP = 12000; // of all thin lines together: what a slow machine draws in well under 100 ms
const POINTS_OF_A_PERSON = [100, 400]; // of one of them: fewer would lie, more are not seen
const NEAR_PX = 14; // how near the pointer must be to a person's line to name it

export default {
  template: `
    <div class="curves">
      <div class="curves-legend" role="group" :aria-label="'Lines of ' + label">
        <button v-for="(entry, place) in legend" :key="place" type="button" class="curves-key"
          :aria-pressed="String(!entry.hidden)" :title="entry.title" @click="toggle(entry.key)">
          <span class="curves-swatch" :class="{ dashed: entry.dashed, thin: entry.thin, block: stacked }"
            :style="{ '--swatch': entry.color }"></span>{{ entry.text }}
        </button>
      </div>
      <div ref="plot" class="curves-plot" role="img" :aria-label="spoken" :style="{ height }"></div>
      <div v-if="empty" class="curves-empty">{{ nothing }}</div>
    </div>`,
  props: {
    label: String,
    unit: String,
    stacked: Boolean,
    height: { type: String, default: "300px" },
    nothing: { type: String, default: "Nothing to draw yet." },
  },
  data: () => ({ legend: [], spoken: "", empty: false }),

  created() {
    this.lines = new Map(); // place -> {name, rounds, values, color, dashed, bold, group}
    this.hidden = new Set(); // keys of the legend: a line's name, or a group's
    this.planned = 0;
    this.near = null; // the person whose line the pointer is on
    this.pointer = null;
  },
  mounted() {
    this.spoken = this.label;
    // Drawn only when it comes near the window: a page of ten charts must not make the first one wait.
    this.sight = new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && this.start(), {
      rootMargin: "200px",
    });
    this.sight.observe(this.$el);
  },
  beforeUnmount() {
    this.sight?.disconnect();
    this.size?.disconnect();
    window.removeEventListener("myofed-theme", this.draw);
    cancelAnimationFrame(this.frame);
    this.chart?.dispose();
    this.gone = true;
  },

  methods: {
    async start() {
      this.sight.disconnect();
      const { echarts } = await import("nicegui-echart");
      if (this.gone) return;
      this.chart = echarts.init(this.$refs.plot);
      this.size = new ResizeObserver(() => this.chart.resize());
      this.size.observe(this.$refs.plot);
      window.addEventListener("myofed-theme", this.draw);
      this.chart.getZr().on("mousemove", (e) => this.point(e.offsetX, e.offsetY));
      this.chart.getZr().on("globalout", () => this.point(null));
      this.$emit("wanted");
    },

    /** Everything, once: lines [{name, rounds, values, color, dashed, bold, group}] and the rounds planned. */
    show(lines, planned) {
      this.lines = new Map(lines.map((line, place) => [String(place), line]));
      this.planned = planned;
      this.near = null;
      this.draw();
    },

    /** What is new, by the line's place: {"0": [[round, value], …]}. A round that is there already is replaced. */
    append(points) {
      for (const [place, pairs] of Object.entries(points)) {
        const line = this.lines.get(place);
        if (!line) continue;
        for (const [round, value] of pairs) {
          let at = line.rounds.length;
          while (at > 0 && line.rounds[at - 1] >= round) at--;
          line.rounds.splice(at, line.rounds[at] === round ? 1 : 0, round);
          line.values.splice(at, line.values.length < line.rounds.length ? 0 : 1, value);
        }
      }
      cancelAnimationFrame(this.frame); // at most one drawing a frame, however fast rounds come
      this.frame = requestAnimationFrame(() => this.refresh());
    },

    toggle(key) {
      this.hidden.has(key) ? this.hidden.delete(key) : this.hidden.add(key);
      this.draw();
    },

    draw() {
      if (!this.chart) return;
      const zoom = this.chart.getOption()?.dataZoom?.[0];
      this.chart.setOption(this.options(zoom), { notMerge: true });
      this.describe();
    },

    refresh() {
      if (!this.chart) return;
      if (this.empty) return this.draw();
      this.chart.setOption({ xAxis: this.span(), series: this.series() }, { silent: true });
      this.describe();
    },

    // ---- what is drawn
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
      return { min: Math.min(1, first), max: Math.max(this.planned, this.lastRound(), 2) };
    },

    series() {
      const many = this.lastRound() > 60;
      if (this.stacked) return this.areas();
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
        lineStyle: { width: line.bold ? 3 : 2, type: line.dashed ? "dashed" : "solid" },
        color: this.ink(line, index),
        data: this.hidden.has(line.name) ? [] : pairs(line, this.scale()),
        endLabel: { show: true, color: this.ink(line, index), formatter: (p) => this.figure(p.value[1] / this.scale()) },
        labelLayout: { moveOverlap: "shiftY" },
        z: line.bold ? 4 : 3,
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

    /** Stacked: each line is drawn down to the axis with the ones below it added, the topmost first. */
    areas() {
      const sums = new Map();
      const layers = this.own().map((line, index) => {
        const shown = !this.hidden.has(line.name);
        const data = line.rounds.map((round, i) => {
          const sum = (sums.get(round) ?? 0) + (shown ? (line.values[i] ?? 0) : 0);
          sums.set(round, sum);
          return [round, sum * this.scale()];
        });
        return { line, index, data: shown ? data : [] };
      });
      return layers.reverse().map(({ line, index, data }, z) => ({
        id: `line ${index}`,
        type: "line",
        silent: true,
        showSymbol: data.length < 2,
        step: "middle",
        lineStyle: { width: 0 },
        color: this.ink(line, index),
        areaStyle: { opacity: 1 },
        data,
        z: z + 1,
      }));
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
        xAxis: { type: "value", name: "round", nameLocation: "middle", nameGap: 24, minInterval: 1, splitLine: { show: false }, ...axis, ...this.span() },
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

    // ---- what is said
    describe() {
      const entries = this.own().map((line, index) => ({
        key: line.name, text: line.name, title: line.name, color: this.ink(line, index),
        dashed: line.dashed, thin: false, hidden: this.hidden.has(line.name),
      }));
      for (const [group, lines] of this.groups())
        entries.push({
          key: group, text: group, title: `${group}: ${lines.length} thin lines`, color: this.ink(lines[0], 0),
          dashed: false, thin: true, hidden: this.hidden.has(group),
        });
      if (JSON.stringify(entries) !== JSON.stringify(this.legend)) this.legend = entries;
      this.empty = ![...this.lines.values()].some((line) => line.values.some((v) => v != null));
      const latest = this.own().filter((line) => line.rounds.length);
      const said = latest.map((line) => `${line.name} ${this.figure(line.values.at(-1))} in round ${line.rounds.at(-1)}`);
      for (const [group, lines] of this.groups()) said.push(`${group}: ${lines.length} lines`);
      this.spoken = said.length ? `${this.label}: ${said.join(", ")}` : `${this.label}: ${this.nothing}`;
    },
    ink(line, index) {
      if (line.color) return line.color[isDark() ? 1 : 0];
      return getComputedStyle(this.$el).getPropertyValue(`--c${(index % 8) + 1}`).trim() || "#888";
    },
    scale() {
      return this.unit === "%" ? 100 : 1; // shares are sent as shares and read as percent
    },
    figure(value) {
      if (value == null) return "not known";
      if (this.unit === "%") return `${(value * 100).toFixed(1)} %`;
      return `${tidy(value)}${this.unit ? ` ${this.unit}` : ""}`;
    },
  },
};

function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/** Three figures that count, never an exponent where a person can read the number. */
function tidy(value) {
  if (!Number.isFinite(value)) return "not known";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return String(Number(value.toFixed(digits)));
}

function pairs(line, scale) {
  return line.rounds.map((round, i) => [round, line.values[i] == null ? null : line.values[i] * scale]);
}

/** Many thin lines as one, with gaps between them: a hundred series of their own would be slow to draw. */
function joined(lines, scale) {
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

function at(line, round) {
  let [low, high] = [0, line.rounds.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (line.rounds[middle] === round) return line.values[middle];
    line.rounds[middle] < round ? (low = middle + 1) : (high = middle - 1);
  }
  return null;
}

function row(name, value, style = "", color = "") {
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
