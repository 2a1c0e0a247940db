// Text and colours that the charts share.
const KIND_COLORS = {  // told apart with any kind of colour vision; after Okabe and Ito
  F: "#3b8bd0", B: "#e69f00", I: "#f0d94a", W: "#1f9e77", R: "#8cc9f0", A: "#c982b5", LB: "#d9622b", U: "#59636f",
  OVERLAP_F_B: "#9a7b4f", SYNC: "#c3c9d1", ALLREDUCE: "#a3b1a0", LOAD: "#b9a6d9",
};
const TRANSFER_COLOR = "#8d99a8";
const kindColor = (kind) => KIND_COLORS[kind] || TRANSFER_COLOR;

const CAUSE_COLORS = {  // after Tol's light scheme
  fill: "#c9ced6", drain: "#aab2bd", starved: "#77aadd", communication: "#ee8866", blocked: "#ffaabb", imbalance: "#bbcc33",
  synchronisation: "#44bb99", host_launch: "#eedd88", input_pipeline: "#aaaa00",
};
const words = (name) => name.replaceAll("_", " ").replaceAll("-", " ");

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Three significant digits and a unit, as in the tables.
function duration(ns) {
  const sign = ns < 0 ? "−" : "", size = Math.abs(ns);
  const [scale, unit] = size >= 1e9 ? [1e9, "s"] : size >= 1e6 ? [1e6, "ms"] : size >= 1e3 ? [1e3, "µs"] : [1, "ns"];
  const value = size / scale;
  const digits = unit === "ns" ? 0 : value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${sign}${value.toFixed(digits)} ${unit}`;
}
// A point in time, exact to the microsecond.
function clock(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(6)} s`;
  return ns >= 1e6 ? `${(ns / 1e6).toFixed(3)} ms` : `${(ns / 1e3).toFixed(3)} µs`;
}
const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (unit < 4 && count >= 1024) {
    count /= 1024;
    ++unit;
  }
  return `${count.toFixed(unit === 0 || count >= 100 ? 0 : count >= 10 ? 1 : 2)} ${units[unit]}`;
}

// Dark text on light colours and the other way round.
function textOn(color) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16) / 255);
  return 0.299 * r + 0.587 * g + 0.114 * b > 0.52 ? "#12161b" : "#ffffff";
}

function legend(entries) {
  const key = element("div", "key");
  for (const [name, color] of entries) {
    const entry = element("span");
    const box = element("i");
    box.style.background = color;
    entry.append(box, name);
    key.append(entry);
  }
  return key;
}
