// Quality against cost, on one kind of hardware.

const COSTS = {
  seconds: { title: "engine seconds per query", text: seconds },
  tokens: { title: "tokens read and written per query", text: count },
  flops: { title: "ideal FLOP per query", text: count },
  gpu: { title: "GPU seconds per query", text: seconds },
  price: { title: "price of 1000 queries", text: price },
};

const costColumnsOf = (cost) => [
  figure("number", "number", (row) => row.number, plain),
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
      FLOORS,
    ];
  },
  draw(rows, { scope, profile, hardware, cost, floors }, width) {
    const asked = rows.filter(
      (row) => scopeOf(row) === scope && machineOf(row) === hardware && (!profile || row.profile === profile),
    );
    const own = asked.filter((row) => !missing(row[cost]));
    if (!own.length) return null;
    const at = placeOnAxis(own, cost);
    const profiles = distinct(own.map((row) => row.profile));
    const fronts = profiles.map((name) =>
      withFront(
        own.filter((row) => row.profile === name),
        cost,
      ),
    );
    const drawn = new Set([...withoutFloors(own, floors), ...fronts.map(([stage]) => stage)].map(identity));
    const there = (part) => part.filter((row) => drawn.has(identity(row)));
    const table = numbered(fronts.flat(), there(fronts.flat()), profiles.length > 1);
    return {
      traces: fronts.flatMap((part, i) => costTraces(there(part), { i, at, cost })),
      layout: costLayout(there(table), { cost, at, width }),
      table,
      columns: costColumnsOf(cost),
      note: costNote(table, { drawn, absent: asked.length - own.length }),
    };
  },
};

/** Where a row stands on the axis of costs, which is logarithmic: what is free well before the others. */
function placeOnAxis(rows, cost) {
  const least = Math.min(...rows.map((row) => row[cost]).filter((value) => value > 0));
  const free = Number.isFinite(least) ? least / 4 : 1;
  return (row) => (row[cost] > 0 ? row[cost] : free);
}

const identity = (row) => `${row.profile}\n${row.reranker}`;

/**
 * Rows with what stands beside their points: their names where these are few; where they are many
 * those of the fronts, and numbers of the others. `there` are the rows that are drawn.
 */
function numbered(rows, there, several) {
  const points = there.filter((row) => !row.stage);
  const all = points.length <= LEGIBLE_NAMES;
  const fronts = points.filter((row) => row.front).length <= LEGIBLE_NAMES;
  const byName = (row) => row.stage || all || (fronts && row.front);
  const others = [...new Set(points.filter((row) => !byName(row)).map((row) => row.reranker))];
  const numbers = new Map(others.map((name, i) => [name, i + 1]));
  return rows.map((row) => {
    const number = byName(row) ? null : (numbers.get(row.reranker) ?? null);
    const stage = several ? `first stage: ${row.profile}` : "first stage";
    return { ...row, number, text: row.stage ? stage : String(number ?? row.reranker) };
  });
}

/** Kinds of hardware, the one with most rows first. */
function machines(rows) {
  const found = new Map();
  for (const row of rows) found.set(machineOf(row), (found.get(machineOf(row)) ?? 0) + 1);
  return [...found.keys()].sort((a, b) => found.get(b) - found.get(a));
}

const LEGIBLE_NAMES = 12; // in one plot, before they cover one another

const profilesOf = (rows) => distinct(rows.map((row) => row.profile)).map((name) => [name, name]);

const machineOf = (row) => row.hardware || "not known";

/** The costs that are known of any row, or all where none is. */
function knownCosts(rows) {
  const known = Object.keys(COSTS).filter((cost) => rows.some((row) => !missing(row[cost])));
  return (known.length ? known : Object.keys(COSTS)).map((cost) => [cost, COSTS[cost].title]);
}

const firstCost = (rows) => Object.keys(COSTS).find((cost) => rows.some((row) => row[cost] > 0)) ?? "seconds";

