// Quality against cost, on one kind of hardware.

const COSTS = {
  seconds: "engine seconds per query",
  tokens: "tokens read and written per query",
  flops: "ideal FLOP per query",
};

const costColumnsOf = (cost) => [
  word("profile", "profile", (row) => row.profile),
  word("reranker", "reranker", (row) => row.reranker, { always: true }),
  figure("cost", COSTS[cost], (row) => row[cost], cost === "seconds" ? seconds : count),
  figure("value", "value", (row) => row.value, number),
  word("front", "on the front", (row) => (row.front ? "yes" : null)),
  word("kind", "marked as", (row) => (row.invalid ? "invalid" : row.floor ? "floor" : null)),
];

const pareto = {
  rows: scopes,
  choices(rows, chosen) {
    const own = () => rows.filter((row) => scopeOf(row) === chosen.scope);
    return [
      scopeChoice(rows),
      { key: "profile", label: "After", options: () => [["", "all profiles"], ...profilesOf(own())] },
      { key: "hardware", label: "On", options: () => machines(own()) },
      { key: "cost", label: "Cost", options: Object.entries(COSTS), fallback: firstCost(rows) },
    ];
  },
  draw(rows, { scope, profile, hardware, cost }) {
    const asked = rows.filter(
      (row) => scopeOf(row) === scope && machineOf(row) === hardware && (!profile || row.profile === profile),
    );
    const own = asked.filter((row) => !missing(row[cost]));
    if (!own.length) return null;
    const free = Math.min(...own.map((row) => row[cost]).filter((value) => value > 0), Infinity) / 4;
    const at = (row) => (row[cost] > 0 ? row[cost] : Number.isFinite(free) ? free : 1);
    const parts = distinct(own.map((row) => row.profile)).map((profile) =>
      own.filter((row) => row.profile === profile),
    );
    const fronts = parts.map((part) => withFront(part, cost));
    const table = fronts.flat();
    const named = parts.length === 1 || table.filter((row) => row.front).length <= LEGIBLE_NAMES;
    const traces = fronts.flatMap((part, i) => costTraces(part, { i, at, cost, named }));
    return {
      traces,
      layout: costLayout(table, cost, at),
      table,
      columns: costColumnsOf(cost),
      note: costNote(own, { cost, named, absent: asked.length - own.length }),
    };
  },
};

/** Kinds of hardware, the one with most rows first. */
function machines(rows) {
  const found = new Map();
  for (const row of rows) found.set(machineOf(row), (found.get(machineOf(row)) ?? 0) + 1);
  return [...found.keys()].sort((a, b) => found.get(b) - found.get(a));
}

const LEGIBLE_NAMES = 12; // on all fronts together, before they cover one another

const profilesOf = (rows) => distinct(rows.map((row) => row.profile)).map((name) => [name, name]);

const machineOf = (row) => row.hardware || "not known";

const firstCost = (rows) => Object.keys(COSTS).find((cost) => rows.some((row) => row[cost] > 0)) ?? "seconds";

function costNote(rows, { cost, named, absent }) {
  return [
    "Filled: on the front; open: not; grey: floors; crosses: invalid.",
    rows.some((row) => row[cost] === 0) ? "What costs nothing stands at the left edge." : "",
    named ? "" : "After one profile the front bears its names.",
    absent ? `Not here, for this cost is not known of them: ${absent} of ${rows.length + absent}.` : "",
  ]
    .filter(Boolean)
    .join(" ");
}

/** Rows by cost, marked where none that costs as little is better; floors and invalid ones never. */
function withFront(rows, cost) {
  let best = -Infinity;
  const ranked = [...rows].sort((a, b) => a[cost] - b[cost] || b.value - a.value);
  return ranked.map((row) => {
    const front = !row.invalid && !row.floor && row.value > best;
    if (front) best = row.value;
    return { ...row, front };
  });
}

function costTraces(given, { i, at, cost, named }) {
  const colour = seriesColour(i);
  const odd = (row) => Boolean(row.invalid || row.floor);
  const rows = [...given].sort((a, b) => odd(a) - odd(b)); // the legend wears the first one's look
  const front = given.filter((row) => row.front);
  const told = (row) =>
    lines(
      label(row.reranker),
      label(row.profile),
      `${number(row.value)} at ${cost === "seconds" ? seconds(row[cost]) : count(row[cost])}`,
      row.invalid ? "invalid" : row.floor ? "floor" : "",
    );
  const name = label(rows[0].profile);
  const above = i % 2 ? "bottom center" : "top center";
  return [
    {
      type: "scatter",
      mode: "lines",
      x: front.map(at),
      y: front.map((row) => row.value),
      line: { shape: "hv", color: colour, width: 1.3, dash: DASHES[i % DASHES.length] },
      legendgroup: name,
      showlegend: false,
      hoverinfo: "skip",
    },
    {
      type: "scatter",
      mode: "markers+text",
      name,
      legendgroup: name,
      x: rows.map(at),
      y: rows.map((row) => row.value),
      hovertext: rows.map(told),
      hovertemplate: "%{hovertext}<extra></extra>",
      text: rows.map((row) => (row.front && named ? label(row.reranker, 28) : "")),
      textposition: above,
      textfont: { size: 11 },
      cliponaxis: false,
      marker: {
        size: rows.map((row) => (row.front ? 10 : 8)),
        color: rows.map((row) => (odd(row) ? GREY : colour)),
        symbol: rows.map((row) => (row.invalid ? "x" : seriesSymbol(i) + (row.front ? "" : "-open"))),
        line: { width: 1.4 },
      },
    },
  ];
}

function costLayout(rows, cost, at) {
  const free = rows.filter((row) => row[cost] === 0);
  const edge = free.length
    ? [
        {
          x: Math.log10(at(free[0])),
          y: 0,
          xref: "x",
          yref: "paper",
          yanchor: "bottom",
          text: "free",
          showarrow: false,
          font: { size: 11 },
        },
      ]
    : [];
  return {
    height: 460,
    xaxis: axis(COSTS[cost], { type: "log", ...ticks(rows.map(at)) }),
    yaxis: axis(`${state.safeguarded ? "safeguarded" : "natural"} ${state.measure}`, { zeroline: false }),
    annotations: edge,
  };
}

/** Marks of a logarithmic axis: 1, 2 and 5 of each power of ten, or the powers where there are many. */
function ticks(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map(Math.log10);
  const steps = high - low > 3 ? [1] : [1, 2, 5];
  const powers = Array.from(
    { length: Math.ceil(high) - Math.floor(low) + 2 },
    (_, i) => Math.floor(low) - 1 + i,
  );
  const tickvals = powers.flatMap((power) => steps.map((step) => Number(`${step}e${power}`)));
  return { tickvals, ticktext: tickvals.map(count) };
}
