"use strict";
// CSV as RFC 4180 has it; no text in it is a formula to a spreadsheet.

const FORMULA = /^['\s]*[=+\-@\t\r\n＝＋－＠]/;
const HIDDEN_FORMULA = /[;\t]['\s]*[=+\-@＝＋－＠]/; // where a semicolon ends a cell, as in some languages
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

function toCsv(rows) {
  const field = (value) => {
    const plain = value === null || value === undefined ? "" : String(value);
    const text = FORMULA.test(plain) && !NUMBER.test(plain) ? `'${plain}` : plain;
    return /[",\r\n]/.test(text) || HIDDEN_FORMULA.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(field).join(",")}\n`).join("");
}

// The lines as objects by column. Spreadsheets write semicolons in some languages; the header tells.
function fromCsv(text) {
  text = text.replace(/^\uFEFF/, "");
  const [header] = text.split(/\r?\n/, 1);
  const separator = header.includes(",") || !header.includes(";") ? "," : ";";
  const [columns, ...lines] = linesOf(text, separator);
  return lines.map((line) => Object.fromEntries(columns.map((column, place) => [column.trim(), line[place] ?? ""])));
}

function linesOf(text, separator) {
  const lines = [];
  let line = [];
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|([^"\\r\\n${separator}][^\\r\\n${separator}]*)?)(${separator}|\\r?\\n|\\r|$)`, "y");
  while (field.lastIndex < text.length) {
    const found = field.exec(text);
    if (!found) throw new Error(`line ${lines.length + 1} has a quotation mark out of place`);
    line.push(found[1] === undefined ? (found[2] ?? "") : found[1].replaceAll('""', '"'));
    if (found[3] === separator) {
      if (field.lastIndex === text.length) line.push("");
      else continue;
    }
    if (line.length > 1 || line[0] !== "") lines.push(line);
    line = [];
  }
  return lines.length ? lines : [[]];
}
