// Blocks are gzipped text in base64; tables come as columns. See columns.py for how they are packed.

const blocks = new Map();

/** The text of a block of this page. */
async function textOf(name) {
  const packed = atob(document.getElementById(`block-${name}`).textContent);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** The contents of a block, parsed when first asked for. */
function load(name) {
  if (!blocks.has(name)) blocks.set(name, textOf(name).then(JSON.parse));
  return blocks.get(name);
}

/** A packed column as an array of what it means. */
function unpackColumn(packed) {
  const values = packed.list ?? [];
  const runs = packed.runs ?? [];
  for (let i = 0; i < runs.length; i += 2) {
    for (let k = 0; k < runs[i + 1]; k++) values.push(runs[i]);
  }
  if (packed.of) return values.map((place) => packed.of[place]);
  if (!packed.scale) return values;
  const unit = 10 ** packed.scale;
  return values.map((value) => (value === null ? null : value / unit));
}

/** A packed table as {n, col: {name: array}}; of several, all their columns. */
function frame(...tables) {
  const col = {};
  for (const table of tables) {
    for (const [name, packed] of Object.entries(table.col)) col[name] = unpackColumn(packed);
  }
  return { n: tables[0].n, col };
}

const frames = new Map();

function framed(key, make) {
  if (!frames.has(key)) frames.set(key, make());
  return frames.get(key);
}

/** The rows of all runs by one measure; of tasks, or of data sets' means. */
async function rowsOf(measure, groups = false) {
  const first = await load("first");
  if (groups) {
    const own = first.groups;
    return framed(`groups ${measure}`, () => frame(own.runs, own.values[measure]));
  }
  const values = measure === first.measures[0] ? first.values : await load(`values-${measure}`);
  return framed(`rows ${measure}`, () => frame(first.runs, values));
}

/** One of the small tables, or the queries. */
async function tableOf(name) {
  const packed = name === "queries" || name === "recall" ? await load(name) : (await load("rest"))[name];
  return framed(name, () => frame(packed));
}

/** The distinct values of a column, in alphabetical order, without what is missing. */
function distinct(values) {
  return [...new Set(values)].filter((value) => value !== null).sort(byName);
}

const collator = new Intl.Collator("en", { numeric: true });
function byName(one, other) {
  return collator.compare(one, other);
}

/** The places 0 to n-1 at which a condition holds. */
function places(n, holds = () => true) {
  const found = [];
  for (let i = 0; i < n; i++) if (holds(i)) found.push(i);
  return found;
}
