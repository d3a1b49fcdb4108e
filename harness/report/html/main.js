// Puts the page together: tables first, plots when the browser has nothing better to do.

const byId = (id) => document.getElementById(id);
const part = (id) => byId(id).querySelector("figure");

const views = { tables: new Map(), figures: [], query: null, groups: null, best: new Map() };

const tasksOf = (name) => views.groups.tasks[views.groups.names.indexOf(name)] ?? [name];

/** Whether a set of what may be shown is empty, which means all, or holds the value. */
const picked = (key, value) => !state[key].size || state[key].has(value);

function fittingGroups({ n, col: c }) {
  const fits = new Map(views.groups.names.map((name) => [name, fitsGroup(name, tasksOf(name))]));
  return places(
    n,
    (i) => fits.get(c.task[i]) && picked("profile", c.profile[i]) && picked("reranker", c.reranker[i]),
  );
}

/** Tasks that have queries in one of the languages: known from queries, one by one, or from strata. */
async function tasksWith(languages) {
  const { col: strata } = await tableOf("strata");
  const { col: queries, n } = await tableOf("queries");
  const named = strata.task.filter((_, i) => strata.kind[i] === "language" && languages.has(strata.value[i]));
  return new Set([
    ...named,
    ...places(n, (i) => languages.has(queries.language[i])).map((i) => queries.task[i]),
  ]);
}

/** The place of a reranker among all: real ones first, best first, by their mean gain over all tasks. */
const bestPlace = (reranker) => views.best.get(reranker) ?? views.best.size;

const realFirst = (c, rows) => rows.sort((i, k) => bestPlace(c.reranker[i]) - bestPlace(c.reranker[k]));

function rankAll({ n, col: c }) {
  const rows = places(n).map((i) => ({
    reranker: c.reranker[i],
    gain: c.gain[i],
    invalid: c.invalid[i],
    floor: c.floor[i] === 1,
    fake: c.engine[i] === "fake",
  }));
  views.best = new Map(byMean(rows).map((name, place) => [name, place]));
}

function bestFirst({ col: c }, rows) {
  const value = (i) => (state.safeguarded ? c.safeguarded[i] : c.natural[i]) ?? -1;
  const same = (i, k) => byName(c.task[i], c.task[k]) || byName(c.profile[i], c.profile[k]);
  return rows.sort((i, k) => same(i, k) || c.apart[i] - c.apart[k] || value(k) - value(i));
}

function show(id, rows, columns, options) {
  byId(id).hidden = false;
  if (!views.tables.has(id))
    views.tables.set(
      id,
      new Table(part(id), byId(id).querySelector("h2").firstChild.textContent.trim(), options),
    );
  views.tables.get(id).show(rows, columns);
}

function tellMeasure(id) {
  byId(id).querySelector("h2 span").textContent =
    `${state.measure}, ${state.safeguarded ? "safeguarded" : "natural"}`;
}

async function showMeans() {
  const rows = await rowsOf(state.measure, true);
  if (!rows.n) return;
  tellMeasure("means");
  show("means", bestFirst(rows, fittingGroups(rows)), resultColumns(rows, state, "data set"));
}

async function showTasks() {
  const rows = await rowsOf(state.measure);
  if (!rows.n) return;
  tellMeasure("tasks");
  show("tasks", bestFirst(rows, fitting(rows)), resultColumns(rows, state, "task"));
}

async function showSmall() {
  for (const name of Object.keys(SMALL)) {
    const rows = await tableOf(name);
    if (rows.n) show(name, smallRows(name, rows), SMALL[name](rows), { more: false });
  }
  const queries = await tableOf("queries");
  if (queries.n)
    show(
      "queries",
      realFirst(queries.col, fitting(queries)),
      queryColumns(queries, (i) => opener(queries.col, i)),
      { more: false },
    );
}

/** A language that was asked for leaves the strata of that language. */
function smallRows(name, rows) {
  const found = fitting(rows);
  if (name !== "strata") return found;
  realFirst(rows.col, found);
  if (!state.language.size) return found;
  return found.filter((i) => rows.col.kind[i] === "language" && state.language.has(rows.col.value[i]));
}

