// Show the tab that is chosen; draw its sections when it is shown or when the state changes.

const DRAW = { table: drawTable, matrix: drawMatrix, plot: drawPlot };
let turn = null;

async function refresh() {
  const mine = (turn = {});
  const tabs = [...document.querySelectorAll("[role=tab]")].map((tab) => tab.dataset.tab);
  const chosen = tabs.includes(state.get("tab")) ? state.get("tab") : tabs[0];
  showTheme();
  showTab(chosen);
  showSummary();
  for (const section of page.report.sections.filter(({ tab }) => tab === chosen)) {
    await draw(section);
    if (turn !== mine) return;
  }
  document.documentElement.dataset.shown = chosen;
}

async function draw(section) {
  const own = document.getElementById(section.id);
  const [controls, host] = [own.querySelector(".controls"), own.querySelector(".content")];
  own.hidden = false;
  if (section.kind === "query") return drawQuery(section, host, controls);
  const frame = await frameOf(section.frame, measure());
  const { chosen, rows } = choose(section, controls, frame, fitting(frame));
  return DRAW[section.kind](section, host, frame, rows, chosen);
}

function showTab(chosen) {
  delete document.documentElement.dataset.shown;
  for (const part of document.querySelectorAll("[data-tab]")) {
    const own = part.dataset.tab === chosen;
    if (part.role === "tab") Object.assign(part, { ariaSelected: own, tabIndex: own ? 0 : -1 });
    else part.hidden = !own;
  }
}

/** Hide the sentences of what the filters leave out. */
function showSummary() {
  const profiles = state.getAll("profile");
  for (const line of document.querySelectorAll(".sentence")) {
    const { task, profile } = line.dataset;
    line.hidden = !fitsTask(task) || (profiles.length > 0 && !profiles.includes(profile));
  }
}

/** Arrow keys move between tabs. */
function moveTab(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const all = [...event.currentTarget.children];
  const next = all.at((all.indexOf(document.activeElement) + step) % all.length);
  next.focus();
  change({ tab: next.dataset.tab });
}

function listen() {
  const list = document.querySelector("[role=tablist]");
  list.hidden = false;
  list.addEventListener("keydown", moveTab);
  list.addEventListener("click", ({ target }) => target.dataset.tab && change({ tab: target.dataset.tab }));
  const skip = document.querySelector(".skip"); // its address would replace the state
  skip.addEventListener("click", (event) => (event.preventDefault(), document.getElementById("report").focus()));
  document.addEventListener("click", ({ target }) => closePicks(target));
  document.addEventListener("keydown", ({ key }) => key === "Escape" && closePicks(null));
  document.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("filters").addEventListener("reset", reset);
}

/** Back to how the page was opened, on the same tab. */
function reset(event) {
  event.preventDefault();
  for (const key of [...state.keys()]) if (key !== "tab") state.delete(key);
  buildFilters();
  change({});
}

async function start() {
  page.report = await load("report");
  const style = h("style", {}, await textOf("style"));
  document.head.prepend(style); // the page's own rules come after it
  await run("datatables");
  defineTypes();
  if (page.report.sections.some(({ kind }) => kind === "query")) opened = await load("texts");
  buildFilters();
  listen();
  await refresh();
}

start();
