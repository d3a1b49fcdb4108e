// Tables and matrices, drawn by DataTables: it sorts, pages, searches, prints and writes CSV.

const COLOURED = ["gain", "gain_safeguarded", "headroom_captured"];
const ISOLATED = ["invalid", "floor", "fake engine", "not comparable"]; // kinds that are not compared

/** Sort what is missing last, whichever way the rest goes. */
function defineTypes() {
  const last = (a, b, order) => (missing(a) || missing(b) ? missing(a) - missing(b) : order);
  const order = (compare) => ({
    asc: (a, b) => last(a, b, compare(a, b)),
    desc: (a, b) => last(a, b, compare(b, a)),
  });
  DataTable.type("figure", { order: order((a, b) => a - b) });
  DataTable.type("name", { order: order((a, b) => collator.compare(a, b)) });
}

const isName = (column) => column.format === "text";
const fieldsOf = (column, col, i) => column.fields.map((name) => col[name]?.[i]);

/** Return a text as markup that shows it. */
const markup = (text) => h("i", {}, String(text ?? "")).innerHTML;

/** Return what a cell is for a purpose of DataTables: a node to show, else a value. */
function cell(column, col, i, purpose) {
  const values = fieldsOf(column, col, i);
  if (purpose === "display") return shownCell(column, col, i, values);
  if (purpose === "export") return column.format === "bounds" ? values.join(" / ") : (values[0] ?? "");
  if (purpose === "print") return written(column, values);
  if (purpose === "filter") return markup(written(column, values)); // DataTables decodes it as markup
  return Array.isArray(values[0]) ? values[0].join() : values[0];
}

function shownCell(column, col, i, values) {
  const text = written(column, values);
  const node = h("span", {}, isName(column) ? isolated(text) : text);
  if (column.name === "reranker") {
    node.append(...(col.marks?.[i] ?? []).flatMap((mark) => [" ", badge(mark)]));
    for (const name of ["task", "profile"]) node.append(h("span", { class: "under" }, isolated(col[name][i])));
  }
  if (column.name === "profile" && col.resolved?.[i] && col.resolved[i] !== text)
    node.append(h("span", { class: "quiet" }, ` = ${col.resolved[i]}`));
  if (column.name === "query_id" && hasTexts(col, i)) node.append(" ", opener(col, i));
  return node;
}

/** Options of a column for DataTables; `col` is looked up anew, for it changes with the measure. */
function options(column, current, hidden) {
  const name = isName(column);
  return {
    title: markup(column.label),
    name: column.name,
    type: name ? "name" : "figure",
    className: `${name ? "name" : "figure"} c-${column.name}`,
    orderSequence: name ? ["asc", "desc", ""] : ["desc", "asc", ""],
    visible: !hidden.includes(column.name),
    searchable: name,
    data: ([i], purpose) => cell(column, current.frame.col, i, purpose),
  };
}

/** Buttons over a table. Exported texts are what they are, not markup. */
function buttons(section, names, hides) {
  const raw = { orthogonal: "export", stripHtml: false, decodeEntities: false, trim: false };
  const csv = { ...raw, escapeExcelFormula: true, format: { header: (_, k) => names[k], body: (data) => data } };
  const print = { orthogonal: "print", columns: ":visible", format: { header: (_, k) => markup(names[k]), body: markup } };
  const own = [
    { extend: "csv", text: "CSV", filename: `rerank-bench-${section.id}`, exportOptions: csv },
    { extend: "print", text: "Print", title: `rerank-bench: ${section.title}`, exportOptions: print },
  ];
  return hides ? [...own, { extend: "colvis", text: "Columns" }] : own;
}

/** The order of a table's rows that the state asks for. */
function orderOf(section, names) {
  const [name, way] = (state.get(`${section.id}.sort`) ?? "").split(":");
  const at = names.indexOf(name);
  return at >= 0 && ["asc", "desc"].includes(way) ? [[at, way]] : [];
}

function remember(section, names, [at, way] = []) {
  const key = `${section.id}.sort`;
  state.delete(key);
  if (way) state.set(key, `${names[at]}:${way}`);
  history.replaceState(null, "", `#${state}`);
}

