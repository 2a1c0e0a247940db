// The timelines of one schedule on one time axis: controls, lanes, pan by drag, zoom by wheel, hover.
class TimelineView extends TimelineDrawing {
  constructor(place, schedule) {
    super();
    this.sides = schedule.sides;
    this.end = Math.max(1, ...this.sides.map((side) => side.until));
    this.options = { path: false, idle: true, transfers: false, pair: false };
    this.hover = null;
    this.place = place;
    this.canvas = element("canvas", "view");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Timelines of ${schedule.result.label}: ${this.sides.map((s) => s.side).join(" over ")}; arrow keys pan, plus and minus zoom, 0 shows all`);
    this.overview = element("canvas", "overview");
    place.append(this.tools(), this.canvas, this.overview, this.key());
    this.addNote();
    this.from = 0;
    this.to = this.isCrowded() ? this.firstIterationEnd() : this.end;
    this.listen();
    this.layOut();
  }

  tools() {
    const bar = element("div", "tools");
    const check = (name, text) => {
      const label = element("label"), box = element("input");
      box.type = "checkbox";
      box.checked = this.options[name];
      box.addEventListener("change", () => {
        this.options[name] = box.checked;
        this.layOut();
      });
      label.append(box, text);
      bar.append(label);
    };
    const button = (text, act) => {
      const made = element("button", "", text);
      made.type = "button";
      made.addEventListener("click", act);
      bar.append(made);
    };
    button("All", () => this.show(0, this.end));
    const first = this.firstIterationEnd();
    if (first < this.end * 0.95) button("First iteration", () => this.show(0, first));
    check("idle", "idle causes");
    check("path", "critical path");
    if (this.sides.some((side) => side.tracks.some((track, t) => track[1] !== "compute" && side.first[t] < side.first[t + 1]))) {
      check("transfers", "transfers and barriers");
    }
    if (this.sides.length > 1) check("pair", "pair the ranks");
    bar.append(element("span", "hint", "wheel zooms, drag pans"));
    return bar;
  }

  key() {
    const kinds = new Set();
    for (const side of this.sides) {
      for (let i = 0; i < side.count; ++i) {
        if (side.isCompute(i)) kinds.add(side.kind[i]);
      }
    }
    const names = { F: "forward", B: "backward", I: "input gradient", W: "weight gradient", R: "recompute", A: "auxiliary network", LB: "local backward", U: "update", OVERLAP_F_B: "forward and backward" };
    return legend([...kinds].sort((a, b) => a - b).map((k) => {
      const name = pageData.kinds[k];
      return [names[name] ? `${name} ${names[name]}` : name, kindColor(name)];
    }));
  }

  addNote() {
    const cut = this.sides.filter((side) => side.shown < side.iterations);
    if (!cut.length) return;
    const texts = cut.map((side) => `${side.side}: the first ${side.shown} of ${side.iterations} iterations`);
    this.place.append(element("p", "caption", `The timelines are too long to show in full (${texts.join("; ")}). All numbers are of the whole timelines.`));
  }

  firstIterationEnd() {
    let end = 0;
    for (const side of this.sides) {
      const first = side.iteration.reduce((least, it, i) => (side.isCompute(i) ? Math.min(least, it) : least), Infinity);
      for (let i = 0; i < side.count; ++i) {
        if (side.isCompute(i) && side.iteration[i] === first) end = Math.max(end, side.end[i]);
      }
    }
    return end || this.end;
  }

  // Whether names would not be legible with everything in view.
  isCrowded() {
    const lanes = this.sides.flatMap((side) => side.tracks.map((track, t) => (track[1] === "compute" ? side.first[t + 1] - side.first[t] : 0)));
    return Math.max(...lanes) > 90;
  }

  // Where every lane is; also takes the theme's colours.
  layOut() {
    const style = getComputedStyle(document.documentElement);
    this.colors = Object.fromEntries(["background", "lane", "line", "text", "quiet", "accent"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.width = Math.max(200, this.place.clientWidth);
    const ranks = Math.max(...this.sides.map((side) => side.ranks));
    const height = ranks <= 8 ? 24 : ranks <= 16 ? 18 : ranks <= 32 ? 12 : 8;
    const gap = ranks <= 16 ? 3 : 1;
    this.lanes = [];
    this.titles = [];
    let y = AXIS;
    const addRank = (side, rank, label) => {
      this.lanes.push({ side, rank, y, height, tracks: side.tracksOf(rank, true), label, compute: true });
      y += height;
      if (this.options.transfers) {
        const tracks = side.tracksOf(rank, false);
        if (tracks.length) {
          this.lanes.push({ side, rank, y: y + 1, height: 6, tracks, label: "", compute: false });
          y += 8;
        }
      }
      y += gap;
    };
    const every = Math.max(1, Math.ceil(11 / (height + gap)));
    if (this.options.pair && this.sides.length > 1) {
      for (let rank = 0; rank < ranks; ++rank) {
        for (const side of this.sides) {
          if (rank < side.ranks) addRank(side, rank, `${rank} ${side.side}`);
        }
        y += 6;
      }
    } else {
      for (const side of this.sides) {
        this.titles.push({ side, y: y + TITLE - 7 });
        y += TITLE;
        for (let rank = 0; rank < side.ranks; ++rank) addRank(side, rank, rank % every === 0 ? `rank ${rank}` : "");
        y += 6;
      }
    }
    this.height = y + 2;
    this.overviewStrip = null;
    this.draw();
  }

  // Shows [from, to), kept inside the run and no closer than a few nanoseconds.
  show(from, to) {
    const length = Math.min(this.end, Math.max(to - from, Math.min(50, this.end)));
    this.from = Math.min(Math.max(0, from), this.end - length);
    this.to = this.from + length;
    this.requestDraw();
  }

  zoom(factor, x) {
    const time = this.from + (x - GUTTER) / this.scale;
    this.show(time - (time - this.from) * factor, time + (this.to - time) * factor);
  }

  listen() {
    const { canvas } = this;
    let drag = null;
    canvas.addEventListener("wheel", (event) => {
      if (scrolling()) return;
      event.preventDefault();
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      const pixels = (sideways && event.deltaX ? event.deltaX : event.deltaY) * (event.deltaMode === 1 ? 16 : 1);
      if (sideways) this.show(this.from + pixels / this.scale, this.to + pixels / this.scale);
      else this.zoom(Math.exp(Math.max(-200, Math.min(200, pixels)) * 0.0022), Math.max(GUTTER, event.offsetX));
      this.setHover(event);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      drag = { x: event.clientX, from: this.from, to: this.to };
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("dragging");
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return this.setHover(event);
      const moved = (drag.x - event.clientX) / this.scale;
      this.setHover(null);
      this.show(drag.from + moved, drag.to + moved);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => {
        drag = null;
        canvas.classList.remove("dragging");
      });
    }
    canvas.addEventListener("pointerleave", () => this.setHover(null));
    canvas.addEventListener("dblclick", () => this.show(0, this.end));
    canvas.addEventListener("keydown", (event) => {
      const step = (this.to - this.from) * 0.15, middle = (GUTTER + this.width) / 2;
      const acts = {
        ArrowLeft: () => this.show(this.from - step, this.to - step),
        ArrowRight: () => this.show(this.from + step, this.to + step),
        "+": () => this.zoom(0.7, middle),
        "=": () => this.zoom(0.7, middle),
        "-": () => this.zoom(1 / 0.7, middle),
        0: () => this.show(0, this.end),
      };
      if (!acts[event.key] || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      acts[event.key]();
    });
    const jump = (event) => {
      if (!(event.buttons & 1)) return;
      const time = ((event.offsetX - GUTTER) / (this.width - GUTTER)) * this.end, half = (this.to - this.from) / 2;
      this.show(time - half, time + half);
    };
    this.overview.addEventListener("pointerdown", (event) => {
      this.overview.setPointerCapture(event.pointerId);
      jump(event);
    });
    this.overview.addEventListener("pointermove", jump);
  }

  // What is under the pointer: a span, or an idle gap; nothing for null.
  setHover(event) {
    const tooltip = document.getElementById("tooltip");
    let hover = null;
    if (event && event.offsetX >= GUTTER) {
      const lane = this.lanes.find((l) => event.offsetY >= l.y && event.offsetY < l.y + l.height);
      const time = this.from + (event.offsetX - GUTTER) / this.scale;
      if (lane && time <= lane.side.until) {
        hover = { lane, span: -1, idle: -1 };
        for (const track of lane.tracks) {
          const span = lane.side.at(track, time, 2 / this.scale);
          if (span >= 0 && (hover.span < 0 || (lane.side.start[span] <= time && time < lane.side.end[span]))) hover.span = span;
        }
        if (lane.compute) hover.idle = lane.side.idleAt(lane.rank, time);
        // In a gap that is wide enough to see, the gap.
        if (hover.idle >= 0 && hover.span >= 0 && lane.side.idleLength[hover.idle] * this.scale > 3) hover.span = -1;
        if (hover.span < 0 && hover.idle < 0) hover = null;
      }
    }
    const changed = (hover && hover.span) !== (this.hover && this.hover.span) || (hover && hover.lane) !== (this.hover && this.hover.lane);
    this.hover = hover;
    if (changed) this.requestDraw();
    tooltip.hidden = !hover;
    if (!hover) return;
    tooltip.replaceChildren(...(hover.span >= 0 ? this.describeSpan(hover.lane.side, hover.span) : this.describeIdle(hover.lane, hover.idle)));
    const { innerWidth, innerHeight } = window, box = tooltip.getBoundingClientRect();
    tooltip.style.left = `${Math.max(4, Math.min(event.clientX + 16, innerWidth - box.width - 8))}px`;
    const below = event.clientY + 20;
    tooltip.style.top = `${Math.max(4, below + box.height > innerHeight ? event.clientY - box.height - 12 : below)}px`;
  }

  describeSpan(side, i) {
    const lines = [element("b", "", side.name(i))];
    const about = [`rank ${side.rank(i)}`, side.side];
    if (side.iterations > 1) about.push(`iteration ${side.iteration[i]}`);
    lines.push(element("div", "", about.join(", ")));
    lines.push(element("div", "", `${clock(side.start[i])} to ${clock(side.end[i])}: ${duration(side.end[i] - side.start[i])}`));
    const waited = side.waited[i];
    const reasons = {
      stream: "its turn on the stream", data: "data still being computed", transfer: "data on the wire", "channel-order": "another transfer in the channel",
      capacity: "room in the queue", sync: "the others at the barrier", host: "the host to issue it", input: "the input pipeline",
    };
    const reason = reasons[pageData.waits[side.wait[i]]];
    if (waited >= 0 || reason) {
      const what = waited >= 0 ? `${side.name(waited)} on rank ${side.rank(waited)}` : "";
      lines.push(element("div", "", `waited for ${what && reason ? `${what} (${reason})` : what || reason}`));
    }
    if (side.onPath[i]) lines.push(element("div", "", "on the critical path"));
    return lines;
  }

  describeIdle(lane, k) {
    const { side } = lane, start = side.idleStart[k], length = side.idleLength[k];
    return [
      element("b", "", `idle: ${words(pageData.causes[side.idleCause[k]])}`),
      element("div", "", `rank ${lane.rank}, ${side.side}`),
      element("div", "", `${clock(start)} to ${clock(start + length)}: ${duration(length)}`),
    ];
  }
}
