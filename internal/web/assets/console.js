// Lists with boxes to tick: one that ticks all, for who has script.

for (const all of document.querySelectorAll("table.choose input[data-all]")) {
  const boxes = [...all.closest("table").querySelectorAll("tbody input[type=checkbox]")];
  all.hidden = boxes.length < 2;
  const follow = () => {
    const ticked = boxes.filter((b) => b.checked).length;
    all.checked = ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  };
  all.addEventListener("change", () => { for (const b of boxes) b.checked = all.checked; follow(); });
  for (const b of boxes) b.addEventListener("change", follow);
}