function costNote(rows, { drawn, absent }) {
  const floors = rows.filter((row) => row.floor && !drawn.has(identity(row)));
  const values = floors.map((row) => row.value);
  const numbers = new Map(rows.filter((row) => row.number).map((row) => [row.number, row.reranker]));
  const told = [...numbers].sort(([a], [b]) => a - b).map(([n, name]) => `${n} \u2068${oneLine(name)}\u2069`);
  return [
    "Filled: on the front; open: not; triangle at the left edge: the first stage, where the front starts.",
    "Grey: floors; crosses: invalid; hourglasses: fake engine.",
    rows.some((row) => row.apart) ? "What ran on other queries or pools than the rest is on no front." : "",
    floors.length
      ? `Left out: ${floors.length} ${floors.length === 1 ? "floor" : "floors"} at ` +
        `${number(Math.min(...values))} to ${number(Math.max(...values))}.`
      : "",
    told.length ? `Numbers: ${told.join(", ")}.` : "",
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
    const front = !oddity(row) && row.value > best;
    if (front) best = row.value;
    return { ...row, front };
  });
  return [stage, ...told];
}

const marked = (row) => (row.stage ? "first stage" : oddity(row));

function costTraces(given, { i, at, cost }) {
  const [stage, ...reranked] = given;
  const rows = reranked.sort((a, b) => Boolean(oddity(a)) - Boolean(oddity(b))); // the legend wears the first
  const known = { i, at, told: (row) => costTold(row, cost), name: label(stage.profile) };
  const points = rows.length ? [costPoints(rows, known)] : [];
  return [
    costFront(
      given.filter((row) => row.front),
      known,
    ),
    ...points,
    costStage(stage, known),
  ];
}

function costTold(row, cost) {
  const place = `${number(row.value)} at ${COSTS[cost].text(row[cost])}`;
  return lines(label(row.reranker), label(row.profile), place, row.stage ? "" : marked(row));
}

function costFront(front, { i, at, name }) {
  return {
    type: "scatter",
    mode: "lines",
    x: front.map(at),
    y: front.map((row) => row.value),
    line: { shape: "hv", color: seriesColour(i), width: 1.3, dash: DASHES[i % DASHES.length] },
    legendgroup: name,
    showlegend: false,
    hoverinfo: "skip",
  };
}

function costPoints(rows, { i, at, told, name }) {
  return {
    type: "scatter",
    mode: "markers",
    name,
    legendgroup: name,
    x: rows.map(at),
    y: rows.map((row) => row.value),
    hovertext: rows.map(told),
    hovertemplate: "%{hovertext}<extra></extra>",
    marker: {
      size: rows.map((row) => (row.front ? 10 : 8)),
      color: rows.map((row) => (oddity(row) ? palette().grey : seriesColour(i))),
      symbol: rows.map((row) => symbolOf(row, i)),
      opacity: 1,
      line: { width: 1.4 },
    },
  };
}

function costStage(stage, { i, at, told, name }) {
  return {
    type: "scatter",
    mode: "markers",
    legendgroup: name,
    showlegend: false,
    x: [at(stage)],
    y: [stage.value],
    hovertext: [told(stage)],
    hovertemplate: "%{hovertext}<extra></extra>",
    marker: { size: 11, color: seriesColour(i), symbol: "triangle-right" },
  };
}

function symbolOf(row, i) {
  if (row.invalid) return "x";
  return (row.fake ? "hourglass" : seriesSymbol(i)) + (row.front ? "" : "-open");
}

const COST_HEIGHT = 460;

/** Axes that hold what is drawn and no more, with names beside the points. */
function costLayout(rows, { cost, at, width }) {
  const points = rows.map((row) => ({
    x: Math.log10(at(row)),
    y: row.value,
    text: oneLine(row.text).slice(0, 34),
    first: 2 * Boolean(row.front) + Boolean(row.stage),
  }));
  const x = span(
    points.map((point) => point.x),
    0.1,
  );
  const y = span(
    points.map((point) => point.y),
    0.02,
  );
  const frame = { x, y, width: Math.max(width - 110, 200), height: COST_HEIGHT - 110 };
  const free = { x: points[0].x, y: 0, xref: "x", yref: "paper", yanchor: "bottom", text: "free" };
  return {
    height: COST_HEIGHT,
    xaxis: axis(COSTS[cost].title, { type: "log", range: x, ...ticks(rows.map(at)) }),
    yaxis: axis(`${state.safeguarded ? "safeguarded" : "natural"} ${state.measure}`, {
      range: y,
      zeroline: false,
    }),
    annotations: [
      { ...free, showarrow: false, font: { size: 11 } },
      ...placeNames(
        points.sort((a, b) => b.first - a.first || b.y - a.y),
        frame,
      ),
    ],
  };
}

/** From the least to the greatest value, and some way beyond. */
function span(values, least) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const beyond = Math.max(0.12 * (high - low), least);
  return [low - beyond, high + beyond];
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
