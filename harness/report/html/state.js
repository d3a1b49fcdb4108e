// What is shown: one object in the fragment of the address, and the bar of filters that changes it.

const state = new URLSearchParams(location.hash.slice(1));
const MANY = 2500; // rows that one plot draws at once
const FILTERS = ["profile", "reranker", "language"];

/** Change the state and show it; empty values are removed. `tab` makes an entry in the history. */
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
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) state.append(key, value);
  buildFilters();
  refresh();
});

const page = { report: null };
const measure = () => state.get("measure") ?? page.report.measures[0];

function buildFilters() {
  const { report } = page;
  const names = [...["means", "tasks"].map((part) => report.runs[part]), report.frames.first_stages];
  const profiles = distinct(names.flatMap((frame) => frame.col.profile?.of ?? []));
  const languages = distinct(Object.values(report.languages).flat());
  const bar = document.getElementById("filters");
  bar.replaceChildren(
    taskFilter(),
    languages.length ? pick("Language", "language", languages.sort(collator.compare)) : "",
    pick("First stage", "profile", profiles.sort(collator.compare)),
    pick("Reranker", "reranker", report.rerankers),
    select("Measure", report.measures, measure(), (value) => change({ measure: value })),
    h("button", { type: "reset" }, "Reset"),
    select("Colours", [["", "as the system"], "light", "dark"], state.get("theme"), (theme) => change({ theme })),
  );
  bar.hidden = false;
}

function taskFilter() {
  const change_ = (event) => change({ task: event.target.value.trim() });
  const input = h("input", { type: "search", placeholder: "all", value: state.get("task"), input: change_ });
  return h("label", {}, h("span", {}, "Task contains"), input);
}

/** A list of boxes to tick; none ticked means all. */
function pick(label, key, values) {
  const shown = h("b");
  const toggle = (value, on) => {
    const rest = state.getAll(key).filter((other) => other !== value);
    tell(on ? [...rest, value] : rest);
    change({ [key]: on ? [...rest, value] : rest });
  };
  const tell = (chosen) => {
    shown.textContent = chosen.length > 1 ? `${chosen.length} of ${values.length}` : (chosen[0] ?? "all");
  };
  tell(state.getAll(key));
  const boxes = values.map((value) => {
    const checked = state.getAll(key).includes(value);
    const box = h("input", { type: "checkbox", value, checked, change: (e) => toggle(value, e.target.checked) });
    return h("label", {}, box, h("span", {}, isolated(value)));
  });
  return h(
    "details",
    { class: "pick", "data-filter": key },
    h("summary", {}, h("span", {}, label), shown),
    h("div", { class: "boxes", role: "group", "aria-label": label }, ...boxes),
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

/** Whether a name holds one of the words, parted by commas, that are asked for. */
function hasWord(name) {
  const words = (state.get("task") ?? "").toLowerCase().split(",");
  const wanted = words.map((word) => word.trim()).filter(Boolean);
  return !wanted.length || wanted.some((word) => name.toLowerCase().includes(word));
}

/** Whether a task, or any task of a data set, fits the filters of tasks and languages. */
function fitsTask(name) {
  const tasks = page.report.sets[name] ?? [name];
  const wanted = state.getAll("language");
  const speaks = (task) => !wanted.length || page.report.languages[task]?.some((own) => wanted.includes(own));
  return tasks.some((task) => (hasWord(name) || hasWord(task)) && speaks(task));
}

/** Return the rows of a frame that fit the filters, as far as it has their columns. */
function fitting({ n, col }) {
  const sets = FILTERS.filter((key) => col[key] && state.has(key)).map((key) => [col[key], new Set(state.getAll(key))]);
  const tasks = new Map(distinct(col.task ?? []).map((name) => [name, fitsTask(name)]));
  const rows = [];
  for (let i = 0; i < n; i++)
    if (tasks.get(col.task[i]) && sets.every(([column, chosen]) => chosen.has(column[i]))) rows.push(i);
  return rows;
}

/**
 * Build the selects over a section and return what is chosen and the rows it leaves. A choice of
 * columns returns a column's name; any other keeps the rows that hold the chosen value.
 */
function choose(section, host, { col }, rows) {
  const chosen = {};
  const many = rows.length > MANY;
  const selects = section.choices.map(({ key, label, columns, has_all }) => {
    const id = `${section.id}.${key}`;
    const known = columns.filter((name) => rows.some((i) => !missing(col[name]?.[i])));
    const options = columns.length
      ? (known.length ? known : columns).map((name) => [name, columnOf(name).label])
      : [...(has_all && !many ? [["", "all"]] : []), ...distinct(rows.map((i) => col[key][i])).map((name) => [name, name])];
    const value = options.find(([name]) => name === state.get(id)) ?? options[0];
    chosen[key] = value?.[0] ?? "";
    if (!columns.length && chosen[key]) rows = rows.filter((i) => col[key][i] === chosen[key]);
    return select(label, options, chosen[key], (name) => change({ [id]: name }), key);
  });
  const focused = host.contains(document.activeElement) ? document.activeElement.dataset.choice : null;
  host.replaceChildren(...selects);
  if (focused) host.querySelector(`[data-choice="${focused}"]`).focus();
  return { chosen, rows };
}

const columnOf = (name) => once(`column ${name}`, () => page.report.columns.find((own) => own.name === name));
