// How numbers and names are written, and how elements are made. Texts become text nodes, never
// markup, and what in them would not show, or turn its neighbours around, is shown as its code.

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

// What honest text needs stays as it is: line ends, joiners, marks of direction, which hold no further.
const UNSEEN = /(?![\n\r\t\u00ad\u061c\u200b-\u200f])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;
const UNSEEN_IN_NAMES = /(?! )[\p{C}\p{Z}]/gu;

function code(character) {
  const point = character.codePointAt(0);
  const digits = point.toString(16).padStart(2, "0");
  return point < 256 ? `\\x${digits}` : `\\u{${digits}}`;
}

/** A text of any length, with control characters and direction overrides visible. */
const visible = (text) => String(text).replace(UNSEEN, code);

/** A name or an id on one line, as the terminal writes it. */
const oneLine = (text) => String(text).replace(UNSEEN_IN_NAMES, code);

/** A name that turns nothing around it, whichever way it is read. */
const isolated = (text) => h("bdi", {}, oneLine(text));

const withMinus = (text) => text.replace(/(?<![^\s[(])-(?=\d)/g, MINUS);

/** An element with attributes (functions are listeners) and children (strings are text). */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && !missing(value))
      element.setAttribute(name, name === "value" ? value : visible(value));
  }
  const there = children.filter((child) => child !== null && child !== undefined);
  element.append(...there.map((child) => (child instanceof Node ? child : visible(child))));
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
    return h("option", { value, selected: value === chosen }, oneLine(text));
  });
  const list = h("select", { "aria-label": label, change: (event) => change(event.target.value) }, ...made);
  return h("label", {}, h("span", {}, label), list);
}

/** Let the browser draw and listen before going on. */
function breath() {
  return new Promise((resume) => setTimeout(resume));
}
