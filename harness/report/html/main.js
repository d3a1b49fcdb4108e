// Puts the page together: tables first, plots when the browser has nothing better to do.

const byId = (id) => document.getElementById(id);
const part = (id) => byId(id).querySelector("figure");

const views = { tables: new Map(), figures: [], query: null, groups: null, speaking: null };

/** A data set fits where one of its tasks does. */
async function fittingGroups({ n, col: c }) {
  const fits = new Map(
    views.groups.names.map((name, i) => [name, fitsTask(name) || views.groups.tasks[i].some(fitsTask)]),
  );
  const sets = ["profile", "reranker"].filter((key) => state[key].size);
  return places(n, (i) => fits.get(c.task[i]) && sets.every((key) => state[key].has(c[key][i])));
}

/** Rows of tasks; where a language is asked for, of tasks that have queries in it. */
async function fittingTasks(rows) {
  const found = fitting(rows);
  if (!state.language.size) return found;
  const tasks = await tasksWith(state.language);
  return found.filter((i) => tasks.has(rows.col.task[i]));
}

/** Queries of a language are known one by one, or from the strata. */
async function tasksWith(languages) {
  const { col: strata } = await tableOf("strata");
  const { col: queries, n } = await tableOf("queries");
  const named = strata.task.filter((_, i) => strata.kind[i] === "language" && languages.has(strata.value[i]));
  return new Set([
    ...named,
    ...places(n, (i) => languages.has(queries.language[i])).map((i) => queries.task[i]),
  ]);
}

function bestFirst({ col: c }, rows) {
  const value = (i) => (state.safeguarded ? c.safeguarded[i] : c.natural[i]) ?? -1;
  const same = (i, k) => byName(c.task[i], c.task[k]) || byName(c.profile[i], c.profile[k]);
  return rows.sort((i, k) => same(i, k) || value(k) - value(i));
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
  show("means", bestFirst(rows, await fittingGroups(rows)), resultColumns(rows, state, "data set"));
}

async function showTasks() {
  const rows = await rowsOf(state.measure);
  if (!rows.n) return;
  tellMeasure("tasks");
  show("tasks", bestFirst(rows, await fittingTasks(rows)), resultColumns(rows, state, "task"));
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
      fitting(queries),
      queryColumns(queries, (i) => opener(queries.col, i)),
      { more: false },
    );
}

/** A language that was asked for leaves the strata of that language. */
function smallRows(name, rows) {
  const found = fitting(rows);
  if (name !== "strata" || !state.language.size) return found;
  return found.filter((i) => rows.col.kind[i] === "language" && state.language.has(rows.col.value[i]));
}

function opener(c, i) {
  const where = [c.task[i], c.profile[i], c.query_id[i], c.reranker[i]];
  if (!views.query?.has(...where)) return null;
  return h("button", { type: "button", class: "open", click: () => views.query.open(...where) }, "open");
}

/** What changed is shown; of changes in quick succession only the last. */
async function refresh() {
  const turn = (views.turn = {});
  await showMeans();
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

const FEW = 9; // sentences that one reads

async function showSummary() {
  const { summary, groups } = await load("first");
  const told = summary.map(({ of, sentence }) =>
    h("li", {}, h("b", { class: "text" }, of), ": ", h("span", { class: "text" }, sentence)),
  );
  const notes = [...sameNotes(summary)].map(([note, of]) =>
    h(
      "li",
      {},
      h("span", { class: "text" }, note),
      of.length < summary.length ? ` (${of.join("; ")})` : null,
    ),
  );
  const left = groups.names.flatMap((name, i) =>
    groups.incomplete[i].map(([profile, reranker, n]) =>
      h(
        "li",
        { class: "text" },
        `${name}: ${reranker} after ${profile} has no mean, with ${n} of ${groups.tasks[i].length} tasks.`,
      ),
    ),
  );
  byId("summary").hidden = told.length + left.length === 0;
  const [sentences, others, further] = byId("summary").querySelectorAll("ul");
  sentences.replaceChildren(...told.slice(0, FEW));
  others.replaceChildren(...told.slice(FEW));
  others.parentElement.hidden = told.length <= FEW;
  further.replaceChildren(...left, ...notes);
}

/** Each note once, with what it is about. */
function sameNotes(summary) {
  const found = new Map();
  for (const { of, notes } of summary) {
    for (const note of notes) found.set(note, [...(found.get(note) ?? []), of]);
  }
  return found;
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

function tellScope({ tasks, profiles, rerankers }) {
  const some = (values, one) => `${whole.format(values.length)} ${one}${values.length === 1 ? "" : "s"}`;
  byId("scope").textContent =
    `${some(tasks, "task")}, ${some(profiles, "profile")}, ${some(rerankers, "reranker")}`;
}

/** Links to the sections that are there. */
function tellContents() {
  const sections = [...document.querySelectorAll("main > section:not([hidden])")];
  byId("contents").replaceChildren(
    ...sections.map((section) =>
      h("a", { href: `#${section.id}` }, section.querySelector("h2").firstChild.textContent),
    ),
  );
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
  await showMeans();
  const told = await filterable(first);
  buildFilters(byId("filters"), told, refresh);
  byId("filters").addEventListener("reset", () => views.figures.forEach((plot) => (plot.chosen = {})));
  tellScope(told);
  await showTasks();
  document.documentElement.dataset.shown = "tables";
  await showSummary();
  await breath();
  const detail = await load("views");
  if (detail.views.length) views.query = new QueryPanel(byId("query"), detail);
  await buildFigures();
  await refresh();
  tellContents();
  document.documentElement.dataset.shown = "all";
}

start();
