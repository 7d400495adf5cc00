// The table of runs. The rows live here, in the browser: the server sends them once, then only those that changed, so
// that sorting, filtering, paging and picking cost no round trip and survive every update.
// All of a row is text from a record: it is only ever shown through {{ }}, bound attributes and links made by the server.

const AT_MOST = 12; // runs that one comparison can hold
const PICKERS = { state: "State", experiment: "Experiment", student: "Student", methods: "Method" };
const STATES = {
  running: ["sync", "calm"],
  completed: ["check_circle", "good"],
  stopped: ["pause_circle", "warn"],
  failed: ["error", "bad"],
  unreadable: ["report_problem", "bad"],
}; // icon, colour: see style.css
const PHONE = 640; // px; the same as in style.css
const COLLATOR = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const REMEMBERED = "myofed-run-columns"; // which columns this person wants to see

const two = (number) => String(number).padStart(2, "0");

function localTime(seconds) {
  const t = new Date(1000 * seconds);
  if (isNaN(t)) return ""; // in the year 300,000
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}`;
}

function ago(seconds, now) {
  const passed = now / 1000 - seconds;
  if (isNaN(new Date(1000 * seconds)) || passed < -60) return ""; // another machine's clock may be ahead
  if (passed < 60) return "just now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 48 * 3600) return `${Math.floor(passed / 3600)} h ago`;
  return `${Math.floor(passed / 86400)} days ago`;
}

function rememberedColumns(columns) {
  const usual = columns.filter((c) => c.shown).map((c) => c.name);
  try {
    const kept = JSON.parse(localStorage.getItem(REMEMBERED));
    const known = Array.isArray(kept) ? kept.filter((name) => columns.some((c) => c.name === name)) : [];
    return known.length ? known : usual;
  } catch {
    return usual; // storage forbidden, or written by something else
  }
}

// What a row can be found by: everything that it shows.
function haystack(row) {
  const started = row.values.started === null ? "" : localTime(row.values.started);
  const damaged = row.damaged && "damaged " + row.damaged;
  return [...Object.values(row.values), ...Object.values(row.texts), row.row, damaged, started].join(" ").toLowerCase();
}

export default {
  props: { columns: Array, rows: Array, empty: String, command: String },
  template: `
    <div class="runs">
      <div class="runs-tools">
        <q-input v-model="words" dense outlined clearable debounce="150" label="Filter runs"
                 class="runs-filter" type="search" input-class="runs-filter-field">
          <template v-slot:prepend><q-icon name="search" /></template>
        </q-input>
        <q-select v-for="(label, key) in pickers" :key="key" v-model="picked[key]" :options="options[key]"
                  :label="label" multiple dense outlined options-dense clearable class="runs-picker">
          <template v-slot:selected><span class="ellipsis">{{ (picked[key] || []).join(", ") }}</span></template>
        </q-select>
        <q-select v-if="small" v-model="page.sortBy" :options="sortable" emit-value map-options dense outlined
                  options-dense label="Sort by" class="runs-picker" />
        <q-btn v-if="small" flat dense no-caps :icon="page.descending ? 'arrow_downward' : 'arrow_upward'"
               :label="page.descending ? 'Descending' : 'Ascending'" @click="page.descending = !page.descending" />
        <q-space />
        <q-btn-dropdown v-if="!small" flat dense no-caps icon="view_column" label="Columns">
          <q-list dense>
            <q-item v-for="column in columns" :key="column.name" tag="label">
              <q-item-section side>
                <q-checkbox v-model="visible" :val="column.name" dense :aria-label="column.label" :disable="column.name === 'name'" />
              </q-item-section>
              <q-item-section>{{ column.label }}</q-item-section>
            </q-item>
          </q-list>
        </q-btn-dropdown>
        <q-btn flat dense no-caps icon="download" label="CSV" :href="csvLink" download="runs.csv">
          <q-tooltip>{{ selected.length ? "The runs that you picked, as a table for spreadsheets"
            : "All runs, as a table for spreadsheets" }}</q-tooltip>
        </q-btn>
      </div>
      <div class="runs-count" aria-live="polite">{{ count }}</div>
      <q-table :rows="fitting" :columns="tableColumns" :visible-columns="visible" row-key="name" flat bordered
               selection="multiple" v-model:selected="selected" v-model:pagination="page" binary-state-sort
               :sort-method="sorted" :grid="small" :rows-per-page-options="[25, 50, 100, 0]"
               :hide-pagination="fitting.length <= 25" hide-selected-banner rows-per-page-label="Runs per page" class="runs-table">
        <template v-slot:header-selection="scope">
          <q-checkbox v-model="scope.selected" dense aria-label="Pick all runs of this page" />
        </template>
        <template v-slot:body-selection="scope">
          <q-checkbox v-model="scope.selected" dense :aria-label="'Pick ' + scope.row.name" />
        </template>
        <template v-slot:header-cell="scope">
          <q-th :props="scope" tabindex="0" :class="'runs-cell-' + scope.col.name" @keydown.enter.prevent="scope.sort(scope.col)"
                @keydown.space.prevent="scope.sort(scope.col)" :aria-sort="ariaSort(scope.col.name)">
            {{ scope.col.label }}<q-tooltip v-if="scope.col.hint">{{ scope.col.hint }}</q-tooltip>
          </q-th>
        </template>
        <template v-slot:body-cell="scope">
          <q-td :props="scope" :class="'runs-cell-' + scope.col.name">
            <template v-if="scope.col.name === 'state'">
              <span class="chip" :class="mood(scope.row)"><q-icon :name="icon(scope.row)" />{{ scope.row.values.state }}</span>
              <span v-if="scope.row.damaged" class="chip bad runs-damaged" :title="scope.row.damaged">
                <q-icon name="report_problem" />damaged</span></template>
            <a v-else-if="scope.col.name === 'name'" :href="scope.row.link" :title="scope.row.values.name"
               class="runs-link runs-clamp"><bdi>{{ scope.row.values.name }}</bdi></a>
            <template v-else-if="scope.col.name === 'started'">
              <div>{{ started(scope.row) }}</div><div class="runs-note">{{ since(scope.row) }}</div></template>
            <template v-else-if="scope.col.name === 'accuracy'">
              <div class="runs-accuracy">{{ text(scope.row, "accuracy") }}</div>
              <div class="runs-note">{{ scope.row.row }}</div></template>
            <template v-else-if="scope.col.name === 'rounds'">
              <div>{{ text(scope.row, "rounds") }}</div><div class="runs-note">{{ scope.row.parts }}</div></template>
            <template v-else-if="scope.col.name === 'outcome' && scope.row.damaged">
              <div class="runs-clamp runs-clamp-short" :title="scope.row.values.outcome"><bdi>{{ scope.row.values.outcome }}</bdi></div>
              <div class="runs-note runs-clamp runs-clamp-short" :title="scope.row.damaged"><bdi>{{ scope.row.damaged }}</bdi></div></template>
            <div v-else class="runs-clamp" :title="tooLong(text(scope.row, scope.col.name))">
              <bdi>{{ text(scope.row, scope.col.name) }}</bdi></div>
          </q-td>
        </template>
        <template v-slot:item="scope">
          <div class="run-card" :class="{ 'run-card--picked': scope.selected }">
            <div class="run-card-head">
              <a :href="scope.row.link" class="runs-link"><bdi>{{ scope.row.values.name }}</bdi></a>
              <q-checkbox v-model="scope.selected" dense :aria-label="'Pick ' + scope.row.name" />
            </div>
            <div class="run-card-line">
              <span class="chip" :class="mood(scope.row)">
                <q-icon :name="icon(scope.row)" />{{ scope.row.values.state }}</span>
              <span v-if="scope.row.damaged" class="chip bad"><q-icon name="report_problem" />damaged</span>
              <span class="runs-note">{{ [started(scope.row), since(scope.row)].filter(Boolean).join(" · ") }}</span>
            </div>
            <div v-if="scope.row.values.accuracy !== null" class="run-card-line">
              <span class="run-card-accuracy">{{ text(scope.row, "accuracy") }}</span>
              <span class="runs-note">{{ scope.row.row }}<template v-if="text(scope.row, 'worst')">,
                worst 10 % of people {{ text(scope.row, "worst") }}</template></span>
            </div>
            <div><bdi>{{ scope.row.values.outcome }}</bdi></div>
            <div v-if="scope.row.damaged" class="runs-note"><bdi>{{ scope.row.damaged }}</bdi></div>
            <div class="runs-note"><bdi>{{ facts(scope.row) }}</bdi></div>
          </div>
        </template>
        <template v-slot:no-data>
          <div class="runs-empty">
            <span>{{ held.length ? "No run fits this filter." : empty }}</span>
            <code v-if="!held.length" class="mono">{{ command }}</code>
            <q-btn v-if="held.length" flat dense no-caps color="primary" label="Show all runs" @click="showAll" />
          </div>
        </template>
      </q-table>
      <div v-if="selected.length" class="runs-bar" role="status">
        <a v-if="compareLink" :href="compareLink" class="button runs-compare">
          <q-icon name="stacked_line_chart" />Compare {{ selected.length }} runs</a>
        <span class="runs-note">{{ advice }}</span>
        <q-space />
        <q-btn flat dense no-caps label="Pick none" @click="selected = []" />
      </div>
    </div>
  `,
  data() {
    const asked = new URLSearchParams(location.search); // a link to what one sees, and the way back to it
    return {
      held: Object.freeze([...this.rows]),
      words: asked.get("filter") || "",
      picked: Object.fromEntries(Object.keys(PICKERS).map((key) => [key, asked.getAll(key)])),
      page: {
        sortBy: this.columns.some((c) => c.name === asked.get("sort")) ? asked.get("sort") : "started",
        descending: asked.get("order") !== "up",
        page: 1,
        rowsPerPage: 25,
      },
      visible: rememberedColumns(this.columns),
      selected: [],
      now: Date.now(),
    };
  },
  created() {
    this.found = new WeakMap(); // row -> what it can be found by
    this.clock = setInterval(() => (this.now = Date.now()), 20000);
  },
  beforeUnmount() {
    clearInterval(this.clock);
  },
  watch: {
    visible(names) {
      try {
        localStorage.setItem(REMEMBERED, JSON.stringify(names));
      } catch {} // storage forbidden: the choice lasts as long as the page
    },
    address(query) {
      history.replaceState(history.state, "", location.pathname + (query && "?" + query));
    },
  },
  computed: {
    small() {
      return this.$q.screen.width <= PHONE;
    },
    tableColumns() {
      return this.columns.map((column) => ({
        ...column,
        field: (row) => row.values[column.name],
        sortable: true,
        align: column.number && column.name !== "started" ? "right" : "left",
      }));
    },
    sortable() {
      return this.columns.map((column) => ({ label: column.label, value: column.name }));
    },
    options() {
      const of = (key) => [...new Set(this.held.flatMap((row) => this.choices(row, key)))].sort(COLLATOR.compare);
      return Object.fromEntries(Object.keys(PICKERS).map((key) => [key, of(key)]));
    },
    pickers() {
      const useful = ([key]) => this.options[key].length > 1 || this.picked[key]?.length;
      return Object.fromEntries(Object.entries(PICKERS).filter(useful));
    },
    fitting() {
      const words = (this.words || "").toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = Object.entries(this.picked).filter(([, values]) => values?.length);
      return this.held.filter(
        (row) =>
          wanted.every(([key, values]) => this.choices(row, key).some((choice) => values.includes(choice))) &&
          (!words.length || words.every((word) => this.searched(row).includes(word))),
      );
    },
    count() {
      const all = this.held.length;
      const runs = all === 1 ? "1 run" : `${all} runs`;
      return this.fitting.length === all ? runs : `${this.fitting.length} of ${runs}`;
    },
    names() {
      return this.selected.map((row) => "runs=" + encodeURIComponent(row.name)).join("&");
    },
    csvLink() {
      return "/runs.csv" + (this.selected.length && this.selected.length <= 100 ? "?" + this.names : "");
    },
    compareLink() {
      return this.selected.length >= 2 && this.selected.length <= AT_MOST ? "/compare?" + this.names : undefined;
    },
    advice() {
      if (this.selected.length === 1) return "1 run picked. Pick another to compare it with.";
      const picked = this.selected.length;
      return picked > AT_MOST ? `${picked} runs picked; at most ${AT_MOST} can be compared at once.` : "";
    },
    address() {
      const query = new URLSearchParams();
      if (this.words) query.set("filter", this.words);
      for (const [key, values] of Object.entries(this.picked)) (values || []).forEach((v) => query.append(key, v));
      if (this.page.sortBy && this.page.sortBy !== "started") query.set("sort", this.page.sortBy);
      if (!this.page.descending) query.set("order", "up");
      return query.toString();
    },
  },
  methods: {
    // From the server: rows that are new or changed, names of those that are gone.
    put(rows, gone) {
      const changed = new Map(rows.map((row) => [row.name, row]));
      const left = new Set(gone);
      const kept = this.held.filter((row) => !left.has(row.name)).map((row) => {
        const now = changed.get(row.name) || row;
        changed.delete(row.name);
        return now;
      });
      this.held = Object.freeze([...changed.values(), ...kept]);
      if (gone.length) this.selected = this.selected.filter((row) => !left.has(row.name));
    },
    choices(row, key) {
      return key === "methods" ? row.methods : row.values[key] === null ? [] : [row.values[key]];
    },
    searched(row) {
      if (!this.found.has(row)) this.found.set(row, haystack(row));
      return this.found.get(row);
    },
    // Numbers as numbers, texts as people sort them ("run 9" before "run 10"), and what is missing last either way.
    sorted(rows, by, descending) {
      const way = descending ? -1 : 1;
      const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : COLLATOR.compare(a, b));
      return [...rows].sort((one, other) => {
        const [a, b] = [one.values[by], other.values[by]];
        if (a === null || b === null) return (a === null) - (b === null);
        return way * order(a, b);
      });
    },
    ariaSort(name) {
      if (this.page.sortBy !== name) return "none";
      return this.page.descending ? "descending" : "ascending";
    },
    showAll() {
      this.words = "";
      for (const key of Object.keys(this.picked)) this.picked[key] = [];
    },
    icon(row) {
      return STATES[row.values.state]?.[0] ?? "help";
    },
    mood(row) {
      return STATES[row.values.state]?.[1] ?? "";
    },
    tooLong(text) {
      return String(text).length > 30 ? text : undefined;
    },
    text(row, name) {
      return row.texts[name] ?? row.values[name] ?? "";
    },
    started(row) {
      return row.values.started === null ? "" : localTime(row.values.started);
    },
    since(row) {
      return row.values.started === null ? "" : ago(row.values.started, this.now);
    },
    facts(row) {
      const { rounds, up, down, seconds } = row.texts;
      return [
        row.values.experiment,
        row.values.student && "student " + row.values.student,
        rounds && ["rounds", rounds, row.parts && `(${row.parts})`].filter(Boolean).join(" "),
        up && down && `MB up ${up}, down ${down}`,
        seconds,
      ].filter(Boolean).join(" · ");
    },
  },
};
