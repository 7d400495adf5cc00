// Differences as bars to both sides of zero. Names are shown through {{ }}.
export default {
  template: `
    <div class="gains">
      <div v-if="!rows.length" class="dots-none">{{ nothing }}</div>
      <div v-for="(row, i) in rows" :key="i" class="gains-row" role="img" :aria-label="row.said" :title="row.said">
        <span class="dots-name">{{ row.name }}</span>
        <span class="gains-track" aria-hidden="true"><span class="gains-bar" :class="sign(row)" :style="bar(row.value)"></span></span>
        <span class="gains-figure" :class="sign(row)">{{ row.text }}</span>
      </div>
    </div>`,
  props: { label: String, nothing: String },
  data: () => ({ rows: [], most: 1 }),
  mounted() {
    this.$emit("wanted");
  },
  methods: {
    show(rows) {
      this.rows = rows;
      this.most = Math.max(0.01, ...rows.map((row) => Math.abs(row.value)));
    },
    sign: (row) => (Number(row.text) === 0 ? "same" : row.value < 0 ? "less" : "more"),
    bar(value) {
      const width = (50 * Math.abs(value)) / this.most;
      return { left: `${value < 0 ? 50 - width : 50}%`, width: `${width}%` };
    },
  },
};
