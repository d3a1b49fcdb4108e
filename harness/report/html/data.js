// Blocks are gzip in base64. A frame is {n, col: {name: array}}; a row is an index into its columns.

const cached = new Map();

/** Return what `make` returned the first time it was called for `key`. */
function once(key, make) {
  if (!cached.has(key)) cached.set(key, make());
  return cached.get(key);
}

async function textOf(name) {
  const bytes = Uint8Array.from(atob(document.getElementById(`block-${name}`).textContent), (c) =>
    c.charCodeAt(0),
  );
  return new Response(
    new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")),
  ).text();
}

const load = (name) => once(name, async () => JSON.parse(await textOf(name)));

/** Run a library of this page; the policy knows the hash of its text. */
const run = (name) =>
  once(name, async () => {
    const script = document.createElement("script");
    script.textContent = await textOf(name);
    document.head.append(script);
  });

const unpackColumn = (packed) =>
  Array.isArray(packed) ? packed : packed.at.map((k) => packed.of[k]);

function unpack({ n, col }) {
  return {
    n,
    col: Object.fromEntries(Object.entries(col).map(([name, own]) => [name, unpackColumn(own)])),
  };
}

/** Return the values of one measure joined with their runs: of `means` or of `tasks`. */
function joined(report, values, part) {
  const runs = once(`runs ${part}`, () => unpack(report.runs[part]));
  const own = unpack(values[part]);
  for (const [name, column] of Object.entries(runs.col))
    own.col[name] = own.col.run.map((k) => column[k]);
  const star = (i) => own.col.kind[i] || (own.col.starred[i] ? "significant" : "");
  own.col.kind = own.col.kind.map((_, i) => star(i));
  return own;
}

function concatenated(one, other) {
  const names = Object.keys(one.col).filter((name) => name in other.col);
  return {
    n: one.n + other.n,
    col: Object.fromEntries(names.map((k) => [k, one.col[k].concat(other.col[k])])),
  };
}

/** Return a frame by name; those of results for one measure. */
function frameOf(name, measure) {
  if (!["results", "means", "tasks"].includes(name))
    return once(`frame ${name}`, async () => unpack((await load("report")).frames[name]));
  return once(`frame ${name} ${measure}`, async () => {
    if (name === "results")
      return concatenated(await frameOf("means", measure), await frameOf("tasks", measure));
    return joined(await load("report"), await load(`values-${measure}`), name);
  });
}

const collator = new Intl.Collator("en", { numeric: true });

/** Return the distinct values, in the order in which they come first. */
const distinct = (values) => [...new Set(values)].filter((value) => !missing(value));
