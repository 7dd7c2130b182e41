// Lists of files: choosing with mouse and keyboard, and uploads with progress
// that go on where they broke off. Without it, lists are forms.

const listing = () => document.getElementById("listing");
const form = () => document.getElementById("files");
const boxes = () => [...(form()?.querySelectorAll("tbody td.tick input") ?? [])];
const rowOf = (el) => el.closest("tbody tr");
const boxOf = (row) => row?.querySelector("td.tick input");
let anchor = null; // where a range begins

// Choosing

const shown = () => {
  const f = form();
  if (!f) return;
  const all = boxes(), chosen = all.filter((b) => b.checked);
  for (const b of all) rowOf(b).classList.toggle("chosen", b.checked);
  const bar = f.querySelector(".toolbar");
  if (bar) {
    bar.classList.toggle("idle", chosen.length === 0);
    const count = bar.querySelector(".chosen");
    count.textContent = chosen.length === 0 ? count.dataset.none : chosen.length === 1 ? count.dataset.single : count.dataset.many.replace("2", chosen.length);
    for (const b of bar.querySelectorAll("button, summary")) b.toggleAttribute("inert", chosen.length === 0);
  }
  const head = f.querySelector("#all");
  if (head) {
    head.checked = chosen.length > 0 && chosen.length === all.length;
    head.indeterminate = chosen.length > 0 && chosen.length < all.length;
  }
};

const range = (from, to, on) => {
  const all = boxes(), a = all.indexOf(from), b = all.indexOf(to);
  if (a < 0 || b < 0) return;
  for (let i = Math.min(a, b); i <= Math.max(a, b); i++) all[i].checked = on;
};

const choose = (on) => {
  for (const b of boxes()) b.checked = on;
  shown();
};

const prepare = () => {
  const f = form();
  if (!f) return;
  f.classList.add("live");
  for (const el of f.querySelectorAll("#all, [data-act=none]")) el.hidden = false;
  anchor = null;
  shown();
};

document.addEventListener("change", (e) => {
  if (e.target.id === "all") choose(e.target.checked);
  else if (e.target.matches("td.tick input")) shown();
});

document.addEventListener("click", (e) => {
  const f = form();
  if (!f?.contains(e.target)) return;
  if (e.target.closest("[data-act=none]")) {
    (anchor?.isConnected ? anchor : f.querySelector("#all")).focus({ preventScroll: true }); // the button goes
    choose(false);
    return;
  }
  const row = rowOf(e.target), box = boxOf(row);
  if (!box) return;
  if (e.target === box) {
    if (e.shiftKey && anchor) range(anchor, box, box.checked);
    anchor = box;
    shown();
    return;
  }
  if (e.target.closest("a, button, summary, details, label, input")) {
    if (!e.target.closest("a.entry") || !(e.ctrlKey || e.metaKey || e.shiftKey)) return;
    e.preventDefault(); // on a name too, these choose
  } else if (getSelection()?.toString()) return; // someone marks text
  if (e.shiftKey && anchor) range(anchor, box, true);
  else {
    if (!e.ctrlKey && !e.metaKey && matchMedia("(pointer: fine)").matches) {
      const only = !box.checked || boxes().filter((b) => b.checked).length > 1;
      for (const b of boxes()) b.checked = false;
      box.checked = only;
    } else box.checked = !box.checked;
    anchor = box;
  }
  box.focus({ preventScroll: true });
  shown();
});

document.addEventListener("dblclick", (e) => {
  if (!e.target.closest("a, button, summary, details, input")) rowOf(e.target)?.querySelector("a.entry")?.click();
});

