// A table whose rows live in the browser: the server sends those that changed. Every cell is shown through {{ }}.
export default {
  template: `
    <div class="rows">
      <q-input v-if="searchable" v-model="words" dense outlined clearable debounce="150" type="search" :label="search" class="rows-search">
        <template v-slot:prepend><q-icon name="search" /></template>
      </q-input>
      <q-table flat dense :rows="shown" :columns="ordered" row-key="key" :filter="words" :filter-method="matching"
        v-model:pagination="page" :rows-per-page-options="[10, 25, 100, 0]" :visible-columns="visible"
        :hide-bottom="shown.length > 0 && shown.length <= 10 && !words" binary-state-sort
        :table-header-class="'rows-head'" :title="''" :aria-label="label">
        <template v-slot:no-data><span class="muted">{{ words ? "Nothing found." : nothing }}</span></template>
        <template v-slot:body-cell="cell">
          <q-td :props="cell" :class="{ 'rows-long': cell.col.long, mono: cell.col.mono }" :title="cell.col.time ? utc(cell.value) : cell.col.long ? cell.value : undefined">
            <span v-if="cell.col.chip" class="chip" :class="cell.col.chip[cell.value]">{{ cell.value }}</span>
            <template v-else-if="cell.col.time">{{ local(cell.value) }}</template>
            <template v-else>{{ cell.value }}</template>
          </q-td>
        </template>
      </q-table>
    </div>`,
  props: { columns: Array, label: String, search: String, nothing: String, sort: String, descending: Boolean, searchable: Boolean, page_size: Number },
  data() {
    return {
      rows: new Map(),
      count: 0, // makes the map's changes seen
      words: "",
      page: { sortBy: this.sort, descending: this.descending, rowsPerPage: this.page_size || 10, page: 1 },
    };
  },
  created() {
    this.rows = Vue.markRaw(new Map());
  },
  mounted() {
    this.$emit("wanted");
  },
  computed: {
    shown() {
      return this.count, [...this.rows.values()];
    },
    visible() {
      return this.columns.filter((c) => !c.wide || this.$q.screen.width > 640).map((c) => c.name);
    },
    ordered() {
      // Sorted by `sort_by`, the number behind the words, where the row has one.
      const rank = (row, c) => (c.sort_by ? row[c.sort_by] : row[c.name]) ?? -Infinity;
      return this.columns.map((c) => ({
        ...c,
        field: c.name,
        sortable: true,
        align: c.number ? "right" : "left",
        sort: (a, b, left, right) => compare(rank(left, c), rank(right, c)),
      }));
    },
  },
  methods: {
    put(rows, gone) {
      for (const row of rows) this.rows.set(row.key, Object.freeze(row));
      for (const key of gone) this.rows.delete(key);
      this.count++;
    },
    matching(rows, words) {
      const wanted = String(words ?? "").toLowerCase();
      return rows.filter((row) => this.columns.some((c) => String((c.time ? local(row[c.name]) : row[c.name]) ?? "").toLowerCase().includes(wanted)));
    },
    local,
    utc,
  },
};

const collator = new Intl.Collator(undefined, { numeric: true });

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b || 0 : collator.compare(String(a), String(b));
}

const DAY_AND_TIME = { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

/** Unix seconds in the visitor's own time; empty where a record says none that there is. */
function local(seconds) {
  const date = new Date(seconds * 1000);
  if (typeof seconds !== "number" || isNaN(date)) return "";
  return date.toLocaleString(undefined, DAY_AND_TIME);
}

function utc(seconds) {
  const date = new Date(seconds * 1000);
  return typeof seconds !== "number" || isNaN(date) ? undefined : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
