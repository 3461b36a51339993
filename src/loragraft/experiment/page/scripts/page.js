// The page around the samples: theme, links into the table, rows on demand, print.
const THEMES = ["", "light", "dark"];

function setUpTheme() {
  const button = byId("theme");
  const set = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    button.querySelector("span").textContent = theme || "as the system";
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "";
    set(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  });
}

function setUpLinks() {
  for (const link of document.querySelectorAll('a[href="#samples"][data-arm], a[href="#samples"][data-type], a[href="#samples"][data-text]')) {
    const { arm, type, tag, text } = link.dataset;
    const number = data.experiments.indexOf(arm);
    link.addEventListener("click", () => choose({ arm: number < 0 ? undefined : number, type, tag, text }));
  }
}

function setUpMore() {
  for (const button of document.querySelectorAll(".show-more")) {
    const words = button.textContent;
    const rows = button.previousElementSibling.querySelector(".more");
    button.addEventListener("click", () => {
      rows.hidden = !rows.hidden;
      button.setAttribute("aria-expanded", String(!rows.hidden));
      button.textContent = rows.hidden ? words : "Show fewer";
    });
  }
}

// Paper cannot be clicked: what is folded is printed open, and folded again behind.
function setUpPrint() {
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
    folded = [];
  });
}

setUpTheme();
setUpMore();
setUpPrint();
if (byId("sample-table")) {
  setUpFilters();
  setUpSample();
  setUpLinks();
  choose({});
  openNamed();
  addEventListener("hashchange", openNamed);
}
