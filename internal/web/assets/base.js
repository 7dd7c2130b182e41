// What all pages have. Everything works without it.

// The page's language, as it is written where the reader lives.
const language = navigator.languages.find((l) => l.split("-")[0] === document.documentElement.lang) ?? document.documentElement.lang;
const sameDay = (a, b) => a.toDateString() === b.toDateString();

// localise writes dates in the reader's own time zone.
const localise = (root) => {
  for (const el of root.querySelectorAll("time[datetime]")) {
    const at = new Date(el.dateTime);
    if (isNaN(at)) continue;
    const withTime = el.textContent.includes(":");
    const exact = /:\d\d:/.test(el.textContent);
    const style = exact ? { dateStyle: "medium", timeStyle: "medium" } : withTime && sameDay(at, new Date()) ? { timeStyle: "short" } : withTime ? { dateStyle: "medium", timeStyle: "short" } : { dateStyle: "medium" };
    el.textContent = new Intl.DateTimeFormat(language, style).format(at);
    el.title = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" }).format(at);
  }
};

// Where it is narrow, the sections of the console go on to the right.
for (const tab of document.querySelectorAll(".console [aria-current]")) {
  const row = tab.closest("ul");
  row.scrollLeft += tab.getBoundingClientRect().left - row.getBoundingClientRect().left - (row.clientWidth - tab.offsetWidth) / 2;
}

