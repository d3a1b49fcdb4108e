// How values are written, by the format of their column, and how elements are made. Texts become
// text nodes, never markup; control characters were made visible when the page was written.

const NOTHING = "–";
const MINUS = "−";

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

const known =
  (write) =>
  (value, ...rest) =>
    missing(value) ? NOTHING : write(value, ...rest);

const withMinus = (value) => String(value).replace("-", MINUS);

const number = known((value, digits = 4) => withMinus(value.toFixed(digits)));

const signed = known((value, digits = 4) => {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) ? MINUS : "+") + text;
});

const share = known((value) => `${number(100 * value, 0).replace(/^−0$/, "0")} %`);

/** A count or a mean of counts: 0.027, 7, 9.5, 1234, 12.3k, 4.56M. */
const count = known((value) => {
  if (value > 0 && value < 1) return String(Number(value.toPrecision(2)));
  if (value < 1000) return value.toFixed(1).replace(/\.0$/, "");
  const unit = [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
  ].find(([size]) => value >= size);
  if (unit) return (value / unit[0]).toFixed(2) + unit[1];
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(0);
});

const FORMATS = {
  text: known((value) => (Array.isArray(value) ? value.join(", ") : String(value) || NOTHING)),
  whole: known(withMinus),
  number,
  signed,
  share,
  count,
  some: (value) => count(value || null),
  some_share: (value) => share(value || null),
  gain: (value, starred) => signed(value) + (starred ? " ★" : ""),
  bounds: (low, high) => (missing(low) ? NOTHING : `[${signed(low, 3)}, ${signed(high, 3)}]`),
  ratio: (...values) => values.map(count).join(" / "),
  seconds: known((value) => (value < 10 ? value.toFixed(3) : count(value))),
  cost: known((value) => String(Number((1000 * value).toPrecision(3)))),
  giga: known((value) => count(value / 1e9)),
  flag: (value) => (value ? "yes" : NOTHING),
  probability: known((value) =>
    withMinus(value < 1e-4 ? value.toExponential(0) : value.toFixed(4)),
  ),
};

/** Write the value of a column, or of the columns that share its cell. */
function written(column, values) {
  return (FORMATS[column.format] ?? FORMATS.count)(...values);
}

/** Return an element with attributes (functions are listeners) and children (strings are text). */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && !missing(value)) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => !missing(child)));
  return element;
}

/** A name that does not change the direction of the text around it. */
const isolated = (text) => h("bdi", {}, text);

/** A word in a frame, with a longer explanation after a colon as its tooltip. */
function badge(text) {
  const [word, why] = text.split(/: (.*)/s);
  const kind = { invalid: "bad", failed: "bad", floor: "" }[word] ?? "odd";
  return h("span", { class: `badge ${kind}`, title: why }, word);
}

/** A select with a label; options are [value, text] or texts. */
function select(label, options, chosen, change, key) {
  const made = options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    return h("option", { value, selected: value === chosen }, text);
  });
  const listen = (event) => change(event.target.value);
  const list = h("select", { "aria-label": label, "data-key": key, change: listen }, ...made);
  return h("label", {}, h("span", {}, label), list);
}
