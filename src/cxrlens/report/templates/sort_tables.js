// Makes each heading of a table with class "sortable" a button that sorts the rows; without scripts it stays a heading.
// A second press reverses. Rows of equal value keep their order; rows without a value stay last.
(() => {
  "use strict";
  const collator = new Intl.Collator("en", { numeric: true });
  const noValue = new Set(["", "-", "–", "n/a"]);

  // A cell's data-sort where it has one, else its text: a number in a column of numbers; null without a value.
  function keyOf(cell, numeric) {
    const text = (cell.dataset.sort ?? cell.textContent).trim();
    if (noValue.has(text)) return null;
    if (!numeric) return text;
    const number = Number.parseFloat(text.replace("−", "-").replaceAll(",", ""));
    return Number.isNaN(number) ? null : number;
  }

  function sortBy(heading) {
    const body = heading.closest("table").tBodies[0];
    const numeric = heading.classList.contains("number");
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    const sign = ascending ? 1 : -1;
    const rows = Array.from(body.rows, (row) => ({ row, key: keyOf(row.cells[heading.cellIndex], numeric) }));
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      return sign * (numeric ? a.key - b.key : collator.compare(a.key, b.key));
    });
    body.append(...rows.map(({ row }) => row));
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }

  for (const heading of document.querySelectorAll("table.sortable thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(heading));
    heading.append(button);
  }
})();
