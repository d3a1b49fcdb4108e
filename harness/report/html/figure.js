// A plot with its choices and a table of the same data, and the look that all plots share.

// Colours and symbols take turns, six of one and seven of the other: no two series of 42 share both.
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];

const seriesColour = (i) => palette().series[i % palette().series.length];
const seriesSymbol = (i) => SYMBOLS[i % SYMBOLS.length];

/** A name as a plot shows it: plotly reads a few tags in labels, so there must be none. */
function label(text, most = Infinity) {
  const line = oneLine(text);
  const short = line.length > most ? `${line.slice(0, most - 1)}…` : line;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

const lines = (...parts) => parts.filter(Boolean).join("<br>");

let library = null;

/** The plotting library, read from this page when first needed. */
function plotly() {
  library ??= textOf("library").then((code) => {
    const script = h("script");
    script.textContent = code; // as it is: the page's policy knows its hash
    document.head.append(script);
    return globalThis.Plotly;
  });
  return library;
}

// All buttons are named here, so that no version of the library brings others, which might upload.
const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["toImage", "resetScale2d"]],
  showSendToCloud: false,
  plotlyServerURL: "",
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
 * `draw(rows, chosen, width)` returns {traces, layout, table, columns, note?, least?}, or null where
 * there is nothing to show; `table` holds the rows that were drawn, for the table of the same data;
 * `least` is the width in pixels that it needs, for which it scrolls by itself on a narrow screen.
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
    this.across = h("div", { class: "across" }, this.plot);
    section.querySelector("figure").append(this.controls, this.across, this.note);
    section.append(this.data);
    this.table = new Table(this.data, `Data of: ${name}`, { more: false });
    figures.push(this);
  }

  /** Draw what fits the filters and the choices. */
  async update() {
    this.given = await this.rows();
    await plotly();
    this.section.hidden = false;
    this.choose(this.given);
    this.paint();
  }

  /** Draw what was given last, as it is looked at now: its colours and its width. */
  paint() {
    if (!this.given) return;
    const wide = paper.printing ? PAPER.width : this.across.clientWidth;
    const drawn = this.given.length ? this.draw(this.given, this.chosen, wide) : null;
    this.shown = drawn ?? { table: [], columns: [] };
    this.plot.hidden = drawn === null;
    this.note.textContent = drawn === null ? "Nothing here that fits the filters." : (drawn.note ?? "");
    this.tell();
    if (!drawn) return;
    const height = Math.min(drawn.layout.height, paper.printing ? PAPER.height : Infinity);
    const size = { height, ...(paper.printing ? { width: PAPER.width } : {}) };
    this.plot.style.height = `${height}px`;
    this.plot.style.minWidth = drawn.least && !paper.printing ? `${drawn.least}px` : "";
    globalThis.Plotly.react(this.plot, drawn.traces, layout({ ...drawn.layout, ...size }), CONFIG);
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

const figures = [];
const PAPER = { width: 1000, height: 560 }; // of a plot on A4 across

const paintAll = () => figures.forEach((one) => one.paint());

/** On paper plots are light, and at most as large as the paper; afterwards as they were. */
function printed(printing) {
  paper.printing = printing;
  paintAll();
}
addEventListener("beforeprint", () => printed(true));
addEventListener("afterprint", () => printed(false));
darkSystem.addEventListener("change", paintAll);
narrowScreen.addEventListener("change", paintAll);
