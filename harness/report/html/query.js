// One query: what two rerankers made of the same pool, and what was said on the way.

const LONG = 320; // characters of a document that are shown at once

class QueryPanel {
  constructor(section, { texts, views }) {
    Object.assign(this, { section, texts, views });
    this.form = section.querySelector("form");
    this.host = section.querySelector("#view");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.chosen = {
      task: views[0].task,
      profile: views[0].profile,
      query: views[0].query_id,
      left: "",
      right: "",
    };
    section.hidden = false;
    for (const kind of ["change", "toggle"]) section.addEventListener(kind, () => this.asked(), true);
    this.update();
  }

  /** Whether a query of a run can be shown. */
  has(task, profile, query, reranker) {
    return this.views.some(
      (v) => v.task === task && v.profile === profile && v.query_id === query && v.reranker === reranker,
    );
  }

  /** From now on paper shows the query too: somebody looked at it. */
  asked() {
    this.section.classList.add("asked");
  }

  /** Show a query of a run, at the left. */
  open(task, profile, query, reranker) {
    this.chosen = { task, profile, query, left: reranker, right: this.chosen.right };
    this.asked();
    this.update();
    this.section.scrollIntoView();
    this.form.querySelector("select").focus({ preventScroll: true });
  }

  /** What can be chosen at each step, given the steps before. */
  options() {
    const own = (keys) =>
      this.views.filter((v) => keys.every(([key, field]) => v[field] === this.chosen[key]));
    const step = (key, field, before) => {
      const values = distinct(own(before).map((v) => v[field]));
      if (!values.includes(this.chosen[key])) this.chosen[key] = values[0];
      return values;
    };
    const tasks = step("task", "task", []);
    const profiles = step("profile", "profile", [["task", "task"]]);
    const queries = step("query", "query_id", [
      ["task", "task"],
      ["profile", "profile"],
    ]);
    const found = own([
      ["task", "task"],
      ["profile", "profile"],
      ["query", "query_id"],
    ]);
    const rerankers = found.map((v) => v.reranker).sort((a, b) => bestPlace(a) - bestPlace(b));
    return { tasks, profiles, queries, rerankers, found };
  }

  update() {
    const { tasks, profiles, queries, rerankers, found } = this.options();
    if (!rerankers.includes(this.chosen.left)) this.chosen.left = rerankers[0];
    if (!rerankers.includes(this.chosen.right))
      this.chosen.right = rerankers.find((name) => name !== this.chosen.left) ?? "";
    const lists = [
      ["Task", "task", tasks],
      ["Profile", "profile", profiles],
      ["Query", "query", queries],
      ["Left", "left", rerankers],
      ["Right", "right", [["", "none"], ...rerankers.map((name) => [name, name])]],
    ];
    this.form.replaceChildren(...lists.map(([text, key, values]) => this.list(text, key, values)));
    const sides = [this.chosen.left, this.chosen.right]
      .map((name) => found.find((v) => v.reranker === name))
      .filter(Boolean);
    this.host.replaceChildren(
      h("blockquote", { class: "text" }, found[0].query || "(the query's text could not be read)"),
      h("div", { class: "sides" }, ...sides.map((view) => this.side(view))),
    );
  }

  list(text, key, values) {
    const made = select(text, values, this.chosen[key], (value) => {
      this.chosen[key] = value;
      this.update();
      this.form.querySelector(`[data-choice="${key}"]`).focus();
    });
    made.lastChild.dataset.choice = key;
    return made;
  }

  side(view) {
    const gain = view.natural - view.first_stage;
    const documents = frame(view.documents);
    const counts = Object.entries(view.counts)
      .map(([name, n]) => `${n} ${name.replaceAll("_", " ")}`)
      .join(", ");
    return h(
      "section",
      { class: "side", "aria-label": view.reranker },
      h("h3", {}, isolated(view.reranker), " ", view.failed ? badge("bad", "failed") : null),
      h(
        "p",
        {},
        `nDCG@10 ${number(view.first_stage)} → ${number(view.natural)} (${signed(gain)})`,
        h("span", { class: "quiet" }, counts && ` · ${counts}`),
      ),
      view.failed ? h("p", { class: "fault text" }, view.failed) : null,
      ...view.notes.map((note) => h("p", { class: "quiet text" }, note)),
      this.documents(documents),
      exchanges(frame(view.exchanges), {
        ids: documents.col.doc_id,
        texts: documents.col.text.map((place) => this.texts[place]),
      }),
    );
  }

  documents({ n, col: c }) {
    const heads = [
      ["rank", "num"],
      ["before", "num"],
      ["moved", "num"],
      ["score", "num"],
      ["document", "name"],
    ];
    const head = h("tr", {}, ...heads.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)));
    const body = places(n).map((i) => this.document(c, i));
    return h(
      "div",
      { class: "scroll tall", role: "region", tabindex: 0, "aria-label": "Candidates" },
      h("table", { class: "documents" }, h("thead", {}, head), h("tbody", {}, ...body)),
    );
  }

  document(c, i) {
    const kind = c.safeguard[i] ? "guard" : c.positive[i] ? "positive" : "";
    return h(
      "tr",
      { class: kind },
      h("td", {}, String(c.after[i])),
      h("td", {}, String(c.before[i])),
      h("td", {}, move(c.before[i] - c.after[i])),
      h(
        "td",
        {},
        missing(c.score[i]) ? NOTHING : String(Number(c.score[i].toPrecision(5))).replace("-", MINUS),
      ),
      h(
        "td",
        { class: "name" },
        h("div", { class: "ids" }, ...documentMarks(c, i), h("code", {}, isolated(c.doc_id[i]))),
        folded(this.texts[c.text[i]]),
      ),
    );
  }
}

function move(steps) {
  if (!steps) return h("span", { class: "quiet" }, "=");
  return h("span", { class: steps > 0 ? "up" : "down" }, `${steps > 0 ? "▲" : "▼"} ${Math.abs(steps)}`);
}

function documentMarks(c, i) {
  return [
    c.positive[i] ? badge("good", `✓ positive${missing(c.grade[i]) ? "" : `, grade ${c.grade[i]}`}`) : null,
    c.safeguard[i]
      ? badge("", "safeguard", "Appended because the pool held no positive; natural numbers leave it out")
      : null,
    !c.positive[i] && !missing(c.grade[i]) ? badge("", `grade ${c.grade[i]}`) : null,
  ];
}

/** A text, of which a long one shows its beginning until it is asked for. */
function folded(text) {
  if (!text) return h("p", { class: "quiet" }, "(no text)");
  if (text.length <= LONG * 1.3) return h("p", { class: "text" }, text);
  return h(
    "details",
    { class: "long" },
    h("summary", { class: "text" }, `${text.slice(0, LONG)}…`),
    h("p", { class: "text" }, text),
  );
}