// Keys act where the focus is in a row, and nowhere else: nothing is taken from
// who reads or types.
document.addEventListener("keydown", (e) => {
  const row = form()?.contains(e.target) ? rowOf(e.target) : null;
  if (!row || e.altKey || e.target.closest("details.menu[open], details.confirm[open]")) return;
  const box = boxOf(row);
  const ctrl = e.ctrlKey || e.metaKey;
  if (e.key === "ArrowDown" || e.key === "ArrowUp" || e.key === "Home" && ctrl || e.key === "End" && ctrl) {
    const rows = [...form().querySelectorAll("tbody tr")];
    const at = rows.indexOf(row);
    const to = rows[{ ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[e.key]];
    if (!to) return;
    e.preventDefault();
    const link = e.target.matches("a.entry") ? to.querySelector("a.entry") : boxOf(to) ?? to.querySelector("a.entry");
    if (e.shiftKey && box && boxOf(to)) {
      if (!boxOf(to).checked) box.checked = boxOf(to).checked = true;
      else box.checked = false;
      shown();
    }
    anchor = boxOf(to);
    link?.focus();
  } else if (ctrl && e.key.toLowerCase() === "a") {
    e.preventDefault();
    choose(true);
  } else if (ctrl || e.shiftKey) {
    return;
  } else if (e.key === "Escape" && boxes().some((b) => b.checked)) {
    choose(false);
  } else if (e.key === "Enter" && e.target === box) {
    e.preventDefault();
    row.querySelector("a.entry")?.click();
  } else if (e.key === "F2") {
    e.preventDefault();
    row.querySelector("[data-act=rename]")?.click();
  } else if (e.key === "Delete") {
    e.preventDefault();
    if (box && !boxes().some((b) => b.checked)) {
      box.checked = true;
      shown();
    }
    const act = form().querySelector(".toolbar [data-act=delete]");
    act?.click();
    if (act?.matches("summary")) act.parentElement.querySelector(".ask button")?.focus();
  }
});

prepare();

// A new name is most often another stem with the same ending.
document.addEventListener("weft:shown", (e) => {
  const field = e.detail.querySelector("#new-name");
  const dot = field?.value.lastIndexOf(".");
  field?.setSelectionRange(0, dot > 0 && !("folder" in field.dataset) ? dot : field.value.length);
});

// refresh draws the list anew, keeping place and focus.
const refresh = async () => {
  const old = listing();
  if (!old) return;
  const r = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!r.ok || r.redirected) return;
  const page = new DOMParser().parseFromString(await r.text(), "text/html");
  const now = page.getElementById("listing");
  if (!now) return;
  const focus = old.contains(document.activeElement) ? document.activeElement : null, held = focus && boxOf(rowOf(focus))?.value;
  const chosen = new Set(boxes().filter((b) => b.checked).map((b) => b.value));
  old.replaceWith(document.adoptNode(now));
  document.dispatchEvent(new CustomEvent("weft:drawn", { detail: now }));
  for (const b of boxes()) b.checked = chosen.has(b.value);
  prepare();
  if (!focus) return;
  const box = held ? boxes().find((b) => b.value === held) : null;
  const same = box && ["a.entry", ".more summary"].find((s) => focus.matches(s));
  ((same ? rowOf(box).querySelector(same) : box) ?? document.getElementById("main")).focus({ preventScroll: true });
};

// Pictures that cannot be made leave the sign of their kind.
const bare = (img) => img.remove();
document.addEventListener("error", (e) => { if (e.target.matches?.(".sign img")) bare(e.target); }, true);
for (const img of document.querySelectorAll(".sign img")) if (img.complete && !img.naturalWidth && img.src) bare(img);

// Uploads

const panel = document.getElementById("upload-panel");
const words = panel?.dataset;
const spoken = document.createElement("p"); // there before it says anything, or it is not heard
if (panel) {
  spoken.className = "out";
  spoken.setAttribute("role", "status");
  document.body.append(spoken);
}
const silence = 15_000; // between two words on how far transfers are
const say = (text, ...args) => text.replace(/\{(\d)\}/g, (_, i) => args[i]);
const sizes = (n) => {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let i = 0;
  while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
  return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: units[i], unitDisplay: "short", maximumFractionDigits: i && n < 99.5 ? 1 : 0 }).format(n);
};
const time = (seconds) => {
  const s = Math.max(1, Math.round(seconds));
  const [n, unit] = s < 90 ? [s, "second"] : s < 5400 ? [Math.round(s / 60), "minute"] : [Math.round(s / 3600), "hour"];
  return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" }).format(n);
};
const escaped = (path) => path.split("/").map(encodeURIComponent).join("/");

const resumeFrom = 8 << 20; // bytes from which an upload can be resumed
const pieceSize = 16 << 20;
const atOnce = 3;

