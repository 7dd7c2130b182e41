// Sharing: fields that complete what is typed, an early word on an address, and
// the end of a share. Everything works without it.

let serial = 0;

const el = (name, attributes = {}, ...children) => {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
};

const sprite = document.querySelector("svg.icon use")?.getAttribute("href").split("#")[0] || "";
const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", sprite + "#" + name);
  svg.append(use);
  return svg;
};

// later calls f once nothing has happened for a while.
const later = (ms, f) => {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(f, ms); };
};

const kindOf = (field) => field.form?.elements.kind?.value || "";

// complete makes a field a combobox with a list (ARIA 1.2): the choice stays in
// the field, and what is typed is always good too.
const complete = (field) => {
  const id = "list-" + ++serial;
  const list = el("ul", { role: "listbox", id, "aria-label": field.labels[0]?.textContent.trim() || "" });
  const status = el("p", { role: "status", class: "out" });
  list.hidden = true;
  field.after(list, status);
  field.removeAttribute("list");
  for (const [key, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": id })) field.setAttribute(key, value);
  let active = -1, asked = null, typed = "";

  const options = () => [...list.children];
  const mark = (n) => {
    active = n;
    options().forEach((o, i) => o.setAttribute("aria-selected", i === n));
    if (n < 0) field.removeAttribute("aria-activedescendant");
    else {
      field.setAttribute("aria-activedescendant", options()[n].id);
      options()[n].scrollIntoView({ block: "nearest" });
    }
  };
  const hide = () => { list.hidden = true; field.setAttribute("aria-expanded", "false"); mark(-1); };
  const show = (items) => {
    list.replaceChildren(...items.map((item, i) => {
      const text = el("span", {}, item.label);
      if (item.hint) text.append(el("small", {}, item.hint));
      const o = el("li", { role: "option", id: id + "-" + i, "aria-selected": "false" }, icon(item.icon), text);
      o.item = item;
      o.addEventListener("pointerdown", (e) => e.preventDefault()); // the focus stays in the field
      o.addEventListener("click", () => take(item));
      return o;
    }));
    mark(-1);
    list.hidden = items.length === 0;
    field.setAttribute("aria-expanded", String(items.length > 0));
    status.textContent = items.length ? field.dataset.count.replace("{n}", items.length) : field.value ? field.dataset.none : "";
  };
  const ask = async () => {
    const text = field.value.trim();
    const mine = asked = new AbortController();
    try {
      const r = await fetch(field.dataset.complete + "?" + new URLSearchParams({ q: text, kind: kindOf(field) }), { signal: mine.signal });
      const items = r.ok ? await r.json() : [];
      if (mine !== asked || document.activeElement !== field) return;
      if (items.length === 1 && items[0].value === text && !items[0].more) hide();
      else show(items);
    } catch { /* what is typed will do */ }
  };
  const soon = later(150, ask);
  const take = (item) => {
    field.value = typed = item.value + (item.more ? "/" : "");
    hide();
    asked?.abort();
    field.dispatchEvent(new Event("change", { bubbles: true }));
    if (item.more) ask();
  };
  field.addEventListener("input", () => { asked?.abort(); typed = field.value; soon(); });
  field.addEventListener("focus", () => { if (field.value === "" && field.dataset.complete.endsWith("paths") || kindOf(field) === "group") ask(); });
  field.addEventListener("blur", hide);
  field.addEventListener("keydown", (e) => {
    const n = options().length;
    const open = !list.hidden;
    switch (e.key) {
      case "ArrowDown":
        if (!open) ask();
        else mark((active + 1) % n);
        break;
      case "ArrowUp":
        if (!open) ask();
        else mark(active <= 0 ? n - 1 : active - 1);
        break;
      case "Enter":
        if (!open || active < 0) return;
        take(options()[active].item);
        break;
      case "Escape":
        if (!open) return;
        hide();
        field.value = typed || field.value;
        break;
      default:
        return;
    }
    e.preventDefault();
    e.stopPropagation();
  });
};

// check says what would become of a share before it is made.
const check = (form) => {
  const field = form.elements.with;
  const verdict = form.querySelector("#verdict");
  const mfa = form.querySelector("[data-mfa]");
  const picture = { good: "check", warn: "warn", bad: "x" };
  let last = "", asked = null;
  const ask = async () => {
    const q = new URLSearchParams({ path: form.elements.path.value, with: field.value.trim(), kind: kindOf(field), rights: form.elements.rights.value });
    if (form.elements.pass.checked) q.set("pass", "1");
    if (form.elements.mfa?.checked) q.set("mfa", "1");
    if (q.toString() === last) return;
    last = q.toString();
    asked?.abort();
    const address = q.get("with");
    if (!address || !address.includes("@") && q.get("kind") !== "group" && document.activeElement === field) {
      verdict.replaceChildren();
      return;
    }
    const mine = asked = new AbortController();
    const busy = setTimeout(() => verdict.replaceChildren(el("p", { class: "soft" }, verdict.dataset.busy)), 250);
    try {
      const r = await fetch("/share/check?" + q, { signal: mine.signal });
      const said = await r.json();
      if (mine !== asked) return;
      clearTimeout(busy);
      if (!r.ok || said.remarks.length === 0) {
        verdict.replaceChildren();
        return;
      }
      verdict.replaceChildren(el("ul", { class: "remarks" }, ...said.remarks.map((x) => el("li", { class: x.kind }, icon(picture[x.kind] || "info"), el("span", {}, x.text)))));
      if (said.invite) verdict.append(el("p", {}, el("a", { class: "button quiet small", href: said.invite }, icon("mail"), verdict.dataset.invite)));
      if (mfa) {
        mfa.hidden = Boolean(said.noMfa) && !form.elements.mfa.checked;
      }
    } catch { /* sharing will tell */ } finally {
      clearTimeout(busy);
    }
  };
  const soon = later(600, ask);
  field.addEventListener("input", () => { verdict.replaceChildren(); soon(); });
  form.addEventListener("change", ask);
  for (const b of form.querySelectorAll("[data-nojs]")) b.hidden = true;
  for (const radio of form.querySelectorAll("input[name=kind]")) { // by the pointer: who goes by keys wants to go on
    radio.closest("label").addEventListener("click", (e) => { if (e.detail > 0) setTimeout(() => field.focus()); });
  }
  const refused = form.closest("dialog, main").querySelector(".notice.bad"); // the page says already what is wrong
  if (field.value && verdict.childElementCount === 0 && !refused) ask();
};

// ends shows the day only where it is asked for.
const ends = (part) => {
  const choice = part.querySelector("select");
  const day = part.querySelector(".day");
  const field = day.querySelector("input");
  const follow = () => {
    day.hidden = choice.value !== "date";
    field.required = !day.hidden;
    if (day.hidden) field.value = "";
  };
  choice.addEventListener("change", follow);
  follow();
};

const prepare = (root) => {
  root.querySelectorAll("input[data-complete]").forEach(complete);
  root.querySelectorAll("form[data-share]").forEach((form) => { if (form.elements.kind) check(form); });
  root.querySelectorAll("[data-ends]").forEach(ends);
};
prepare(document);
document.addEventListener("weft:shown", (e) => prepare(e.detail));
