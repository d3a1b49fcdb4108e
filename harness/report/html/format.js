// How numbers are written, and how elements are made. Texts become text nodes, never markup.

const NOTHING = "–";
const MINUS = "−";

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

function number(value, digits = 4) {
  return missing(value) ? NOTHING : value.toFixed(digits).replace("-", MINUS);
}

function signed(value, digits = 4) {
  if (missing(value)) return NOTHING;
  const text = Math.abs(value).toFixed(digits);
  const sign = value < 0 && Number(text) !== 0 ? MINUS : "+";
  return sign + text;
}

function bounds(low, high) {
  return missing(low) || missing(high) ? NOTHING : `[${signed(low)}, ${signed(high)}]`;
}

function share(value) {
  if (missing(value)) return NOTHING;
  const text = Math.abs(100 * value).toFixed(0);
  return `${value < 0 && text !== "0" ? MINUS : ""}${text} %`;
}

/** A count or a mean of counts: 7, 9.5, 1234, 12.3k, 4.56M. */
function count(value) {
  if (missing(value)) return NOTHING;
  if (value < 1 && value > 0) return String(Number(value.toPrecision(2)));
  if (value < 1000) return value.toFixed(1).replace(/\.0$/, "");
  for (const [unit, letter] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
  ]) {
    if (value >= unit) return (value / unit).toFixed(2) + letter;
  }
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(0);
}

function plain(value) {
  return missing(value) ? NOTHING : String(value);
}

function seconds(value) {
  return missing(value) ? NOTHING : value < 10 ? value.toFixed(3) : count(value);
}

/** A price with three digits. */
function price(value) {
  return missing(value) ? NOTHING : String(Number(value.toPrecision(3)));
}

function probability(value) {
  return missing(value)
    ? NOTHING
    : value < 0.0001
      ? value.toExponential(0).replace("-", MINUS)
      : value.toFixed(4);
}

const whole = new Intl.NumberFormat("en");

/** An element with attributes (functions are listeners) and children (strings are text). */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && !missing(value)) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A small word in a frame: what is odd about a row. */
function badge(kind, text, hint) {
  return h("span", { class: `badge ${kind}`, title: hint }, text);
}

/** A select with a label; options are [value, text] or texts. */
function select(label, options, chosen, change) {
  const made = options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    return h("option", { value, selected: value === chosen }, text);
  });
  const list = h("select", { "aria-label": label, change: (event) => change(event.target.value) }, ...made);
  return h("label", {}, h("span", {}, label), list);
}

/** Let the browser draw and listen before going on. */
function breath() {
  return new Promise((resume) => setTimeout(resume));
}
