// Puts the charts into the page.
drawSummaryCharts();
const views = [];
for (const schedule of schedules) {
  const place = document.querySelector(`.timeline[data-schedule="${schedule.number}"]`);
  if (place && schedule.sides.length) views.push(new TimelineView(place, schedule));
  const bars = document.querySelector(`.idle[data-schedule="${schedule.number}"]`);
  if (bars) drawIdle(bars, schedule.result);
}
const redrawAll = () => views.forEach((view) => view.layOut());
window.addEventListener("resize", redrawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
window.addEventListener("beforeprint", redrawAll);
window.addEventListener("afterprint", redrawAll);

// A wheel turn that began elsewhere goes on scrolling the page when a timeline comes under the pointer.
let lastScroll = 0;
const scrolling = () => performance.now() - lastScroll < 300;
window.addEventListener("wheel", (event) => {
  if (!event.target.closest(".timeline canvas.view") || scrolling()) lastScroll = performance.now();
}, { passive: true, capture: true });