class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || String(status));
    this.status = status;
    this.code = problem.code;
  }
}

// send sends a body with progress; it rejects with null when the line broke.
const send = (t, method, url, body, headers) => new Promise((resolve, reject) => {
  const x = new XMLHttpRequest();
  t.request = x;
  x.open(method, url);
  for (const [k, v] of Object.entries(headers)) x.setRequestHeader(k, v);
  const base = t.sent;
  x.upload.onprogress = (e) => { t.sent = base + e.loaded; draw(); };
  x.onload = () => {
    if (x.status < 300) return resolve(x);
    let problem = {};
    try { problem = JSON.parse(x.responseText); } catch { /* a proxy's page */ }
    const wait = x.status === 429 || x.status === 503 || x.status === 502 || x.status === 504;
    reject(wait || problem.code === "UPLOAD_BUSY" || problem.code === "UPLOAD_OFFSET_MISMATCH" ? null : new Refused(x.status, problem));
  };
  x.onerror = x.ontimeout = () => reject(null);
  x.onabort = () => reject(new DOMException("", "AbortError"));
  x.send(body);
});

const pause = (t, ms) => new Promise((resolve, reject) => {
  t.wake = () => { clearTimeout(timer); reject(new DOMException("", "AbortError")); };
  t.hurry = () => { clearTimeout(timer); resolve(); };
  const timer = setTimeout(resolve, ms);
});
addEventListener("online", () => { for (const t of transfers) if (t.state === "waiting") t.hurry(); });

// small sends a file in one request.
const small = (t) => send(t, "PUT", "/api/v1/content/" + escaped(t.path), t.file, {
  ...(t.replace ? {} : { "If-None-Match": "*" }),
  "Content-Type": t.file.type || "application/octet-stream", "X-OC-Mtime": String(Math.floor(t.file.lastModified / 1000)),
});

// large sends a file in pieces, and goes on with an upload that was begun before.
const large = async (t) => {
  if (!t.location) {
    const r = await fetch("/api/v1/uploads").catch(() => null);
    if (!r) throw null;
    const known = r.ok ? await r.json() : [];
    const same = known.find((u) => u.path === t.path && u.length === t.file.size && Math.abs(new Date(u.modified) - t.file.lastModified) < 1000);
    if (same) t.location = "/api/v1/uploads/" + encodeURIComponent(same.id);
  }
  if (!t.location) {
    const query = new URLSearchParams({ path: t.path, modified: String(t.file.lastModified) });
    if (t.replace) query.set("overwrite", "true");
    const x = await send(t, "POST", "/api/v1/uploads?" + query, null, { "Upload-Length": String(t.file.size), "Upload-Complete": "?0" });
    t.location = x.getResponseHeader("Location");
  }
  const head = await fetch(t.location, { method: "HEAD" }).catch(() => null);
  if (!head || head.status >= 500 || head.status === 409 || head.status === 429) throw null;
  if (head.status === 404) {
    t.location = null;
    throw null;
  }
  if (head.headers.get("Upload-Complete") === "?1") return;
  t.sent = Number(head.headers.get("Upload-Offset"));
  speed = []; // what came before says nothing of how fast it goes now
  do {
    const at = t.sent, end = Math.min(at + pieceSize, t.file.size), last = end === t.file.size;
    await send(t, "PATCH", t.location + (t.replace ? "?overwrite=true" : ""), t.file.slice(at, end), {
      "Content-Type": "application/partial-upload", "Upload-Offset": String(at), "Upload-Complete": last ? "?1" : "?0",
    });
    t.sent = end;
    t.tries = 0;
  } while (t.sent < t.file.size);
};

// free finds "name (2)" and so on.
const free = (t) => {
  const dot = t.name.lastIndexOf(".");
  const [stem, ending] = dot > 0 ? [t.name.slice(0, dot), t.name.slice(dot)] : [t.name, ""];
  t.number = (t.number || 1) + 1;
  t.path = t.folder + (t.folder ? "/" : "") + `${stem} (${t.number})${ending}`;
  if (t.location) fetch(t.location, { method: "DELETE" });
  t.location = null;
};

