"use strict";
(() => {
  const root = document.documentElement;
  const store = (name, value) => {
    try {
      if (value === undefined) return sessionStorage.getItem(name);
      sessionStorage.setItem(name, value);
    } catch {
      /* A page from a file may not store anything. */
    }
    return null;
  };

  const theme = store("dbsight-theme");
  if (theme) root.dataset.theme = theme;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store("dbsight-theme", root.dataset.theme);
  });

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const done = await copied(button.previousElementSibling.textContent);
    button.textContent = done ? "Copied" : "Failed";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });

  for (const input of document.querySelectorAll("input[data-filters]")) {
    const form = input.closest("form");
    const items = () =>
      input.dataset.filters.split(" ").flatMap((id) => [...(document.getElementById(id)?.querySelectorAll("[data-filter]") ?? [])]);
    let pending;
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const item of items()) {
        const text = item.dataset.filter.toLowerCase();
        item.hidden = !words.every((word) => text.includes(word));
        shown += !item.hidden;
      }
      form.querySelector("output").textContent = words.length ? `${shown} shown` : "";
    };
    input.addEventListener("input", () => {
      clearTimeout(pending);
      pending = setTimeout(apply, 80);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  const valueOf = (row, column, kind) => {
    const cell = row.cells[column];
    return kind === "number" ? Number(cell.dataset.value ?? 0) : cell.textContent.trim().toLowerCase();
  };
  for (const button of document.querySelectorAll("[data-sort]")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const body = head.closest("table").tBodies[0];
      const kind = button.dataset.sort;
      const first = kind === "number" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? (first === "descending" ? "ascending" : "descending") : first;
      for (const each of head.parentElement.cells) if (each.hasAttribute("aria-sort")) each.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].map((row) => [valueOf(row, head.cellIndex, kind), row]);
      rows.sort(([a], [b]) => (a < b ? -sign : a > b ? sign : 0));
      body.append(...rows.map(([, row]) => row));
    });
  }

  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) {
      for (let each = target; each; each = each.parentElement) {
        if (each.hidden) each.hidden = false;
        if (each.tagName === "DETAILS") each.open = true;
      }
    }
  };
  addEventListener("hashchange", open);
  open();
  addEventListener("beforeprint", () => {
    // Not those in tables: a statement in a column of numbers is as narrow as they leave it, and it is at its finding.
    document.querySelectorAll("details").forEach((each) => (each.open = each.open || !each.closest("th")));
  });

  const pause = document.getElementById("pause");
  if (pause) {
    const show = () => {
      const paused = store("dbsight-paused") === "yes";
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Resume" : "Pause";
    };
    pause.addEventListener("click", () => {
      store("dbsight-paused", store("dbsight-paused") === "yes" ? "no" : "yes");
      show();
    });
    show();
    setInterval(() => {
      const reading = document.activeElement instanceof HTMLInputElement || !getSelection().isCollapsed;
      if (store("dbsight-paused") !== "yes" && !reading && !document.hidden) location.reload();
    }, 5000);
  }
})();
