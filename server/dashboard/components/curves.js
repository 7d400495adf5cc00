// Curves by round on the bundled ECharts. The data live here, in the browser: the server sends everything once
// (`show`) and afterwards only what is new (`append`). Every text is put in as text, never as HTML.
import { stepped } from "arrows";
import { inTurn, isDark, tidy } from "curves_data";
import { drawing } from "curves_drawing";

const PATIENCE_MS = 5000; // for the data of one chart, before the next is drawn

export default {
  template: `
    <div class="curves">
      <div class="curves-legend" role="group" :aria-label="'Lines of ' + label + ', arrow keys move between them'" @keydown="move">
        <button v-for="(entry, place) in keys" :key="place" type="button" class="curves-key"
          :tabindex="place === Math.min(tab, keys.length - 1) ? 0 : -1" @focus="tab = place" :aria-pressed="String(!entry.hidden)" :title="entry.title" @click="toggle(entry.key)">
          <span class="curves-swatch" :class="{ dashed: entry.dashed, thin: entry.thin, wide: entry.wide, block: stacked }" aria-hidden="true"
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
  data: () => ({ legend: [], spoken: "", empty: false, tab: 0 }),
  computed: {
    keys() {
      return this.legend.length > 1 || this.legend[0]?.hidden ? this.legend : []; // one line needs no key: the title says what it is
    },
  },

  created() {
    this.lines = new Map(); // place -> {name, rounds, values, color, dashed, bold, wide, group}
    this.hidden = new Set(); // keys of the legend: a line's name, or a group's
    this.planned = 0;
    this.near = null; // the person whose line the pointer is on
    this.pointer = null;
  },
  mounted() {
    this.spoken = this.label;
    // What is in the window is drawn at once, the rest soon after: a page of ten charts must not make the first one wait.
    this.sight = new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && this.start(), {
      rootMargin: "200px",
    });
    this.sight.observe(this.$el);
    inTurn(() => this.$el.offsetParent && this.start());
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
    /** Resolves when its data are there. */
    start() {
      this.begun ??= this.begin();
      return Promise.race([this.begun, new Promise((done) => setTimeout(done, PATIENCE_MS))]);
    },
    async begin() {
      this.sight.disconnect();
      const { echarts } = await import("nicegui-echart");
      if (this.gone) return;
      this.chart = echarts.init(this.$refs.plot);
      this.size = new ResizeObserver(() => {
        this.chart.resize();
        if (this.lines.size) this.chart.setOption({ series: this.endLabels() }, { silent: true });
      });
      this.size.observe(this.$refs.plot);
      window.addEventListener("myofed-theme", this.draw);
      this.chart.getZr().on("mousemove", (e) => this.point(e.offsetX, e.offsetY));
      this.chart.getZr().on("globalout", () => this.point(null));
      const come = new Promise((done) => (this.arrived = done));
      this.$emit("wanted");
      await come;
    },

    /** Everything, once: lines [{name, rounds, values, color, dashed, bold, wide, group}] and the rounds planned. */
    show(lines, planned) {
      this.lines = new Map(lines.map((line, place) => [String(place), line]));
      this.planned = planned;
      this.near = null;
      this.draw();
      this.arrived?.();
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
      this.chart.setOption({ series: this.endLabels() }, { silent: true });
      this.describe();
    },

    refresh() {
      if (!this.chart) return;
      if (this.empty) return this.draw();
      this.chart.setOption({ xAxis: this.span(), series: this.series() }, { silent: true });
      this.chart.setOption({ series: this.endLabels() }, { silent: true });
      this.describe();
    },

    ...drawing,

    move(event) {
      this.tab = stepped(event, this.tab);
    },

    // ---- what is said
    describe() {
      const entries = this.own().map((line, index) => ({
        key: line.name, text: line.name, title: line.name, color: this.ink(line, index),
        dashed: line.dashed, thin: false, wide: line.wide, hidden: this.hidden.has(line.name),
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