function opener(c, i) {
  const where = [c.task[i], c.profile[i], c.query_id[i], c.reranker[i]];
  if (!views.query?.has(...where)) return null;
  const open = () => views.query.open(...where);
  const name = `open ${oneLine(c.query_id[i])} of ${oneLine(c.reranker[i])}`;
  return h("button", { type: "button", class: "open", "aria-label": name, click: open }, "open");
}

/** What changed is shown; of changes in quick succession only the last. */
async function refresh() {
  const turn = (views.turn = {});
  document.documentElement.dataset.values = state.safeguarded ? "safeguarded" : "natural";
  state.speaking = state.language.size ? await tasksWith(state.language) : null;
  tellReach();
  await tellScope();
  await showMeans();
  await showSummary();
  await showTasks();
  await breath();
  if (views.turn !== turn) return;
  await showSmall();
  for (const plot of views.figures) {
    await breath();
    if (views.turn !== turn) return;
    await plot.update();
  }
}

async function filterable(first) {
  const { col: c } = await rowsOf(first.measures[0]);
  const recall = await tableOf("recall");
  const { col: strata } = await tableOf("strata");
  const { col: queries } = await tableOf("queries");
  const named = strata.value.filter((_, i) => strata.kind[i] === "language");
  return {
    measures: first.measures,
    tasks: distinct([...c.task, ...recall.col.task]),
    profiles: distinct([...c.profile, ...recall.col.profile]),
    rerankers: distinct(c.reranker),
    languages: distinct([...named, ...queries.language]),
  };
}

/** Say how many tasks, profiles and rerankers are shown, and of how many. */
async function tellScope() {
  const runs = await rowsOf(state.measure);
  const recall = await tableOf("recall");
  const own = fitting(runs);
  const stages = state.reranker.size ? [] : fitting(recall);
  const parts = ["task", "profile", "reranker"].map((key) => {
    const [ofRun, ofStage] = [runs.col[key], recall.col[key] ?? []]; // recall is of no reranker
    const all = new Set([...ofRun, ...ofStage]).size;
    const seen = [...own.map((i) => ofRun[i]), ...stages.map((i) => ofStage[i])];
    const shown = new Set(seen.filter((name) => name !== undefined)).size;
    const of = shown < all ? `${whole.format(shown)} of ` : "";
    return `${of}${whole.format(all)} ${key}${all === 1 ? "" : "s"}`;
  });
  byId("scope").textContent = parts.join(", ");
}

/** Links to the sections that are there. */
function tellContents() {
  const sections = [...document.querySelectorAll("main > section:not([hidden])")];
  byId("contents").replaceChildren(
    ...sections.map((section) =>
      h("a", { href: `#${section.id}` }, section.querySelector("h2").firstChild.textContent),
    ),
  );
  for (const section of sections) section.querySelector("h2").append(" ", wayBack());
}

/** From each section the keyboard is back at the list of all in one step. */
function wayBack() {
  return h("a", { class: "back", href: "#contents", "aria-label": "Back to the list of sections" }, "↑");
}

async function buildFigures() {
  const made = [
    ["gains", forest, true],
    ["cost", pareto, true],
    ["headroom", heat, true],
    ["quality", quality, true],
  ];
  const { n: queries } = await tableOf("queries");
  const { n: orders } = await tableOf("orders");
  const { n: rows } = await rowsOf(state.measure);
  const all = [
    ...made.map(([id, kind]) => [id, kind, rows]),
    ["ranks", ranks, queries],
    ["orders", sensitivity, orders],
  ];
  views.figures = all.filter(([, , any]) => any).map(([id, kind]) => new Figure(byId(id), kind));
}

async function start() {
  const first = await load("first");
  views.groups = first.groups;
  state.measure = first.measures[0];
  noteFakes(await rowsOf(state.measure, true));
  noteFakes(await rowsOf(state.measure));
  await showMeans();
  const told = await filterable(first);
  buildFilters(byId("filters"), told, refresh);
  byId("filters").addEventListener("reset", () => views.figures.forEach((plot) => (plot.chosen = {})));
  await tellScope();
  await showTasks();
  document.documentElement.dataset.shown = "tables";
  await showSummary();
  await breath();
  rankAll(await rowsOf(state.measure));
  const detail = await load("views");
  if (detail.views.length) views.query = new QueryPanel(byId("query"), detail);
  await buildFigures();
  await refresh();
  tellContents();
  document.documentElement.dataset.shown = "all";
}

start();
