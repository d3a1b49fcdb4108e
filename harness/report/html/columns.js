// Which columns each table has. A row is a place in a frame, so `c.gain[i]` is its gain.

const word = (id, head, value, rest = {}) => ({ id, head, value, name: true, ...rest });
const figure = (id, head, value, text, rest = {}) => ({ id, head, value, text, ...rest });

/** The columns of rerankers' results: of tasks, or of data sets' means. */
function resultColumns({ col: c }, { safeguarded }, first) {
  return [
    word("task", first, (i) => c.task[i], { always: true }),
    word("profile", "profile", (i) => c.profile[i], { nodes: (i) => resolved(c, i) }),
    word("reranker", "reranker", (i) => c.reranker[i], { nodes: (i) => marks(c, i) }),
    figure("queries", "queries", (i) => c.queries[i], plain),
    figure("first_stage", "first\nstage", (i) => c.first_stage[i], number, { always: true }),
    ...(safeguarded ? safeguardedColumns(c) : naturalColumns(c)),
    ...costColumns(c),
    ...(safeguarded ? [] : winColumns(c)),
    ...healthColumns(c),
    ...poolColumns(c, safeguarded),
    ...furtherCosts(c),
    word("origin", "origin", (i) => c.origin[i] || null, { more: true }),
    word("hardware", "hardware", (i) => c.hardware[i] || null, { more: true }),
    word("model", "model", (i) => c.model[i] || null, { more: true }),
  ];
}

function naturalColumns(c) {
  return [
    figure("value", "natural", (i) => c.natural[i], number, { always: true }),
    figure("gain", "gain", (i) => c.gain[i], signed, {
      always: true,
      nodes: (i) => [star(c, i)],
      hint: "Natural minus first stage; ★ after Holm",
    }),
    figure("interval", "95 % interval", (i) => c.gain_low[i], null, {
      write: (i) => bounds(c.gain_low[i], c.gain_high[i]),
    }),
  ];
}

/** What else the natural gains say; after the costs, which are to be seen first. */
function winColumns(c) {
  return [
    figure("noise", "noise", (i) => c.noise[i], number, {
      hint: "How far repeats of the same run lie apart",
    }),
    figure("wins", "win/tie/loss", (i) => (missing(c.wins[i]) ? null : c.wins[i] - c.losses[i]), null, {
      write: (i) => (missing(c.wins[i]) ? NOTHING : `${c.wins[i]} / ${c.ties[i]} / ${c.losses[i]}`),
      hint: "Sorted by wins minus losses",
    }),
    figure("headroom", "headroom", (i) => c.headroom_captured[i], share, {
      hint: "Part of ceiling minus first stage that was gained",
    }),
    figure("p_holm", "p (Holm)", (i) => c.p_holm[i], probability, { more: true }),
    figure("detectable", "detectable", (i) => c.detectable[i], number, { more: true }),
  ];
}

function safeguardedColumns(c) {
  return [
    figure("value", "safeguarded", (i) => c.safeguarded[i], number, { always: true }),
    figure("gain", "gain", (i) => c.gain_safeguarded[i], signed, {
      always: true,
      hint: "Safeguarded minus first stage",
    }),
  ];
}

function poolColumns(c, safeguarded) {
  const ceiling = safeguarded ? c.ceiling_safeguarded : c.ceiling;
  return [
    figure("ceiling", "ceiling", (i) => ceiling[i], number, { more: true }),
    figure("safeguards", "safeguards", (i) => c.safeguards[i], plain, { more: !safeguarded }),
    figure("decided", "decided", (i) => c.decided[i], plain, { more: !safeguarded }),
    figure("rerankable", "rerankable", (i) => c.rerankable[i], plain, { more: true }),
    figure("judged", "judged@10", (i) => c.judged[i], share, { more: true }),
  ];
}

/** Failed, repaired, unusable and cut: none is averaged away. */
function healthColumns(c) {
  const odd = ["failed", "repaired", "unparsable"];
  const weight = (i) => odd.reduce((sum, name) => 1000 * sum + (c[name][i] ?? 0), 0) || null;
  return [
    figure("health", "health", weight, null, {
      write: (i) => (weight(i) ? "" : NOTHING),
      nodes: (i) => health(c, i),
      hint: "Queries that failed, answers that were mended or could not be used",
    }),
    figure("failed", "failed", (i) => c.failed[i], plain, { more: true }),
    figure("repaired", "repaired", (i) => c.repaired[i], count, { more: true }),
    figure("unparsable", "unusable", (i) => c.unparsable[i], count, { more: true }),
    word("budget", "doc tokens", (i) => c.budget[i] || null, { more: true }),
    figure("cut", "cut", (i) => c.cut[i], share, {
      more: true,
      hint: "Share of documents longer than the reranker reads",
    }),
    word("instruction", "instruction", (i) => c.instruction[i] || null, { more: true }),
    figure("tied", "tied@10", (i) => c.tied_at_10[i] || null, share, {
      more: true,
      hint: "Share of queries whose top ten is decided by equal scores",
    }),
    figure("labels", "p(labels)", (i) => c.label_probability[i], share, {
      more: true,
      hint: "Mean probability of all labels together",
    }),
  ];
}

