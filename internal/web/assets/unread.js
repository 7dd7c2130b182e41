// Keeps the number of unread notices right while the page is looked at.

const bell = document.querySelector("[data-unread]");
const every = 60_000;
let asked = Date.now();

const show = (unread) => {
  let count = bell.querySelector(".count");
  if (!unread) {
    count?.remove();
    return;
  }
  if (!count) {
    count = document.createElement("span");
    count.className = "count";
    bell.append(count);
  }
  const word = document.createElement("span");
  word.className = "out";
  word.textContent = ` ${bell.dataset.unread}`;
  count.removeAttribute("title");
  count.replaceChildren(new Intl.NumberFormat(document.documentElement.lang).format(unread), word);
};

const ask = async () => {
  if (document.visibilityState !== "visible" || Date.now() - asked < every) return;
  asked = Date.now();
  try {
    const r = await fetch("/api/v1/notices/unread", { headers: { Accept: "application/json" } });
    if (r.ok) show((await r.json()).unread);
  } catch {
    // without a connection the number stays
  }
};

if (bell) {
  setInterval(ask, every + 1000);
  document.addEventListener("visibilitychange", ask);
}
