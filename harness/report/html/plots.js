// Plots by Plotly. Their specifications come with the report; here they are filled with rows.

// All buttons are named, so that no version of the library brings one that uploads.
const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["toImage", "resetScale2d"]],
};
const PAPER = { width: 1000, height: 560 };

/** A name as a label of a plot: Plotly reads tags and entities in it, so there must be none. */
function label(text, most = Infinity) {
  const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

async function drawPlot(section, host, { col }, rows, chosen) {
  await run("plotly");
  const plot = { ...section.plot, ...chosen, col };
  const drawn = rows.filter((i) => isDrawn(plot, i));
  const box = host.firstChild ?? host.appendChild(h("div", { class: "plot", role: "group" }));
  const note = host.children[1] ?? host.appendChild(h("p", { class: "quiet" }));
  box.ariaLabel = `Plot: ${section.title}. Its data are in the tables.`;
  box.hidden = !drawn.length;
  note.textContent = `Not in the plot: ${rows.length - drawn.length} of ${rows.length} rows.`;
  note.hidden = rows.length > 0 && drawn.length === rows.length;
  if (!drawn.length) return;
  const found = drawn.map((i) => col[plot.series][i]);
  const names =
    plot.series === "reranker" ? inOrder(found) : distinct(found).sort(collator.compare);
  const traces = names.map((name, k) =>
    trace(plot, name, k, (i) => col[plot.series][i] === name, drawn),
  );
  if (plot.has_front) traces.unshift(front(plot, drawn));
  const layout = layoutOf(plot, drawn);
  box.style.height = `${layout.height}px`;
  await globalThis.Plotly.react(box, traces, layout, CONFIG);
}

/** Whether a row is a point: a front is of what costs something and is no floor. */
function isDrawn({ col, x, y, has_front: hasFront }, i) {
  if (missing(col[x][i]) || missing(col[y][i])) return false;
  return !hasFront || (col[x][i] > 0 && col.kind[i] !== "floor");
}

function trace(plot, name, k, isOwn, drawn) {
  const { symbols, kinds } = page.report;
  const { col, x, y } = plot;
  const own = drawn.filter(isOwn).sort((a, b) => isOdd(col, a) - isOdd(col, b));
  const points = plot.is_counted ? counted(plot, own) : own.map((i) => [i, 1]);
  const { size, symbol = symbols[k % symbols.length] } = plot.trace.marker;
  return {
    ...plot.trace,
    name: label(name, 40),
    x: points.map(([i]) => col[x][i]),
    y: points.map(([i]) => col[y][i]),
    text: points.map(([i, n]) => hover(plot, i, n)),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      ...plot.trace.marker,
      size: points.map(([, n]) => size - 3 + 3 * Math.sqrt(n)),
      symbol: points.map(([i]) => kinds[col.kind?.[i]] ?? symbol), // the legend shows the first
    },
    ...(plot.interval.length ? { error_x: interval(plot, own) } : {}),
  };
}

/** Return equal points once, each with how many there are. */
function counted({ col, x, y }, rows) {
  const found = new Map();
  for (const i of rows) {
    const key = `${col[x][i]} ${col[y][i]}`;
    found.set(key, [i, (found.get(key)?.[1] ?? 0) + 1]);
  }
  return [...found.values()];
}

function interval({ interval: [low, high], x, col }, rows) {
  const width = (i, bound) => (missing(col[bound][i]) ? 0 : Math.abs(col[bound][i] - col[x][i]));
  const [array, arrayminus] = [high, low].map((bound) => rows.map((i) => width(i, bound)));
  return { symmetric: false, array, arrayminus, thickness: 1.4, width: 3 };
}

function hover(plot, i, n) {
  const names = distinct([...plot.hover, plot.x, plot.y]).filter((name) => plot.col[name]);
  const lines = names.map((name) => {
    if (name === "marks") return label(plot.col.marks[i].join("; "), 80);
    const column = columnOf(name);
    const text = label(written(column, fieldsOf(column, plot.col, i)));
    return isName(column) ? text : `${column.label}: ${text}`;
  });
  return [...lines, n > 1 ? `${n} queries` : ""].filter(Boolean).join("<br>");
}

/** A line through the points that neither the first stage nor one that costs no more exceeds. */
function front({ col, x, y }, drawn) {
  const firstStage = (i) => (y === "natural" ? col.first_stage[i] : 0);
  const rows = drawn.filter((i) => !isOdd(col, i) && col[y][i] > firstStage(i));
  const best = [];
  for (const i of rows.sort((a, b) => col[x][a] - col[x][b] || col[y][b] - col[y][a]))
    if (!best.length || col[y][i] > col[y][best.at(-1)]) best.push(i);
  return {
    type: "scatter",
    mode: "lines",
    x: best.map((i) => col[x][i]),
    y: best.map((i) => col[y][i]),
    line: { shape: "hv", width: 1.3, color: "#8a8a8a", dash: "dot" },
    hoverinfo: "skip",
    showlegend: false,
  };
}

function layoutOf({ layout: given, col, x, y, ...plot }, drawn) {
  const layout = structuredClone(given);
  layout.template = page.report.templates[isDark() ? "dark" : "light"];
  layout.xaxis.title = { text: columnOf(x).label, standoff: 8 };
  layout.yaxis.title = { text: columnOf(y).label, standoff: 8 };
  if (plot.has_front) {
    const costs = drawn.map((i) => col[x][i]);
    const decades = Math.log10(Math.max(...costs) / Math.min(...costs));
    layout.yaxis.rangemode = y === "natural" ? "normal" : "tozero"; // with the first stage at 0
    layout.xaxis.dtick = decades > 2 ? 1 : "D2"; // powers of ten, or 1, 2 and 5
  }
  if (plot.row_height) {
    const names = inOrder(drawn.map((i) => col[y][i])).reverse();
    const ticks = { tickvals: names, ticktext: names.map((name) => label(name, 34)), title: "" };
    Object.assign(layout.yaxis, ticks, { categoryorder: "array", categoryarray: names });
    layout.height += plot.row_height * names.length;
  }
  if (printing) return { ...layout, ...PAPER, height: Math.min(layout.height, PAPER.height) };
  return layout;
}