function health(c, i) {
  return [
    counted("bad", c.failed[i], "failed"),
    counted("odd", c.repaired[i], "repaired"),
    counted("odd", c.unparsable[i], "unusable"),
  ];
}

const eachOf = (c, values) => (i) => (missing(values[i]) ? null : values[i] / c.queries[i]);

function costColumns(c) {
  return [
    figure("calls", "calls\nper query", (i) => c.calls_per_query[i], count),
    figure("read", "tokens in\nper query", eachOf(c, c.prompt_tokens), count),
    figure("written", "tokens out\nper query", eachOf(c, c.output_tokens), count),
    figure("seconds", "seconds\nper query", (i) => c.seconds_per_query[i], seconds, {
      hint: "Of the engine, at full load",
    }),
    figure("gpu", "GPU seconds\nper query", (i) => c.gpu_seconds[i], seconds, {
      hint: "Those seconds times the GPUs at work",
    }),
    figure("price", "price of\n1000 queries", (i) => per1000(c.price[i]), price, {
      hint: "Of their tokens, by the price list given",
    }),
  ];
}

/** Costs that one asks for. */
function furtherCosts(c) {
  return [
    figure("rounds", "rounds\nper query", (i) => c.rounds[i], count, { more: true }),
    figure("cached", "tokens cached\nper query", eachOf(c, c.cached_tokens), count, {
      more: true,
      hint: "Of those read, held by a prefix cache",
    }),
    figure("flops", "ideal FLOP\nper query", (i) => c.ideal_flops[i], count, { more: true }),
    figure(
      "per_pflop",
      "queries\nper PFLOP",
      (i) => (c.ideal_flops[i] ? 1e15 / c.ideal_flops[i] : null),
      count,
      { more: true },
    ),
    figure("from_cache", "from cache", (i) => c.from_cache[i], count, {
      more: true,
      hint: "Replies, in all",
    }),
    figure("startup", "start-up s", (i) => c.startup_seconds[i], seconds, { more: true }),
  ];
}

const per1000 = (each) => (missing(each) ? null : 1000 * each);

function star(c, i) {
  if (!c.starred[i]) return h("span", { class: "star" }, "");
  return h(
    "span",
    { class: "star", title: `p = ${probability(c.p_holm[i])} after Holm over ${c.family[i]}` },
    "★",
  );
}

function counted(kind, value, what) {
  return value ? badge(kind, `${count(value)} ${what}`) : null;
}

/** What is to be known of a reranker's row before it is read. */
function marks(c, i) {
  return [
    c.invalid[i] ? badge("bad", "invalid", c.invalid[i]) : null,
    c.floor[i] ? badge("", "floor", "There for comparison; in no family") : null,
    fake(c, i),
    c.depth[i] ? badge("", `first ${c.depth[i]}`, "Only so many candidates were reranked") : null,
    c.apart[i] ? badge("odd", "not comparable", "Other queries, pool or judgements than the rest") : null,
    c.judgements[i] ? badge("", c.judgements[i], "Measured by these judgements") : null,
  ];
}

const fakes = new Set(); // keys of runs that no model answered
const runKey = (c, i) => [c.task[i], c.profile[i], c.reranker[i]].join("\n");

/** Keep in mind which runs of a frame the fake engine answered: other tables do not know. */
function noteFakes({ n, col: c }) {
  for (const i of places(n, (k) => c.engine[k] === "fake")) fakes.add(runKey(c, i));
}

function fake(c, i) {
  return fakes.has(runKey(c, i))
    ? badge("odd", "fake engine", "Answered from word overlap, by no model")
    : null;
}

/** What a profile's name stood for, where it is another name. */
function resolved(c, i) {
  const other = c.resolved[i] && c.resolved[i] !== c.profile[i];
  return other ? [h("span", { class: "quiet" }, `= ${c.resolved[i]}`)] : [];
}

