// Where Are You From: remembers the last choice, in this browser alone, and says
// early what a typed server is. The page works without it.
const key = "weft-wayf-server";
const form = document.getElementById("wayf");
const field = document.getElementById("server");
const verdict = document.getElementById("verdict");

const recall = () => { try { return localStorage.getItem(key) || ""; } catch { return ""; } };
const remember = (server) => { try { localStorage.setItem(key, server); } catch { /* not allowed here */ } };

if (field.value === "") field.value = recall();
field.addEventListener("focus", () => field.select(), { once: true });
form.addEventListener("submit", () => remember(field.value.trim()));
for (const a of document.querySelectorAll("a[data-server]")) {
  a.addEventListener("click", () => remember(a.dataset.server));
}

let timer, asked = "";
const check = async () => {
  const server = field.value.trim();
  if (server === asked || !server.includes(".") && !server.includes(":")) return;
  asked = server;
  verdict.textContent = "";
  try {
    const r = await fetch("/wayf/check?server=" + encodeURIComponent(server));
    const said = await r.json();
    if (server === field.value.trim()) verdict.textContent = said.verdict || "";
  } catch { /* the answer to Continue will tell */ }
};
field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(check, 600); });
field.addEventListener("change", check);
