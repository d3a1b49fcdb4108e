// One query: what rerankers made of the same pool, side by side, with requests and replies.

const LONG = 320; // characters of a document that are shown at once

/** A button that shows a row's query. */
function opener(col, i) {
  const show = () =>
    change({
      tab: "One query",
      "query.task": col.task[i],
      "query.profile": col.profile[i],
      "query.query_id": col.query_id[i],
      "query.first": col.reranker[i],
    });
  const name = `open ${col.query_id[i]} of ${col.reranker[i]}`;
  return h("button", { type: "button", class: "open", "aria-label": name, click: show }, "open");
}

/** Draw the first two of a query's rerankers, or all that the filter picks. */
async function drawQuery(section, host, { col }, rows) {
  const { texts, views } = await load("texts");
  const isFirst = (i) => col.reranker[i] === state.get("query.first");
  const sorted = [...rows.filter(isFirst), ...rows.filter((i) => !isFirst(i))];
  const shown = sorted.slice(0, state.has("reranker") ? Infinity : 2).map((i) => views[i]);
  if (!shown.length) return host.replaceChildren("No query fits the filters.");
  const query = shown[0].query || "(the text of the query could not be read)";
  const sides = shown.map((view) => side(view, texts));
  host.replaceChildren(
    h("blockquote", { class: "text" }, query),
    h("div", { class: "sides" }, ...sides),
  );
}

function side(view, texts) {
  const { n, col } = unpack(view.documents);
  const counts = Object.entries(view.counts).map(([name, k]) => ` · ${k} ${name}`);
  const gain = signed(view.natural - view.first_stage);
  const rows = Array.from({ length: n }, (_, i) => candidate(col, i, texts[col.text[i]]));
  const heads = ["rank", "before", "moved", "score", "document"];
  const table = h(
    "table",
    { class: "documents" },
    h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...rows),
  );
  return h(
    "section",
    { class: "side", "aria-label": view.reranker },
    h("h3", {}, isolated(view.reranker), view.failed ? badge("failed") : ""),
    h(
      "p",
      {},
      `nDCG@10 ${number(view.first_stage)} → ${number(view.natural)} (${gain})`,
      ...counts,
    ),
    h("p", { class: "fault text" }, view.failed),
    ...view.notes.map((note) => h("p", { class: "quiet text" }, note)),
    h("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Candidates" }, table),
    exchanges(view.exchanges, col.doc_id),
  );
}

function candidate(col, i, text) {
  const [positive, safeguard] = [col.positive[i], col.safeguard[i]];
  const grade = missing(col.grade[i]) ? "" : `grade ${col.grade[i]}`;
  const score = missing(col.score[i]) ? NOTHING : Number(col.score[i].toPrecision(5));
  const words = [positive ? "✓ positive" : "", grade].filter(Boolean).join(", ");
  const marks = [
    words ? h("span", { class: `badge ${positive ? "good" : ""}` }, words) : "",
    safeguard ? badge("safeguard: appended because the pool held no positive") : "",
  ];
  const figures = [col.after[i], col.before[i], move(col.before[i] - col.after[i]), score];
  const id = h("div", { class: "quiet" }, ...marks, h("code", {}, isolated(col.doc_id[i])));
  return h(
    "tr",
    { class: safeguard ? "guard" : positive ? "positive" : "" },
    ...figures.map((value) => h("td", {}, withMinus(value))),
    h("td", { class: "name" }, id, folded(text)),
  );
}

function move(steps) {
  if (!steps) return "=";
  return steps > 0 ? `▲ ${steps}` : `▼ ${-steps}`;
}

/** A text, of which a long one shows its beginning until it is opened. */
function folded(text) {
  if (!text) return h("p", { class: "quiet" }, "(no text)");
  if (text.length <= LONG * 1.3) return h("p", { class: "text" }, text);
  const start = h("summary", { class: "text" }, `${text.slice(0, LONG)}…`);
  return h("details", {}, start, h("p", { class: "text" }, text));
}

function exchanges(all, ids) {
  if (!all.length) return h("p", { class: "quiet" }, "No requests and replies.");
  const repaired = all.filter((one) => one.repaired).length;
  const odd = repaired ? `, ${repaired} repaired or unusable` : "";
  const box = h("div");
  const fill = () => box.childElementCount || box.append(...all.map((one) => exchange(one, ids)));
  return h(
    "details",
    { toggle: fill },
    h("summary", {}, `${all.length} requests and replies${odd}`),
    box,
  );
}

function exchange(one, ids) {
  const about = one.about.map((k) => ids[k]);
  const documents = about.length > 3 ? `${about.length} documents` : about.join(", ");
  const reply = one.reply.slice(0, 90).replace(/\s+/g, " ");
  return h(
    "details",
    { class: `exchange ${one.repaired ? "repaired" : ""}` },
    h(
      "summary",
      {},
      h("span", { class: "quiet" }, `Round ${one.round} · ${one.request} · `),
      isolated(documents),
      one.repaired ? badge("repaired") : "",
      one.known ? "" : badge("no reply"),
      " → ",
      h("span", { class: "text" }, reply, one.reply.length > 90 ? "…" : ""),
    ),
    h("h4", {}, "Request"),
    h("pre", { class: "text" }, one.prompt),
    h("h4", {}, "Reply"),
    h("pre", { class: "text" }, one.reply),
  );
}
