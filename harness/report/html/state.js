// What is shown: one object in the fragment of the address, and the bar of filters that changes it.

const state = new URLSearchParams(location.hash.slice(1));
const page = { report: null };
const FILTERS = ["profile", "reranker", "language"];
const MANY = 2500; // rows that one plot draws at once

const measure = () => state.get("measure") ?? page.report.measures[0];
const columnOf = (name) =>
  once(`column ${name}`, () => page.report.columns.find((own) => own.name === name));

/** Return those of the report's rerankers that are in `names`, in the order of the report. */
function inOrder(names) {
  const present = new Set(names);
  return page.report.rerankers.filter((name) => present.has(name));
}

/** Change the state and show it; empty values are removed. A tab makes an entry in the history. */
function change(values) {
  for (const [key, value] of Object.entries(values)) {
    state.delete(key);
    for (const one of [value].flat()) if (one) state.append(key, one);
  }
  history[values.tab ? "pushState" : "replaceState"](null, "", `#${state}`);
  return refresh();
}

/** Show the state of the address after a step back or a change by hand. */
addEventListener("popstate", () => {
  for (const key of [...state.keys()]) state.delete(key);
  new URLSearchParams(location.hash.slice(1)).forEach((value, key) => state.append(key, value));
  buildFilters();
  refresh();
});

function buildFilters() {
  const { measures, rerankers, languages, runs, frames } = page.report;
  const profiles = [runs.means, runs.tasks, frames.first_stages].flatMap((f) => f.col.profile.of);
  const themes = [["", "as the system"], "light", "dark"];
  const usedLanguages = distinct(Object.values(languages).flat()).sort(collator.compare);
  const bar = document.getElementById("filters");
  bar.replaceChildren(
    taskFilter(),
    usedLanguages.length ? pick("Language", "language", usedLanguages) : "",
    pick("First stage", "profile", distinct(profiles).sort(collator.compare)),
    pick("Reranker", "reranker", rerankers),
    select("Measure", measures, measure(), (value) => change({ measure: value })),
    h("button", { type: "reset" }, "Reset"),
    select("Colours", themes, state.get("theme"), (theme) => change({ theme })),
  );
  bar.hidden = false;
}

function taskFilter() {
  const value = state.get("task");
  const input = (event) => change({ task: event.target.value.trim() });
  const box = h("input", { type: "search", placeholder: "all", value, input });
  return h("label", {}, h("span", {}, "Task contains"), box);
}

/** A list of boxes to tick; none ticked means all. */
function pick(title, key, values) {
  const shown = h("b");
  const showChosen = (all) => {
    shown.textContent = all.length > 1 ? `${all.length} of ${values.length}` : (all[0] ?? "all");
  };
  const boxes = values.map((value) => {
    const checked = state.getAll(key).includes(value);
    return h("input", { type: "checkbox", value, checked });
  });
  const ticked = () => {
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    showChosen(chosen);
    change({ [key]: chosen });
  };
  showChosen(state.getAll(key));
  const labels = boxes.map((box) => h("label", {}, box, h("span", {}, isolated(box.value))));
  return h(
    "details",
    { class: "pick", "data-filter": key, change: ticked },
    h("summary", {}, h("span", {}, title), shown),
    h("div", { class: "boxes", role: "group", "aria-label": title }, ...labels),
  );
}

/** Close lists of boxes, except one around `target`; a list that had the focus keeps it. */
function closePicks(target) {
  for (const open of document.querySelectorAll(".pick[open]")) {
    if (open.contains(target)) continue;
    const focused = open.contains(document.activeElement);
    open.open = false;
    if (focused) open.querySelector("summary").focus();
  }
}

/** Whether a name contains one of the wanted words, which commas separate. */
function hasWord(name) {
  const words = (state.get("task") ?? "").toLowerCase().split(",");
  const wanted = words.map((word) => word.trim()).filter(Boolean);
  return !wanted.length || wanted.some((word) => name.toLowerCase().includes(word));
}

/** Whether a task, or any task of a data set, fits the filters of tasks and languages. */
function fitsTask(name) {
  const tasks = page.report.sets[name] ?? [name];
  const wanted = state.getAll("language");
  const own = (task) => page.report.languages[task] ?? [];
  const hasLanguage = (task) => !wanted.length || own(task).some((one) => wanted.includes(one));
  return tasks.some((task) => (hasWord(name) || hasWord(task)) && hasLanguage(task));
}

/** Return the rows of a frame that fit the filters, as far as it has their columns. */
function fitting({ n, col }) {
  const used = FILTERS.filter((key) => col[key] && state.has(key));
  const sets = used.map((key) => [col[key], new Set(state.getAll(key))]);
  const tasks = new Map(distinct(col.task).map((name) => [name, fitsTask(name)]));
  const fits = (i) => tasks.get(col.task[i]) && sets.every(([own, set]) => set.has(own[i]));
  return Array.from({ length: n }, (_, i) => i).filter(fits);
}

/** Return the values of a column, in the order of its rows or those of most rows first. */
function valuesOf(column, rows, byNumber) {
  const number = new Map();
  for (const i of rows) number.set(column[i], (number.get(column[i]) ?? 0) + 1);
  const values = distinct([...number.keys()]);
  return byNumber ? values.sort((a, b) => number.get(b) - number.get(a)) : values;
}

/**
 * Build the selects over a section; return what is chosen and the rows that it leaves. A choice of
 * columns returns a column's name; any other keeps the rows with the chosen value.
 */
function choose(section, host, { col }, rows) {
  const chosen = {};
  const hasValue = (name) => rows.some((i) => !missing(col[name]?.[i]));
  const selects = section.choices.map(({ key, label: title, columns, ...how }) => {
    const all = how.has_all && rows.length <= MANY ? [["", "all"]] : [];
    const values = () => valuesOf(col[key], rows, how.by_number).map((value) => [value, value]);
    const known = columns.filter((name, k) => !k || hasValue(name));
    const options = columns.length
      ? known.map((name) => [name, columnOf(name).label])
      : [...all, ...values()];
    const asked = state.get(`${section.id}.${key}`);
    const [value] = options.find(([one]) => one === asked) ?? options[0] ?? [""];
    if (columns.length) chosen[key] = value;
    else if (value) rows = rows.filter((i) => col[key][i] === value);
    return select(title, options, value, (one) => change({ [`${section.id}.${key}`]: one }), key);
  });
  const focused = host.contains(document.activeElement) && document.activeElement.dataset.key;
  host.replaceChildren(...selects);
  if (focused) host.querySelector(`[data-key="${focused}"]`).focus();
  return { chosen, rows };
}
