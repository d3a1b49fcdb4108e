// A table that sorts and pages; on a narrow screen the names of a row stand in one cell.
//
// A column is {id, head, value(row), text?(value), write?(row), nodes?(row), hint?, name?, more?}:
// `value` is what it sorts by, `text` how that is written (`write`, where it takes more than the
// value), `nodes` what else stands in the cell. Columns with `name` hold words; those with `more` are
// shown when more columns are asked for. None is shown where it would be empty, or in tables with
// more columns hold nothing but 0, unless it is there `always`.

const PAGE = 50;

class Table {
  constructor(host, label, { sort = null, more = true } = {}) {
    this.rows = [];
    this.columns = [];
    this.page = 0;
    this.size = PAGE;
    this.all = false;
    this.sort = sort; // {id, down}
    this.drawn = null;
    this.lean = more;
    this.build(host, label, more);
    tables.push(this);
  }

  build(host, label, more) {
    this.head = h("thead");
    this.body = h("tbody");
    this.table = h("table", { "aria-label": label }, this.head, this.body);
    this.box = h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, this.table);
    this.shown = h("output", {});
    this.back = h(
      "button",
      { type: "button", click: () => this.turn(-1), "aria-label": "Previous page" },
      "‹ Back",
    );
    this.on = h("button", { type: "button", click: () => this.turn(1), "aria-label": "Next page" }, "Next ›");
    const sizes = [
      ["25", "25 rows"],
      ["50", "50 rows"],
      ["200", "200 rows"],
    ];
    this.sizes = select("", sizes, String(PAGE), (value) => this.resize(Number(value)));
    this.sizes.lastChild.setAttribute("aria-label", "Rows on a page");
    const every = h("input", { type: "checkbox", change: (event) => this.widen(event.target.checked) });
    this.every = h("label", { class: "every", hidden: !more }, every, h("span", {}, "More columns"));
    this.rest = h("span", { class: "on-paper", hidden: true }, "; “rerank-bench export” has all");
    const told = h("span", {}, this.shown, this.rest);
    this.foot = h("div", { class: "pager" }, told, this.back, this.on, this.sizes, this.every);
    host.append(this.box, this.foot);
  }

  /** Show other rows; the page goes back to the first, the order stays. */
  show(rows, columns) {
    this.columns = columns;
    this.rows = this.sort ? sorted(rows, this.sorter(), this.sort.down) : rows;
    this.given = rows;
    this.page = 0;
    this.draw();
  }

  sorter() {
    return this.columns.find((column) => column.id === this.sort.id) ?? this.columns[0];
  }

  visible() {
    const nothing = (value) => missing(value) || (this.lean && !this.all && value === 0);
    const any = (column) => this.rows.some((row) => !nothing(column.value(row)));
    return this.columns.filter((column) => (this.all || !column.more) && (column.always || any(column)));
  }

  draw() {
    this.drawn = isNarrow() ? joined(this.visible()) : this.visible();
    this.head.replaceChildren(h("tr", {}, ...this.drawn.map((column) => this.heading(column))));
    this.drawRows();
  }

  drawRows() {
    const from = this.page * this.size;
    const part = this.rows.slice(from, from + this.size);
    this.body.replaceChildren(...part.map((row) => this.row(row)));
    const last = from + part.length;
    const total = whole.format(this.rows.length);
    this.shown.textContent = this.rows.length
      ? `${whole.format(from + 1)} to ${whole.format(last)} of ${total}`
      : "No row fits the filters.";
    this.back.disabled = this.page === 0;
    this.on.disabled = last >= this.rows.length;
    this.back.hidden = this.on.hidden = this.rows.length <= this.size;
    this.rest.hidden = part.length === this.rows.length;
    this.sizes.hidden = this.rows.length <= 25;
  }

  heading(column) {
    const own = this.sort?.id === column.id;
    const direction = own ? (this.sort.down ? "descending" : "ascending") : "none";
    const arrow = h(
      "span",
      { class: "arrow", "aria-hidden": "true" },
      own ? (this.sort.down ? "▼" : "▲") : "",
    );
    const button = h(
      "button",
      { type: "button", title: column.hint, click: () => this.order(column) },
      column.head,
      arrow,
    );
    return h(
      "th",
      { scope: "col", class: column.name ? "name" : "", "aria-sort": direction, "data-column": column.id },
      button,
    );
  }

  row(row) {
    const cells = this.drawn.map((column, place) => cell(column, row, place));
    return h("tr", {}, ...cells);
  }

  /** Sort by a column: numbers highest first, words from A; then the other way round; then not. */
  order(column) {
    const first = !column.name;
    if (this.sort?.id !== column.id) this.sort = { id: column.id, down: first };
    else this.sort = this.sort.down === first ? { id: column.id, down: !first } : null;
    this.rows = this.sort ? sorted(this.given, column, this.sort.down) : this.given;
    this.page = 0;
    this.draw();
    this.head.querySelector(`[data-column="${column.id}"] button`).focus();
  }

  turn(step) {
    this.page += step;
    this.drawRows();
    this.box.scrollTop = 0;
  }

  resize(size) {
    this.size = size;
    this.page = 0;
    this.drawRows();
  }

  widen(all) {
    this.all = all;
    this.draw();
  }
}

const tables = [];

function cell(column, row, place) {
  const value = column.value(row);
  const text = column.write ? column.write(row) : (column.text ?? plain)(value);
  const nodes = besides(column, row);
  const under = (column.under ?? []).map((other) => underneath(other, row));
  const attributes = { class: column.name ? "name" : missing(value) ? "none" : "" };
  const told = column.name ? isolated(text) : text;
  if (column.name && place === 0) return h("th", { scope: "row", ...attributes }, told, ...nodes, ...under);
  return h("td", attributes, told, ...nodes);
}

/** What else stands in a cell. */
function besides(column, row) {
  return (column.nodes?.(row) ?? []).filter(Boolean).flatMap((node) => [" ", node]);
}

const LEADS = ["reranker", "task"]; // the first of them that a table has names its rows

/** Columns with all that a row is named by in its first cell, so that numbers come early. */
function joined(columns) {
  const lead = LEADS.map((id) => columns.find((column) => column.id === id)).find(Boolean);
  if (!lead) return columns;
  const under = columns.filter(({ id }) => id !== lead.id && (id === "task" || id === "profile"));
  const others = columns.filter((column) => column !== lead && !under.includes(column));
  const first = others.findIndex((column) => !column.name);
  const early = ({ id }) => id === "gain" || id === "interval";
  const numbers = others.slice(first);
  const late = numbers.filter((column) => !early(column));
  return [{ ...lead, under }, ...others.slice(0, first), ...numbers.filter(early), ...late];
}

function underneath(column, row) {
  const name = isolated((column.text ?? plain)(column.value(row)));
  return h("span", { class: "under quiet" }, name, ...besides(column, row));
}

/** Rows by a column's values, what is missing last; equal ones keep their order. */
function sorted(rows, column, down) {
  const way = down ? -1 : 1;
  const keyed = rows.map((row) => [column.value(row), row]);
  keyed.sort(([one], [other]) => {
    if (missing(one) || missing(other)) return missing(one) - missing(other);
    return way * (typeof one === "string" ? byName(one, other) : one - other);
  });
  return keyed.map(([, row]) => row);
}

const drawTables = () => tables.forEach((table) => table.drawn && table.draw());
narrowScreen.addEventListener("change", drawTables);
