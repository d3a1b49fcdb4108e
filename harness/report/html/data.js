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

/** Return an object whose properties are made when they are first read. */
function lazily(names, make) {
  const found = {};
  for (const name of names) {
    const get = () => {
      const value = make(name);
      Object.defineProperty(found, name, { value });
      return value;
    };
    Object.defineProperty(found, name, { enumerable: true, configurable: true, get });
  }
  return found;
}

const unpackColumn = (own) => (Array.isArray(own) ? own : own.at.map((k) => own.of[k]));
const unpack = ({ n, col }) => ({
  n,
  col: lazily(Object.keys(col), (name) => unpackColumn(col[name])),
});

/** Return the values of one measure joined with their runs: of `means` or of `tasks`. */
function joined(report, values, part) {
  const runs = once(`runs ${part}`, () => unpack(report.runs[part])).col;
  const { n, col: own } = unpack(values[part]);
  const ofRun = (name) => own.run.map((k) => runs[name][k]);
  const kinds = () => ofRun("kind").map((kind, i) => kind || (own.starred[i] ? "significant" : ""));
  const make = (name) => (name === "kind" ? kinds() : name in own ? own[name] : ofRun(name));
  return { n, col: lazily([...Object.keys(own), ...Object.keys(runs)], make) };
}

function concatenated(one, other) {
  const both = (name) => one.col[name].concat(other.col[name]);
  return { n: one.n + other.n, col: lazily(Object.keys(one.col), both) };
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
