// Gains with their intervals, and the rows that this and other plots are of.

const panels = () => (isNarrow() ? 1 : 3); // side by side

/** Rows of a frame as objects, with what a plot needs of them. */
function records({ col: c }, rows) {
  const guarded = state.safeguarded;
  return rows.map((i) => ({
    task: c.task[i],
    profile: c.profile[i],
    reranker: c.reranker[i],
    hardware: c.hardware[i],
    apart: c.apart[i] === 1,
    first: c.first_stage[i],
    value: guarded ? c.safeguarded[i] : c.natural[i],
    gain: guarded ? c.gain_safeguarded[i] : c.gain[i],
    low: guarded ? null : c.gain_low[i],
    high: guarded ? null : c.gain_high[i],
    starred: !guarded && c.starred[i] === 1,
    tested: !guarded && !missing(c.p_holm[i]),
    natural: c.gain[i],
    invalid: c.invalid[i],
    floor: c.floor[i] === 1,
    fake: c.engine[i] === "fake",
    failed: c.failed[i],
    headroom: c.headroom_captured[i],
    seconds: c.seconds_per_query[i],
    gpu: c.gpu_seconds[i],
    price: per1000(c.price[i]),
    flops: c.ideal_flops[i],
    tokens: missing(c.prompt_tokens[i])
      ? null
      : (c.prompt_tokens[i] + (c.output_tokens[i] ?? 0)) / c.queries[i],
  }));
}

/** Means of data sets and rows of tasks that fit the filters: what a plot may be of. */
async function scopes() {
  const groups = await rowsOf(state.measure, true);
  const tasks = await rowsOf(state.measure);
  const means = records(groups, fittingGroups(groups)).map((row) => ({ ...row, mean: true }));
  return [...means, ...records(tasks, fitting(tasks))].filter((row) => !missing(row.value));
}

function scopeChoice(rows) {
  const names = new Map(rows.map((row) => [scopeOf(row), row.mean ? `${row.task}, mean` : row.task]));
  return { key: "scope", label: "Of", options: [...names] };
}

const scopeOf = (row) => (row.mean ? "mean " : "task ") + row.task;

/** What keeps a row from being a result like others. */
function oddity({ invalid, floor, fake, apart }) {
  if (invalid) return "invalid";
  if (floor) return "floor";
  return fake ? "fake engine" : apart ? "not comparable" : null;
}
const kindOf = (row) => oddity(row) ?? (row.starred ? "starred" : row.tested ? "not starred" : "not tested");
const LOOKS = {
  starred: { symbol: "star", series: 0, size: 11 },
  "not starred": { symbol: "circle-open", series: 0, size: 8 },
  "not tested": { symbol: "circle-open-dot", series: 0, size: 8 },
  floor: { symbol: "diamond-open", size: 8 },
  "not comparable": { symbol: "square-open", size: 8 },
  "fake engine": { symbol: "hourglass-open", size: 8 },
  invalid: { symbol: "x-thin-open", series: 1, size: 9 },
};

/** How a kind of row is drawn; what is no result like others is grey. */
function lookOf(kind) {
  const { symbol, size, series } = LOOKS[kind];
  return { symbol, size, color: missing(series) ? palette().grey : seriesColour(series) };
}

const gainColumns = [
  word("profile", "profile", (row) => row.profile),
  word("reranker", "reranker", (row) => row.reranker, { always: true }),
  figure("first", "first stage", (row) => row.first, number),
  figure("value", "value", (row) => row.value, number),
  figure("gain", "gain", (row) => row.gain, signed),
  figure("interval", "95 % interval", (row) => row.low, null, { write: (row) => bounds(row.low, row.high) }),
  word("kind", "marked as", kindOf),
];

const forest = {
  rows: scopes,
  choices: (rows) => [scopeChoice(rows)],
  draw(rows, { scope }) {
    const own = rows.filter((row) => scopeOf(row) === scope);
    const profiles = distinct(own.map((row) => row.profile));
    const rerankers = byMean(own);
    const place = new Map(rerankers.map((name, i) => [name, rerankers.length - 1 - i]));
    const told = new Set();
    const traces = profiles.flatMap((profile, i) =>
      forestPanel(
        own.filter((row) => row.profile === profile),
        place,
        i,
        told,
      ),
    );
    const high = Math.ceil(profiles.length / panels());
    return { traces, layout: forestLayout(profiles, rerankers, high), table: own, columns: gainColumns };
  },
};

