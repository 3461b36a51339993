// One sample, opened: question, expected answers, answers side by side, passages.
const LONG = 240; // characters of a question that is no title any more
let place = 0; // in what the filters have found

function openSample(at) {
  place = Math.min(Math.max(at, 0), found.length - 1);
  showSample(found[place]);
  const dialog = byId("sample");
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function showSample(question) {
  const title = byId("sample-title");
  title.textContent = question.text;
  title.classList.toggle("long", question.text.length > LONG);
  byId("sample-place").textContent = `${counted(place + 1)} of ${counted(found.length)}`;
  byId("sample-about").textContent = aboutOf(question);
  byId("sample-back").disabled = place === 0;
  byId("sample-on").disabled = place === found.length - 1;
  byId("sample-body").replaceChildren(
    expectedOf(question),
    make("h3", {}, "Answers"),
    make("div", { class: "answers" }, ...question.answers.map(columnOf)),
    ...passagesOf(question),
  );
  history.replaceState(null, "", `#sample=${encodeURIComponent(question.id)}`);
}

function aboutOf({ id, type, paper, seen }) {
  const known = seen === null ? "" : seen ? "paper seen in training" : "paper not seen in training";
  return [id, type, paper, known].filter(Boolean).join(" · ");
}

function expectedOf({ expected }) {
  const texts = expected.length ? expected : ["nothing is given"];
  return make("p", { class: "expected" }, make("b", {}, "Expected"),
    ...texts.map((text) => make("span", { dir: "auto" }, text)));
}

function columnOf({ arm, found }) {
  const several = found.length > 1;
  return make("section", { class: "column", "data-arm": data.experiments[arm] },
    make("h4", {}, nameOf(arm)), ...found.map((answer) => answerOf(answer, several)));
}

function answerOf(answer, several) {
  const failed = answer.status !== "ok";
  const text = make("p", { class: `answer-text${failed ? " failed" : ""}`, dir: "auto" },
    ...(failed ? [`${answer.status.replace("_", " ")}: `] : []),
    ...answer.parts.map((part) => (typeof part === "string" ? part : citationOf(part, answer))));
  const tags = [several ? `answer ${answer.repeat + 1} ` : null, ...answer.tags.map((tag) => tagOf(data.tags[tag]))];
  return make("div", { class: "answer" }, text,
    make("p", { class: "score-line" }, ...tags.filter(Boolean)), scoresOf(answer));
}

function scoresOf(answer) {
  const rows = answer.scores.map((score, number) => [data.metrics[number], score]).filter(([, score]) => score);
  return make("dl", { class: "scores" },
    ...rows.flatMap(([name, score]) => [make("dt", {}, ...breakable(name)), make("dd", {}, score)]));
}

function citationOf([text, label], answer) {
  const passage = answer.labels[label];
  if (passage === undefined) {
    return make("span", { class: "cite fabricated", title: "No such passage was shown" },
      text, make("span", { class: "unseen" }, " (no such passage)"));
  }
  const light = () => lightUp(passage);
  return make("button", { type: "button", class: "cite", "data-passage": String(passage),
    "aria-controls": `passage-${passage}`, on: { click: light } }, text);
}

function lightUp(passage) {
  const body = byId("sample-body");
  for (const one of body.querySelectorAll("[data-passage]")) {
    one.classList.toggle("lit", one.dataset.passage === String(passage));
  }
  byId(`passage-${passage}`).scrollIntoView({ block: "nearest" });
}

// Every passage once, with the labels that experiments gave it.
function passagesOf(question) {
  const labels = new Map();
  for (const { arm, found } of question.answers) {
    for (const answer of found) {
      for (const [label, passage] of Object.entries(answer.labels)) {
        const known = labels.get(passage) ?? labels.set(passage, new Map()).get(passage);
        known.set(`${arm} ${label}`, [arm, label]);
      }
    }
  }
  if (!labels.size) return [];
  return [make("h3", {}, "Passages"),
    make("div", { class: "passages" }, ...[...labels].map(([passage, known]) => passageOf(passage, [...known.values()])))];
}

function passageOf(number, known) {
  const [chunk, , title, text] = passageAt(number);
  return make("article", { class: "passage", id: `passage-${number}`, "data-passage": String(number) },
    make("h4", { dir: "auto" }, title || chunk),
    make("div", { class: "labels" }, ...known.map(([arm, label]) => make("span", {}, `${label} `, nameOf(arm)))),
    make("small", {}, chunk),
    make("p", { dir: "auto" }, text));
}

function setUpSample() {
  const dialog = byId("sample");
  byId("sample-back").addEventListener("click", () => openSample(place - 1));
  byId("sample-on").addEventListener("click", () => openSample(place + 1));
  byId("sample-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    history.replaceState(null, "", "#samples");
    page = Math.floor(place / PAGE);
    show();
    byId("sample-table").tBodies[0].rows[place % PAGE]?.querySelector(".question").focus();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft" && place > 0) openSample(place - 1);
    if (event.key === "ArrowRight" && place < found.length - 1) openSample(place + 1);
  });
}

// Opens the sample that the address names.
function openNamed() {
  const named = /^#sample=(.*)$/su.exec(location.hash);
  if (!named) return;
  let id;
  try { id = decodeURIComponent(named[1]); } catch { return; }
  if (!found.some((one) => one.id === id)) choose({ arm: -1 });
  const at = found.findIndex((one) => one.id === id);
  if (at >= 0) openSample(at);
}
