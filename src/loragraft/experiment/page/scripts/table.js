// The table of samples: filters, pages, rows.
const PAGE = 25;
const OUTCOMES = new Set(["win", "loss", "tie"]);
const filter = { arm: -1, type: "", seen: "", text: "", tags: new Set() };
let found = questions;
let page = 0;

const haystacks = [];
function haystackOf(question) {
  return (haystacks[question.number] ??= [
    question.id, question.text, question.paper, question.type, ...question.expected,
    ...question.answers.flatMap(({ found }) => found.map(textOf)),
  ].join("\n").toLocaleLowerCase());
}

const looked = (question) =>
  (!filter.type || question.type === filter.type) &&
  (!filter.seen || question.seen === (filter.seen === "seen")) &&
  (!filter.text || haystackOf(question).includes(filter.text));

const considered = (question) =>
  question.answers
    .filter(({ arm }) => filter.arm < 0 || arm === filter.arm)
    .flatMap(({ found }) => found);

// Outcomes are alternatives, and so are faults; an answer must have one of each that is chosen.
function tagged(answer) {
  const has = (group) => !group.length || group.some((tag) => answer.tags.includes(data.tags.indexOf(tag)));
  const wanted = [...filter.tags];
  return has(wanted.filter((tag) => OUTCOMES.has(tag))) && has(wanted.filter((tag) => !OUTCOMES.has(tag)));
}

function apply() {
  const candidates = questions.filter(looked);
  found = filter.tags.size ? candidates.filter((one) => considered(one).some(tagged)) : candidates;
  page = 0;
  countTags(candidates);
  show();
}

function countTags(candidates) {
  for (const chip of byId("filter-tags").querySelectorAll(".chip")) {
    const tag = data.tags.indexOf(chip.dataset.tag);
    const count = candidates.filter((one) => considered(one).some((answer) => answer.tags.includes(tag))).length;
    chip.querySelector(".count").textContent = counted(count);
    chip.setAttribute("aria-pressed", String(filter.tags.has(chip.dataset.tag)));
  }
}

function show() {
  const pages = Math.max(Math.ceil(found.length / PAGE), 1);
  page = Math.min(Math.max(page, 0), pages - 1);
  const first = page * PAGE;
  byId("sample-table").tBodies[0].replaceChildren(
    ...found.slice(first, first + PAGE).map((question, row) => rowOf(question, first + row)),
  );
  byId("found").textContent =
    found.length === questions.length
      ? `${counted(questions.length)} questions`
      : `${counted(found.length)} of ${counted(questions.length)} questions`;
  byId("pages").hidden = pages === 1;
  byId("page-now").textContent = `page ${counted(page + 1)} of ${counted(pages)}`;
  byId("page-back").disabled = page === 0;
  byId("page-on").disabled = page === pages - 1;
}

function rowOf(question, place) {
  const about = [question.id, question.type, question.paper].filter(Boolean).join(" · ");
  const asked = make("button", { type: "button", class: "question", dir: "auto" }, question.text);
  const head = make("th", { scope: "row", role: "rowheader" }, asked, make("small", {}, about));
  const cells = data.experiments.map((_, arm) => cellOf(question, arm));
  const open = () => !String(getSelection()) && openSample(place);
  return make("tr", { role: "row", "data-id": question.id, on: { click: open } }, head, ...cells);
}

function cellOf(question, arm) {
  const answers = question.answers.find((one) => one.arm === arm)?.found ?? [];
  const cell = make("td", { role: "cell" }, nameOf(arm));
  if (!answers.length) cell.append(make("span", { class: "note" }, "no answer"));
  for (const answer of answers.slice(0, 1)) {
    cell.append(
      make("span", { class: "said-there", dir: "auto" }, textOf(answer) || `(${answer.status})`),
      make("span", { class: "score-line" }, mainScore(answer), ...answer.tags.map((tag) => tagOf(data.tags[tag]))),
    );
  }
  if (answers.length > 1) cell.append(make("small", {}, `and ${answers.length - 1} more answers`));
  return cell;
}

function mainScore(answer) {
  const score = data.main < 0 ? "" : answer.scores[data.main];
  return score ? make("span", {}, score) : null;
}

function option(value, text) {
  return make("option", { value }, text);
}

function setUpFilters() {
  byId("filter-arm").append(option("-1", "any"), ...data.experiments.map((name, arm) => option(String(arm), name)));
  byId("filter-type").append(option("", "any"), ...data.types.map((name) => option(name, name)));
  byId("seen-label").hidden = questions.every(({ seen }) => seen === null);
  byId("filter-tags").append(...data.tags.map((tag) =>
    make("button", { type: "button", class: "chip", "data-tag": tag, "aria-pressed": "false",
      on: { click: () => { filter.tags.delete(tag) || filter.tags.add(tag); apply(); } } },
      tagOf(tag), " ", make("span", { class: "count" })),
  ));
  byId("sample-table").tHead.rows[0].append(
    make("th", { scope: "col", role: "columnheader" }, "Question"),
    ...data.experiments.map((_, arm) => make("th", { scope: "col", role: "columnheader" }, nameOf(arm))),
  );
  const on = (id, event, act) => byId(id).addEventListener(event, act);
  on("filter-text", "input", () => { filter.text = byId("filter-text").value.trim().toLocaleLowerCase(); apply(); });
  on("filter-arm", "change", () => { filter.arm = Number(byId("filter-arm").value); apply(); });
  on("filter-type", "change", () => { filter.type = byId("filter-type").value; apply(); });
  on("filter-seen", "change", () => { filter.seen = byId("filter-seen").value; apply(); });
  on("filters", "submit", (event) => event.preventDefault());
  on("filters", "reset", (event) => { event.preventDefault(); choose({}); });
  on("page-back", "click", () => { page -= 1; show(); });
  on("page-on", "click", () => { page += 1; show(); });
  byId("filters").hidden = byId("sample-table").hidden = false;
}

// Sets all filters at once: what is not named is cleared.
function choose({ arm = focusArm(), type = "", text = "", tag = "" }) {
  Object.assign(filter, { arm, type, seen: "", text: text.toLocaleLowerCase(), tags: new Set(tag ? [tag] : []) });
  byId("filter-arm").value = String(arm);
  byId("filter-type").value = type;
  byId("filter-seen").value = "";
  byId("filter-text").value = text;
  apply();
}

// The experiment that a reader asks about.
function focusArm() {
  return data.experiments.indexOf(document.body.dataset.focus);
}