const run = async (t) => {
  for (t.tries = 0; ; ) {
    try {
      t.state = "sending";
      draw();
      await (t.file.size >= resumeFrom ? large(t) : small(t));
      t.sent = t.file.size;
      t.state = "done";
      return;
    } catch (e) {
      if (t.stopped || e?.name === "AbortError") {
        t.state = "stopped";
        if (t.location) fetch(t.location, { method: "DELETE" });
        return;
      }
      const exists = e?.code === "ALREADY_EXISTS" || e?.code === "PRECONDITION_FAILED";
      if (exists && t.both) { free(t); continue; }
      if (exists) { t.state = "exists"; return; }
      if (e || t.tries >= 12) {
        t.state = "failed";
        t.why = e ? e.message : words.lost;
        return;
      }
      t.sent = t.file.size >= resumeFrom ? t.sent : 0;
      t.state = "waiting";
      speed = [];
      draw(true);
      try {
        await pause(t, Math.min(30000, 1000 * 2 ** t.tries++));
      } catch { /* stopped */ }
      if (t.stopped) {
        t.state = "stopped";
        if (t.location) fetch(t.location, { method: "DELETE" });
        return;
      }
    }
  }
};

let transfers = [], running = 0, box = null, drawn = 0, speed = [], heard = { at: 0, busy: false };

const pump = () => {
  while (running < atOnce) {
    const t = transfers.find((t) => t.state === "queued");
    if (!t) break;
    running++;
    t.state = "sending";
    run(t).then(() => {
      running--;
      draw(true);
      pump();
    });
  }
  if (!running && (transfers.length || made)) {
    if (transfers.some((t) => t.state === "done") || made) refresh();
    made = false;
  }
  draw(true);
};

let made = false; // folders were made

const button = (label, act) => {
  const b = document.createElement("button");
  b.type = "button";
  b.className = "quiet small";
  b.textContent = label;
  b.addEventListener("click", act);
  return b;
};

// line is what is said in the panel, and what can be done about it.
const line = (text, ...buttons) => {
  const li = document.createElement("li"), p = document.createElement("p");
  p.append(...text);
  li.append(p);
  if (buttons.length) {
    const row = document.createElement("div");
    row.className = "row";
    row.append(...buttons);
    li.append(row);
  }
  return li;
};

// again takes transfers up once more, changed; a button of theirs is gone then,
// and the focus goes to the panel.
const again = (them, change) => () => {
  for (const t of them) {
    change(t);
    t.state = "queued";
    t.sent = 0;
  }
  pump();
  box?.querySelector(".stop:not([hidden]), .shut:not([hidden])").focus();
};
const skip = (them) => () => {
  for (const t of them) t.state = "stopped";
  draw(true);
  box?.querySelector(".stop:not([hidden]), .shut:not([hidden])").focus();
};
const answers = (them, replace, both, none) => [
  button(replace, again(them, (t) => { t.replace = true; })), button(both, again(them, (t) => { t.both = true; })), button(none, skip(them)),
];

// item draws what a transfer has to say; those that go well say nothing.
const item = (t) => {
  const name = document.createElement("strong");
  name.textContent = t.name;
  if (t.state === "exists") return line([name, " ", words.exists], ...answers([t], words.replace, words.both, words.skip));
  if (t.state === "waiting") return line([name, " ", words.wait]);
  return line([name, " ", say(words.failed, t.why)], ...(t.unread ? [] : [button(words.again, again([t], () => {}))]));
};