/** Rerankers by their mean gain, best first; invalid and unreal ones and then floors last. */
function byMean(rows, valueOf = (row) => row.gain) {
  const found = new Map();
  for (const row of rows) {
    const { reranker, invalid, floor, fake, apart } = row;
    const known = found.get(reranker) ?? { sum: 0, n: 0, last: 0 };
    known.sum += valueOf(row) ?? 0;
    known.n += 1;
    known.last = Math.max(known.last, floor ? 2 : invalid || fake || apart ? 1 : 0);
    found.set(reranker, known);
  }
  const ranked = [...found].sort(([, a], [, b]) => a.last - b.last || b.sum / b.n - a.sum / a.n);
  return ranked.map(([name]) => name);
}

const FLOORS = {
  key: "floors",
  label: "Floors",
  options: [
    ["", "left out"],
    ["shown", "shown"],
  ],
};

/** Rows without floors, unless these are asked for or are all there is. */
function withoutFloors(rows, floors) {
  const real = rows.filter((row) => !row.floor);
  return floors || !real.length ? rows : real;
}

/** A panel's points, one trace for each kind; the legend names a kind once. */
function forestPanel(rows, place, panel, told) {
  const axisNumber = panel ? panel + 1 : "";
  const kinds = Object.keys(LOOKS).filter((kind) => rows.some((row) => kindOf(row) === kind));
  return kinds.map((kind) => {
    const own = rows.filter((row) => kindOf(row) === kind);
    const look = lookOf(kind);
    const fresh = !told.has(kind);
    told.add(kind);
    const known = (row, bound) => (missing(bound) ? 0 : Math.abs(bound - row.gain));
    return {
      type: "scatter",
      mode: "markers",
      name: kind,
      legendgroup: kind,
      xaxis: `x${axisNumber}`,
      yaxis: `y${axisNumber}`,
      showlegend: fresh,
      x: own.map((row) => row.gain),
      y: own.map((row) => place.get(row.reranker)),
      marker: { ...look, line: { width: 1.6, color: look.color } },
      error_x: {
        symmetric: false,
        array: own.map((row) => known(row, row.high)),
        arrayminus: own.map((row) => known(row, row.low)),
        thickness: 1.4,
        width: 3,
        color: look.color,
      },
      text: own.map((row) =>
        lines(
          label(row.reranker),
          `${signed(row.gain)} ${bounds(row.low, row.high)}`,
          row.invalid ? `invalid: ${label(row.invalid, 80)}` : oddity(row),
        ),
      ),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
}

function forestLayout(profiles, rerankers, high) {
  const ticks = rerankers.map((name) => label(name, isNarrow() ? 20 : 34));
  const made = {
    grid: {
      rows: high,
      columns: Math.min(panels(), profiles.length),
      pattern: "independent",
      xgap: 0.06,
      ygap: 0.25,
    },
    annotations: [],
  };
  const wide = made.grid.columns;
  profiles.forEach((profile, i) => {
    const n = i ? i + 1 : "";
    const inner = i % wide > 0;
    made[`xaxis${n}`] = axis(i >= profiles.length - wide ? "gain" : "", {
      zeroline: true,
      matches: i ? "x" : undefined,
      tickformat: "+~g",
    });
    made[`yaxis${n}`] = axis("", {
      range: [-0.7, rerankers.length - 0.3],
      tickvals: rerankers.map((_, k) => rerankers.length - 1 - k),
      ticktext: ticks,
      showticklabels: !inner,
      zeroline: false,
      showgrid: true,
    });
    made.annotations.push({
      text: label(profile, 40),
      font: { weight: 600 },
      showarrow: false,
      xref: `x${n} domain`,
      yref: `y${n} domain`,
      x: 0,
      y: 1,
      xanchor: "left",
      yanchor: "bottom",
    });
  });
  const tall = high * (rerankers.length * 21 + 70);
  return {
    ...made,
    height: tall + 90,
    margin: { l: 40, r: 15, t: 30, b: 70 },
    legend: { orientation: "h", x: 0, xanchor: "left", y: -60 / tall, yanchor: "top" },
  };
}
