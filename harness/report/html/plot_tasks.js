// Gain against first-stage quality, and headroom captured by task and reranker.

const MANY = 2500; // points that a plot still draws and lets one hover at once

const quality = {
  async rows() {
    const tasks = await rowsOf(state.measure);
    return records(tasks, await fittingTasks(tasks)).filter((row) => !missing(row.gain));
  },
  choices(rows) {
    const names = byMean(rows.filter((row) => !row.invalid));
    const all = rows.length <= MANY ? [["", "all"]] : [];
    return [{ key: "reranker", label: "Reranker", options: [...all, ...names.map((name) => [name, name])] }];
  },
  draw(rows, { reranker }) {
    const own = reranker ? rows.filter((row) => row.reranker === reranker) : rows;
    const key = reranker ? "profile" : "reranker";
    const traces = distinct(own.map((row) => row[key])).map((name, i) =>
      qualityTrace(
        own.filter((row) => row[key] === name),
        label(name, 40),
        i,
      ),
    );
    const columns = [word("task", "task", (row) => row.task, { always: true }), ...gainColumns];
    const axes = {
      xaxis: axis(`first-stage ${state.measure}`, { zeroline: false }),
      yaxis: axis("gain", { tickformat: "+.2~f" }),
    };
    return { traces, layout: { height: 460, showlegend: true, ...axes }, table: own, columns };
  },
};

function qualityTrace(rows, name, i) {
  const told = (row) =>
    lines(
      label(row.task),
      label(row.reranker),
      label(row.profile),
      `${number(row.first)} ${signed(row.gain)}`,
      oddity(row),
    );
  return {
    type: "scatter",
    mode: "markers",
    name,
    x: rows.map((row) => row.first),
    y: rows.map((row) => row.gain),
    text: rows.map(told),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      size: 7,
      opacity: 0.8,
      color: seriesColour(i),
      symbol: rows.map((row) => (row.invalid ? "x-thin-open" : seriesSymbol(i))),
      line: { width: 1, color: seriesColour(i) },
    },
  };
}

const heat = {
  rows: quality.rows,
  choices: (rows) => [
    { key: "profile", label: "Profile", options: distinct(rows.map((row) => row.profile)) },
  ],
  draw(rows, { profile }) {
    const own = rows.filter((row) => row.profile === profile && !missing(row.headroom));
    if (!own.length) return null;
    const rerankers = byMean(own);
    const tasks = distinct(own.map((row) => row.task)).reverse();
    const known = new Map(own.map((row) => [`${row.task}\n${row.reranker}`, row]));
    const grid = tasks.map((task) => rerankers.map((name) => known.get(`${task}\n${name}`)));
    const columns = [
      word("task", "task", (row) => row.task, { always: true }),
      word("reranker", "reranker", (row) => row.reranker),
      figure("headroom", "headroom captured", (row) => row.headroom, share),
      figure("gain", "gain", (row) => row.gain, signed),
      word("kind", "marked as", oddity),
    ];
    return {
      traces: [heatTrace(grid, tasks, rerankers)],
      layout: heatLayout(tasks, rerankers),
      table: own,
      columns,
      note: "Natural only. Blue: gained; orange: lost; what lies beyond ±100 % has the darkest colour.",
    };
  },
};

const DIVERGING = [
  [0, "#a64500"],
  [0.25, "#f0ab7a"],
  [0.5, "#f7f7f7"],
  [0.75, "#8cc3e6"],
  [1, "#00517f"],
];
const LEGIBLE = 40; // tasks up to which each cell bears its number

function heatTrace(grid, tasks, rerankers) {
  const told = (row) =>
    row
      ? lines(
          label(row.task),
          label(row.reranker),
          `${share(row.headroom)} of the headroom, ${signed(row.gain)}`,
          oddity(row),
        )
      : "";
  const cell = (row) => (row ? (row.invalid ? "✕ " : "") + share(row.headroom).replace(" %", "") : "");
  return {
    type: "heatmap",
    x: rerankers.map((_, i) => i),
    y: tasks.map((_, i) => i),
    z: grid.map((line) => line.map((row) => row?.headroom ?? null)),
    zmin: -1,
    zmax: 1,
    colorscale: DIVERGING,
    xgap: tasks.length <= LEGIBLE ? 1 : 0,
    ygap: tasks.length <= LEGIBLE ? 1 : 0,
    hoverongaps: false,
    text: grid.map((line) => line.map(cell)),
    texttemplate: tasks.length <= LEGIBLE && rerankers.length <= 24 ? "%{text}" : "",
    hovertext: grid.map((line) => line.map(told)),
    hovertemplate: "%{hovertext}<extra></extra>",
    colorbar: { tickformat: ".0%", thickness: 12, len: 1, lenmode: "fraction", outlinewidth: 0 },
  };
}

function heatLayout(tasks, rerankers) {
  const many = tasks.length > 90;
  const tall = many ? 1100 : tasks.length * (tasks.length <= LEGIBLE ? 24 : 14);
  return {
    height: Math.max(tall, 140) + 120,
    margin: { l: 60, r: 10, t: 10, b: 30 },
    xaxis: axis("", {
      tickvals: rerankers.map((_, i) => i),
      ticktext: rerankers.map((name) => label(name, 30)),
      tickangle: rerankers.length > 4 ? -40 : 0,
      showgrid: false,
      zeroline: false,
    }),
    yaxis: axis(many ? `${tasks.length} tasks; drag to look closer` : "", {
      tickvals: many ? [] : tasks.map((_, i) => i),
      ticktext: tasks.map((name) => label(name, 44)),
      showgrid: false,
      zeroline: false,
    }),
  };
}
