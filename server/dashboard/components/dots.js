// One line a person (or gesture), one mark a method: an SVG of the page itself, so that it needs no other drawing library.
// Names are shown through {{ }} and bound attributes only.
const MARKS = {
  o: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z",
  s: "M-4.5,-4.5h9v9h-9Z",
  D: "M0,-6L6,0L0,6L-6,0Z",
  p: "M0,-6L5.7,-1.9L3.5,4.9L-3.5,4.9L-5.7,-1.9Z",
  v: "M-5.5,-4.5h11L0,5.5Z",
  "^": "M-5.5,4.5h11L0,-5.5Z",
  P: "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z",
  X: "M-5,-2.6L-2.6,-5L0,-2.4L2.6,-5L5,-2.6L2.4,0L5,2.6L2.6,5L0,2.4L-2.6,5L-5,2.6L-2.4,0Z",
};

import { stepped } from "arrows";

export default {
  template: `
    <div class="dots">
      <div v-if="!rows.length" class="dots-none">{{ nothing }}</div>
      <template v-else>
        <div v-if="series.length > 1" class="curves-legend" role="group" :aria-label="'Marks of ' + label + ', arrow keys move between them'" @keydown="move">
          <button v-for="(one, m) in series" :key="m" type="button" class="curves-key" :tabindex="m === tab ? 0 : -1" @focus="tab = m" :aria-pressed="String(!hidden[m])" @click="hidden[m] = !hidden[m]">
            <svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true"><path :d="mark(one)" :style="ink(one)" class="dots-mark" /></svg>{{ one.title }}
          </button>
        </div>
        <div class="dots-scroll">
          <div class="dots-axis" aria-hidden="true"><span v-for="tick in ticks" :key="tick" :style="{ left: place(tick / 100) }">{{ tick }} %</span></div>
          <div v-for="(row, i) in rows" :key="i" class="dots-row" :class="{ total: row.total }" role="img" :aria-label="said(row)" :title="said(row)">
            <span class="dots-name">{{ row.name }}</span>
            <svg class="dots-track" height="22" aria-hidden="true">
              <line v-for="tick in ticks" :key="tick" class="dots-grid" :x1="place(tick / 100)" :x2="place(tick / 100)" y1="0" y2="22" />
              <line v-if="paired && row.values.every((v) => v !== null)" class="dots-pair" :x1="place(row.values[0])" :x2="place(row.values[1])" y1="11" y2="11" />
              <template v-for="(one, m) in series" :key="m">
                <svg v-if="!hidden[m] && row.values[m] !== null" :x="place(row.values[m])" y="11" class="dots-at">
                  <path :d="mark(one)" :style="ink(one)" class="dots-mark" /></svg>
              </template>
            </svg>
          </div>
        </div>
      </template>
    </div>`,
  props: { label: String, nothing: String, paired: Boolean },
  data: () => ({ series: [], rows: [], hidden: {}, low: 0, tab: 0 }),
  mounted() {
    this.$emit("wanted");
  },
  computed: {
    ticks() {
      const step = 100 - this.low > 50 ? 20 : 10;
      const ticks = [];
      for (let tick = 100; tick >= this.low; tick -= step) ticks.unshift(tick);
      return ticks;
    },
  },
  methods: {
    show(series, rows) {
      [this.series, this.rows] = [series, rows];
      const lowest = Math.min(1, ...rows.flatMap((row) => row.values.filter((v) => v !== null)));
      this.low = Math.max(0, Math.floor(10 * lowest - 0.2) * 10);
    },
    move(event) {
      this.tab = stepped(event, this.tab);
    },
    place(share) {
      return `${((100 * share - this.low) / (100 - this.low)) * 100}%`;
    },
    mark: (one) => MARKS[one.mark] ?? MARKS.o,
    ink: (one) => ({ "--light": one.light, "--dark": one.dark }),
    said(row) {
      const known = this.series.map((one, m) => (row.values[m] === null ? "" : `${one.title} ${(100 * row.values[m]).toFixed(1)} %`));
      return `${row.name}: ${known.filter(Boolean).join(", ")}`;
    },
  },
};
