"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const number = text => {
    const plain = text.replace(/−/g, "-").replace(/,/g, "").replace("∞", "Infinity").replace(/^[+<] ?/, "");
    const found = plain.match(/^-?(Infinity|[\d.]+)/);
    return found ? Number(found[0]) : NaN;
  };
  const key = (row, at, numeric) => numeric ? number(row.cells[at].textContent.trim()) : row.cells[at].textContent.trim();
  const compare = (x, y, up) => {
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    const order = typeof x === "number" ? (x > y) - (x < y) : x.localeCompare(y, undefined, { numeric: true });
    return up ? order : -order;
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending", numeric = head.classList.contains("n");
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map(row => [key(row, at, numeric), row]);
      rows.sort((a, b) => compare(a[0], b[0], up));
      for (const [, row] of rows) row.classList.remove("group");
      body.append(...rows.map(pair => pair[1]));
    });
  });
}
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details:not(.long)")) part.open = true; });
