// Plots by Plotly. Their specifications come with the report; here they are filled with rows.

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 700px)");
let printing = false;

const isDark = () => !printing && (state.get("theme") ? state.get("theme") === "dark" : dark.matches);

/** A name as a label of a plot: Plotly reads tags and entities in it, so there must be none. */
function label(text, most = Infinity) {
  const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// All buttons are named, so that no version of the library brings one that uploads.
const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "resetScale2d"]] };

async function drawPlot(section, host, { col }, rows, chosen) {
  await run("plotly");
  const plot = section.plot;
  const [x, y] = [chosen.x ?? plot.x, chosen.y ?? plot.y];
  const axes = { x: col[x], y: col[y] };
  const drawn = rows.filter((i) => !missing(axes.x[i]) && !missing(axes.y[i]) && fitsPlot(plot, col, axes.x, i));
  const box = host.firstChild ?? host.appendChild(h("div", { class: "plot", role: "group" }));
  box.ariaLabel = `Plot: ${section.title}. Its data are in the tables.`;
  const note = host.children[1] ?? host.appendChild(h("p", { class: "quiet" }));
  const left = rows.length - drawn.length;
  note.textContent = drawn.length ? (left ? `Not in the plot: ${left} of ${rows.length} rows.` : "") : "Nothing to draw.";
  box.hidden = !drawn.length;
  if (!drawn.length) return;
  const names = seriesOf(plot, col, drawn);
  const traces = names.map((name, k) => trace(plot, { name, k, col, axes, x, y }, drawn.filter((i) => col[plot.series][i] === name)));
  if (plot.has_front) traces.unshift(front(axes, drawn, col.kind));
  const layout = layoutOf(plot, { x, y, col, drawn });
  box.style.height = `${layout.height}px`;
  await globalThis.Plotly.react(box, traces, layout, CONFIG);
}

/** A plot with a front has a logarithmic axis of costs and shows nothing that only serves comparison. */
const fitsPlot = (plot, col, costs, i) => !plot.has_front || (costs[i] > 0 && col.kind[i] !== "floor");

/** Names of series: rerankers in the order of the report, others by name. */
function seriesOf(plot, col, rows) {
  const found = distinct(rows.map((i) => col[plot.series][i]));
  if (plot.series !== "reranker") return found.sort(collator.compare);
  return page.report.rerankers.filter((name) => found.includes(name));
}

function trace(plot, { name, k, col, axes, x, y }, rows) {
  const { symbols, kinds } = page.report;
  const odd = (i) => ISOLATED.includes(col.kind?.[i]);
  rows = [...rows.filter((i) => !odd(i)), ...rows.filter(odd)]; // the legend shows the first symbol
  const points = plot.is_counted ? counted(axes, rows) : rows.map((i) => [i, 1]);
  const base = plot.trace.marker.symbol ?? symbols[k % symbols.length];
  const size = points.map(([, n]) => plot.trace.marker.size + (plot.is_counted ? 3 * Math.sqrt(n) - 6 : 0));
  const symbol = points.map(([i]) => kinds[col.kind?.[i]] ?? base);
  const text = points.map(([i, n]) => hover(plot, col, i, n, [x, y]));
  const shown = (values, i) => (typeof values[i] === "string" ? label(values[i], 34) : values[i]);
  return {
    ...plot.trace,
    name: label(name, 40),
    x: points.map(([i]) => shown(axes.x, i)),
    y: points.map(([i]) => shown(axes.y, i)),
    text,
    hovertemplate: "%{text}<extra></extra>",
    marker: { ...plot.trace.marker, size, symbol },
    ...(plot.interval.length ? { error_x: interval(plot, col, rows) } : {}),
  };
}

/** Return equal points once, each with how many there are. */
function counted(axes, rows) {
  const found = new Map();
  for (const i of rows) {
    const key = `${axes.x[i]} ${axes.y[i]}`;
    found.set(key, [i, (found.get(key)?.[1] ?? 0) + 1]);
  }
  return [...found.values()];
}

function interval({ interval: [low, high], x }, col, rows) {
  const beside = (bound) => rows.map((i) => (missing(col[bound][i]) ? 0 : Math.abs(col[bound][i] - col[x][i])));
  return { symmetric: false, array: beside(high), arrayminus: beside(low), thickness: 1.4, width: 3 };
}

function hover(plot, col, i, n, [x, y]) {
  const names = distinct([...plot.hover, x, y]).filter((name) => col[name]);
  const lines = names.map((name) => {
    if (name === "marks") return label(col.marks[i].join("; "), 80);
    const column = columnOf(name);
    const text = label(written(column, fieldsOf(column, col, i)));
    return isName(column) ? text : `${column.label}: ${text}`;
  });
  return [...lines, n > 1 ? `${n} queries` : ""].filter(Boolean).join("<br>");
}

/** A line through the points that no point at the same cost or less exceeds. */
function front({ x, y }, rows, kind) {
  const plain = rows.filter((i) => ["", "significant"].includes(kind[i]));
  const points = [];
  for (const i of plain.sort((a, b) => x[a] - x[b] || y[b] - y[a]))
    if (y[i] > (points.length ? y[points.at(-1)] : -Infinity)) points.push(i);
  return {
    type: "scatter",
    mode: "lines",
    x: points.map((i) => x[i]),
    y: points.map((i) => y[i]),
    line: { shape: "hv", width: 1.3, color: "#8a8a8a", dash: "dot" },
    hoverinfo: "skip",
    showlegend: false,
  };
}

function layoutOf(plot, { x, y, col, drawn }) {
  const title = (name) => ({ text: columnOf(name).label, standoff: 8 });
  const layout = structuredClone(plot.layout);
  layout.template = page.report.templates[isDark() ? "dark" : "light"];
  layout.xaxis.title = title(x);
  layout.yaxis.title = title(y);
  if (plot.has_front) {
    const costs = drawn.map((i) => col[x][i]);
    layout.xaxis.dtick = Math.max(...costs) > 100 * Math.min(...costs) ? 1 : "D2"; // powers, or 1, 2, 5
  }
  if (plot.row_height) {
    const present = new Set(drawn.map((i) => col[y][i]));
    const names = page.report.rerankers.filter((name) => present.has(name)).map((name) => label(name, 34));
    Object.assign(layout.yaxis, { categoryorder: "array", categoryarray: names.reverse(), title: "" });
    layout.height += plot.row_height * names.length;
  }
  if (printing) Object.assign(layout, { width: 1000, height: Math.min(layout.height, 560) });
  return layout;
}

/** On paper a plot is light and at most as large as the paper. */
function print(now) {
  printing = now;
  showTheme();
  refresh();
}
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
dark.addEventListener("change", () => (showTheme(), refresh()));
narrow.addEventListener("change", () => refresh());

/** Set the colours of the page and of DataTables. */
function showTheme() {
  document.documentElement.dataset.theme = printing ? "light" : (state.get("theme") ?? "");
  document.documentElement.classList.toggle("dark", isDark());
}
