// Rows of texts with one column a run. All of it is text from records: shown through {{ }} only.
const FEW = 20; // rows before the reader asks for all

export default {
  props: { heads: Array, rows: Array, label: String, nothing: String },
  template: `
    <div class="scroll-x" tabindex="0" role="region" :aria-label="label">
      <table v-if="held.length" class="table comparison">
        <thead><tr>
          <th scope="col">{{ label }}</th>
          <th v-for="head in heads" scope="col" :title="head.name">
            <span class="comparison-swatch" :style="{ '--light': head.light, '--dark': head.dark }"></span>
            <bdi>{{ head.name }}</bdi></th>
        </tr></thead>
        <tbody>
          <tr v-for="row in seen" :key="row.label">
            <th scope="row"><bdi>{{ row.label }}</bdi><q-tooltip v-if="row.hint">{{ row.hint }}</q-tooltip></th>
            <td v-for="(cell, i) in row.cells" :class="{ 'comparison-best': row.best.includes(i) }"><bdi>{{ cell }}</bdi></td>
          </tr>
        </tbody>
      </table>
      <div v-else class="muted">{{ said ?? nothing }}</div>
      <button v-if="held.length > few" type="button" class="button quiet comparison-more" @click="all = !all">
        {{ all ? "Show fewer" : "Show all " + held.length }}</button>
    </div>
  `,
  data() {
    return { held: Object.freeze([...this.rows]), said: null, all: false, few: FEW };
  },
  computed: {
    seen() {
      return this.all ? this.held : this.held.slice(0, FEW);
    },
  },
  methods: {
    put(rows, nothing) {
      this.held = Object.freeze(rows);
      this.said = nothing;
    },
  },
};
