// Gain against first-stage quality, and headroom captured by task and reranker.

const MANY = 2500; // points that a plot still draws and lets one hover at once

const quality = {
  async rows() {
    const tasks = await rowsOf(state.measure);
    return records(tasks, fitting(tasks)).filter((row) => !missing(row.gain));
  },
  choices(rows) {
    const names = byMean(rows.filter((row) => !row.invalid));
    const all = rows.length <= MANY ? [["", "all"]] : [];
    const options = [...all, ...names.map((name) => [name, name])];
    return [{ key: "reranker", label: "Reranker", options }, ...(all.length ? [FLOORS] : [])];
  },
  draw(rows, { reranker, floors }) {
    const own = reranker ? rows.filter((row) => row.reranker === reranker) : withoutFloors(rows, floors);
    const key = reranker ? "profile" : "reranker";
    const names = reranker ? distinct(own.map((row) => row.profile)) : byMean(own);
    const traces = names.map((name, i) =>
      qualityTrace(
        own.filter((row) => row[key] === name),
        label(name, 40),
        i,
      ),
    );
    const columns = [word("task", "task", (row) => row.task, { always: true }), ...gainColumns];
    const axes = {
      xaxis: axis(`first-stage ${state.measure}`, { zeroline: false }),
      yaxis: axis("gain", { tickformat: "+~g" }),
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
  draw(rows, { profile }, width) {
    const own = rows.filter((row) => row.profile === profile && !missing(row.headroom));
    if (!own.length) return null;
    const rerankers = byMean(own, (row) => row.headroom);
    const tasks = distinct(own.map((row) => row.task)).reverse();
    const known = new Map(own.map((row) => [`${row.task}\n${row.reranker}`, row]));
    const grid = tasks.map((task) => rerankers.map((name) => known.get(`${task}\n${name}`)));
    const columns = [
      word("task", "task", (row) => row.task, { always: true }),
      word("reranker", "reranker", (row) => row.reranker),
      figure("headroom", "headroom captured", (row) => row.headroom, share),
      figure("gain", "gain", (row) => row.natural, signed),
      word("kind", "marked as", oddity),
    ];
    const size = heatSize(tasks, rerankers, width);
    return {
      traces: [heatTrace(grid, tasks, rerankers)],
      layout: heatLayout(tasks, rerankers, size),
      least: size.least,
      table: own,
      columns,
      note: "Natural only. Blue: gained; orange: lost; what lies beyond ±100 % has the strongest colour.",
    };
  },
};

const LEGIBLE = 40; // tasks up to which each cell bears its number
const LEGIBLE_ACROSS = 24; // rerankers up to which it does
const CELL = 44; // pixels that a number takes

/** Pixels of a heat map: the least width, and how far the names under it reach down where turned. */
function heatSize(tasks, rerankers, width) {
  const longest = (names, most) => Math.min(most, Math.max(...names.map((name) => name.length))) * 6.8;
  const beside = longest(tasks, taskLetters()) + 140; // the colour bar among them
  const cell = rerankers.length <= LEGIBLE_ACROSS ? CELL : CELL / 2;
  const least = beside + cell * rerankers.length;
  const under = longest(rerankers, rerankerLetters());
  const turned = under > (Math.max(width, least) - beside) / rerankers.length;
  return { least, turned, down: turned ? 0.65 * under : 0 };
}

const taskLetters = () => (isNarrow() ? 18 : 44);
const rerankerLetters = () => (isNarrow() ? 16 : 30);

function heatTrace(grid, tasks, rerankers) {
  const told = (row) =>
    row
      ? lines(
          label(row.task),
          label(row.reranker),
          `${share(row.headroom)} of the headroom, ${signed(row.natural)}`,
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
    colorscale: palette().diverging.map((colour, i) => [i / 4, colour]),
    xgap: tasks.length <= LEGIBLE ? 1 : 0,
    ygap: tasks.length <= LEGIBLE ? 1 : 0,
    hoverongaps: false,
    text: grid.map((line) => line.map(cell)),
    texttemplate: tasks.length <= LEGIBLE && rerankers.length <= LEGIBLE_ACROSS ? "%{text}" : "",
    textfont: { size: 11 },
    hovertext: grid.map((line) => line.map(told)),
    hovertemplate: "%{hovertext}<extra></extra>",
    colorbar: { tickformat: ".0%", thickness: 12, len: 1, lenmode: "fraction", outlinewidth: 0 },
  };
}

function heatLayout(tasks, rerankers, { turned, down }) {
  const many = tasks.length > 90;
  const tall = many ? 1100 : tasks.length * (tasks.length <= LEGIBLE ? 24 : 14);
  return {
    height: Math.max(tall, 140) + 70 + down,
    margin: { l: 60, r: 10, t: 10, b: 30 },
    xaxis: axis("", {
      tickvals: rerankers.map((_, i) => i),
      ticktext: rerankers.map((name) => label(name, rerankerLetters())),
      tickangle: turned ? -40 : 0,
      showgrid: false,
      zeroline: false,
    }),
    yaxis: axis(many ? `${tasks.length} tasks; drag to look closer` : "", {
      tickvals: many ? [] : tasks.map((_, i) => i),
      ticktext: tasks.map((name) => label(name, taskLetters())),
      showgrid: false,
      zeroline: false,
    }),
  };
}
