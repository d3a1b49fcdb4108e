// What the tables say, in sentences, with what is to be known of them.

const FEW = 9; // sentences that one reads

async function showSummary() {
  const { summary: all, left_out: absent, measures } = await load("first");
  const summary = all.filter(
    ({ task, profile }) => fitsGroup(task, tasksOf(task)) && picked("profile", profile),
  );
  const told = summary.map(({ task, profile, sentence }) =>
    h(
      "li",
      {},
      h("b", {}, isolated(task), " after ", isolated(profile)),
      ": ",
      h("span", { class: "text" }, withMinus(sentence)),
    ),
  );
  const notes = [...sameNotes(summary)].map(([note, of]) =>
    h(
      "li",
      {},
      h("span", { class: "text" }, withMinus(note)),
      of.length < summary.length ? h("span", { class: "text" }, ` (${of.map(oneLine).join("; ")})`) : null,
    ),
  );
  const left = withoutMean().map((told) => h("li", {}, ...told));
  byId("summary").hidden = all.length + absent.length + left.length === 0;
  byId("summary").querySelector("h2 span").textContent = `${measures[0]}, natural, of all rerankers`;
  const [sentences, others, further, out] = byId("summary").querySelectorAll("ul");
  if (!told.length) told.push(h("li", {}, "Nothing fits the filters."));
  sentences.replaceChildren(...told.slice(0, FEW));
  others.replaceChildren(...told.slice(FEW));
  others.parentElement.hidden = told.length <= FEW;
  further.replaceChildren(...left, ...notes);
  further.parentElement.hidden = !further.childElementCount;
  out.replaceChildren(...absent.map((told) => h("li", { class: "text" }, told)));
  out.parentElement.hidden = !absent.length;
}

/** Rerankers that have no mean over the tasks of a data set, and why. */
function withoutMean() {
  const { names, left_out: leftOut } = views.groups;
  const fits = ([profile, reranker]) => picked("profile", profile) && picked("reranker", reranker);
  return names.flatMap((name, i) =>
    leftOut[i]
      .filter((who) => fitsGroup(name, tasksOf(name)) && fits(who))
      .map(([profile, reranker, why]) => [
        isolated(name),
        ": ",
        isolated(reranker),
        " after ",
        isolated(profile),
        ` has no mean, with ${why}.`,
      ]),
  );
}

/** Each note once, with what it is about. */
function sameNotes(summary) {
  const found = new Map();
  for (const { task, profile, notes } of summary) {
    for (const note of notes) found.set(note, [...(found.get(note) ?? []), `${task} after ${profile}`]);
  }
  return found;
}
