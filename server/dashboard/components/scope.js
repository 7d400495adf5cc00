// A live scope: pieces of a board's signal come in, a canvas shows them as they pass.
// What has come is said back ("took"), so that a viewer that is slow, hidden or paused is sent no more.

import { Columns } from "scope_columns";
import { Drawing, inksOf } from "scope_drawing";

const SPANS_S = [2, 5, 10];
const DECADES = [10, 100, 1e3, 1e4, 1e5];
const RANGES_UV = DECADES.flatMap((uv) => [uv, 2 * uv, 5 * uv]);
const FINE_UV = DECADES.flatMap((uv) => [1, 1.5, 2, 3, 4, 6, 8].map((step) => step * uv)); // automatic gain
const BEHIND_MS = 90; // what is drawn stays this far behind what came, so that uneven arrivals do not show
const JUMP_MS = 1000; // further away than this one jumps instead of hurrying
const SAY_AGAIN_MS = 1000; // "took" may have been lost with a connection
const FIT_MS = 500; // automatic gain
const SPOKEN_MS = 2000; // screen readers are not told of every flicker

export default {
  template: `
    <div class="scope" role="group" aria-label="Live signal" tabindex="0" @keydown="key">
      <div v-show="begun" class="scope-now">
        <div>
          <div class="scope-label">Gesture now</div>
          <div class="scope-gesture"><bdi :class="{ 'scope-none': now.gesture === null }">{{ now.gesture ?? (student || predicted ? "nothing sure" : "no student") }}</bdi> <span class="scope-sure">{{ sure }}</span></div>
        </div>
        <div>
          <div class="scope-label">Asked for</div>
          <div class="scope-asked"><bdi>{{ now.asked ?? "nothing" }}</bdi>
            <span v-if="now.reacting" class="chip" title="The first second after a prompt is not judged">reacting</span>
            <span v-if="now.right !== null" :class="['chip', now.right ? 'good' : 'bad']">{{ now.right ? "✓ right" : "✗ different" }}</span>
          </div>
        </div>
      </div>
      <div v-show="begun" class="scope-tools">
        <button type="button" class="button quiet" :aria-pressed="String(paused)" @click="pause">{{ paused ? "▶ Go on" : "❚❚ Pause" }}</button>
        <span :class="['chip', 'scope-state', state.kind]">{{ state.words }}</span>
        <span class="scope-set" role="group" aria-label="Seconds shown">
          <button v-for="s in spans" :key="s" type="button" class="scope-pick" :aria-pressed="String(s === spanS)" @click="setSpan(s)">{{ s }} s</button>
        </span>
        <span class="scope-set" role="group" aria-label="Height of a row">
          <button type="button" class="scope-pick" aria-label="Smaller signal" @click="zoom(1)">−</button>
          <span class="scope-range">±{{ range }}</span>
          <button type="button" class="scope-pick" aria-label="Larger signal" @click="zoom(-1)">+</button>
          <button type="button" class="scope-pick" :aria-pressed="String(auto)" @click="setAuto">Auto</button>
        </span>
        <span class="scope-set scope-channels" role="group" aria-label="Channels shown">
          <button v-for="c in channels" :key="c" type="button" class="scope-pick scope-channel" :style="{'--swatch': 'var(--c' + ((c - 1) % 8 + 1) + ')'}"
            :aria-pressed="String(!hidden[c - 1])" :aria-label="'Channel ' + c" @click="toggle(c - 1)">{{ c }}</button>
        </span>
      </div>
      <div class="scope-stage">
        <canvas ref="canvas" class="scope-canvas" :style="{'--rows': channels}" aria-hidden="true"></canvas>
        <div v-if="!begun" class="scope-nothing">{{ waiting }}</div>
      </div>
      <div v-if="begun && !student && !predicted" class="muted small">No student is loaded, so no gesture is recognised.
        <template v-for="[words, command] in hint" :key="command">{{ words }} <code class="mono">{{ command }}</code> </template></div>
      <div v-show="begun" class="scope-keys">Keys: space pauses · + and − size · A automatic · [ and ] seconds · 1–9 channels</div>
      <div class="sr-only" aria-live="polite">{{ spoken }}</div>
    </div>`,
  // waiting: said until a signal comes; student: whether somebody recognises gestures; hint: [[words, command]] else.
  props: { boardChannels: Number, waiting: String, student: Boolean, hint: Array },
  data: () => ({
    spans: SPANS_S, spanS: 5, auto: true, rangeUv: 200, paused: false, hidden: [], channels: 0, spoken: "",
    now: { gesture: null, asked: null, confidence: null, right: null, reacting: false }, arriving: false, begun: false, predicted: false,
  }),
  computed: {
    range() {
      return this.rangeUv >= 1000 ? `${this.rangeUv / 1000} mV` : `${this.rangeUv} µV`;
    },
    sure() {
      return this.now.gesture === null || this.now.confidence === null ? "" : `${Math.round(this.now.confidence * 100)} %`;
    },
    state() {
      if (this.paused) return { words: "paused", kind: "warn" };
      return this.arriving ? { words: "● live", kind: "good" } : { words: "no signal", kind: "warn" };
    },
  },
  created() {
    this.took = 0; // pieces; plain fields: nothing of the signal passes through Vue
    this.columns = null;
    this.end = null; // the column at the right edge, as it moves
    this.channels = this.boardChannels;
  },
  mounted() {
    this.drawing = new Drawing(this.$refs.canvas);
    this.inks = () => {
      this.ink = inksOf(this.$el);
      this.redraw();
    };
    this.inks();
    this.watched = new ResizeObserver(() => (this.unfit = true));
    this.watched.observe(this.$refs.canvas);
    this.seen = () => document.hidden || this.say();
    document.addEventListener("visibilitychange", this.seen);
    window.addEventListener("myofed-theme", this.inks);
    this.sayAgain = setInterval(this.say, SAY_AGAIN_MS);
    this.next = requestAnimationFrame(this.frame);
  },
  beforeUnmount() {
    cancelAnimationFrame(this.next);
    clearInterval(this.sayAgain);
    this.watched.disconnect();
    document.removeEventListener("visibilitychange", this.seen);
    window.removeEventListener("myofed-theme", this.inks);
  },
  methods: {
    piece(piece) {
      this.took += 1;
      if (!this.columns?.continues(piece)) this.begin(piece);
      this.columns.put(piece);
      this.predicted ||= piece.predicted.length > 0;
      this.arrived = performance.now();
      if (!document.hidden && !this.paused) this.say();
    },
    begin(piece) {
      this.columns = new Columns(piece.channels, piece.column_ms);
      this.begun = true;
      this.channels = piece.channels;
      this.hidden = this.hidden.slice(0, piece.channels);
      this.end = null;
      this.redraw();
    },
    say() {
      if (document.hidden || this.paused) return;
      this.$emit("took", this.took);
    },
    frame(time) {
      this.next = requestAnimationFrame(this.frame);
      if (!this.columns || this.columns.end === null) return;
      if (this.unfit && !(this.unfit = false) && this.drawing.fit()) this.dirty = true;
      const moved = !this.paused && this.advance(time);
      if (time - (this.fitted ?? 0) > FIT_MS) this.fitGain(time);
      if (moved || this.dirty) this.draw();
    },
    // Move the right edge on with the clock, gently towards where it should be; whether it moved.
    advance(time) {
      const perMs = 1 / this.columns.columnMs;
      const wanted = this.columns.end - BEHIND_MS * perMs;
      const error = this.end === null ? Infinity : wanted - this.end;
      const before = this.end;
      if (Math.abs(error) > JUMP_MS * perMs) this.end = Math.max(wanted, this.columns.begin);
      else this.end += (time - this.moved) * perMs * Math.min(Math.max(1 + (error / perMs) * 0.002, 0), 2);
      this.end = Math.min(this.end, this.columns.end);
      this.moved = time;
      this.tell(time);
      return this.end !== before;
    },
    draw() {
      const visible = [...Array(this.columns.channels).keys()].filter((c) => !this.hidden[c]);
      const { columns, end, spanS, rangeUv, ink } = this;
      this.drawing.frame({ columns, end, spanS, rangeUv, ink, live: this.arriving && !this.paused, visible });
      this.dirty = false;
    },
    redraw() {
      this.drawing?.repaint();
      this.dirty = this.unfit = true;
    },
    fitGain(time) {
      this.fitted = time;
      const arriving = time - this.arrived < JUMP_MS;
      if (arriving !== this.arriving) this.dirty = true;
      this.arriving = arriving;
      if (!this.auto || this.paused) return;
      const from = Math.floor(this.end - (this.spanS * 1000) / this.columns.columnMs);
      const peaks = [...this.columns.peaks(from, this.columns.end)].filter((_, c) => !this.hidden[c]).sort((a, b) => a - b);
      // One loose electrode must not flatten the others.
      const peak = Math.min(peaks.at(-1) ?? 0, 4 * (peaks[peaks.length >> 1] ?? 0));
      const range = FINE_UV.find((uv) => uv >= peak) ?? FINE_UV.at(-1);
      if (range > this.rangeUv || peak < 0.55 * this.rangeUv) this.setRange(range); // not to and fro
    },
    setRange(uv) {
      if (uv !== this.rangeUv) this.redraw();
      this.rangeUv = uv;
    },
    // What is asked and said at the right edge.
    tell(time) {
      const at = Math.max(this.end - 1, this.columns.oldest);
      const from = this.arriving ? at : this.end; // where nothing arrives, nothing is said of now
      const said = this.columns.judged(from, this.end).at(-1);
      const asked = this.columns.stretches(this.columns.prompted, from, this.end).at(-1)?.gesture ?? null;
      const now = { gesture: said?.gesture ?? null, confidence: said?.confidence ?? null, asked, right: said?.right ?? null, reacting: said?.reacting ?? false };
      if (Object.keys(now).some((key) => now[key] !== this.now[key])) this.now = now;
      if (time - (this.spokeAt ?? 0) < SPOKEN_MS) return;
      this.spokeAt = time;
      const words = now.gesture === null ? "No gesture is recognised." : `Gesture: ${now.gesture}.`;
      this.spoken = asked === null ? words : `${words} Asked for: ${asked}.`;
    },
    pause() {
      this.paused = !this.paused;
      this.say();
      this.redraw();
    },
    setSpan(spanS) {
      this.spanS = spanS;
      this.redraw();
    },
    zoom(step) {
      this.auto = false;
      const next = step > 0 ? RANGES_UV.find((uv) => uv > this.rangeUv) : RANGES_UV.findLast((uv) => uv < this.rangeUv);
      if (next) this.setRange(next);
    },
    setAuto() {
      this.auto = true;
      this.fitted = 0;
    },
    toggle(channel) {
      if (channel >= this.channels) return;
      this.hidden[channel] = !this.hidden[channel];
      if (this.hidden.filter(Boolean).length === this.channels) this.hidden[channel] = false; // the last one stays
      this.redraw();
    },
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const span = (step) => this.setSpan(SPANS_S[Math.min(Math.max(SPANS_S.indexOf(this.spanS) + step, 0), SPANS_S.length - 1)]);
      const keys = { "+": () => this.zoom(-1), "=": () => this.zoom(-1), "-": () => this.zoom(1), a: this.setAuto, A: this.setAuto,
        "[": () => span(-1), "]": () => span(1), " ": event.target.tagName === "BUTTON" ? null : this.pause };
      const does = keys[event.key] ?? (/^[1-9]$/.test(event.key) ? () => this.toggle(event.key - 1) : null);
      if (!does) return;
      event.preventDefault();
      does();
    },
  },
};
