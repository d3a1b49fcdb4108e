// Show the tab that is chosen; draw its sections when it is shown or when the state changes.

const DRAW = { table: drawTable, matrix: drawMatrix, plot: drawPlot, query: drawQuery };
const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;
let turn = null; // the last call of `refresh`, which ends earlier ones

async function refresh() {
  const mine = (turn = {});
  const tabs = [...document.querySelectorAll("[role=tab]")].map((tab) => tab.dataset.tab);
  const chosen = tabs.includes(state.get("tab")) ? state.get("tab") : tabs[0];
  showTheme();
  showTab(chosen);
  showSentences();
  for (const section of page.report.sections.filter(({ tab }) => tab === chosen)) {
    await draw(section);
    if (turn !== mine) return;
  }
  document.documentElement.dataset.shown = chosen;
}

async function draw(section) {
  const own = document.getElementById(section.id);
  own.hidden = false;
  const frame = await frameOf(section.frame, measure());
  const controls = own.querySelector(".controls");
  const { chosen, rows } = choose(section, controls, frame, fitting(frame));
  return DRAW[section.kind](section, own.querySelector(".content"), frame, rows, chosen);
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
function showSentences() {
  const profiles = state.getAll("profile");
  for (const line of document.querySelectorAll(".sentence")) {
    const { task, profile } = line.dataset;
    line.hidden = !fitsTask(task) || (profiles.length > 0 && !profiles.includes(profile));
  }
}

/** Whether the background is dark; that of paper is light. */
function isDark() {
  return !printing && (state.get("theme") ? state.get("theme") === "dark" : dark.matches);
}

/** Set the colours of the page and of DataTables. */
function showTheme() {
  document.documentElement.dataset.theme = printing ? "light" : (state.get("theme") ?? "");
  document.documentElement.classList.toggle("dark", isDark());
}

function print(now) {
  printing = now;
  refresh();
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

/** Go back to how the page was opened, on the same tab. */
function reset(event) {
  event.preventDefault();
  for (const key of [...state.keys()]) if (key !== "tab") state.delete(key);
  buildFilters();
  change({});
}

function listen() {
  const list = document.querySelector("[role=tablist]");
  const showClicked = ({ target: { dataset } }) => dataset.tab && change({ tab: dataset.tab });
  list.hidden = false;
  list.addEventListener("keydown", moveTab);
  list.addEventListener("click", showClicked);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // its address would replace the state
    document.getElementById("report").focus();
  });
  document.getElementById("filters").addEventListener("reset", reset);
  document.addEventListener("click", ({ target }) => closePicks(target));
  document.addEventListener("keydown", ({ key }) => key === "Escape" && closePicks(null));
  document.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  dark.addEventListener("change", refresh);
}

async function start() {
  page.report = await load("report");
  document.head.prepend(h("style", {}, await textOf("style"))); // the page's own rules override it
  await run("datatables");
  defineTypes();
  buildFilters();
  listen();
  await refresh();
}

start();
