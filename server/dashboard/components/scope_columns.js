// The newest columns of a stream, the least and the greatest microvolts of each channel, in a ring that never grows.

export const KEPT_S = 12; // the longest span is 10 s
export const REACTION_MS = 1000; // device/live/check.py: reaction, and the first whole window of the gesture
export const NOTHING = 0, HERE = 1, LOST = 2;

export class Columns {
  constructor(channels, columnMs) {
    this.channels = channels;
    this.columnMs = columnMs;
    this.capacity = Math.ceil((KEPT_S * 1000) / columnMs);
    this.low = new Float32Array(this.capacity * channels);
    this.high = new Float32Array(this.capacity * channels);
    this.state = new Uint8Array(this.capacity);
    this.begin = null; // number of the first column that came
    this.end = null; // one beyond the newest
    this.lost = []; // [from, to) stretches
    this.prompted = []; // {from, gesture}, each until the next
    this.predicted = []; // {from, gesture, confidence}
  }

  get oldest() {
    return this.end === null ? 0 : Math.max(this.begin, this.end - this.capacity);
  }

  stateOf(column) {
    return column < this.oldest || column >= this.end ? NOTHING : this.state[column % this.capacity];
  }

  // Whether this piece goes on where the stream stands; false: it is another stream.
  continues(piece) {
    const same = piece.channels === this.channels && piece.column_ms === this.columnMs;
    return same && (this.end === null || piece.first >= this.end);
  }

  put(piece) {
    const values = int16(piece.values);
    if (this.end === null || piece.first - this.end >= this.capacity) this.startAt(piece.first);
    while (this.end < piece.first) this.state[this.end++ % this.capacity] = NOTHING; // nobody looked
    for (let i = 0; i < piece.count; i++) this.putColumn(values, i, piece.uv_per_unit);
    for (const [from, to] of piece.lost) this.markLost(from, to);
    for (const [from, gesture] of piece.prompted) extend(this.prompted, { from, gesture, confidence: null });
    for (const [from, gesture, confidence] of piece.predicted) extend(this.predicted, { from, gesture, confidence });
    this.forget();
  }

  startAt(first) {
    this.begin = this.end = first;
    this.state.fill(NOTHING);
  }

  putColumn(values, i, scale) {
    const slot = this.end++ % this.capacity;
    const [to, from] = [slot * this.channels, 2 * i * this.channels];
    this.state[slot] = HERE;
    for (let c = 0; c < this.channels; c++) {
      this.low[to + c] = values[from + 2 * c] * scale;
      this.high[to + c] = values[from + 2 * c + 1] * scale;
    }
  }

  markLost(from, to) {
    for (let column = Math.max(from, this.oldest); column < Math.min(to, this.end); column++)
      this.state[column % this.capacity] = LOST;
    const last = this.lost.at(-1);
    if (last && last[1] >= from) last[1] = to;
    else this.lost.push([from, to]);
  }

  forget() {
    const oldest = this.oldest;
    while (this.lost.length && this.lost[0][1] <= oldest) this.lost.shift();
    for (const list of [this.prompted, this.predicted]) while (list.length > 1 && list[1].from <= oldest) list.shift();
  }

  // Stretches of what was said between two columns: [{from, to, gesture, confidence}].
  stretches(list, from, to) {
    return list
      .map((entry, i) => ({ ...entry, since: entry.from, from: Math.max(entry.from, from), to: Math.min(list[i + 1]?.from ?? to, to) }))
      .filter((stretch) => stretch.to > stretch.from);
  }

  // Predictions, cut where the prompt changes and where the person has reacted to it, each with `right` (true, false;
  // null: nothing to judge) and `reacting`, while the gesture before it is no mistake.
  judged(from, to) {
    const asked = this.stretches(this.prompted, from, to);
    const reaction = REACTION_MS / this.columnMs;
    const cuts = asked.flatMap((a) => [a.from, a.since + reaction]).sort((a, b) => a - b);
    return this.stretches(this.predicted, from, to).flatMap((said) => {
      const edges = [said.from, ...cuts.filter((cut) => cut > said.from && cut < said.to), said.to];
      return edges.slice(1).map((edge, i) => {
        const prompt = asked.find((a) => a.from <= edges[i] && edges[i] < a.to);
        const comparable = (prompt?.gesture ?? null) !== null && said.gesture !== null;
        const same = comparable && prompt.gesture === said.gesture;
        const reacting = comparable && !same && edges[i] < prompt.since + reaction;
        return { ...said, from: edges[i], to: edge, right: comparable && !reacting ? same : null, reacting };
      });
    });
  }

  // The greatest excursion of each channel over some columns, in microvolts.
  peaks(from, to) {
    const peaks = new Float32Array(this.channels);
    for (let column = Math.max(from, this.oldest); column < Math.min(to, this.end); column++) {
      const slot = column % this.capacity;
      if (this.state[slot] !== HERE) continue;
      for (let c = 0, at = slot * this.channels; c < this.channels; c++, at++)
        peaks[c] = Math.max(peaks[c], -this.low[at], this.high[at]);
    }
    return peaks;
  }
}

function extend(list, entry) {
  const last = list.at(-1);
  if (last && last.gesture === entry.gesture) last.confidence = entry.confidence;
  else if (!last || entry.from >= last.from) list.push(entry);
}

function int16(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Int16Array(bytes.buffer); // little-endian, as every browser's machine
}
