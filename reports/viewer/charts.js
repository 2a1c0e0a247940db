// Bars: speed-ups, memory, idle time by cause.
function addRow(chart, name, bar, value, title) {
  const label = element("div", "name", name);
  label.title = name;
  if (title) bar.title = title;
  chart.append(label, bar, element("div", "value", value));
}
function segment(bar, fraction, color, title) {
  const part = element("i");
  part.style.width = `${100 * fraction}%`;
  part.style.background = color;
  if (title) part.title = title;
  bar.append(part);
}
const SIDE_COLORS = { predicted: "#8fb8de", measured: "#24639c" };

// Pairs of bars, predicted over measured, on one scale from zero.
function pairChart(place, heading, rows, text) {
  const largest = Math.max(...rows.flatMap((row) => [row.predicted, row.measured, row.published].filter((v) => v !== undefined)));
  if (!(largest > 0)) return;
  const chart = element("div", "chart");
  for (const row of rows) {
    let name = row.name;
    for (const side of ["predicted", "measured"]) {
      if (row[side] === undefined) continue;
      const bar = element("div", "bar free");
      segment(bar, row[side] / largest, SIDE_COLORS[side], `${row.name}, ${side}: ${text(row[side])}`);
      if (row.published !== undefined) {
        const mark = element("span", "mark");
        mark.style.left = `calc(${(100 * row.published) / largest}% - 1px)`;
        mark.title = `published: ${text(row.published)}`;
        bar.append(mark);
      }
      addRow(chart, name, bar, text(row[side]));
      name = "";
    }
    chart.append(element("div", "gap"));
  }
  place.append(element("h3", "", heading), chart);
  const sides = ["predicted", "measured"].filter((side) => rows.some((row) => row[side] !== undefined));
  const key = legend(sides.map((side) => [side, SIDE_COLORS[side]]));
  if (rows.some((row) => row.published !== undefined)) {
    const entry = element("span");
    const box = element("i");
    Object.assign(box.style, { width: "2px", height: "14px", background: "var(--text)" });
    entry.append(box, "published");
    key.append(entry);
  }
  place.append(key);
}

function drawSummaryCharts() {
  const value = (side, key) => (side && side[key] !== null ? side[key] : undefined);
  const rows = report.results
    .map((r) => ({
      name: r.label,
      predicted: value(r.predicted, "speedup"),
      measured: value(r.measured, "speedup"),
      published: r.published && r.published.speedup !== null ? r.published.speedup : undefined,
    }))
    .filter((row) => row.predicted !== undefined || row.measured !== undefined);
  const factor = (v) => `${v.toFixed(2)}x`;
  if (rows.length) pairChart(document.getElementById("speedups"), `Speed-up over ${report.baseline}`, rows, factor);

  const peaks = [];
  for (const r of report.results) {
    const peak = (side) => (side && side.peak_bytes ? Math.max(...side.peak_bytes) : undefined);
    const row = { name: r.label, predicted: peak(r.predicted), measured: peak(r.measured) };
    if (row.predicted !== undefined || row.measured !== undefined) peaks.push(row);
  }
  if (peaks.length) pairChart(document.getElementById("memory"), "Peak memory of the fullest rank", peaks, bytes);
}

// One bar per rank and side: the whole width is the longer makespan; busy first, then idle by cause.
function drawIdle(place, result) {
  const sides = ["predicted", "measured"].filter((name) => result[name] && result[name].idle_ns.length);
  if (!sides.length) return;
  const whole = Math.max(...sides.map((name) => result[name].makespan_ns));
  if (!(whole > 0)) return;
  const used = new Set();
  const chart = element("div", "chart");
  const ranks = Math.max(...sides.map((name) => result[name].idle_ns.length));
  for (let rank = 0; rank < ranks; ++rank) {
    for (const name of sides) {
      const side = result[name], causes = side.idle_ns[rank];
      if (!causes) continue;
      const idle = Object.values(causes).reduce((sum, ns) => sum + ns, 0);
      const bar = element("div", "bar free");
      const share = (ns) => `${duration(ns)}, ${percent(ns / side.makespan_ns)} of the makespan`;
      segment(bar, (side.makespan_ns - idle) / whole, "var(--busy)", `rank ${rank}, ${name}: busy ${share(side.makespan_ns - idle)}`);
      for (const [cause, ns] of Object.entries(causes)) {
        if (ns === 0) continue;
        used.add(cause);
        segment(bar, ns / whole, CAUSE_COLORS[cause], `rank ${rank}, ${name}: ${words(cause)} ${share(ns)}`);
      }
      addRow(chart, sides.length > 1 ? `rank ${rank} ${name}` : `rank ${rank}`, bar, `idle ${percent(idle / side.makespan_ns)}`);
    }
    if (sides.length > 1) chart.append(element("div", "gap"));
  }
  const key = [["busy", "var(--busy)"]];
  for (const cause of pageData.causes) {
    if (used.has(cause)) key.push([words(cause), CAUSE_COLORS[cause]]);
  }
  place.append(element("h3", "", "Idle time by cause"), chart, legend(key));
}