const RUN = ({ col: c }) => [
  word("task", "task", (i) => c.task[i], { always: true }),
  word("profile", "profile", (i) => c.profile[i]),
  word("reranker", "reranker", (i) => c.reranker[i], { nodes: (i) => [fake(c, i)] }),
];

const SMALL = {
  strata: (f) => [
    ...RUN(f),
    word("kind", "by", (i) => f.col.kind[i]),
    word("stratum", "queries of", (i) => f.col.value[i]),
    figure("queries", "queries", (i) => f.col.queries[i], plain),
    figure("first_stage", "first stage", (i) => f.col.first_stage[i], number),
    figure("natural", "natural", (i) => f.col.natural[i], number),
    figure("gain", "gain", (i) => f.col.gain[i], signed),
    figure("interval", "95 % interval", (i) => f.col.gain_low[i], null, {
      write: (i) => bounds(f.col.gain_low[i], f.col.gain_high[i]),
    }),
  ],
  recall: (f) => [
    word("task", "task", (i) => f.col.task[i], { always: true }),
    word("profile", "profile", (i) => f.col.profile[i], { nodes: (i) => resolved(f.col, i) }),
    word("measure", "measure", (i) => f.col.measure[i]),
    figure("queries", "queries", (i) => f.col.queries[i], plain),
    figure("value", "measured", (i) => f.col.first_stage[i], number),
    figure("published", "published", (i) => f.col.published[i], number),
    figure("safeguards", "safeguards", (i) => f.col.safeguards[i], plain),
  ],
  latencies: (f) => [
    ...RUN(f),
    figure("queries", "queries", (i) => f.col.queries[i], plain),
    figure("p50", "p50 seconds", (i) => f.col.p50[i], seconds),
    figure("p95", "p95 seconds", (i) => f.col.p95[i], seconds),
    word("hardware", "hardware", (i) => f.col.hardware[i]),
  ],
  claims: (f) => [
    ...RUN(f),
    word("measure", "measure", (i) => f.col.measure[i], {
      nodes: (i) => [f.col.safeguarded[i] ? h("span", { class: "quiet" }, "safeguarded") : null],
    }),
    figure("measured", "measured", (i) => f.col.measured[i], number),
    figure("published", "claimed", (i) => f.col.published[i], number),
    figure("difference", "difference", (i) => f.col.measured[i] - f.col.published[i], signed),
    figure(
      "tolerance",
      "tolerance",
      (i) => f.col.tolerance[i],
      (value) => `±${number(value)}`,
      { hint: "How far two runs of the same may lie apart" },
    ),
    word(
      "verdict",
      "verdict",
      (i) => (f.col.caveat[i] ? "not comparable" : f.col.within[i] ? "within" : "outside"),
      { nodes: (i) => [h("span", { class: "quiet" }, f.col.caveat[i] || "")] },
    ),
    word("source", "source", (i) => f.col.source[i]),
  ],
};

function queryColumns(f, open) {
  const c = f.col;
  return [
    ...RUN(f),
    word("query_id", "query", (i) => c.query_id[i], { nodes: (i) => [open(i)] }),
    word("language", "language", (i) => c.language[i]),
    figure("first_stage", "first stage", (i) => c.first_stage[i], number),
    figure("natural", "natural", (i) => c.natural[i], number),
    figure("gain", "gain", (i) => c.natural[i] - c.first_stage[i], signed),
    figure("safeguarded", "safeguarded", (i) => c.safeguarded[i], number),
    figure("before", "rank before", (i) => c.rank_before[i], plain),
    figure("after", "rank after", (i) => c.rank_after[i], plain),
    figure(
      "moved",
      "moved up",
      (i) =>
        missing(c.rank_before[i]) || missing(c.rank_after[i]) ? null : c.rank_before[i] - c.rank_after[i],
      (value) => signed(value, 0),
    ),
    word(
      "health",
      "marks",
      (i) =>
        [c.failed[i] ? "failed" : "", c.repaired[i] ? "repaired" : "", c.safeguard[i] ? "safeguard" : ""]
          .filter(Boolean)
          .join(" ") || null,
      { text: () => "", nodes: (i) => queryMarks(c, i) },
    ),
  ];
}

function queryMarks(c, i) {
  return [
    c.failed[i] ? badge("bad", "failed", "Counts as 0") : null,
    counted("odd", c.repaired[i], "repaired"),
    c.safeguard[i] ? badge("", "safeguard", "A positive was appended to its pool") : null,
  ];
}