function makeTable(section, host, columns, settings) {
  const table = h("table", { "aria-label": section.title });
  host.replaceChildren(table);
  const made = new DataTable(table, {
    columns: columns.map((column, k) => (k ? column : { ...column, cellType: "th" })),
    order: orderOf(section, settings.names),
    autoWidth: false,
    deferRender: true,
    pageLength: 50,
    lengthMenu: [25, 50, 200],
    searching: section.has_search,
    language: { emptyTable: "No row fits the filters.", zeroRecords: "No row fits the search." },
    layout: {
      topStart: { buttons: buttons(section, settings.names, settings.hides) },
      topEnd: section.has_search ? "search" : null,
      bottomStart: ["info", "pageLength"],
      bottomEnd: "paging",
    },
    ...settings.more,
  });
  made.columns().every(function () {
    const head = this.header();
    Object.assign(head, { title: settings.help(this.index()), scope: "col" });
    head.dataset.column = settings.names[this.index()];
  });
  made.on("order", () => remember(section, settings.names, made.order()[0]));
  table.parentElement.classList.add("scroll");
  Object.assign(table.parentElement, { tabIndex: 0, role: "region", ariaLabel: section.title });
  return made;
}

const tables = new Map();

function drawTable(section, host, frame, rows) {
  if (!tables.has(section.id)) {
    const current = { frame };
    const columns = section.columns.map(columnOf);
    const made = makeTable(
      section,
      host,
      columns.map((column) => options(column, current, section.hidden)),
      { names: section.columns, hides: true, help: (k) => columns[k].help },
    );
    tables.set(section.id, { current, made });
  }
  const { current, made } = tables.get(section.id);
  current.frame = frame;
  made.clear().order(orderOf(section, section.columns));
  made.rows.add(rows.map((i) => [i])).draw();
}

/** Draw one number for each row (of one column's values) and reranker. */
function drawMatrix(section, host, { col }, rows, { value }) {
  const [key] = section.columns;
  const column = columnOf(value);
  const places = new Map(rows.map((i) => [`${col[key][i]}\n${col.reranker[i]}`, i]));
  const present = new Set(rows.map((i) => col.reranker[i]));
  const rerankers = page.report.rerankers.filter((name) => present.has(name));
  const names = distinct(rows.map((i) => col[key][i])).sort(collator.compare);
  const firsts = new Map(rows.map((i) => [col[key][i], col.first_stage[i]]));
  const most = Math.max(...rows.filter((i) => col.kind[i] !== "floor").map((i) => Math.abs(col[value][i] ?? 0)));
  const own = (name, reranker) => places.get(`${name}\n${reranker}`);
  const heads = [key, "first_stage", ...rerankers];
  const made = [
    { title: columnOf(key).label, type: "name", className: "name", data: (name, purpose) => (purpose === "display" ? isolated(name) : name) },
    { title: "first stage", type: "figure", className: "figure", data: (name, purpose) => (purpose === "display" ? number(firsts.get(name)) : firsts.get(name)) },
    ...rerankers.map((reranker) => ({
      title: markup(reranker),
      type: "figure",
      className: "figure cell",
      orderSequence: ["desc", "asc", ""],
      data: (name, purpose) => {
        const i = own(name, reranker);
        if (purpose !== "display") return i === undefined ? null : col[value][i];
        return i === undefined ? NOTHING : matrixCell(column, col, i, most);
      },
    })),
  ];
  makeTable(section, host, made, {
    names: heads,
    hides: false,
    help: (k) => (k > 1 ? `${column.label} of ${heads[k]}` : ""),
    more: { data: names, ...(names.length > 50 ? {} : { paging: false, info: false }) },
  });
}

/** A number on a ground that is the stronger the further the number is from 0. */
function matrixCell(column, col, i, most) {
  const value = col[column.name][i];
  const tooltip = [FORMATS.bounds(col.gain_low[i], col.gain_high[i]), ...col.marks[i]].join("; ");
  const star = column.name === "gain" && col.starred[i] ? "★" : "";
  const digits = column.format === "share" ? written(column, [value]) : (column.format === "number" ? number : signed)(value, 3);
  const odd = ISOLATED.includes(col.kind[i]) && col.kind[i] !== "floor" ? "✕ " : "";
  const strength = COLOURED.includes(column.name) && most ? Math.round(75 * Math.min(1, Math.abs(value ?? 0) / most)) : 0;
  const style = `--strength: ${strength}%; --ground: var(--${value < 0 ? "bad" : "good"}-cell)`;
  return h("span", { class: "value", style, title: tooltip }, `${odd}${digits}${star}`);
}
