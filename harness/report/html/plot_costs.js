// Quality against cost, on one kind of hardware.

const COSTS = {
  seconds: { title: "engine seconds per query", text: seconds },
  tokens: { title: "tokens read and written per query", text: count },
  flops: { title: "ideal FLOP per query", text: count },
  gpu: { title: "GPU seconds per query", text: seconds },
  price: { title: "price of 1000 queries", text: price },
};

const costColumnsOf = (cost) => [
  word("profile", "profile", (row) => row.profile),
  word("reranker", "reranker", (row) => row.reranker, { always: true }),
  figure("cost", COSTS[cost].title, (row) => row[cost], COSTS[cost].text),
  figure("value", "value", (row) => row.value, number),
  word("front", "on the front", (row) => (row.front ? "yes" : null)),
  word("kind", "marked as", marked),
];

const pareto = {
  rows: scopes,
  choices(rows, chosen) {
    const own = () => rows.filter((row) => scopeOf(row) === chosen.scope);
    return [
      scopeChoice(rows),
      { key: "profile", label: "After", options: () => [["", "all profiles"], ...profilesOf(own())] },
      { key: "hardware", label: "On", options: () => machines(own()) },
      { key: "cost", label: "Cost", options: knownCosts(rows), fallback: firstCost(rows) },
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
    const named = parts.length === 1 || table.filter((row) => row.front && !row.stage).length <= LEGIBLE_NAMES;
    const several = parts.length > 1;
    const traces = fronts.flatMap((part, i) => costTraces(part, { i, at, cost, named, several }));
    return {
      traces,
      layout: costLayout(table, cost, at),
      table,
      columns: costColumnsOf(cost),
      note: costNote(table, { cost, named, absent: asked.length - own.length }),
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

/** The costs that are known of any row, or all where none is. */
function knownCosts(rows) {
  const known = Object.keys(COSTS).filter((cost) => rows.some((row) => !missing(row[cost])));
  return (known.length ? known : Object.keys(COSTS)).map((cost) => [cost, COSTS[cost].title]);
}

const firstCost = (rows) => Object.keys(COSTS).find((cost) => rows.some((row) => row[cost] > 0)) ?? "seconds";

function costNote(rows, { cost, named, absent }) {
  return [
    "Filled: on the front; open: not; triangle at the left edge: the first stage, where the front starts.",
    "Grey: floors; crosses: invalid; hourglasses: fake engine.",
    rows.some((row) => row.apart) ? "What ran on other queries or pools than the rest is on no front." : "",
    named ? "" : "After one profile the front bears its names.",
    absent ? `Not here, for this cost is not known of them: ${absent} of ${rows.length + absent}.` : "",
  ]
    .filter(Boolean)
    .join(" ");
}

/**
 * One profile's rows by cost after its first stage, marked where none that costs as little is better.
 * Invalid, floor and fake ones never are, nor those on other queries or pools than the rest.
 */
function withFront(rows, cost) {
  const { profile, first } = rows.find((row) => !row.apart) ?? rows[0];
  const stage = { profile, reranker: "first stage", value: first, [cost]: 0, stage: true, front: true };
  let best = first;
  const ranked = [...rows].sort((a, b) => a[cost] - b[cost] || b.value - a.value);
  const told = ranked.map((row) => {
    const front = !oddity(row) && !row.apart && row.value > best;
    if (front) best = row.value;
    return { ...row, front };
  });
  return [stage, ...told];
}

const marked = (row) => (row.stage ? "first stage" : (oddity(row) ?? (row.apart ? "other queries or pool" : null)));

function costTraces(given, { i, at, cost, named, several }) {
  const colour = seriesColour(i);
  const odd = (row) => Boolean(oddity(row));
  const [stage, ...reranked] = given;
  const rows = reranked.sort((a, b) => odd(a) - odd(b)); // the legend wears the first one's look
  const front = given.filter((row) => row.front);
  const told = (row) =>
    lines(
      label(row.reranker),
      label(row.profile),
      `${number(row.value)} at ${COSTS[cost].text(row[cost])}`,
      row.stage ? "" : marked(row),
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
      text: rows.map((row) => (named ? wordOf(row) : "")),
      textposition: above,
      textfont: { size: 11 },
      cliponaxis: false,
      marker: {
        size: rows.map((row) => (row.front ? 10 : 8)),
        color: rows.map((row) => (odd(row) ? GREY : colour)),
        symbol: rows.map((row) => symbolOf(row, i)),
        line: { width: 1.4 },
      },
    },
    {
      type: "scatter",
      mode: "markers+text",
      legendgroup: name,
      showlegend: false,
      x: [at(stage)],
      y: [stage.value],
      hovertext: [told(stage)],
      hovertemplate: "%{hovertext}<extra></extra>",
      text: [several ? `first stage: ${label(stage.profile, 20)}` : "first stage"],
      textposition: i % 2 ? "bottom right" : "top right",
      textfont: { size: 11 },
      cliponaxis: false,
      marker: { size: 11, color: colour, symbol: "triangle-right" },
    },
  ];
}

/** What stands beside a point. */
function wordOf(row) {
  if (row.front) return label(row.reranker, 28);
  return row.fake ? "fake engine" : "";
}

function symbolOf(row, i) {
  if (row.invalid) return "x";
  return (row.fake ? "hourglass" : seriesSymbol(i)) + (row.front ? "" : "-open");
}

function costLayout(rows, cost, at) {
  const edge = {
    x: Math.log10(at({ [cost]: 0 })),
    y: 0,
    xref: "x",
    yref: "paper",
    yanchor: "bottom",
    text: "free",
    showarrow: false,
    font: { size: 11 },
  };
  return {
    height: 460,
    xaxis: axis(COSTS[cost].title, { type: "log", ...ticks(rows.map(at)) }),
    yaxis: axis(`${state.safeguarded ? "safeguarded" : "natural"} ${state.measure}`, { zeroline: false }),
    annotations: [edge],
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
