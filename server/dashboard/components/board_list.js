// All boards: one row each, problems below it in words. Rows are kept by key; a patch replaces single cells.

const FILTERS = [["all", "All"], ["problems", "With problems"], ["offline", "Offline"]];
const FEW = 6; // as many are looked through without a filter

export default {
  template: `
    <div class="boards">
      <div v-if="order.length > few" class="spread">
        <div class="boards-count">{{ count }}</div>
        <span class="scope-set" role="group" aria-label="Which boards">
          <button v-for="[key, word] in filters" :key="key" type="button" class="scope-pick" :aria-pressed="String(filter === key)" @click="filter = key">{{ word }}</button>
        </span>
      </div>
      <ul class="boards-list">
        <li v-for="key in visible" :key="key" :class="['board', { stale: cells.get(key).state === 'offline' }]" v-memo="[cells.get(key)]">
          <div class="board-head">
            <a v-if="cells.get(key).link" :href="cells.get(key).link" class="board-name" :title="cells.get(key).whole"><bdi>{{ cells.get(key).name }}</bdi></a>
            <span v-else class="board-name" :title="cells.get(key).whole"><bdi>{{ cells.get(key).name }}</bdi></span>
            <span :class="['chip', cells.get(key).kind]"><q-icon :name="cells.get(key).icon" aria-hidden="true"></q-icon>{{ cells.get(key).state }}</span>
            <div class="board-about">{{ cells.get(key).about }}</div>
          </div>
          <dl class="board-facts">
            <div v-for="[name, label, hint] in facts" :key="name" :class="cells.get(key)[name + '_kind']">
              <dt :title="hint">{{ label }}</dt><dd><bdi>{{ cells.get(key)[name] }}</bdi><span v-if="name === 'gesture' && cells.get(key).sure" class="board-sure">{{ cells.get(key).sure }}</span></dd>
            </div>
            <div class="board-contact">
              <dt title="How well each electrode touches the skin">Contact</dt>
              <dd v-if="cells.get(key).electrodes.length" class="electrodes" role="list">
                <span v-for="(e, i) in cells.get(key).electrodes" :key="i" :class="['electrode', e.kind]" :title="e.words" role="listitem" :aria-label="e.words">{{ e.mark }}</span>
              </dd>
              <dd v-else>–</dd>
            </div>
          </dl>
          <a v-if="cells.get(key).link" :href="cells.get(key).link" class="button quiet board-open" :aria-label="'Signal of ' + cells.get(key).name"><q-icon name="show_chart" aria-hidden="true"></q-icon>Signal</a>
          <ul v-if="cells.get(key).problems.length" class="board-problems" :aria-live="order.length === 1 ? 'polite' : 'off'">
            <li v-for="problem in cells.get(key).problems" :key="problem"><q-icon name="warning_amber" aria-hidden="true"></q-icon><bdi>{{ problem }}</bdi></li>
          </ul>
          <div v-for="note in cells.get(key).notes" :key="note" class="board-note">{{ note }}</div>
        </li>
      </ul>
      <div v-if="order.length && !visible.length" class="muted">None of them.</div>
    </div>`,
  props: { rows: Array }, // [[key, row], …]
  data() {
    return {
      order: this.rows.map(([key]) => key), cells: new Map(this.rows),
      filter: "all", filters: FILTERS, few: FEW,
      facts: [
        ["rate", "Rate", "Samples a second that arrive, of those that the board declares; – while it sends none"],
        ["loss", "Lost", "Share of the last minute's samples that did not arrive"],
        ["drift", "Clock", "How much faster (+) or slower (−) the board's clock runs, in millionths"],
        ["battery", "Battery", "One lithium cell: full at 4.2 V, low below 3.5 V, empty below 3.35 V"],
        ["gesture", "Gesture", "What a student recognises now, and how sure it is"],
        ["seen", "Last heard", "When anything came from the board"],
      ],
    };
  },
  computed: {
    visible() {
      const keep = { all: () => true, problems: (row) => row.problems.length > 0, offline: (row) => row.state === "offline" };
      return this.order.filter((key) => keep[this.order.length > FEW ? this.filter : "all"](this.cells.get(key)));
    },
    count() {
      const rows = this.order.map((key) => this.cells.get(key));
      const [online, troubled] = [rows.filter((r) => ["streaming", "idle"].includes(r.state)), rows.filter((r) => r.problems.length)];
      return `${online.length} of ${rows.length} boards online, ${troubled.length || "none"} with problems`;
    },
  },
  methods: {
    // `changed`: [[key, {cell: value}], …]; `order`: all keys, or null where no row came, went or moved.
    patch(changed, order) {
      for (const [key, cells] of changed) this.cells.set(key, { ...this.cells.get(key), ...cells });
      if (order === null) return;
      const kept = new Set(order);
      for (const key of [...this.cells.keys()]) if (!kept.has(key)) this.cells.delete(key);
      this.order = order;
    },
  },
};
