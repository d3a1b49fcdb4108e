// A plot with its choices and a table of the same data, and the look that all plots share.

// Okabe and Ito's colours without black, which a dark page hides, and yellow, which a light one does;
// in turn with as many other symbols, so that no two series of 42 share both.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const GREY = "#808080";

const seriesColour = (i) => COLOURS[i % COLOURS.length];
const seriesSymbol = (i) => SYMBOLS[i % SYMBOLS.length];

/** A name as a plot shows it: plotly reads a few tags in labels, so there must be none. */
function label(text, most = Infinity) {
  const line = String(text).replace(/\s+/g, " ");
  const short = line.length > most ? `${line.slice(0, most - 1)}…` : line;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

const lines = (...parts) => parts.filter(Boolean).join("<br>");

let library = null;

/** The plotting library, read from this page when first needed. */
function plotly() {
  library ??= textOf("library").then((code) => {
    document.head.append(h("script", {}, code));
    return globalThis.Plotly;
  });
  return library;
}

const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  doubleClickDelay: 400,
};

function layout(own) {
  return {
    font: { family: "system-ui, sans-serif", size: 12, color: "#222" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 60, r: 20, t: 20, b: 45 },
    hovermode: "closest",
    hoverlabel: { align: "left", namelength: -1 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemwidth: 30 },
    ...own,
  };
}

function axis(title, own = {}) {
  return {
    title: { text: title, standoff: 8 },
    gridcolor: "#ccc",
    zerolinecolor: "#888",
    zerolinewidth: 1.5,
    automargin: true,
    ...own,
  };
}

/**
 * A plot of rows. `choices(rows, chosen)` are the selects over it: [{key, label, options, fallback?}],
 * where `options` may be a function that looks at what the selects before it have `chosen`;
 * `draw(rows, chosen)` returns {traces, layout, table, columns, note?}, or null where there is
 * nothing to show; `table` holds the rows that were drawn, for the table of the same data.
 */
class Figure {
  constructor(section, { rows, choices, draw }) {
    Object.assign(this, { section, rows, choices, draw });
    const name = section.querySelector("h2").firstChild.textContent.trim();
    this.chosen = {};
    this.controls = h("form", {
      class: "controls",
      "aria-label": `${name}: choices`,
      submit: (event) => event.preventDefault(),
    });
    this.plot = h("div", {
      class: "plot",
      role: "group",
      "aria-label": `Plot: ${name}. Its data are in the table below.`,
    });
    this.note = h("p", { class: "quiet" });
    this.data = h(
      "details",
      { class: "data", toggle: () => this.tell() },
      h("summary", {}, "Table of this plot"),
    );
    section.querySelector("figure").append(this.controls, this.plot, this.note);
    section.append(this.data);
    this.table = new Table(this.data, `Data of: ${name}`, { more: false });
  }

  /** Draw what fits the filters and the choices. */
  async update() {
    const rows = await this.rows();
    this.section.hidden = false;
    this.choose(rows);
    const drawn = rows.length ? this.draw(rows, this.chosen) : null;
    this.shown = drawn ?? { table: [], columns: [] };
    this.plot.hidden = drawn === null;
    this.note.textContent = drawn === null ? "Nothing here that fits the filters." : (drawn.note ?? "");
    this.tell();
    if (!drawn) return;
    this.plot.dataset.height = drawn.layout.height;
    this.plot.style.height = `${drawn.layout.height}px`;
    await (await plotly()).react(this.plot, drawn.traces, layout(drawn.layout), CONFIG);
  }

  /** Offer what can be chosen now; a choice that is gone falls back. */
  choose(rows) {
    const made = this.choices(rows, this.chosen).map(({ key, label: name, options: given, fallback }) => {
      const options = typeof given === "function" ? given() : given;
      const values = options.map((option) => (Array.isArray(option) ? option[0] : option));
      if (!values.includes(this.chosen[key])) this.chosen[key] = fallback ?? values[0];
      const pick = select(name, options, this.chosen[key], (value) => this.pick(key, value));
      pick.lastChild.dataset.choice = key;
      return pick;
    });
    this.controls.replaceChildren(...made);
  }

  async pick(key, value) {
    this.chosen[key] = value;
    await this.update();
    this.controls.querySelector(`[data-choice="${key}"]`).focus();
  }

  tell() {
    if (this.data.open && this.shown) this.table.show(this.shown.table, this.shown.columns);
  }
}

/** On paper plots are at most as large as the paper; afterwards as they were. */
function fitPaper(paper) {
  for (const plot of document.querySelectorAll(".plot.js-plotly-plot")) {
    const height = Math.min(plot.dataset.height, paper ? 560 : Infinity);
    plot.style.height = `${height}px`;
    globalThis.Plotly.relayout(plot, { height, width: paper ? 1000 : null, autosize: !paper });
  }
}
addEventListener("beforeprint", () => fitPaper(true));
addEventListener("afterprint", () => fitPaper(false));
