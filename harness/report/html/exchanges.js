// What was asked of a model for one query and what it said, each with the documents it is about.

function exchanges({ n, col: c }, documents) {
  if (!n) return h("p", { class: "quiet" }, "No requests and replies.");
  const repaired = places(n, (i) => c.repaired[i]).length;
  const told = `${n} ${n === 1 ? "request and its reply" : "requests and replies"}${repaired ? `, ${repaired} repaired or unusable` : ""}`;
  const box = h("div", { class: "exchanges" });
  const fill = () => box.childElementCount || box.append(...places(n).map((i) => exchange(c, i, documents)));
  return h("details", { class: "said", toggle: fill }, h("summary", {}, told), box);
}

function exchange(c, i, documents) {
  const box = h("div", {});
  const fill = () =>
    box.childElementCount ||
    box.append(
      h("h4", {}, "Request"),
      h("pre", { class: "text" }, c.prompt[i]),
      h("h4", {}, c.known[i] ? "Reply" : "No reply"),
      h("pre", { class: `text ${c.repaired[i] ? "repaired" : ""}` }, c.reply[i]),
    );
  return h(
    "details",
    { class: c.repaired[i] ? "exchange repaired" : "exchange", toggle: fill },
    h(
      "summary",
      {},
      h("span", { class: "quiet" }, `Round ${c.round[i]} · ${c.request[i]} · `),
      ...about(documentsIn(asked(c, i), documents), documents),
      c.repaired[i] ? badge("odd", "⚠ repaired") : null,
      c.known[i] ? null : badge("bad", "no reply"),
      " → ",
      h("span", { class: "text" }, firstWords(c.reply[i], 90)),
    ),
    box,
  );
}

function firstWords(text, most) {
  const line = text
    .slice(0, 4 * most)
    .replace(/\s+/g, " ")
    .trim();
  return line.length > most ? `${line.slice(0, most)}…` : line;
}

/** Where a request's documents stand: behind its query, where that is told apart. */
function asked(c, i) {
  const prompt = c.prompt[i];
  return c.request[i] === "PairScore" ? prompt.slice(prompt.indexOf("\ndocument: ")) : prompt;
}

const FEW_DOCUMENTS = 3; // that a line names

/** Names of the documents that a request is about; of one, its first words too. */
function about(found, { ids, texts }) {
  if (found.length > FEW_DOCUMENTS) return [`${found.length} documents`];
  const names = found.flatMap((k, place) => [place ? ", " : null, h("code", {}, isolated(ids[k]))]);
  if (found.length !== 1) return names;
  return [...names, " ", h("span", { class: "text quiet" }, firstWords(texts[found[0]], 60))];
}

const OPENING = 32; // characters by which a document is found, for a request may hold it cut

/** Which documents stand in a text, in its order: at each place the one that agrees longest. */
function documentsIn(text, { texts }) {
  const best = new Map(); // by place
  texts.forEach((document, k) => {
    for (const from of occurrences(text, document.slice(0, OPENING).trim())) {
      const length = agreement(text.slice(from, from + document.length), document.trimStart());
      if (!(best.get(from)?.length >= length)) best.set(from, { from, length, k });
    }
  });
  const found = [...best.values()].sort((a, b) => a.from - b.from);
  const within = (one, other) =>
    one !== other && other.from < one.from && one.from < other.from + other.length;
  return found.filter((one) => !found.some((other) => within(one, other))).map(({ k }) => k);
}

/** The places at which a text holds another. */
function occurrences(text, part) {
  const found = [];
  for (let at = part ? text.indexOf(part) : -1; at >= 0; at = text.indexOf(part, at + part.length))
    found.push(at);
  return found;
}

/** How many characters two texts have in common, from their start. */
function agreement(one, other) {
  let n = 0;
  while (n < one.length && one[n] === other[n]) n += 1;
  return n;
}