const draw = (now = false) => {
  if (!panel || !transfers.length) return;
  const at = performance.now();
  if (!now && at - drawn < 200) return;
  drawn = at;
  if (!box) {
    box = panel.content.cloneNode(true).firstElementChild;
    document.body.append(box);
    document.body.classList.add("transferring"); // the last rows can be scrolled above the panel
    box.querySelector(".stop").addEventListener("click", () => {
      for (const t of transfers) {
        if (t.state === "queued" || t.state === "holding") t.state = "stopped";
        if (t.state !== "sending" && t.state !== "waiting") continue;
        t.stopped = true;
        t.request?.abort();
        t.wake?.();
      }
      pump();
    });
    box.querySelector(".shut").addEventListener("click", () => {
      box.remove();
      document.body.classList.remove("transferring");
      box = null;
      heard.busy = false;
      transfers = [];
      speed = [];
      document.querySelector("#upload-menu summary").focus();
    });
  }
  const live = transfers.filter((t) => t.state !== "stopped");
  const total = live.reduce((n, t) => n + t.file.size, 0), sent = live.reduce((n, t) => n + Math.min(t.sent, t.file.size), 0);
  const done = live.filter((t) => t.state === "done").length;
  const busy = transfers.some((t) => ["holding", "queued", "sending", "waiting"].includes(t.state));
  if (transfers.some((t) => t.state === "sending")) speed.push([at, sent]);
  while (speed.length > 2 && at - speed[0][0] > 8000) speed.shift();
  const took = speed.length ? (at - speed[0][0]) / 1000 : 0, rate = took > 0.5 ? Math.max(0, (sent - speed[0][1]) / took) : 0;
  const sum = !live.length ? words.cancelled : busy ? say(words.now, Math.min(done + 1, live.length), live.length) : done === live.length ? say(words.done, done) : say(words.doneSome, done, live.length);
  const p = box.querySelector(".sum");
  if (p.textContent !== sum) p.textContent = sum;
  const bar = box.querySelector("progress");
  bar.value = total ? sent / total : done ? 1 : 0;
  bar.hidden = !busy;
  box.querySelector(".rate").textContent = !busy ? "" : `${sizes(sent)} / ${sizes(total)}` + (rate > 0 ? ` · ${sizes(rate)}/s · ${say(words.left, time((total - sent) / rate))}` : "");
  const [stop, shut] = [box.querySelector(".stop"), box.querySelector(".shut")];
  const held = document.activeElement === (busy ? shut : stop);
  stop.hidden = !busy;
  shut.hidden = busy;
  if (held) (busy ? stop : shut).focus();
  const told = live.filter((t) => ["exists", "failed", "waiting"].includes(t.state)).slice(0, 50);
  const there = live.filter((t) => t.state === "exists");
  const key = [there.length, ...told.map((t) => t.path + t.state + (t.why || ""))].join("\n");
  const news = box.dataset.told !== key;
  if (news) {
    box.dataset.told = key;
    const all = there.length > 1 ? [line([say(words.existMany, there.length)], ...answers(there, words.replaceAll, words.bothAll, words.skipAll))] : [];
    box.querySelector("ul").replaceChildren(...all, ...told.map(item));
  }
  // Heard are the beginning, the end and what is asked; between them now and then
  // how far it is.
  if (news || busy !== heard.busy || busy && at - heard.at > silence) {
    heard = { at, busy };
    const far = busy && total ? new Intl.NumberFormat(document.documentElement.lang, { style: "percent" }).format(sent / total) : "";
    spoken.textContent = [sum, far, ...[...box.querySelectorAll("li > p")].slice(0, 3).map((p) => p.textContent)].filter(Boolean).join(" · ");
  }
};

addEventListener("beforeunload", (e) => { if (running || transfers.some((t) => t.state === "holding")) e.preventDefault(); });

