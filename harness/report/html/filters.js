// What is shown: one state for all tables and plots, and the bar that changes it.

const state = {
  task: "",
  profile: new Set(), // nothing picked: everything
  reranker: new Set(),
  language: new Set(),
  speaking: null, // the tasks that have queries in those languages; where none is asked for, null
  measure: "",
  safeguarded: false,
};

let changed = () => {};

function set(change) {
  Object.assign(state, change);
  changed();
}

/** Build the filter bar. `languages` may be empty; `listener` hears of every change. */
function buildFilters(bar, { measures, tasks, profiles, rerankers, languages }, listener) {
  state.measure = measures[0];
  changed = listener;
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.addEventListener("reset", () => setTimeout(() => reset(bar)));
  bar.replaceChildren(
    taskFilter(tasks),
    ...(languages.length ? [pick("Language", "language", languages)] : []),
    pick("Profile", "profile", profiles),
    pick("Reranker", "reranker", rerankers),
    select("Measure", measures, measures[0], (measure) => set({ measure })),
    guardSwitch(),
    h("button", { type: "reset" }, "Reset"),
    themeSelect(),
    h("p", { id: "reach", class: "quiet", role: "status", hidden: true }),
  );
  new ResizeObserver(() => keepClear(bar)).observe(bar);
  document.addEventListener("click", (event) => closePicks(event.target));
  document.addEventListener("keydown", (event) => event.key === "Escape" && closePicks(null));
}

/** What is scrolled to stops under the bar, however many lines that has. */
function keepClear(bar) {
  const covers = getComputedStyle(bar).position === "sticky";
  document.documentElement.style.setProperty("--bar", `${covers ? bar.offsetHeight : 0}px`);
}

/** Back to how the page was opened: all filters off, all tables in their own order. */
function reset(bar) {
  for (const table of tables) table.sort = null;
  for (const box of bar.querySelectorAll(".pick")) box.dispatchEvent(new Event("emptied"));
  const measure = bar.querySelector("select").value;
  set({
    task: "",
    profile: new Set(),
    reranker: new Set(),
    language: new Set(),
    measure,
    safeguarded: false,
  });
}

function taskFilter(tasks) {
  const names = h(
    "datalist",
    { id: "task-names" },
    ...tasks.slice(0, 1000).map((task) => h("option", { value: oneLine(task) })),
  );
  const input = h("input", {
    type: "search",
    list: "task-names",
    placeholder: "all",
    size: 18,
    name: "task",
    input: (event) => set({ task: event.target.value.trim().toLowerCase() }),
  });
  return h("label", {}, h("span", {}, "Task contains"), input, names);
}

/** A list of boxes to tick, folded into one line; none ticked means all. */
function pick(label, key, values) {
  const told = h("b", { class: "text" }, "all");
  const tell = () => {
    const chosen = [...state[key]];
    told.textContent =
      chosen.length === 0
        ? "all"
        : chosen.length === 1
          ? oneLine(chosen[0])
          : `${chosen.length} of ${values.length}`;
  };
  const toggle = (value, on) => {
    const chosen = new Set(state[key]);
    if (on) chosen.add(value);
    else chosen.delete(value);
    set({ [key]: chosen });
    tell();
  };
  const boxes = values.map((value) =>
    h(
      "label",
      {},
      h("input", { type: "checkbox", value, change: (event) => toggle(value, event.target.checked) }),
      h("span", {}, isolated(value)),
    ),
  );
  return h(
    "details",
    { class: "pick", "data-filter": key, emptied: () => setTimeout(tell) },
    h("summary", {}, h("span", {}, label), told),
    h("div", { class: "boxes", role: "group", "aria-label": label }, ...boxes),
  );
}

function closePicks(target) {
  for (const open of document.querySelectorAll(".pick[open]")) {
    if (open.contains(target)) continue;
    const held = open.contains(document.activeElement);
    open.open = false;
    if (held) open.querySelector("summary").focus();
  }
}

function guardSwitch() {
  const choices = [
    ["natural", false],
    ["safeguarded", true],
  ].map(([text, value]) =>
    h(
      "label",
      {},
      h("input", {
        type: "radio",
        name: "guard",
        value: text,
        checked: !value,
        change: () => set({ safeguarded: value }),
      }),
      h("span", {}, text),
    ),
  );
  return h(
    "fieldset",
    { class: "switch" },
    h("legend", { class: "unseen" }, "With or without the safeguard"),
    ...choices,
  );
}

function themeSelect() {
  const choose = (theme) => {
    document.documentElement.dataset.theme = theme;
    paintAll();
  };
  const made = select(
    "Colours",
    [
      ["", "as the system"],
      ["light", "light"],
      ["dark", "dark"],
    ],
    "",
    choose,
  );
  made.classList.add("theme");
  return made;
}

/** The places of a frame's rows that fit the filters, as far as it has the columns. */
function fitting({ n, col }) {
  const sets = ["profile", "reranker", "language"].filter((key) => col[key] && state[key].size);
  return places(n, (i) => fitsTask(col.task[i]) && sets.every((key) => state[key].has(col[key][i])));
}

/** Whether a name holds one of the words (parted by commas) that were asked for. */
function fitsWords(given) {
  if (!state.task) return true;
  const name = oneLine(given).toLowerCase();
  return state.task.split(",").some((part) => part.trim() && name.includes(part.trim()));
}

const speaks = (task) => !state.speaking || state.speaking.has(task);
const fitsTask = (task) => fitsWords(task) && speaks(task);

/** A data set fits by its own name or by one of its `tasks`, and where one of them has the language. */
const fitsGroup = (name, tasks) => tasks.some(fitsWords(name) ? speaks : fitsTask);

/** Say what the filters do not reach: means and tasks are never cut. */
function tellReach() {
  const told = [];
  if (state.language.size)
    told.push(
      "Language: means, tasks, first stages and plots hold whole tasks that have such queries, with " +
        "all their queries; only the queries, their ranks and the strata are of the language alone.",
    );
  if (state.task || state.language.size)
    told.push("Means are over all tasks of a data set, also those that the filters leave out.");
  const line = document.getElementById("reach");
  line.textContent = told.join(" ");
  line.hidden = !told.length;
}
