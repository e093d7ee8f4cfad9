"use strict";
const cells = (row) => [...row.cells].map((cell) => cell.innerText.trim());
const rows = (id) => [...document.getElementById(id).rows].map(cells);
const flash = (button, word) => { const own = button.textContent; button.textContent = word; setTimeout(() => { button.textContent = own; }, 1200); };
const copy = async (text) => {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = document.createElement("textarea");
    area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
  }
};
const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copy) { await copy(rows(button.dataset.copy).map((row) => row.join("\t")).join("\n")); flash(button, "copied"); }
  if (button.dataset.save) {
    const link = document.createElement("a");
    link.href = "data:text/csv;charset=utf-8," + encodeURIComponent(rows(button.dataset.save).map((row) => row.map(quoted).join(",")).join("\n"));
    link.download = `${button.dataset.save}.csv`; link.click();
  }
  if (button.dataset.themeSwitch !== undefined) {
    const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
  }
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
