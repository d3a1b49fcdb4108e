// Tables and matrices, drawn by DataTables: it sorts, pages, searches, prints and writes CSV.

const COLOURED = ["gain", "gain_safeguarded", "headroom_captured"];

/** Whether a row is no result like others: invalid, a floor, of the fake engine, not comparable. */
const isOdd = (col, i) => Boolean(col.kind?.[i]) && col.kind[i] !== "significant";

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
  if (purpose === "export")
    return column.format === "bounds" ? values.join(" / ") : (values[0] ?? "");
  if (purpose === "print") return written(column, values);
  if (purpose === "filter") return markup(written(column, values)); // DataTables decodes it as markup
  return Array.isArray(values[0]) ? values[0].join() : values[0];
}

function shownCell(column, col, i, values) {
  const text = written(column, values);
  const node = h("span", {}, isName(column) ? isolated(text) : text);
  if (column.name === "reranker") {
    node.append(...(col.marks?.[i] ?? []).flatMap((mark) => [" ", badge(mark)]));
    for (const name of ["task", "profile"])
      node.append(h("span", { class: "under" }, isolated(col[name][i])));
  }
  if (column.name === "profile" && col.resolved?.[i] && col.resolved[i] !== text)
    node.append(h("span", { class: "quiet" }, ` = ${col.resolved[i]}`));
  if (column.name === "query_id" && col.has_texts?.[i]) node.append(" ", opener(col, i));
  return node;
}

/** Options of a column for DataTables; `data` returns what a cell is for a purpose. */
function columnOptions(title, isText, data, more = {}) {
  return {
    title: markup(title),
    type: isText ? "name" : "figure",
    className: isText ? "name" : "figure",
    orderSequence: isText ? ["asc", "desc", ""] : ["desc", "asc", ""],
    searchable: isText,
    data,
    ...more,
  };
}

/** Buttons over a table. What they write are texts, not markup. */
function buttons(section, names, hides) {
  const asText = { stripHtml: false, decodeEntities: false, trim: false, escapeExcelFormula: true };
  const header = (_, k) => names[k];
  const csv = { ...asText, orthogonal: "export", format: { header, body: (text) => text } };
  const escaped = { header: (_, k) => markup(names[k]), body: markup };
  const print = { orthogonal: "print", columns: ":visible", format: escaped };
  const title = `rerank-bench: ${section.title}`;
  return [
    { extend: "csv", text: "CSV", filename: `rerank-bench-${section.id}`, exportOptions: csv },
    { extend: "print", text: "Print", title, exportOptions: print },
    ...(hides ? [{ extend: "colvis", text: "Columns" }] : []),
  ];
}

/** The order of a table's rows that the state asks for. */
function orderOf(section, names) {
  const [name, way] = (state.get(`${section.id}.sort`) ?? "").split(":");
  const at = names.indexOf(name);
  return at >= 0 && ["asc", "desc"].includes(way) ? [[at, way]] : [];
}

/** Keep the order that a reader has chosen; drawing a table again changes nothing. */
function remember(section, names, [at, way] = []) {
  const key = `${section.id}.sort`;
  const value = way ? `${names[at]}:${way}` : null;
  if (state.get(key) === value) return;
  if (value) state.set(key, value);
  else state.delete(key);
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

function drawTable(section, host, frame, rows) {
  const own = once(`table ${section.id}`, () => ({ frame })); // its frame changes with the measure
  own.frame = frame;
  own.table ??= makeTable(section, host, ...tableColumns(section, own));
  own.table.clear().order(orderOf(section, section.columns));
  own.table.rows.add(rows.map((i) => [i])).draw();
}

function tableColumns(section, own) {
  const columns = section.columns.map(columnOf);
  const made = columns.map((column) =>
    columnOptions(
      column.label,
      isName(column),
      ([i], purpose) => cell(column, own.frame.col, i, purpose),
      {
        className: `${isName(column) ? "name" : "figure"} c-${column.name}`,
        visible: !section.hidden.includes(column.name),
      },
    ),
  );
  return [made, { names: section.columns, hides: true, help: (k) => columns[k].help }];
}

/** Draw one number for each value of a column and each reranker. */
function drawMatrix(section, host, { col }, rows, { value }) {
  const [key] = section.columns;
  const column = columnOf(value);
  const places = new Map(rows.map((i) => [`${col[key][i]}\n${col.reranker[i]}`, i]));
  const usual = rows.filter((i) => col.kind[i] !== "not comparable"); // their first stage wins
  const firsts = new Map([...rows, ...usual].map((i) => [col[key][i], col.first_stage[i]]));
  const rerankers = inOrder(rows.map((i) => col.reranker[i]));
  const real = rows.filter((i) => !isOdd(col, i));
  const most = Math.max(...real.map((i) => Math.abs(col[value][i] ?? 0)));
  const name = (own, purpose) => (purpose === "display" ? isolated(own) : own);
  const first = (own, purpose) =>
    purpose === "display" ? number(firsts.get(own)) : firsts.get(own);
  const gain = (reranker) => (own, purpose) => {
    const i = places.get(`${own}\n${reranker}`);
    if (purpose !== "display") return col[value][i] ?? null;
    return i === undefined ? NOTHING : matrixCell(column, col, i, most);
  };
  const columns = [
    columnOptions(columnOf(key).label, true, name),
    columnOptions("first stage", false, first),
    ...rerankers.map((own) => columnOptions(own, false, gain(own), { className: "figure cell" })),
  ];
  const data = [...firsts.keys()].sort(collator.compare);
  const few = data.length <= 50 ? { paging: false, info: false } : {};
  const names = [key, "first_stage", ...rerankers];
  makeTable(section, host, columns, { names, help: (k) => names[k], more: { data, ...few } });
}

/** A number whose background is the stronger the further the number is from 0. */
function matrixCell(column, col, i, most) {
  const value = col[column.name][i];
  const tooltip = [FORMATS.bounds(col.gain_low[i], col.gain_high[i]), ...col.marks[i]].join("; ");
  const star = column.name === "gain" && col.starred[i] ? "★" : "";
  const odd = isOdd(col, i) && col.kind[i] !== "floor" ? "✕ " : "";
  const text = FORMATS[column.format === "gain" ? "signed" : column.format](value, 3);
  const part = COLOURED.includes(column.name) && most ? Math.min(1, Math.abs(value) / most) : 0;
  const background = `var(--${value < 0 ? "bad" : "good"}-cell)`;
  const style = `--strength: ${Math.round(75 * part)}%; --background: ${background}`;
  return h("span", { class: "value", style, title: tooltip }, `${odd}${text}${star}`);
}
