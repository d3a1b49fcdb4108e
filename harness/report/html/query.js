// One query: what two rerankers made of the same pool, with requests and replies.

const LONG = 320; // characters of a document that are shown at once
const STEPS = [
  ["task", "Task", "task"],
  ["profile", "After", "profile"],
  ["query", "Query", "query_id"],
];

const keyOf = (...parts) => parts.join("\n");
const viewsByKey = (views) =>
  once("views by key", () => new Set(views.map((v) => keyOf(v.task, v.profile, v.reranker, v.query_id))));
let opened = null; // the texts, once they are read

const hasTexts = (col, i) =>
  opened && viewsByKey(opened.views).has(keyOf(col.task[i], col.profile[i], col.reranker[i], col.query_id[i]));

/** A button that shows a row's query. */
function opener(col, i) {
  const values = { tab: "One query", "query.task": col.task[i], "query.profile": col.profile[i] };
  Object.assign(values, { "query.query": col.query_id[i], "query.left": col.reranker[i] });
  const name = `open ${col.query_id[i]} of ${col.reranker[i]}`;
  return h("button", { type: "button", class: "open", "aria-label": name, click: () => change(values) }, "open");
}

/** Draw the selects, each with what the ones before it leave, and the chosen query. */
function drawQuery(section, host, controls) {
  let views = opened.views;
  const chosen = (key, options) => (options.includes(state.get(`query.${key}`)) ? state.get(`query.${key}`) : options[0]);
  const set = (key) => (value) => change({ [`query.${key}`]: value });
  const selects = STEPS.map(([key, text, field]) => {
    const options = distinct(views.map((view) => view[field]));
    const value = chosen(key, options);
    views = views.filter((view) => view[field] === value);
    return select(text, options, value, set(key), key);
  });
  const names = page.report.rerankers.filter((name) => views.some((view) => view.reranker === name));
  const rerankers = distinct([...names, ...views.map((view) => view.reranker)]);
  const left = chosen("left", rerankers);
  const right = chosen("right", [...rerankers.filter((name) => name !== left), "none"]);
  selects.push(select("Left", rerankers, left, set("left"), "left"));
  selects.push(select("Right", [...rerankers, "none"], right, set("right"), "right"));
  const focused = controls.contains(document.activeElement) ? document.activeElement.dataset.choice : null;
  controls.replaceChildren(...selects);
  if (focused) controls.querySelector(`[data-choice="${focused}"]`).focus();
  const sides = [left, right].map((name) => views.find((view) => view.reranker === name)).filter(Boolean);
  host.replaceChildren(
    h("blockquote", { class: "text" }, sides[0].query || "(the text of the query could not be read)"),
    h("div", { class: "sides" }, ...sides.map(side)),
  );
}

function side(view) {
  const { n, col } = once(view, () => unpack(view.documents));
  const counts = Object.entries(view.counts).map(([name, count_]) => `${count_} ${name.replaceAll("_", " ")}`);
  const values = `nDCG@10 ${number(view.first_stage)} → ${number(view.natural)} (${signed(view.natural - view.first_stage)})`;
  const rows = Array.from({ length: n }, (_, i) => candidate(col, i));
  const heads = ["rank", "before", "moved", "score", "document"].map((text) => h("th", { scope: "col" }, text));
  return h(
    "section",
    { class: "side", "aria-label": view.reranker },
    h("h3", {}, isolated(view.reranker), view.failed ? badge("failed") : ""),
    h("p", {}, values, h("span", { class: "quiet" }, counts.length ? ` · ${counts.join(", ")}` : "")),
    view.failed ? h("p", { class: "fault text" }, view.failed) : "",
    ...view.notes.map((note) => h("p", { class: "quiet text" }, note)),
    h(
      "div",
      { class: "scroll tall", role: "region", tabindex: 0, "aria-label": "Candidates" },
      h("table", { class: "documents" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows)),
    ),
    exchanges(view.exchanges, col),
  );
}

function candidate(col, i) {
  const kind = col.safeguard[i] ? "guard" : col.positive[i] ? "positive" : "";
  const score = missing(col.score[i]) ? NOTHING : String(Number(col.score[i].toPrecision(5))).replace("-", MINUS);
  const grade = missing(col.grade[i]) ? "" : `grade ${col.grade[i]}`;
  const marks = [
    col.positive[i] ? h("span", { class: "badge good" }, `✓ positive${grade && `, ${grade}`}`) : "",
    col.safeguard[i] ? badge("safeguard: appended because the pool held no positive") : "",
    !col.positive[i] && grade ? badge(grade) : "",
  ];
  const figures = [col.after[i], col.before[i], move(col.before[i] - col.after[i]), score];
  return h(
    "tr",
    { class: kind },
    ...figures.map((value) => h("td", { class: "figure" }, value)),
    h("td", { class: "name" }, h("div", { class: "quiet" }, ...marks, h("code", {}, isolated(col.doc_id[i]))), folded(opened.texts[col.text[i]])),
  );
}

function move(steps) {
  if (!steps) return h("span", { class: "quiet" }, "=");
  return h("span", { class: steps > 0 ? "up" : "down" }, `${steps > 0 ? "▲" : "▼"} ${Math.abs(steps)}`);
}

/** A text, of which a long one shows its beginning until it is opened. */
function folded(text) {
  if (!text) return h("p", { class: "quiet" }, "(no text)");
  if (text.length <= LONG * 1.3) return h("p", { class: "text" }, text);
  const start = h("summary", { class: "text" }, `${text.slice(0, LONG)}…`);
  return h("details", { class: "long" }, start, h("p", { class: "text" }, text));
}

function exchanges(all, col) {
  if (!all.length) return h("p", { class: "quiet" }, "No requests and replies.");
  const repaired = all.filter((one) => one.repaired).length;
  const title = `${all.length} requests and replies${repaired ? `, ${repaired} repaired or unusable` : ""}`;
  const box = h("div");
  const fill = () => box.childElementCount || box.append(...all.map((one) => exchange(one, col)));
  return h("details", { toggle: fill }, h("summary", {}, title), box);
}

function exchange(one, col) {
  const ids = one.about.map((k) => col.doc_id[k]);
  const about = ids.length > 3 ? `${ids.length} documents` : ids.join(", ");
  const said = one.reply.slice(0, 400).replace(/\s+/g, " ").trim();
  return h(
    "details",
    { class: `exchange ${one.repaired ? "repaired" : ""}` },
    h(
      "summary",
      {},
      h("span", { class: "quiet" }, `Round ${one.round} · ${one.request} · `),
      isolated(about),
      one.repaired ? badge("repaired") : "",
      one.known ? "" : badge("no reply"),
      " → ",
      h("span", { class: "text" }, said.length > 90 ? `${said.slice(0, 90)}…` : said),
    ),
    h("h4", {}, "Request"),
    h("pre", { class: "text" }, one.prompt),
    h("h4", {}, "Reply"),
    h("pre", { class: "text" }, one.reply),
  );
}