// start takes files with the folders that they came in, and folders that may be
// empty.
const start = async (files, empty = []) => {
  const top = listing().dataset.path;
  const folders = new Set();
  if (!transfers.some((t) => ["holding", "queued", "sending", "waiting"].includes(t.state))) {
    transfers = transfers.filter((t) => t.state === "exists" || t.state === "failed"); // what is done is counted no more
    speed = [];
  }
  for (const { within } of [...files, ...empty.map((within) => ({ within }))]) {
    let at = "";
    for (const part of within ? within.split("/") : []) folders.add(at += (at ? "/" : "") + part);
  }
  const mine = [];
  const add = (file, folder, state, more) => {
    const t = { file, folder, name: file.name, path: [folder, file.name].filter(Boolean).join("/"), sent: 0, state, ...more };
    mine.push(t);
    transfers.push(t);
  };
  for (const { file, within, unread } of files) {
    const folder = [top, within].filter(Boolean).join("/");
    if (unread) add(file, folder, "failed", { unread, why: words.unread });
    else add(file, folder, "holding");
  }
  draw(true);
  const broken = [];
  for (const f of [...folders].sort((a, b) => a.split("/").length - b.split("/").length || (a < b ? -1 : 1))) {
    if (mine.some((t) => t.state === "stopped")) break;
    const r = await fetch("/api/v1/files/folder", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ path: [top, f].filter(Boolean).join("/") }),
    }).catch(() => null);
    if (r?.ok) made = true;
    const problem = r && !r.ok ? await r.json().catch(() => ({})) : null;
    if (!r || problem && problem.code !== "ALREADY_EXISTS") broken.push([[top, f].filter(Boolean).join("/"), problem?.detail || words.lost]);
  }
  const below = (folder, f) => folder === f || folder.startsWith(f + "/");
  for (const t of mine) {
    if (t.state !== "holding") continue;
    const b = broken.find(([f]) => below(t.folder, f));
    t.state = b ? "failed" : "queued";
    if (b) t.why = b[1];
  }
  for (const [f, why] of broken) { // empty ones have no file to tell it
    if (mine.some((t) => below(t.folder, f)) || broken.some(([g]) => g !== f && below(f, g))) continue;
    const at = f.lastIndexOf("/");
    add(new File([], f.slice(at + 1)), f.slice(0, Math.max(at, 0)), "failed", { unread: true, why });
  }
  pump();
};

// entries reads what was dropped: the files of folders, at any depth, and the
// folders themselves. What cannot be read is told, not left out.
const entries = async (entry, within, files, folders) => {
  try {
    if (entry.isFile) {
      files.push({ file: await new Promise((ok, no) => entry.file(ok, no)), within });
      return;
    }
    const reader = entry.createReader(), folder = within ? `${within}/${entry.name}` : entry.name;
    folders.push(folder);
    for (;;) {
      const batch = await new Promise((ok, no) => reader.readEntries(ok, no));
      if (!batch.length) break;
      for (const e of batch) await entries(e, folder, files, folders);
    }
  } catch {
    files.push({ file: new File([], entry.name), within, unread: true });
  }
};

if (panel && listing()?.hasAttribute("data-writable")) {
  const menu = document.getElementById("upload-menu");
  const pick = (folder) => {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.webkitdirectory = folder;
    input.addEventListener("change", () => start([...input.files].map((file) => ({ file, within: file.webkitRelativePath.split("/").slice(0, -1).join("/") }))));
    input.click();
    menu.open = false;
    menu.querySelector("summary").focus();
  };
  const list = menu.querySelector(".list");
  list.classList.remove("wide");
  list.replaceChildren(...[[words.files, false], [words.folder, true]].map(([label, folder]) => {
    const b = button(label, () => pick(folder));
    b.className = "plain";
    return b;
  }));

  const veil = document.createElement("div");
  veil.className = "drop";
  veil.hidden = true;
  veil.textContent = words.drop;
  veil.setAttribute("aria-hidden", "true");
  document.body.append(veil);
  let depth = 0;
  const carries = (e) => [...e.dataTransfer.types].includes("Files");
  addEventListener("dragenter", (e) => { if (carries(e)) { depth++; veil.hidden = false; e.preventDefault(); } });
  addEventListener("dragover", (e) => { if (carries(e)) e.preventDefault(); });
  addEventListener("dragleave", (e) => { if (carries(e) && --depth <= 0) { depth = 0; veil.hidden = true; } });
  addEventListener("drop", async (e) => {
    if (!carries(e)) return;
    e.preventDefault();
    depth = 0;
    veil.hidden = true;
    const dropped = [...e.dataTransfer.items].map((i) => i.webkitGetAsEntry?.()).filter(Boolean); // before the event ends
    const plain = [...e.dataTransfer.files].map((file) => ({ file, within: "" }));
    if (!dropped.length) return start(plain);
    const files = [], folders = [];
    for (const d of dropped) await entries(d, "", files, folders);
    start(files, folders);
  });
  addEventListener("paste", (e) => {
    const files = [...(e.clipboardData?.files ?? [])];
    if (files.length && !e.target.closest("input, textarea")) start(files.map((file) => ({ file, within: "" })));
  });
}