// Menus close when something else is meant.
document.addEventListener("click", (e) => {
  for (const menu of document.querySelectorAll("details.menu[open], details.confirm[open]")) {
    if (!menu.contains(e.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  const menu = document.activeElement?.closest?.("details.menu[open], details.confirm[open]");
  if (menu) {
    e.preventDefault(); // a dialog around it stays
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
// The button of a question is read with it.
let questions = 0;
document.addEventListener("toggle", (e) => {
  if (!e.target.matches?.("details.confirm[open]")) return;
  const asked = e.target.querySelector(".ask p");
  if (!asked) return;
  asked.id ||= `asked-${++questions}`;
  e.target.querySelector(".ask button")?.setAttribute("aria-describedby", asked.id);
}, true);
// What lies above the page does not hide where the focus went.
document.addEventListener("focusin", (e) => {
  for (const menu of document.querySelectorAll("details.menu[open], .toolbar details.confirm[open]")) {
    if (!menu.contains(e.target)) menu.open = false;
  }
});

// Menus open upwards where there is no room below them.
document.addEventListener("toggle", (e) => {
  const menu = e.target;
  if (!menu.matches?.("details.menu") || !menu.open) return;
  const list = menu.querySelector(".list"), bar = document.querySelector("nav.side");
  menu.classList.remove("up");
  const end = bar && getComputedStyle(bar).position === "fixed" ? bar.getBoundingClientRect().top : innerHeight;
  const top = document.querySelector("header.bar")?.offsetHeight ?? 0;
  menu.classList.toggle("up", list.getBoundingClientRect().bottom > end && menu.getBoundingClientRect().top - list.offsetHeight > top);
}, true);

// A link to something that is folded away unfolds it.
const unfold = (hash) => {
  const part = hash.length > 1 ? document.getElementById(hash.slice(1)) : null;
  if (part?.tagName !== "DETAILS") return false;
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  part.open = true;
  part.querySelector("summary").focus();
  return true;
};
document.addEventListener("click", (e) => {
  const link = e.target.closest?.("a[href^='#']");
  if (link && unfold(link.hash)) e.preventDefault();
});
unfold(location.hash);

// data-copy names the element whose text a button copies.
const copying = (root) => {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    const label = [...button.childNodes], said = document.createElement("span");
    said.className = "out";
    said.setAttribute("role", "status");
    button.after(said);
    button.addEventListener("click", async () => {
      const from = document.getElementById(button.dataset.copy);
      await navigator.clipboard.writeText(from.value ?? from.textContent);
      button.textContent = said.textContent = button.dataset.done;
      setTimeout(() => { button.replaceChildren(...label); said.textContent = ""; }, 2000);
    });
  }
};

// refocus gives the focus back to the link that opened a dialog, or to the menu
// that holds it.
const returning = "weft-returning";
const refocus = (link) => {
  const menu = link?.closest("details.menu");
  const to = menu && !menu.open ? menu.querySelector("summary") : link;
  (to ?? document.getElementById("main"))?.focus();
};

// point leads to what a page says of the last act: to the field that was not
// taken, if there is one, or to the message itself. Screen readers pass over a
// status, and often over an alert, that a page came with.
const point = (root) => {
  const told = root.querySelector("#fault") ?? root.querySelector("#said");
  if (!told) return;
  const named = told.dataset.field ? [...root.querySelectorAll(`form[method=post] [name="${CSS.escape(told.dataset.field)}"]`)].filter((f) => f.checkVisibility()) : [];
  const first = root === document ? root.querySelector("main [autofocus]") : null;
  const field = named.length === 1 ? named[0] : first;
  if (named.length === 1) field.setAttribute("aria-invalid", "true");
  if (field && !field.getAttribute("aria-describedby")?.split(" ").includes(told.id)) {
    field.setAttribute("aria-describedby", [told.id, field.getAttribute("aria-describedby")].filter(Boolean).join(" "));
  }
  if (!field) told.tabIndex = -1;
  (field ?? told).focus({ preventScroll: root === document && location.hash !== "" });
};

// A link with data-dialog opens its page's main part above this one. Forms in it
// with data-stay keep what they lead to there.
const parsed = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");

const fill = async (box, page) => {
  const part = page.querySelector("main .dialog");
  if (!part) return false;
  const close = box.querySelector(".close");
  const said = [...page.querySelectorAll("main > .notice")];
  box.replaceChildren(close, ...said.concat(part).map((e) => document.adoptNode(e)));
  const heading = box.querySelector("h1");
  if (heading) {
    heading.id ||= "dialog-heading";
    box.setAttribute("aria-labelledby", heading.id);
  }
  // What the page itself would have loaded; what is here already stays.
  await Promise.all([...page.querySelectorAll("head script[type=module][src]")].map((s) => import(s.getAttribute("src"))));
  ready(box);
  if (said.length && box.open) {
    box.scrollTop = 0;
    point(box);
  }
  return true;
};

const dialog = async (link) => {
  const r = await fetch(link.href, { headers: { Accept: "text/html" } });
  if (!r.ok || r.redirected && !r.url.startsWith(link.href)) throw new Error("no page");
  const box = document.createElement("dialog");
  const close = document.createElement("button");
  close.type = "button";
  close.className = "close plain";
  close.setAttribute("aria-label", link.dataset.close || document.body.dataset.close || "×");
  close.textContent = "×";
  close.addEventListener("click", () => box.close());
  box.append(close);
  document.body.append(box);
  if (!await fill(box, await parsed(r))) {
    box.remove();
    throw new Error("no dialog");
  }
  let changed = false;
  box.addEventListener("close", () => {
    box.remove();
    if (changed) {
      sessionStorage.setItem(returning, link.getAttribute("href"));
      location.reload();
    } else refocus(link);
  });
  box.addEventListener("submit", async (e) => {
    const form = e.target.closest("form[data-stay]");
    if (!form) return;
    e.preventDefault();
    const body = new URLSearchParams(new FormData(form, e.submitter));
    box.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { Accept: "text/html" } });
      changed ||= answer.redirected;
      if (!await fill(box, await parsed(answer))) location.assign(answer.url);
    } catch {
      form.submit(); // the browser says what is wrong
    }
    box.removeAttribute("aria-busy");
  });
  const menu = link.closest("details.menu");
  if (menu) menu.open = false;
  box.showModal();
};
document.addEventListener("click", (e) => {
  const link = e.target.closest("a[data-dialog]");
  if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
  e.preventDefault();
  dialog(link).catch(() => { location.href = link.href; });
});

// A part that is shown later is prepared as the page was; other scripts listen
// for weft:shown.
const ready = (root) => {
  localise(root);
  copying(root);
  if (root !== document) document.dispatchEvent(new CustomEvent("weft:shown", { detail: root }));
};
// A script that drew a part anew says so.
document.addEventListener("weft:drawn", (e) => ready(e.detail));
ready(document);
if (sessionStorage.getItem(returning)) {
  const href = sessionStorage.getItem(returning);
  sessionStorage.removeItem(returning);
  refocus([...document.querySelectorAll("a[data-dialog]")].find((a) => a.getAttribute("href") === href));
} else point(document);
