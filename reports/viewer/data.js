// Reads the page's timelines and finds things in them.
const pageData = JSON.parse(document.getElementById("timeline-data").textContent);
const report = JSON.parse(document.getElementById("report-data").textContent);

class Side {
  constructor(columns) {
    Object.assign(this, columns);
    const count = this.length.length;
    const start = new Float64Array(count), end = new Float64Array(count);
    // Ends of transfers may come out of order; `reach` is the latest end so far on the track.
    const reach = new Float64Array(count);
    this.trackOf = new Int32Array(count);
    for (let t = 0; t < this.tracks.length; ++t) {
      let time = 0, latest = 0;
      for (let i = this.first[t]; i < this.first[t + 1]; ++i) {
        time += this.start[i];
        start[i] = time;
        end[i] = time + this.length[i];
        latest = Math.max(latest, end[i]);
        reach[i] = latest;
        this.trackOf[i] = t;
      }
    }
    for (let i = 0; i < count; ++i) this.waited[i] = this.waited[i] === 0 ? -1 : i - this.waited[i];
    this.start = start;
    this.end = end;
    this.reach = reach;
    this.count = count;
    this.onPath = new Uint8Array(count);
    for (const i of this.path) this.onPath[i] = 1;
  }

  isCompute(i) {
    return this.kind[i] < pageData.computeKinds;
  }
  kindName(i) {
    return pageData.kinds[this.kind[i]] || "other";
  }
  rank(i) {
    return this.tracks[this.trackOf[i]][0];
  }
  name(i) {
    if (this.names[i] !== undefined) return this.names[i];
    return `${this.stage[i] >= 0 ? this.stage[i] : ""}${this.kindName(i)}${this.microbatch[i] >= 0 ? this.microbatch[i] : ""}`;
  }
  // Tracks of a rank: those that compute, or the others that have anything to show.
  tracksOf(rank, compute) {
    const found = [];
    for (let t = 0; t < this.tracks.length; ++t) {
      const computes = this.tracks[t][1] === "compute" || this.tracks[t][1] === "worker";
      if (this.tracks[t][0] === rank && computes === compute && this.first[t] < this.first[t + 1]) found.push(t);
    }
    return found;
  }
  // The first span of a track that ends after `time`.
  firstAfter(track, time) {
    return firstWhere(this.first[track], this.first[track + 1], (i) => this.reach[i] > time);
  }
  // The span of a track at `time`, or the nearest within `slack`, or -1.
  at(track, time, slack) {
    let best = -1, distance = slack;
    for (let i = this.firstAfter(track, time - slack); i < this.first[track + 1] && this.start[i] <= time + slack; ++i) {
      const away = Math.max(this.start[i] - time, time - this.end[i], 0);
      if (away < distance || (away === 0 && best < 0)) {
        best = i;
        distance = away;
      }
      if (away === 0) break;
    }
    return best;
  }
  idleAt(rank, time) {
    const last = this.idleFirst[rank + 1];
    const k = firstWhere(this.idleFirst[rank], last, (i) => this.idleStart[i] + this.idleLength[i] > time);
    return k < last && this.idleStart[k] <= time ? k : -1;
  }
}

function firstWhere(low, high, holds) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

const schedules = pageData.timelines.map((pair, number) => ({
  number,
  result: report.results[number],
  sides: ["predicted", "measured"].filter((name) => pair[name]).map((name) => new Side({ ...pair[name], side: name })),
}));
pageData.timelines = null;  // the columns live on in the sides
