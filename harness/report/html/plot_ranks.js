// Rank of the best positive before and after, and order sensitivity.

const ranks = {
  async rows() {
    const queries = await tableOf("queries");
    const { col: c } = queries;
    return realFirst(c, fitting(queries)).map((i) => ({
      profile: c.profile[i],
      reranker: c.reranker[i],
      before: c.rank_before[i],
      after: c.rank_after[i],
    }));
  },
  choices: (rows) => [
    { key: "reranker", label: "Reranker", options: moversFirst(rows) },
    {
      key: "profile",
      label: "Profile",
      options: [["", "all"], ...distinct(rows.map((row) => row.profile)).map((name) => [name, name])],
    },
  ],
  draw(rows, { reranker, profile }) {
    const own = rows.filter((row) => row.reranker === reranker && (!profile || row.profile === profile));
    const table = pairs(own.filter((row) => row.before && row.after));
    if (!table.length) return null;
    const out = own.filter((row) => !row.before || !row.after).length;
    const traces = [
      diagonal(table),
      ...["rose", "stayed", "fell"].map((way) =>
        rankTrace(
          table.filter((row) => row.way === way),
          way,
        ),
      ),
    ];
    const ticks = { type: "log", tickvals: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], zeroline: false };
    const axes = { xaxis: axis("rank before", ticks), yaxis: axis("rank after", ticks) };
    return {
      traces,
      layout: { height: 480, ...axes },
      table,
      columns: rankColumns,
      note: out
        ? `Not here: ${whole.format(out)} ${out === 1 ? "query" : "queries"} that failed, or with no positive in the pool.`
        : "",
    };
  },
};

/** Rerankers as they come, those last that moved no positive: they make the dullest plot. */
function moversFirst(rows) {
  const moved = new Set(rows.filter((row) => row.before !== row.after).map((row) => row.reranker));
  const names = [...new Set(rows.map((row) => row.reranker))];
  return [...names.filter((name) => moved.has(name)), ...names.filter((name) => !moved.has(name))];
}

const rankColumns = [
  figure("before", "rank before", (row) => row.before, plain),
  figure("after", "rank after", (row) => row.after, plain),
  word("way", "the positive", (row) => row.way),
  figure("queries", "queries", (row) => row.queries, plain),
];

/** How many queries have each pair of ranks. */
function pairs(rows) {
  const found = new Map();
  for (const { before, after } of rows) {
    const way = after < before ? "rose" : after > before ? "fell" : "stayed";
    const key = `${before} ${after}`;
    const pair = found.get(key) ?? { before, after, way, queries: 0 };
    pair.queries += 1;
    found.set(key, pair);
  }
  return [...found.values()].sort((a, b) => a.before - b.before || a.after - b.after);
}

const WAYS = { rose: "triangle-up", stayed: "circle-open", fell: "triangle-down" };
const wayColour = (way) => (way === "stayed" ? palette().grey : seriesColour(way === "rose" ? 0 : 1));

function rankTrace(rows, way) {
  const [color, symbol] = [wayColour(way), WAYS[way]];
  const n = rows.reduce((sum, row) => sum + row.queries, 0);
  return {
    type: "scatter",
    mode: "markers",
    name: `${way} (${whole.format(n)})`,
    x: rows.map((row) => row.before),
    y: rows.map((row) => row.after),
    text: rows.map(
      (row) => `${row.before} → ${row.after}: ${row.queries} ${row.queries === 1 ? "query" : "queries"}`,
    ),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      color,
      symbol,
      opacity: 0.75,
      size: rows.map((row) => 5 + 2.5 * Math.sqrt(row.queries)),
      sizemode: "diameter",
      line: { width: 1, color },
    },
  };
}

function diagonal(rows) {
  const last = Math.max(...rows.map((row) => Math.max(row.before, row.after)));
  return {
    type: "scatter",
    mode: "lines",
    x: [1, last],
    y: [1, last],
    line: { color: palette().grey, dash: "dot", width: 1 },
    hoverinfo: "skip",
    showlegend: false,
  };
}

const sensitivity = {
  async rows() {
    const orders = await tableOf("orders");
    const { col: c } = orders;
    return fitting(orders).map((i) => ({
      of: `${c.task[i]} · ${c.profile[i]}`,
      reranker: c.reranker[i],
      orders: c.orders[i],
      mean: c.mean[i],
      sd: c.sd[i],
      tau: c.tau[i],
      promotion: c.promotion[i],
    }));
  },
  choices: (rows) => [{ key: "of", label: "Of", options: distinct(rows.map((row) => row.of)) }],
  draw(rows, { of }) {
    const own = rows.filter((row) => row.of === of);
    const traces = own.map((row, i) => ({
      type: "scatter",
      mode: "lines+markers",
      name: label(row.reranker, 40),
      x: row.promotion.map((_, tenth) => tenth + 1),
      y: row.promotion,
      text: row.promotion.map((part, tenth) =>
        lines(label(row.reranker), `tenth ${tenth + 1}: ${share(part)}`),
      ),
      hovertemplate: "%{text}<extra></extra>",
      line: { color: seriesColour(i), dash: DASHES[i % DASHES.length], width: 1.8 },
      marker: { symbol: seriesSymbol(i), size: 8, color: seriesColour(i) },
    }));
    const axes = {
      xaxis: axis("tenth of the input, from its top", { dtick: 1, zeroline: false }),
      yaxis: axis("share that ends among the first ten", { tickformat: ".0%", rangemode: "tozero" }),
    };
    return { traces, layout: { height: 400, showlegend: true, ...axes }, table: own, columns: orderColumns };
  },
};

const orderColumns = [
  word("reranker", "reranker", (row) => row.reranker, { always: true }),
  figure("orders", "orders", (row) => row.orders.length, plain, {
    nodes: (row) => [h("span", { class: "quiet" }, row.orders.join(", "))],
  }),
  figure("mean", "mean nDCG@10", (row) => row.mean, number),
  figure("sd", "sd", (row) => row.sd, number, { hint: "Over the orders" }),
  figure("tau", "tau", (row) => row.tau, number, { hint: "Kendall's, between the outputs of two orders" }),
  ...Array.from({ length: 10 }, (_, tenth) =>
    figure(`tenth${tenth + 1}`, String(tenth + 1), (row) => row.promotion[tenth] ?? null, share, {
      hint: `Tenth ${tenth + 1} of the input`,
    }),
  ),
];
