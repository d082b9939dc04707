"use strict";
// A click on a column's head sorts by it: best known order first, then the other way round, then as written.
const value = (row, column) => row.cells[column].dataset.value;

function order(column, numeric, sign) {
  return (a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    if (!numeric) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", { numeric: true });
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // not measured: last
    return sign * (Number(x) - Number(y));
  };
}

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  if (!body) continue;
  const written = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const numeric = head.classList.contains("num");
    const states = numeric ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    button.addEventListener("click", () => {
      const state = states[(states.indexOf(head.getAttribute("aria-sort") || "none") + 1) % 3];
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", state);
      const rows = [...written];
      if (state !== "none") rows.sort(order(column, numeric, state === "ascending" ? 1 : -1));
      body.append(...rows);
    });
  });
}
