// Which gesture was answered for which: a real table, shaded by the share of its row. Names are shown through {{ }}.
export default {
  template: `
    <div class="confusion">
      <div v-if="!names.length" class="confusion-none">{{ nothing }}</div>
      <div v-else ref="wide" class="scroll-x">
        <table class="confusion-table" :class="{ dense: names.length > 12 }" :aria-label="label" @pointerleave="$event.pointerType === 'mouse' && (at = null)">
          <thead>
            <tr><td class="confusion-corner">true ↓ · answered →</td>
              <th v-for="(name, k) in names" :key="k" scope="col" :title="name"><span>{{ name }}</span></th></tr>
          </thead>
          <tbody>
            <tr v-for="(row, i) in counts" :key="i">
              <th scope="row" :title="names[i]">{{ names[i] }}</th>
              <td v-for="(count, k) in row" :key="k" :class="{ right: i === k }" :style="{ '--share': share(i, k) }"
                :title="said(i, k)" @mouseenter="at = [i, k]" @click="at = [i, k]">
                <span v-if="names.length <= 12 && count">{{ Math.round(100 * share(i, k)) }}</span>
              </td>
            </tr>
          </tbody>
        </table>
      </div>
      <div v-if="names.length" class="muted small confusion-said" aria-live="polite">{{ at ? said(...at) : hint }}</div>
    </div>`,
  props: { label: String, nothing: String },
  data: () => ({ names: [], counts: [], at: null, scrolls: false, touch: matchMedia("(hover: none)").matches }),
  computed: {
    hint() {
      const sideways = this.scrolls ? " Swipe sideways for more." : "";
      return `Percent of each true gesture's windows. ${this.touch ? "Tap" : "Point at"} a cell for its count.${sideways}`;
    },
  },
  mounted() {
    this.size = new ResizeObserver(() => this.measure());
    this.size.observe(this.$el);
    this.$emit("wanted");
  },
  beforeUnmount() {
    this.size?.disconnect();
  },
  methods: {
    show(names, counts) {
      [this.names, this.counts, this.at] = [names, counts, null];
      this.$nextTick(this.measure);
    },
    measure() {
      const wide = this.$refs.wide;
      this.scrolls = Boolean(wide) && wide.scrollWidth > wide.clientWidth + 1;
    },
    share(i, k) {
      const all = this.counts[i].reduce((sum, n) => sum + n, 0);
      return all ? this.counts[i][k] / all : 0;
    },
    said(i, k) {
      const all = this.counts[i].reduce((sum, n) => sum + n, 0);
      const share = (100 * this.share(i, k)).toFixed(1);
      return `${this.names[i]} answered as ${this.names[k]}: ${this.counts[i][k]} of ${all} windows (${share} %)`;
    },
  },
};
