// How timelines are drawn on canvas. A view (timeline.js) says where its lanes are and what is visible:
// sides, lanes, titles, options, colors, from, to, end, width, height, hover.
const GUTTER = 78;   // rank labels
const AXIS = 26;     // height of the time axis
const TITLE = 22;    // height of a side's name
const OVERVIEW = 34;

class TimelineDrawing {
  prepare(canvas, height) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.width * ratio), tall = Math.round(height * ratio);
    if (canvas.width !== width || canvas.height !== tall) {
      canvas.width = width;
      canvas.height = tall;
      canvas.style.height = `${height}px`;
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, this.width, height);
    return ctx;
  }

  x(time) {
    return GUTTER + (time - this.from) * this.scale;
  }

  requestDraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  draw() {
    const ctx = (this.ctx = this.prepare(this.canvas, this.height));
    this.scale = (this.width - GUTTER) / (this.to - this.from);
    this.font = getComputedStyle(this.place).fontFamily;
    ctx.textBaseline = "middle";
    ctx.save();
    ctx.beginPath();
    ctx.rect(GUTTER, 0, this.width - GUTTER, this.height);
    ctx.clip();
    this.drawAxis();
    for (const lane of this.lanes) {
      const right = Math.min(this.width, this.x(lane.side.until));
      if (lane.compute) {
        ctx.fillStyle = this.colors.lane;
        ctx.fillRect(GUTTER, lane.y, Math.max(0, right - GUTTER), lane.height);
        if (this.options.idle) this.drawIdle(lane);
      }
      for (const track of lane.tracks) this.drawTrack(lane, track);
    }
    this.drawEnds();
    if (this.options.path) this.drawPath();
    this.drawHover();
    ctx.restore();
    this.drawLabels();
    this.drawOverview();
  }

  drawAxis() {
    const { ctx, colors } = this;
    const about = ((this.to - this.from) * 110) / (this.width - GUTTER);
    const power = 10 ** Math.floor(Math.log10(Math.max(about, 1)));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= about) || 10 * power;
    ctx.font = `11.5px ${this.font}`;
    ctx.textAlign = "left";
    const [unit, name] = step >= 1e9 ? [1e9, "s"] : step >= 1e6 || this.to >= 1e9 ? [1e6, "ms"] : step >= 1e3 || this.to >= 1e6 ? [1e3, "µs"] : [1, "ns"];
    const digits = Math.max(0, Math.ceil(Math.log10(unit / step) - 1e-9));
    for (let k = Math.ceil(this.from / step); k * step <= this.to; ++k) {
      const x = Math.round(this.x(k * step)) + 0.5;
      ctx.strokeStyle = colors.line;
      ctx.beginPath();
      ctx.moveTo(x, 4);
      ctx.lineTo(x, this.height);
      ctx.stroke();
      ctx.fillStyle = colors.quiet;
      ctx.fillText(`${((k * step) / unit).toFixed(digits)} ${name}`, x + 5, 12);
    }
  }

  // Gaps in the colour of their cause, paler than work. Of those below half a pixel, which work would
  // cover, none.
  drawIdle(lane) {
    const { ctx, from, scale } = this, { side } = lane;
    const last = side.idleFirst[lane.rank + 1];
    let k = firstWhere(side.idleFirst[lane.rank], last, (i) => side.idleStart[i] + side.idleLength[i] > from);
    ctx.globalAlpha = 0.5;
    const inset = Math.max(1, Math.round(lane.height * 0.3));
    for (; k < last && side.idleStart[k] < this.to; ++k) {
      const width = side.idleLength[k] * scale;
      if (width < 0.5) continue;
      ctx.fillStyle = CAUSE_COLORS[pageData.causes[side.idleCause[k]]];
      ctx.fillRect(GUTTER + (side.idleStart[k] - from) * scale, lane.y + inset, width, lane.height - 2 * inset);
    }
    ctx.globalAlpha = 1;
  }

  // Only what is visible; spans narrower than a pixel are gathered into columns of one pixel, coloured
  // like the kind that takes most of it and as strong as it is busy. Equal neighbours are one rectangle.
  drawTrack(lane, track) {
    const { ctx, from, to, scale } = this, { side, y, height } = lane;
    const { start, end, kind, onPath } = side;
    const colors = pageData.kinds.map(kindColor).concat(TRANSFER_COLOR);
    const fade = this.options.path ? 0.28 : 1;
    const last = side.first[track + 1];
    const sums = new Float64Array(pageData.kinds.length + 1);
    const run = { from: 0, to: -1, kind: -1, alpha: 0 };
    const drawRun = () => {
      if (run.to <= run.from) return;
      ctx.globalAlpha = run.alpha;
      ctx.fillStyle = colors[run.kind];
      ctx.fillRect(run.from, y, run.to - run.from, height);
      run.to = -1;
    };
    let column = -Infinity, busy = 0, most = 0, path = 0;
    const flush = () => {
      if (busy === 0) return;
      const alpha = Math.max(0.25, Math.ceil(8 * Math.min(1, busy) - 0.05) / 8) * (path ? 1 : fade);
      if (column !== run.to || most !== run.kind || alpha !== run.alpha) {
        drawRun();
        run.from = column;
        run.kind = most;
        run.alpha = alpha;
      }
      run.to = column + 1;
      sums.fill(0);
      busy = path = 0;
    };
    const gather = (here, width, i) => {
      if (here !== column) flush();
      column = here;
      if (busy === 0) most = kind[i];
      busy += width;
      path |= onPath[i];
      sums[kind[i]] += width;
      if (sums[kind[i]] > sums[most]) most = kind[i];
    };
    for (let i = side.firstAfter(track, from); i < last && start[i] < to; ++i) {
      const x = GUTTER + (start[i] - from) * scale, width = (end[i] - start[i]) * scale;
      if (width < 2) {
        const here = Math.floor(x), inside = Math.min(width, here + 1 - x);
        gather(here, inside, i);
        if (width > inside) gather(here + 1, width - inside, i);
        continue;
      }
      flush();
      drawRun();
      const color = colors[kind[i]];
      const left = Math.max(x, GUTTER - 2), right = Math.min(x + width, this.width + 2);
      ctx.globalAlpha = onPath[i] ? 1 : fade;
      ctx.fillStyle = color;
      ctx.fillRect(left, y, width > 3 ? right - left - 0.8 : right - left, height);
      if (width > 15 && height >= 11) this.drawName(side, i, left, right, y, height, color);
    }
    flush();
    drawRun();
    ctx.globalAlpha = 1;
  }

  drawName(side, i, left, right, y, height, color) {
    const { ctx } = this, room = right - left - 6;
    ctx.font = `${height >= 18 ? 11.5 : 9.5}px ${this.font}`;
    ctx.textAlign = "center";
    ctx.fillStyle = textOn(color);
    let text = side.name(i);
    if (ctx.measureText(text).width > room) text = side.microbatch[i] >= 0 ? String(side.microbatch[i]) : side.kindName(i);
    if (ctx.measureText(text).width <= room) ctx.fillText(text, (left + right) / 2, y + height / 2 + 0.5);
  }

  // Where each side's run ends.
  drawEnds() {
    const { ctx, colors } = this;
    for (const side of this.sides) {
      if (side.shown < side.iterations) continue;
      const lanes = this.lanes.filter((lane) => lane.side === side);
      const x = Math.round(this.x(side.makespan)) - 0.5;
      ctx.strokeStyle = colors.text;
      ctx.setLineDash([3, 3]);
      for (const lane of this.options.pair ? lanes : [{ y: lanes[0].y, height: lanes.at(-1).y + lanes.at(-1).height - lanes[0].y }]) {
        ctx.beginPath();
        ctx.moveTo(x, lane.y);
        ctx.lineTo(x, lane.y + lane.height);
        ctx.stroke();
      }
      ctx.setLineDash([]);
    }
  }

  laneOf(side, i) {
    const track = side.trackOf[i];
    return this.lanes.find((lane) => lane.side === side && lane.tracks.includes(track)) ||
      this.lanes.find((lane) => lane.side === side && lane.compute && lane.rank === side.rank(i));
  }

  // A line from each span of the critical path to the next.
  drawPath() {
    const { ctx, colors } = this;
    ctx.strokeStyle = colors.text;
    ctx.lineWidth = 1.25;
    ctx.lineJoin = "round";
    for (const side of this.sides) {
      const { path } = side;
      let k = firstWhere(0, path.length, (p) => side.end[path[p]] > this.from);
      k = Math.max(0, k - 1);
      ctx.beginPath();
      let lastX = -Infinity, lastY = 0, begun = false;
      for (; k < path.length && side.start[path[k]] < this.to; ++k) {
        const lane = this.laneOf(side, path[k]);
        if (!lane) continue;
        const y = lane.y + lane.height / 2, x0 = this.x(side.start[path[k]]), x1 = this.x(side.end[path[k]]);
        if (begun && y === lastY && x1 - lastX < 1) continue;
        if (begun) ctx.lineTo(x0, y);
        else ctx.moveTo(x0, y);
        if (lane.height < 18 || !lane.compute) ctx.lineTo(x1, y);
        else {  // along the lower edge, clear of the name
          ctx.lineTo(x0, lane.y + lane.height - 2);
          ctx.lineTo(x1, lane.y + lane.height - 2);
          ctx.lineTo(x1, y);
        }
        begun = true;
        lastX = x1;
        lastY = y;
      }
      ctx.stroke();
    }
    ctx.lineWidth = 1;
  }

  drawHover() {
    const { ctx, colors, hover } = this;
    if (!hover || hover.span < 0) return;
    const { side } = hover.lane;
    const box = (i, width) => {
      const lane = this.laneOf(side, i);
      if (!lane) return null;
      const x0 = this.x(side.start[i]), x1 = Math.max(x0 + 1, this.x(side.end[i]));
      ctx.strokeStyle = colors.text;
      ctx.lineWidth = width;
      ctx.strokeRect(x0, lane.y + 0.5, x1 - x0 - 0.8, lane.height - 1);
      return { x0, x1, y: lane.y + lane.height / 2 };
    };
    const own = box(hover.span, 2);
    const waited = side.waited[hover.span];
    if (own && waited >= 0) {
      const other = box(waited, 1);
      if (other) {
        const startX = Math.min(other.x1, Math.max(other.x0, own.x0));
        ctx.beginPath();
        ctx.moveTo(startX, other.y);
        ctx.bezierCurveTo(startX + 18, other.y, own.x0 - 18, own.y, own.x0, own.y);
        ctx.lineWidth = 1.5;
        ctx.stroke();
      }
    }
    ctx.lineWidth = 1;
  }

  drawLabels() {
    const { ctx, colors } = this;
    ctx.textAlign = "left";
    for (const { side, y } of this.titles) {
      ctx.font = `600 12.5px ${this.font}`;
      ctx.fillStyle = colors.text;
      const name = side.side[0].toUpperCase() + side.side.slice(1);
      const width = ctx.measureText(name).width;
      // Clear of the grid lines.
      const makespan = duration(side.makespan) + (side.iterations > 1 ? `, ${side.iterations} iterations` : "");
      ctx.font = `12.5px ${this.font}`;
      const more = ctx.measureText(makespan).width;
      ctx.fillStyle = colors.background;
      ctx.fillRect(0, y - 9, width + more + 20, 15);
      ctx.fillStyle = colors.quiet;
      ctx.fillText(makespan, width + 10, y);
      ctx.font = `600 12.5px ${this.font}`;
      ctx.fillStyle = colors.text;
      ctx.fillText(name, 0, y);
    }
    ctx.font = `11.5px ${this.font}`;
    ctx.fillStyle = colors.quiet;
    for (const lane of this.lanes) {
      if (lane.label) ctx.fillText(lane.label, 0, lane.y + lane.height / 2 + 0.5);
    }
  }

  // All of both timelines in one strip, with the visible part framed.
  drawOverview() {
    if (!this.overviewStrip) this.overviewStrip = this.renderOverview();
    const ctx = this.prepare(this.overview, OVERVIEW);
    ctx.drawImage(this.overviewStrip, 0, 0, this.width, OVERVIEW);
    const span = this.width - GUTTER;
    const x0 = GUTTER + (this.from / this.end) * span, x1 = GUTTER + (this.to / this.end) * span;
    ctx.fillStyle = this.colors.background;
    ctx.globalAlpha = 0.7;
    ctx.fillRect(GUTTER, 0, x0 - GUTTER, OVERVIEW);
    ctx.fillRect(x1, 0, this.width - x1, OVERVIEW);
    ctx.globalAlpha = 1;
    ctx.strokeStyle = this.colors.accent;
    ctx.strokeRect(x0 + 0.5, 0.5, Math.max(2, x1 - x0 - 1), OVERVIEW - 1);
    ctx.font = `11.5px ${this.font}`;
    ctx.textBaseline = "middle";
    ctx.fillStyle = this.colors.quiet;
    ctx.fillText("overview", 0, OVERVIEW / 2);
  }

  renderOverview() {
    const strip = document.createElement("canvas");
    const view = { from: this.from, to: this.to, scale: this.scale, ctx: this.ctx, path: this.options.path };
    this.from = 0;
    this.to = this.end;
    this.scale = (this.width - GUTTER) / this.end;
    this.ctx = this.prepare(strip, OVERVIEW);
    this.options.path = false;
    const lanes = this.lanes.filter((lane) => lane.compute);
    const height = (OVERVIEW - 6) / lanes.length;
    lanes.forEach((lane, k) => {
      const thin = { ...lane, y: 3 + k * height, height: Math.max(0.6, height - (height > 3 ? 1 : 0)) };
      this.ctx.fillStyle = this.colors.lane;
      this.ctx.fillRect(GUTTER, thin.y, this.x(lane.side.until) - GUTTER, thin.height);
      for (const track of lane.tracks) this.drawTrack(thin, track);
    });
    this.from = view.from;
    this.to = view.to;
    this.scale = view.scale;
    this.ctx = view.ctx;
    this.options.path = view.path;
    return strip;
  }
}
